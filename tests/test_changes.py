"""changes.py on real git repositories: what it counts and names, what it refuses, and that it is not led astray."""

import json
import subprocess
from pathlib import Path
from typing import Any

from conftest import PATH, run

import pytest

HOST = "https://git.example"
WHEN = {"GIT_AUTHOR_DATE": "1780000000 +0000", "GIT_COMMITTER_DATE": "1780000000 +0000"}


class Service:
    """A service's repository, below HOST for git: the user's own insteadOf says where that is."""

    def __init__(self, home: Path, name: str = "shop", kind: str = "sha1") -> None:
        self.home, self.name, self.made = home, name, 0
        self.path = home / "hosts" / "acme" / name
        self.path.mkdir(parents=True)
        self.environment = {"PATH": PATH, "HOME": str(home), **WHEN}
        (home / ".gitconfig").write_text(
            f'[url "file://{home}/hosts/"]\n  insteadOf = {HOST}/\n[user]\n  name = Ada\n  email = ada@example.com\n'
            "[uploadpack]\n  allowFilter = true\n  allowAnySHA1InWant = true\n"
        )
        self.git("init", "--quiet", "--initial-branch=main", f"--object-format={kind}")

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=self.environment, input=stdin, check=True, capture_output=True
        )
        return done.stdout.decode().strip()

    def commit(self, message: str = "", branch: str = "main") -> str:
        """Put one more commit on a branch."""
        self.made += 1
        message = message or f"Change {self.made}"
        if self.git("branch", "--show-current") != branch:
            self.git("checkout", "--quiet", *(["-b"] if not self.has(branch) else []), branch)
        self.git("commit", "--quiet", "--allow-empty", "--file=-", stdin=message.encode())
        return self.git("rev-parse", "HEAD")

    def has(self, branch: str) -> bool:
        return bool(self.git("branch", "--list", branch))

    def promotion(self, old: str, new: str, flow: str = "") -> dict[str, Any]:
        """Return a promotion from one commit to another, "" for a first deployment."""
        sides = {}
        for side, sha, number, digit in (("incoming", new, 7, "a"), ("outgoing", old, 5, "b")):
            sides[f"{side}_name"] = f"registry/{self.name}:{sha[:7]}" if sha else ""
            sides[f"{side}_fingerprint"] = digit * 64 if sha else ""
            sides[f"{side}_flow"] = (flow or f"{self.name}-ci") if sha else ""
            sides[f"{side}_commit_url"] = f"{HOST}/acme/{self.name}/commit/{sha}" if sha else ""
            environment = "aws-beta" if side == "incoming" else "aws-prod"
            sides[f"{side}_snapshot_id"] = f"{environment}#{number}" if sha else ""
            sides[f"{side}_snapshot_url"] = ""
        return sides


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


def ask(home: Path, *release: dict[str, Any], **variables: str) -> tuple[int, list[dict[str, Any]], str]:
    """Return what changes.py ends with, prints and says of a release."""
    done = run(
        "changes.py",
        stdin=json.dumps(release).encode(),
        **{"HOME": str(home), "GIT_ALLOW_PROTOCOL": "file", **variables},
    )
    return done.code, json.loads(done.out or b"[]"), done.err.decode()


def test_what_came_between(service: Service) -> None:
    old = service.commit("Old")
    service.commit("Sort the baskets (#12)")
    service.commit("Merge pull request #13 from acme/x\n\nLonger")
    new = service.commit("Merge branch 'x' into 'main'\n\nSee merge request acme/shop!14")
    code, [change], err = ask(service.home, service.promotion(old, new))
    assert (code, err) == (0, "")
    assert {key: change[key] for key in ("status", "on_branch", "ahead", "behind", "why")} == {
        "status": "ahead",
        "on_branch": True,
        "ahead": 3,
        "behind": 0,
        "why": "",
    }
    assert [each["pull_request"] for each in change["commits"]] == ["!14", "#13", "#12"]
    assert change["commits"][2] == {
        "sha": service.git("rev-parse", f"{new}~2"),
        "time": 1780000000,
        "author": "Ada",
        "committer": "Ada",
        "subject": "Sort the baskets (#12)",
        "pull_request": "#12",
    }


@pytest.mark.parametrize("allowed", [False, True])
def test_what_is_older_is_refused(service: Service, allowed: bool) -> None:
    new = service.commit()
    old = service.commit()
    code, [change], err = ask(service.home, service.promotion(old, new), ALLOW_OLDER="shop-ci" if allowed else "")
    assert (change["status"], change["behind"], change["commits"]) == ("behind", 1, [])
    assert (code, "1 commit older" in err) == ((0, False) if allowed else (1, True))


