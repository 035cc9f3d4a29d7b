"""make demo: what a newcomer sees, that it fails when a step does, and that it leaves nothing behind."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import resource
import select
import shutil
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

from conftest import ROOT, environment
from test_readme import DEMO, EXAMPLES, is_shown

import pytest

COMMANDS = (
    *("make snapshots", "make in-progress", "make promotions", "make promotions > ~/release.json"),
    "scripts/gate.py aws-beta aws-prod < ~/release.json",
    *("RELEASE_TRAIL=demo-1 make kosli-setup", "RELEASE_TRAIL=demo-1 scripts/attest.py < ~/release.json"),
    *("scripts/rollback.py < ~/release.json", "APPROVED=~/release.json make recheck > ~/rest.json"),
    *("APPROVED=~/release.json VERIFY_TIMEOUT=0 make verify", "APPROVED=~/release.json make verify"),
    *("kosli snapshot ecs aws-prod --clusters prod", "scripts/changes.py < ~/release.json"),
    *("HOLDS=~/holds.toml make holds", "HOLDS=~/holds.toml make promotions", "scripts/changes.py < ~/older.json"),
)
RELEASED = {"dashboard-ci": "5e1ba4ff", "runner-ci": "80aadace", "saver-ci": "510fbd91", "web-ci": "b6f1e761"}
Run = subprocess.CompletedProcess[str]


def run_in(tmp_path: Path, line: str, folder: Path = ROOT, **variables: str) -> Run:
    """Run the demo in a HOME and a TMPDIR below tmp_path; afterwards both must be as they were."""
    where = folders(tmp_path)
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env={**environment(where["HOME"], TMPDIR=str(where["TMPDIR"])), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert_untouched(where)
    return done


def folders(tmp_path: Path) -> dict[str, Path]:
    """Return a HOME, with a configuration and a world that the demo must neither read nor change, and a TMPDIR."""
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    (home / ".kosli-service").mkdir(parents=True, exist_ok=True)
    (home / ".kosli.yml").write_text("flow: another\n")
    (home / ".kosli-service" / "world.json").write_text("mine\n")
    temporary.mkdir(exist_ok=True)
    return {"HOME": home, "TMPDIR": temporary}


def assert_untouched(where: dict[str, Path]) -> None:
    home = where["HOME"]
    files = {str(path.relative_to(home)): path.read_text() for path in home.rglob("*") if path.is_file()}
    assert files == {".kosli.yml": "flow: another\n", ".kosli-service/world.json": "mine\n"}
    assert list(where["TMPDIR"].iterdir()) == []


class Terminal:
    """A demo on a terminal of its own, which one can read and type into."""

    def __init__(self, tmp_path: Path, *command: str) -> None:
        self.where = folders(tmp_path)
        self.mine, its = pty.openpty()
        self.seen = ""
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(self.where["HOME"], TMPDIR=str(self.where["TMPDIR"]), TERM="xterm"),
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(its)

    def read(self, until: str = "") -> str:
        """Read until a text appears, or to the end. Returns all that was seen."""
        end = time.monotonic() + 60
        while not until or until not in self.seen:
            assert select.select([self.mine], [], [], end - time.monotonic())[0], self.seen
            try:
                piece = os.read(self.mine, 4096)
            except OSError:
                piece = b""
            if not piece:
                assert not until, self.seen
                break
            self.seen += piece.decode()
        return self.seen

    def type(self, text: str) -> None:
        os.write(self.mine, text.encode())

    def close(self) -> int:
        """Read the rest, return the exit code; the demo must have left nothing behind."""
        self.read()
        os.close(self.mine)
        code = self.process.wait(60)
        assert_untouched(self.where)
        return code


# The demo up to the question, with as few commands as lead there.
SHORT = """
import sys
sys.path.insert(0, "scripts")
import demo
def prepare(it):
    before = it.run("make snapshots")
    new = "b6f1e7618b99b5b0a36eae0364f58f52e44ce73b61b914e8b1e256ccb81bb957"
    it.quietly(f"stand-in-deploy aws-beta {new} && kosli snapshot ecs aws-beta --clusters beta")
    release = it.run("make promotions > ~/release.json")
    for _ in sys.argv[1:]:
        demo.show(f" That is {'yes' if demo.approve(it, 4, '') else 'no'}")
    return before, release
