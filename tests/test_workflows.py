"""What must hold of the workflows, whatever their steps are: read with PyYAML, never by patterns in their text.

That they work is what tests/test_rehearsal.py shows. Here is what a rehearsal does not see: who waits for a person, who
sees which secret, what may write, and which job comes behind which.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from conftest import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in sorted(GITHUB.glob("workflows/*.yml"))}
ACTIONS = {path.parent.name: yaml.safe_load(path.read_text()) for path in sorted(GITHUB.glob("actions/*/action.yml"))}
RELEASE = WORKFLOWS["promote.yml"]["jobs"]
JOBS = [(f"{name}: {job}", contents) for name, flow in WORKFLOWS.items() for job, contents in flow["jobs"].items()]

# A job comes behind all jobs that lead to it.
CHAIN = ["find-promotions", "sdlc-control-gate", "propose", "approve", "recheck", "deploy-to-prod", "verify"]
# Each secret that a job of the release sees: the token of Kosli never where a service's code is checked out and run.
SECRETS = {
    "find-promotions": {"KOSLI_API_TOKEN", "github.token"},
    "sdlc-control-gate": {"KOSLI_API_TOKEN"},
    "propose": {"KOSLI_API_TOKEN"},
    "approve": {"KOSLI_API_TOKEN", "github.token"},
    "declined": {"KOSLI_API_TOKEN"},
    "recheck": {"KOSLI_API_TOKEN"},
    "deploy-to-prod": {"GITLAB_TOKEN"},
    "verify": {"KOSLI_API_TOKEN"},
}
# What takes the cloud role. Nothing else may write anywhere.
WRITE = {
    "promote.yml: deploy-to-prod",
    "deploy.yml: deploy",
    "rollback.yml: rollback",
    "record-environments.yml: record",
}


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give (where, step) of every workflow and every action of this repository."""
    for where, job in JOBS:
        yield from ((where, step) for step in job.get("steps", []))
    for name, action in ACTIONS.items():
        yield from ((name, step) for step in action["runs"]["steps"])