def test_what_lies_beside_is_refused(service: Service) -> None:
    service.commit()
    old = service.commit(branch="one")
    service.git("checkout", "--quiet", "main")
    new = service.commit(branch="main")
    code, [change], err = ask(service.home, service.promotion(old, new))
    assert (code, change["status"], change["ahead"], change["behind"]) == (1, "diverged", 1, 1)
    assert "lacks 1 commit of the outgoing one" in err


def test_a_commit_that_no_branch_holds_is_refused(service: Service) -> None:
    """As of a fork: its page stands below the parent's URL, and the parent gives it by its hash."""
    old = service.commit()
    new = service.commit(branch="of-a-fork")
    service.git("checkout", "--quiet", "main")
    service.git("update-ref", "refs/pull/1/head", new)
    service.git("branch", "--quiet", "-D", "of-a-fork")
    code, [change], err = ask(service.home, service.promotion(old, new))
    assert (code, change["on_branch"]) == (1, False)
    assert f"no branch of {HOST}/acme/shop holds {new}: merge it" in err


def test_an_outgoing_commit_that_a_force_push_lost_is_fetched_by_its_hash(service: Service) -> None:
    base = service.commit()
    old = service.commit()
    service.git("reset", "--quiet", "--hard", base)
    new = service.commit("Rewritten")
    code, [change], _ = ask(service.home, service.promotion(old, new))
    assert (code, change["status"]) == (1, "diverged")
    service.git("reflog", "expire", "--expire=all", "--all")
    service.git("gc", "--quiet", "--prune=now")
    code, [change], err = ask(service.home, service.promotion(old, new))
    assert (code, change["status"], err) == (0, "unknown", "")
    assert f"does not give the commit {old}" in change["why"]
    code, _, err = ask(service.home, service.promotion(old, new), CHANGES_REQUIRED="1")
    assert code == 1
    assert "what has changed is not known" in err


def test_a_rollback_is_shown_and_never_refused(service: Service) -> None:
    new = service.commit()
    old = service.commit()
    promotion = service.promotion(old, new)
    promotion["incoming_snapshot_id"], promotion["outgoing_snapshot_id"] = "aws-prod#5", "aws-beta#7"
    code, [change], err = ask(service.home, promotion)
    assert (code, change["status"]) == (0, "behind")
    assert "1 commit older" in err


@pytest.mark.parametrize("kind", ["sha1", "sha256"])
def test_both_kinds_of_repository(tmp_path: Path, kind: str) -> None:
    service = Service(tmp_path, kind=kind)
    old, new = service.commit(), service.commit()
    code, [change], _ = ask(tmp_path, service.promotion(old, new))
    assert (code, change["status"], change["on_branch"], change["ahead"]) == (0, "ahead", True, 1)


def test_a_first_deployment_and_a_rebuild(service: Service) -> None:
    sha = service.commit()
    code, changes, err = ask(service.home, service.promotion("", sha), service.promotion(sha, sha, flow="other-ci"))
    assert (code, err) == (0, "")
    assert [(each["status"], each["on_branch"], each["commits"]) for each in changes] == [
        ("new", True, []),
        ("identical", True, []),
    ]


def test_what_cannot_be_read_is_unknown(service: Service) -> None:
    old, new = service.commit(), service.commit()
    missing = service.promotion(old, new)
    missing["incoming_commit_url"] = missing["incoming_commit_url"].replace("shop", "gone")
    code, [change], _ = ask(service.home, missing)
    assert (code, change["status"], change["on_branch"]) == (0, "unknown", None)
    code, [change], _ = ask(service.home, service.promotion(old, new), SOURCES="https://github.com/acme/")
    assert (code, change["status"]) == (0, "unknown")
    assert "below none of the sources" in change["why"]
    code, [change], _ = ask(service.home, service.promotion(old, new), GIT_ALLOW_PROTOCOL="")
    assert (code, change["status"]) == (0, "unknown"), "only https, unless the caller says otherwise"


def test_a_git_that_cannot_look_for_branches_is_no_answer(service: Service) -> None:
    sha = service.commit()
    broken = service.home / "bin" / "git"
    broken.parent.mkdir()
    broken.write_text(
        '#!/bin/sh\ncase "$*" in *for-each-ref*) echo fatal: broken >&2; exit 1 ;; esac\nexec /usr/bin/git "$@"\n'
    )
    broken.chmod(0o755)
    code, [change], _ = ask(service.home, service.promotion("", sha), PATH=f"{broken.parent}:{PATH}")
    assert (code, change["status"], change["on_branch"]) == (0, "unknown", None)
    assert change["why"] == "git for-each-ref: fatal: broken"