demo.prepare = prepare
demo.run(lambda _: demo.main([]))
"""


# Nothing of it may count.
OF_THE_USER = """
    KOSLI_API_TOKEN=a-token-that-is-real-0123456789 KOSLI_ORG=mine KOSLI_HOST=https://kosli.example.com
    KOSLI_DRY_RUN=true KOSLI_FLOW=web-ci KOSLI_AWS_PROD=mine CI=true GITHUB_ACTIONS=true GITHUB_SHA=1
    GITHUB_REPOSITORY=cyber-dojo/web FLOWS=mine SNAPSHOTS=mine FROM_ENV=mine MATCH_BY=image DIGEST=mine REASONS=mine
    APPROVED=mine GATE_JOBS=mine VERIFY_TIMEOUT=mine RELEASE_FLOW=web-ci LC_ALL=C MAKEFLAGS=k SETTINGS=mine
    HOLDS=mine GIT_ALLOW_PROTOCOL=none PROPOSED=mine
"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return what the demo shows in a log, from another folder, to who has all sorts of settings.

    It ends within 10 seconds: of the processor, because others may be busy.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    variables = dict(each.split("=", 1) for each in OF_THE_USER.split())
    done = run_in(tmp_path_factory.mktemp("demo"), f"make -s -C {ROOT} demo", Path("/"), **variables)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10
    return done


def test_a_newcomer_sees_a_whole_release(shown: Run) -> None:
    for command in COMMANDS:
        assert f"$ {command}\n" in shown.stdout
    assert "promotions.py: aws-beta: web-ci: a deployment is in progress" in shown.stdout
    assert "Approve? [y/N] y" in shown.stdout
    assert re.search(r"saver-ci +ahead +3 +0 +Merge pull request #54", shown.stdout)
    assert re.search(r"runner-ci: runner:.*: left out, it is held until 2099-01-01", shown.stdout)
    assert "saver-ci: the incoming commit is 3 commits older than the outgoing one" in shown.stdout
    for flow, fingerprint in RELEASED.items():
        assert re.search(rf"{flow}.*{fingerprint}.*compliant", shown.stdout)
        assert re.search(rf"{flow}.*{fingerprint}.*landed", shown.stdout)
    for name in ("KOSLI_ORG", "KOSLI_API_TOKEN", "make promotions", "make kosli-setup"):
        assert name in shown.stdout.partition("for real")[2]


def test_the_readme_shows_it(shown: Run) -> None:
    assert is_shown(dict(EXAMPLES)[DEMO], shown.stdout)


def test_it_fits_a_log(shown: Run) -> None:
    assert "\x1b" not in shown.stdout
    assert [line for line in shown.stdout.splitlines() if len(line) > 120 or line != line.rstrip()] == []


def test_only_yes_is_yes_and_without_it_nothing_is_deployed(tmp_path: Path) -> None:
    answers = {"y\n": "yes", "YES\n": "yes", "n\n": "no", "yesterday\n": "no", "\n": "no", "\x04": "no"}
    terminal = Terminal(tmp_path, sys.executable, "-c", SHORT, *answers.values())
    for answer, meaning in answers.items():
        terminal.read("Approve? [y/N] ")
        terminal.seen = ""
        terminal.type(answer)
        terminal.read(f" That is {meaning}")
    terminal.read("Approve? [y/N] ")
    terminal.type("n\n")
    assert terminal.close() == 0, terminal.seen
    assert "Not approved, so nothing is deployed:" in terminal.seen
    assert "make verify" not in terminal.seen
    assert "Traceback" not in terminal.seen
    assert "\x1b" not in terminal.seen


def test_ctrl_c_at_the_question(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, sys.executable, "-c", SHORT)
    terminal.read("Approve? [y/N]")
    time.sleep(0.5)  # A signal right before it begins to read would be seen only after that.
    terminal.type("\x03")
    assert terminal.close() == 130, terminal.seen
    assert "Traceback" not in terminal.seen


def test_the_reader_goes_away(tmp_path: Path) -> None:
    done = run_in(tmp_path, "set -o pipefail; scripts/demo.py | head -n 3")
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            {"faults": [{"status": 403, "message": "no entry"}]}, "make snapshots: exit code 2", id="no Kosli"
        ),
        pytest.param({"deployments": {"fail": ["saver-ci"]}}, "deployment of saver-ci failed", id="a deployment fails"),
    ],
)
def test_a_step_that_does_not_do_what_it_should(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    """The demo runs in a copy of the project, in which its world is changed."""
    folder = tmp_path / "copy"
    for name in ("scripts", "fixtures", "jq", "kosli"):
        ignore = shutil.ignore_patterns("node_modules", "__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("Makefile", "requirements.txt", "release.toml", "holds.toml"):
        shutil.copy2(ROOT / name, folder)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    author = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")  # the CLI wants a checkout
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    subprocess.run(["git", *author, "commit", "--quiet", "--allow-empty", "-m", "x"], cwd=folder, check=True)
    path = folder / "fixtures" / "worlds" / "in-progress.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    done = run_in(tmp_path, f'{sys.executable} -c "$SHORT"', folder=folder, SHORT=SHORT)
    assert done.returncode == 1, done.stdout
    assert "this went wrong: " in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
