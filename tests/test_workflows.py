"""What act does not model, read from the workflows themselves: invariants, each with what it is for.

The rest is seen in the rehearsal, which is red when a guard goes.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from rehearsal.stage import ROOT, load

import pytest
import yaml

Parts = dict[str, Any]
GITHUB = ROOT / ".github"
FILES = sorted([ROOT / "action.yml", *GITHUB.glob("workflows/*.yml"), *GITHUB.glob("actions/*/action.yml")])
RELEASE = ("promote.yml", "rollback.yml", "release.yml", "land.yml", "deploy.yml")
# What rollback.yml has in common with promote.yml is looked at there.
COMMON = {("rollback.yml", job) for job in ("release", "land", "refused")}
# What runs after a job that failed or was cancelled: act knows no cancelled one.
AFTER_ALL = {
    ("promote.yml", "refused"): "always() && ((needs.find-promotions.result != 'success' && github.run_attempt == '1') "
    "|| needs.release.result == 'cancelled' || needs.land.result == 'cancelled')",
    ("release.yml", "refused"): "always() && (contains(needs.*.result, 'failure') "
    "|| contains(needs.*.result, 'cancelled'))",
    ("land.yml", "verify"): "!cancelled() && needs.recheck.result == 'success'",
    ("land.yml", "refused"): "always() && needs.verify.outputs.told != 'success'",
}
READ = {"contents": "read"}
# Whatever is more than reading this repository.
PERMISSIONS = {
    ("promote.yml", "release"): READ | {"actions": "read"},
    ("promote.yml", "land"): READ | {"id-token": "write"},
    ("rollback.yml", "find-rollback"): READ | {"actions": "read"},
    ("release.yml", "approve"): READ | {"actions": "read"},
    ("land.yml", "deploy-to-prod"): READ | {"id-token": "write"},
    ("deploy.yml", "deploy"): READ | {"id-token": "write"},
    ("attest-build.yml", "attest-build"): READ | {"pull-requests": "read"},
    ("record-environments.yml", "record"): READ | {"id-token": "write"},
}
# The steps that see a secret, by job: how many see which.
SECRETS = {
    ("promote.yml", "find-promotions"): {"KOSLI_API_TOKEN": 2},
    ("promote.yml", "refused"): {"KOSLI_API_TOKEN": 1},
    ("rollback.yml", "find-rollback"): {"KOSLI_API_TOKEN": 3, "github.token": 2},
    ("release.yml", "sdlc-control-gate"): {"KOSLI_API_TOKEN": 1},
    ("release.yml", "changes"): {"SOURCES_TOKEN": 1},
    ("release.yml", "propose"): {"KOSLI_API_TOKEN": 1},
    ("release.yml", "approve"): {"KOSLI_API_TOKEN": 1, "github.token": 1},
    ("release.yml", "refused"): {"KOSLI_API_TOKEN": 1},
    ("land.yml", "recheck"): {"KOSLI_API_TOKEN": 3},
    ("land.yml", "verify"): {"KOSLI_API_TOKEN": 2},
    ("land.yml", "refused"): {"KOSLI_API_TOKEN": 1},
    ("deploy.yml", "deploy"): {"GITLAB_TOKEN": 1, "SOURCES_TOKEN": 1, "github.token": 1},
}
KOSLI = "${{ secrets.KOSLI_API_TOKEN }}"
LOCK = {"group": "production-release", "queue": "max", "cancel-in-progress": False}


@cache
def files() -> dict[str, Parts]:
    """Return each workflow and action by its name; a local action by the name of its folder."""
    return {name_of(path): load(path) for path in FILES}


def name_of(path: Path) -> str:
    return path.parent.name if path.parent.parent.name == "actions" else path.name


def jobs(*names: str) -> Iterator[tuple[str, str, Parts]]:
    """Give (file, job, its contents) of these workflows, of all by default."""
    for name in names or files():
        for job, contents in files()[name].get("jobs", {}).items():
            yield name, job, contents


def steps(*names: str) -> Iterator[tuple[str, Parts]]:
    """Give (where, step) of all steps of these workflows and local actions, of all by default."""
    for name, job, contents in jobs(*names):
        for step in contents.get("steps", []):
            yield f"{name}: {job}", step
    for name in names or files():
        for step in files()[name].get("runs", {}).get("steps", []):
            yield name, step


def strings(value: Any) -> Iterator[str]:
    """Give all strings in a part of a workflow."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from strings(each)
    elif isinstance(value, str):
        yield value


def condition(contents: Parts) -> str | None:
    """Return an `if` without its `${{ }}`."""
    value = contents.get("if")
    return None if value is None else " ".join(value.removeprefix("${{").removesuffix("}}").split())