def texts(part: Any) -> Iterator[str]:
    """Give all strings in a part of a workflow."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, (dict, list)):
        for value in part.values() if isinstance(part, dict) else part:
            yield from texts(value)


def secrets(part: Any) -> set[str]:
    """Return the secrets that a part of a workflow names."""
    words = " ".join(texts(part)).replace("}", " ").replace(")", " ").replace(",", " ").split()
    return {word.removeprefix("secrets.") for word in words if word.startswith("secrets.") or word == "github.token"}


def behind(job: str) -> set[str]:
    """Return all jobs of the release that a job waits for, at any distance."""
    needs = RELEASE[job].get("needs", [])
    direct = {needs} if isinstance(needs, str) else set(needs)
    return direct.union(*map(behind, direct))


def runs(job: str, script: str) -> list[dict[str, Any]]:
    """Return the steps of a job of the release that run a script."""
    return [step for step in RELEASE[job]["steps"] if f"scripts/{script}" in step.get("run", "")]


def test_one_job_waits_for_a_person_once() -> None:
    """Of a matrix with an environment each leg would wait for a review of its own."""
    waiting = [where for where, job in JOBS if "environment" in job]
    assert waiting == ["promote.yml: approve"]
    assert "strategy" not in RELEASE["approve"]


def test_each_job_comes_behind_those_before_it() -> None:
    for number, job in enumerate(CHAIN):
        assert set(CHAIN[:number]) - behind(job) == set(), job
    assert {"propose", "approve"} <= behind("declined")
    assert set(RELEASE) == {*CHAIN, "declined"}


@pytest.mark.parametrize(
    ("job", "condition"),
    [
        ("approve", "needs.sdlc-control-gate.result == 'success'"),
        ("approve", "needs.find-promotions.outputs.any == 'true'"),
        ("approve", "!inputs.preview"),
        ("recheck", "needs.approve.result == 'success'"),
        ("deploy-to-prod", "needs.recheck.outputs.any == 'true'"),
        ("deploy-to-prod", "needs.recheck.outputs.attempt == github.run_attempt"),
        ("verify", "needs.recheck.result == 'success'"),
    ],
)
def test_a_job_runs_only_if(job: str, condition: str) -> None:
    """Only && joins what must hold. Without a status function, the jobs before it must have succeeded too."""
    parts = RELEASE[job]["if"].replace("${{", "").replace("}}", "").split("&&")
    assert condition in [" ".join(part.split()) for part in parts]
    if job in ("approve", "recheck", "deploy-to-prod"):
        assert not any(word in RELEASE[job]["if"] for word in ("always()", "failure()", "cancelled()", "||"))


def test_the_digest_goes_to_every_hand_over() -> None:
    for job, script in (("approve", "approval.py"), ("recheck", "recheck.py"), ("verify", "verify.py")):
        (step,) = runs(job, script)
        assert step["env"]["DIGEST"] == "${{ needs.find-promotions.outputs.digest }}"


def test_the_gate_is_its_own_exit_code() -> None:
    (step,) = runs("sdlc-control-gate", "gate.py")
    assert "|" not in step["run"]
    assert "if" not in step


def test_a_matrix_runs_to_its_end_on_what_was_decided() -> None:
    for job, source in {"sdlc-control-gate": "find-promotions", "deploy-to-prod": "recheck"}.items():
        strategy = RELEASE[job]["strategy"]
        assert strategy["fail-fast"] is False
        assert strategy["matrix"] == {"include": f"${{{{ fromJSON(needs.{source}.outputs.promotions) }}}}"}


def test_an_empty_reason_is_none() -> None:
    """Without a reason a refused release would be attested as compliant."""
    for where, step in steps():
        if "REFUSED=" in step.get("run", ""):
            assert "${REFUSED:-" in step["run"], where


def test_who_sees_which_secret() -> None:
    deploy = WORKFLOWS["deploy.yml"]["jobs"]["deploy"]
    for job, contents in RELEASE.items():
        seen = (deploy if job == "deploy-to-prod" else contents)["steps"]
        assert secrets(seen) == SECRETS[job], job
    assert secrets(RELEASE["deploy-to-prod"]["secrets"]) == {"GITLAB_TOKEN"}


def test_a_secret_is_seen_by_a_step_and_no_more() -> None:
    for name, workflow in WORKFLOWS.items():
        assert not secrets({key: value for key, value in workflow.items() if key != "jobs"}), name
    for where, job in JOBS:
        assert not secrets({key: value for key, value in job.items() if key not in ("steps", "secrets")}), where
        assert job.get("secrets") != "inherit", where


def test_permissions() -> None:
    for name, workflow in WORKFLOWS.items():
        assert workflow["permissions"] == {}, name
    for where, job in JOBS:
        writes = {scope for scope, level in job["permissions"].items() if level != "read"}
        assert writes == ({"id-token"} if where in WRITE else set()), where


def test_each_job_ends() -> None:
    for where, job in JOBS:
        assert "uses" in job or 0 < job["timeout-minutes"] <= 60, where


def test_one_release_at_a_time() -> None:
    """A rollback calls promote.yml, which takes its group itself: the same group in both would be a deadlock."""
    groups = [WORKFLOWS[name]["concurrency"] for name in ("promote.yml", "rollback.yml")]
    assert len({group["group"] for group in groups}) == 2
    assert all(group["cancel-in-progress"] is False for group in groups)
    (rollback,) = WORKFLOWS["rollback.yml"]["jobs"].values()
    assert rollback["uses"] == "./.github/workflows/promote.yml"


def test_the_deployment_gets_its_contract() -> None:
    assert RELEASE["deploy-to-prod"]["uses"] == "./.github/workflows/deploy.yml"
    # PyYAML reads `on` as true.
    assert set(RELEASE["deploy-to-prod"]["with"]) == set(WORKFLOWS["deploy.yml"][True]["workflow_call"]["inputs"])


def test_steps() -> None:
    """Pinned, strict, with nothing pasted into a shell, no token kept in a checkout, and no failure forgiven."""
    for where, step in steps():
        used, _, version = step.get("uses", "./").partition("@")
        assert used.startswith("./") or (len(version) == 40 and set(version) <= set("0123456789abcdef")), where
        assert "${{" not in step.get("run", ""), where
        assert "|| true" not in step.get("run", ""), where
        assert "continue-on-error" not in step, where
        if used == "actions/checkout":
            assert step["with"]["persist-credentials"] is False, where
    for where, job in JOBS:
        assert "continue-on-error" not in job, where
    for name, workflow in WORKFLOWS.items():
        if any("run" in step for job in workflow["jobs"].values() for step in job.get("steps", [])):
            assert workflow["defaults"] == {"run": {"shell": "bash"}}, name
    for name, action in ACTIONS.items():
        assert all(step["shell"] == "bash" for step in action["runs"]["steps"] if "run" in step), name