def test_a_commit_without_a_time(service: Service) -> None:
    old = service.commit()
    text = f"tree {service.git('write-tree')}\nparent {old}\nauthor Ada\ncommitter Ada\n\nNo time\n"
    new = service.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=text.encode())
    service.git("update-ref", "refs/heads/main", new)
    code, [change], _ = ask(service.home, service.promotion(old, new))
    assert (code, change["status"]) == (0, "ahead")
    assert [(each["subject"], each["time"]) for each in change["commits"]] == [("No time", 0)]


def test_a_hostile_repository_is_data(service: Service) -> None:
    old = service.commit()
    hooks = service.path / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "reference-transaction", "pre-receive"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {service.home}/ran\n")
    service.git("config", "user.name", "\x1b[31mEve\x07 ##[error]")
    new = service.commit("x" * 1_000_000 + "\n\n\x1b]0;title\x07 ##[error] See merge request a!1")
    code, [change], _ = ask(service.home, service.promotion(old, new))
    assert code == 0
    [commit] = change["commits"]
    assert len(commit["subject"]) == 200
    assert "\x1b" not in json.dumps(change)
    assert "##[" not in json.dumps(change)
    assert not (service.home / "ran").exists()


def test_a_long_history(service: Service) -> None:
    history = "".join(
        f"commit refs/heads/main\ncommitter Ada <ada@example.com> {1_700_000_000 + number} +0000\ndata 1\nx\n"
        for number in range(20_000)
    )
    service.environment["MALLOC_TOP_PAD_"] = "100000000"  # else fast-import asks for memory twice a commit
    service.git("fast-import", "--quiet", stdin=history.encode())
    old, new = service.git("rev-parse", "main~19999"), service.git("rev-parse", "main")
    code, [change], _ = ask(service.home, service.promotion(old, new))
    assert (code, change["status"], change["ahead"], len(change["commits"])) == (0, "ahead", 19_999, 250)


def test_kept_clones_are_brought_up_to_date(service: Service) -> None:
    clones = service.home / "clones"
    old = service.commit()
    new = service.commit()
    assert ask(service.home, service.promotion(old, new), CLONES=str(clones))[1][0]["ahead"] == 1
    newer = service.commit()
    assert ask(service.home, service.promotion(old, newer), CLONES=str(clones))[1][0]["ahead"] == 2
    [clone] = clones.iterdir()
    clone.rename(f"{clone}.unfinished")
    (clone / "objects").mkdir(parents=True)
    assert ask(service.home, service.promotion(old, newer), CLONES=str(clones))[1][0]["ahead"] == 2, "a kill left half"
    assert list(clones.iterdir()) == [clone]
    clone.rename(f"{clone}.unfinished")
    clone.touch()
    code, [change], _ = ask(service.home, service.promotion(old, newer), CLONES=str(clones))
    assert (code, change["status"]) == (0, "unknown")
    assert "cannot be kept" in change["why"]


def test_the_token_stands_on_no_command_line_and_is_known_only_where_the_host_is_asked(service: Service) -> None:
    """What git is started with is looked at: its arguments, and whether it sees the token."""
    old, new = service.commit(), service.commit()
    spy = service.home / "bin" / "git"
    spy.parent.mkdir()
    spy.write_text('#!/bin/sh\necho "${SOURCES_TOKEN:-none} $*" >>"$HOME/seen"\nexec /usr/bin/git "$@"\n')
    spy.chmod(0o755)
    for host, knows in (("git.example", True), ("", False)):
        (service.home / "seen").unlink(missing_ok=True)
        variables = {"SOURCES_TOKEN": "t0ken", "CHANGES_TOKEN_HOST": host, "PATH": f"{spy.parent}:{PATH}"}
        assert ask(service.home, service.promotion(old, new), **variables)[0] == 0
        seen = [line.split(" ", 1) for line in (service.home / "seen").read_text().splitlines()]
        assert not any("t0ken" in arguments for _, arguments in seen)
        assert {token for token, arguments in seen if " clone " in arguments} == {"t0ken" if knows else "none"}
        assert {token for token, arguments in seen if " clone " not in arguments} == {"none"}
        helper = "credential.https://git.example.helper="
        assert any(helper in arguments for _, arguments in seen) == knows


def test_the_token_is_in_nothing_that_git_says(service: Service) -> None:
    new = service.commit()
    promotion = service.promotion("", new)
    promotion["incoming_commit_url"] = f"{HOST}/acme/t0ken/commit/{new}"
    code, (change,), err = ask(service.home, promotion, SOURCES_TOKEN="t0ken")
    assert (code, change["status"]) == (0, "unknown")
    assert "[token]" in change["why"]
    assert "t0ken" not in change["why"] + err