def step_of(file: str, job: str, words: str) -> Parts:
    """Return the one step of a job whose command, or action, holds these words."""
    found = [s for s in files()[file]["jobs"][job]["steps"] if words in s.get("run", "") + s.get("uses", "")]
    assert len(found) == 1, f"{file}: {job}: {len(found)} steps with {words}"
    return found[0]


def listed(value: str | list[str]) -> list[str]:
    """Return what a job needs."""
    return [value] if isinstance(value, str) else value


@pytest.mark.parametrize("file", RELEASE)
def test_each_job_follows_all_that_stand_before_it(file: str) -> None:
    """The order in a file is the order of a release. Only the changes are looked at beside the gate."""
    needs: dict[str, set[str]] = {}
    for job, contents in files()[file]["jobs"].items():
        direct = set(listed(contents.get("needs", [])))
        assert direct == set(needs) or job != "refused", "it looks at the result of each"
        beside = {"sdlc-control-gate"} if job == "changes" else set()
        before = direct.union(*(needs[each] for each in direct))
        assert before == set(needs) - beside, job
        needs[job] = before


def test_what_runs_after_all() -> None:
    """Without a status function, an `if` has success() built in: of all jobs that it needs."""
    found = {(file, job): condition(contents) or "" for file, job, contents in jobs(*RELEASE)}
    assert {key: value for key, value in found.items() if "()" in value and key not in COMMON} == AFTER_ALL


def test_a_rollback_goes_on_like_a_promotion() -> None:
    """Once it has its release. Only that nothing is left to do is no reason to skip what follows: it was refused."""
    promotion, rollback = (files()[name]["jobs"] for name in ("promote.yml", "rollback.yml"))
    for _, job in COMMON:
        there = json.loads(json.dumps(rollback[job]).replace("find-rollback", "find-promotions"))
        assert there.get("with", {}).pop("rollback_of", None) == (None if job == "refused" else "${{ inputs.run }}")
        here = {key: value for key, value in promotion[job].items() if (key, job) != ("if", "release")}
        assert there == here, job


def test_exactly_one_job_waits_for_a_person() -> None:
    """A matrix, or a second one, would ask again; its address leads to the release's trail."""
    waiting = [(name, job) for name, job, contents in jobs() if "environment" in contents]
    assert waiting == [("release.yml", "approve")]
    job = files()["release.yml"]["jobs"]["approve"]
    assert job["environment"]["name"] == step_of("release.yml", "approve", "approval.py")["env"]["ENVIRONMENT"]
    assert "/flows/{2}/trails/run-{3}" in job["environment"]["url"]
    assert files()["release.yml"]["env"]["RELEASE_TRAIL"] == "run-${{ github.run_id }}"
    assert "strategy" not in job


def test_the_lock_is_on_the_jobs_that_land_and_nowhere_else() -> None:
    """A release that waits for its approval holds nobody up; the same group in the called file would be a deadlock."""
    assert files()["promote.yml"]["jobs"]["land"]["concurrency"] == LOCK
    assert files()["promote.yml"]["jobs"]["land"]["uses"] == "./.github/workflows/land.yml"
    for name in ("promote", "rollback"):
        group = f"{name}-${{{{ github.run_id }}}}"
        assert files()[f"{name}.yml"]["concurrency"] == {"group": group, "cancel-in-progress": False}
    assert not [name for name in ("release.yml", "land.yml", "deploy.yml") if "concurrency" in files()[name]]
    assert {job for _, job, contents in jobs(*RELEASE) if "concurrency" in contents} == {"land"}


def test_each_matrix_runs_to_its_end() -> None:
    for file, job, contents in jobs():
        if "strategy" in contents:
            assert contents["strategy"]["fail-fast"] is False, f"{file}: {job}"
    matrix = files()["land.yml"]["jobs"]["deploy-to-prod"]["strategy"]
    assert matrix["max-parallel"] == "${{ fromJSON(needs.recheck.outputs.max_parallel || '1') }}"


def test_nothing_that_decides_comes_from_where_anyone_can_write() -> None:
    """Variables can be set by whoever may push; comments must not send a reader there either."""
    for path in FILES:
        assert "vars." not in path.read_text("utf-8"), path
    settings = {"SETTINGS", "HOLDS", "FROM_ENV", "TO_ENV", "SOURCES"}
    ours = [name for name in files() if name != "action.yml"]  # what that is told is up to who uses it
    for _, contents in [*steps(*ours), *((file, contents) for file, _, contents in jobs()), *files().items()]:
        names = set(contents.get("env", {}))
        assert not {name for name in names if name in settings or name.startswith(("KOSLI_HOST", "KOSLI_ORG"))}


def test_a_run_counts_only_on_the_default_branch() -> None:
    """Each job begins with that question, before it sees a secret."""
    for file, job, contents in jobs(*RELEASE, "record-environments.yml"):
        if "steps" in contents:
            first, second = contents["steps"][:2]
            assert first["uses"].startswith("actions/checkout@"), f"{file}: {job}"
            assert set(first["with"]) == {"persist-credentials"}, f"{file}: {job}"
            assert second["uses"] == "./.github/actions/begin", f"{file}: {job}"
            assert "if" not in second, f"{file}: {job}"
    question, set_up = files()["begin"]["runs"]["steps"]
    assert '[ "$REF" != "$DEFAULT" ]' in question["run"]
    assert set_up["uses"] == "./.github/actions/set-up"
    again = [s for _, s in steps("land.yml") if s.get("with", {}).get("path") == "tip"]
    assert [s["with"]["ref"] for s in again] == ["${{ github.event.repository.default_branch }}"]


def test_permissions_are_what_a_job_needs() -> None:
    for name, workflow in files().items():
        assert "jobs" not in workflow or workflow["permissions"] == {}, name
    found = {(file, job): contents["permissions"] for file, job, contents in jobs()}
    assert {key: value for key, value in found.items() if value != READ and key not in COMMON} == PERMISSIONS


def test_secrets_go_where_they_are_needed() -> None:
    """They are in the environment of a step, or an input of an action: never a job's, a workflow's, or a command's."""
    secret = re.compile(r"secrets\.(\w+)|(github\.token)")
    for file, job, contents in jobs(*RELEASE):
        if (file, job) in COMMON:
            continue
        found: dict[str, int] = {}
        for step in contents.get("steps", []):
            matches = {match for text in strings(step) for match in secret.findall(text)}
            for name in (one or other for one, other in matches):
                found[name] = found.get(name, 0) + 1
        assert found == SECRETS.get((file, job), {}), f"{file}: {job}"
        rest = {key: value for key, value in contents.items() if key not in ("steps", "secrets")}
        assert not [text for text in strings(rest) if secret.search(text)], f"{file}: {job}"
    for name, workflow in files().items():
        rest = {key: value for key, value in workflow.items() if key not in ("jobs", "on")}
        assert not [text for text in strings(rest) if secret.search(text)], name
    given = files()["promote.yml"]["jobs"]
    assert given["release"]["secrets"] == {"KOSLI_API_TOKEN": KOSLI, "SOURCES_TOKEN": "${{ secrets.SOURCES_TOKEN }}"}
    own = {"GITLAB_TOKEN": "gitlab", "SOURCES_TOKEN": "github"}
    given_on = {"KOSLI_API_TOKEN": KOSLI, **{name: f"${{{{ secrets.{name} }}}}" for name in own}}
    assert given["land"]["secrets"] == given_on
    assert files()["land.yml"]["jobs"]["deploy-to-prod"]["secrets"] == {
        name: f"${{{{ matrix.incoming_repo_provider == '{provider}' && secrets.{name} || '' }}}}"
        for name, provider in own.items()
    }
    deploy = files()["deploy.yml"]["jobs"]["deploy"]["steps"]
    checkout = next(step for step in deploy if step.get("with", {}).get("path") == "service")
    assert checkout["with"]["token"] == "${{ steps.how.outputs.sources && secrets.SOURCES_TOKEN || github.token }}"
    clone = step_of("deploy.yml", "deploy", "git fetch")
    assert 'git config "credential.${GITLAB_URL:-https://none.invalid}.helper" ' in clone["run"]
    assert clone["env"]["GITLAB_TOKEN"] == "${{ steps.how.outputs.gitlab && secrets.GITLAB_TOKEN || '' }}"


def test_the_deployment_that_a_page_shows_takes_what_it_is_given() -> None:
    """GitHub refuses a call that gives a secret or an input that the called file does not declare."""
    page = (ROOT / "docs/from-the-blog.md").read_text()
    (text,) = re.findall(r"^```yaml\n(name: deploy\n.*?)^```", page, re.MULTILINE | re.DOTALL)
    called = yaml.load(text, yaml.BaseLoader)["on"]["workflow_call"]
    call = files()["land.yml"]["jobs"]["deploy-to-prod"]
    assert (set(called["inputs"]), set(called["secrets"])) == (set(call["with"]), set(call["secrets"]))


def test_shells_are_strict_and_nothing_is_pasted_into_them() -> None:
    for name, workflow in files().items():
        if "jobs" in workflow and any("run" in step for _, step in steps(name)):
            assert workflow["defaults"] == {"run": {"shell": "bash"}}, name
        for step in workflow.get("runs", {}).get("steps", []):
            assert step.get("shell") == ("bash" if "run" in step else None), name
    for where, step in steps():
        assert "${{" not in step.get("run", ""), where
        assert "runs" in files().get(where, {}) or "shell" not in step, where


def test_failures_are_not_forgiven() -> None:
    for where, part in [*steps(), *((job, contents) for _, job, contents in jobs())]:
        assert "continue-on-error" not in part, where
    for where, step in steps():
        command = step.get("run", "")
        assert not re.search(r"\|\|\s*(true|:|exit 0)\b|set \+e", command), where
        for line in command.splitlines():
            piped = line.replace("||", "").split(" | ")[1:]
            ends = ("tee reasons.txt", "tr --delete", "wc --lines", "true-true", "*)")
            assert all(part.lstrip().startswith(ends) for part in piped), f"{where}: {line}"


def test_each_job_ends() -> None:
    for file, job, contents in jobs():
        assert "uses" in contents or 0 < contents["timeout-minutes"] <= 60, f"{file}: {job}"


def test_each_file_that_can_refuse_says_so_in_one_way() -> None:
    """Each job keeps its reasons, last, and the job `refused` reads them."""
    for file in RELEASE[:-1]:
        found = dict(files()[file]["jobs"])
        last = found.pop("refused")["steps"][-1]
        assert last["uses"] == "./.github/actions/refused", file
        assert last["with"]["kosli-token"] == KOSLI, file
        for job, contents in found.items():
            if "steps" in contents:
                assert contents["steps"][-1]["uses"] == "./.github/actions/keep-reasons", f"{file}: {job}"
                assert condition(contents["steps"][-1]) == "failure()", f"{file}: {job}"
                leg = "-${{ matrix.incoming_fingerprint }}" if "strategy" in contents else ""
                assert contents["steps"][-1].get("with", {}).get("leg", "") == leg, "else a second one overwrites it"
    assert files()["keep-reasons"]["runs"]["steps"][-1]["with"]["name"].endswith("${{ inputs.leg }}")
    assert condition(files()["refused"]["runs"]["steps"][-1]) == "always()", "also without a page"


def test_what_was_found_is_what_is_taken() -> None:
    """A release that was replaced, or an output that was dropped, is noticed wherever it is used."""
    given = {"count": "${{ inputs.count }}", "digest": "${{ inputs.digest }}"}
    taken = [s["with"] for _, s in steps() if s.get("uses") == "./.github/actions/take-release"]
    assert taken == [given] * 5


def test_a_called_workflow_finds_its_own_scripts() -> None:
    guard, scripts = files()["attest-build.yml"]["jobs"]["attest-build"]["steps"][:2]
    assert list(guard["env"].values()) == [scripts["with"]["repository"], scripts["with"]["ref"]]
    assert list(guard["env"].values()) == ["${{ job.workflow_repository }}", "${{ job.workflow_sha }}"]
    assert guard["run"].count(":?") == 2


def test_the_derivation_alone_takes_nothing_of_the_workflow_that_uses_it() -> None:
    """Its folder is its own repository's, `./` would be that workflow's; and one step sees the token."""
    action = files()["action.yml"]
    first, *rest = action["runs"]["steps"]
    assert first["uses"].startswith("actions/setup-python@")
    assert [step["run"].startswith('cd "$GITHUB_ACTION_PATH"\n') for step in rest] == [True, True]
    assert ["inputs.token" in str(step) for step in action["runs"]["steps"]] == [False, False, True]
    used = set(re.findall(r"inputs\.(\w+)", str(action["runs"])))
    assert used == set(action["inputs"])


@pytest.mark.parametrize(("digits", "kind"), [(40, "sha1"), (64, "sha256")])
def test_a_service_is_cloned_with_its_own_kind_of_hash(tmp_path: Any, digits: int, kind: str) -> None:
    """A repository of the one kind cannot fetch a commit of the other."""
    first, *_ = step_of("deploy.yml", "deploy", "git fetch")["run"].splitlines()
    environment = {"PATH": "/usr/bin:/bin", "COMMIT_SHA": "a" * digits}
    line = f"{first} && git -C service rev-parse --show-object-format"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == (kind, "")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_each_action_from_outside_is_pinned_and_says_its_version(path: Any) -> None:
    """And a checkout leaves no token behind."""
    for line in re.findall(r"uses:.*", path.read_text("utf-8")):
        assert re.fullmatch(r"uses: (\./\.github/\S+|[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)", line), line
    for where, step in steps(name_of(path)):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False, where


def test_the_workflows_can_be_read() -> None:
    """In ten minutes: each file says first what it is."""
    lines = {path: path.read_text("utf-8").splitlines() for path in GITHUB.rglob("*.yml")}
    assert sum(map(len, lines.values())) <= 1150
    assert max(map(len, lines.values())) <= 230
    assert all(text[0].startswith("# ") for path, text in lines.items() if path.parent.name == "workflows")
