"""What act does not model, read from the workflows themselves.

A check takes all workflows, parsed. The last test takes every single guard out, one at a time, and expects one of the
checks to fail.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from rehearsal.stage import JOBS, ROOT, inside, load

Workflows = dict[str, dict[str, Any]]
GITHUB = ROOT / ".github"
FILES = sorted([*GITHUB.glob("workflows/*.yml"), *GITHUB.glob("actions/*/action.yml")])
RELEASE = ("promote.yml", "deploy.yml", "rollback.yml")

NEEDS = {
    "find-promotions": [],
    "sdlc-control-gate": ["find-promotions"],
    "propose": ["find-promotions", "sdlc-control-gate"],
    "approve": ["find-promotions", "sdlc-control-gate", "propose"],
    "declined": ["propose", "approve"],
    "recheck": ["find-promotions", "approve"],
    "deploy-to-prod": ["recheck"],
    "verify": ["find-promotions", "recheck", "deploy-to-prod"],
}
# An `if` without a status function has success() built in: of all jobs before it, at any distance.
IF = {
    "find-promotions": None,
    "sdlc-control-gate": "needs.find-promotions.outputs.any == 'true'",
    "propose": "!cancelled() && needs.find-promotions.result == 'success'"
    " && needs.find-promotions.outputs.any != 'false'",
    "approve": "needs.sdlc-control-gate.result == 'success' && needs.find-promotions.outputs.any == 'true'"
    " && !inputs.preview",
    "declined": "always() && needs.propose.result == 'success'"
    " && (needs.approve.result == 'failure' || needs.approve.result == 'cancelled')",
    "recheck": "needs.approve.result == 'success'",
    "deploy-to-prod": "needs.recheck.outputs.any == 'true' && needs.recheck.outputs.attempt == github.run_attempt",
    "verify": "!cancelled() && needs.recheck.result == 'success'",
}
MATRIX = {"sdlc-control-gate": "find-promotions", "deploy-to-prod": "recheck"}
PERMISSIONS = {
    "find-promotions": {"contents": "read", "actions": "read"},
    "sdlc-control-gate": {"contents": "read"},
    "propose": {"contents": "read"},
    "approve": {"contents": "read", "actions": "read"},
    "declined": {"contents": "read"},
    "recheck": {"contents": "read"},
    "deploy-to-prod": {"contents": "read", "id-token": "write"},
    "verify": {"contents": "read"},
}
# Each secret that a job sees, and in how many of its steps.
SECRETS = {
    "find-promotions": {"secrets.KOSLI_API_TOKEN": 3, "github.token": 2},
    "sdlc-control-gate": {"secrets.KOSLI_API_TOKEN": 1},
    "propose": {"secrets.KOSLI_API_TOKEN": 2},
    "approve": {"github.token": 1, "secrets.KOSLI_API_TOKEN": 1},
    "declined": {"secrets.KOSLI_API_TOKEN": 1},
    "recheck": {"secrets.KOSLI_API_TOKEN": 3},
    "deploy-to-prod": {"secrets.GITLAB_TOKEN": 1},
    "verify": {"secrets.KOSLI_API_TOKEN": 1},
}
# The steps with an `if`, by job. failure() and cancelled() are status functions; the others have success() built in.
STEP_IF = {
    "find-promotions": {
        "Is a deployment in progress?": "!inputs.rollback_of",
        "Find the promotions": "!cancelled() && steps.snapshots.outcome == 'success' && !inputs.rollback_of",
        "Look up the run that is rolled back": "inputs.rollback_of",
        "Was it a promotion?": "inputs.rollback_of",
        "Take the release that is rolled back": "inputs.rollback_of",
        "Say that the run has kept no release": "failure() && steps.release.outcome == 'failure'",
        "Turn it round": "inputs.rollback_of",
        "Can it be turned round now?": "inputs.rollback_of",
        "Say that there is nothing to do": "steps.outputs.outputs.any == 'false'",
        "Say why there is no release": "failure()",
        "Attest the refusal": "failure() && (steps.in-progress.outcome == 'failure'"
        " || steps.promotions.outcome == 'failure' || steps.run.outcome == 'failure'"
        " || steps.release.outcome == 'failure'"
        " || steps.rollback.outcome == 'failure' || steps.still.outcome == 'failure'"
        " || steps.outputs.outcome == 'failure')",
    },
    "sdlc-control-gate": {"Show the verdicts": "!cancelled()", "Keep the verdicts": "!cancelled()"},
    "propose": {
        f"{what} that the gate refused": "!cancelled() && steps.list.outcome == 'success'"
        " && needs.sdlc-control-gate.result != 'success'"
        for what in ("Say", "Attest")
    },
    "declined": {"Attest that it was not approved": "always()"},
    "recheck": {
        "Attest the release again": "github.run_attempt != '1'",
        "Say what has changed": "failure() && steps.recheck.outcome == 'failure'",
        "Attest what has changed": "failure() && steps.recheck.outcome == 'failure'",
    },
    "verify": {"Say how it ended": "!cancelled() && steps.verify.outcome != 'skipped'"},
}


@cache
def read_workflows() -> Workflows:
    """Return each file of .github by its name; a local action by the name of its folder."""
    return {path.name if path.parent.name == "workflows" else path.parent.name: load(path) for path in FILES}


def jobs_of(workflows: Workflows, *names: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give (workflow, job, its contents) of these workflows, of all by default."""
    for name in names or workflows:
        for job, contents in workflows[name].get("jobs", {}).items():
            yield name, job, contents


def steps_of(workflows: Workflows, *names: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give (where, step) of all steps of these workflows and local actions."""
    for name, job, contents in jobs_of(workflows, *names):
        for step in contents.get("steps", []):
            yield f"{name}: {job}: {step.get('name', step.get('uses', step.get('run')))}", step
    for name in names or workflows:
        for step in workflows[name].get("runs", {}).get("steps", []):
            yield name, step


def condition(value: str | None) -> str | None:
    """Return an `if` without its `${{ }}`."""
    return None if value is None else inside(value)


def promote(workflows: Workflows) -> dict[str, dict[str, Any]]:
    """Return the jobs of the release."""
    return workflows["promote.yml"]["jobs"]


def step_that_runs(job: dict[str, Any], script: str) -> dict[str, Any]:
    """Return the one step of a job that runs a script."""
    (step,) = [step for step in job["steps"] if f"scripts/{script} " in f"{step.get('run', '')} ".replace("\n", " ")]
    return step


def strings(value: Any) -> Iterator[str]:
    """Give all strings in a part of a workflow."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


def the_jobs_are_the_release(workflows: Workflows) -> None:
    assert tuple(promote(workflows)) == (*JOBS[:4], "declined", *JOBS[4:])


def each_job_needs_the_ones_before_it(workflows: Workflows) -> None:
    for job, contents in promote(workflows).items():
        needs = contents.get("needs", [])
        assert ([needs] if isinstance(needs, str) else needs) == NEEDS[job], job


def each_job_is_guarded(workflows: Workflows) -> None:
    assert {job: condition(contents.get("if")) for job, contents in promote(workflows).items()} == IF


def each_step_is_guarded(workflows: Workflows) -> None:
    for job, contents in promote(workflows).items():
        found = {step["name"]: condition(step["if"]) for step in contents.get("steps", []) if "if" in step}
        assert found == STEP_IF.get(job, {}), job


def exactly_one_job_waits_for_a_person(workflows: Workflows) -> None:
    waiting = [(name, job) for name, job, contents in jobs_of(workflows) if "environment" in contents]
    assert waiting == [("promote.yml", "approve")]
    assert promote(workflows)["approve"]["environment"] == "production"
    assert "strategy" not in promote(workflows)["approve"]


def each_matrix_is_guarded_and_runs_to_its_end(workflows: Workflows) -> None:
    assert {job for job, contents in promote(workflows).items() if "strategy" in contents} == set(MATRIX)
    for job, source in MATRIX.items():
        contents = promote(workflows)[job]
        assert f"needs.{source}.outputs.any == 'true'" in contents["if"], job
        assert contents["strategy"]["fail-fast"] is False, job
        assert contents["strategy"]["matrix"] == {"include": f"${{{{ fromJSON(needs.{source}.outputs.promotions) }}}}"}
    assert (
        promote(workflows)["deploy-to-prod"]["strategy"]["max-parallel"] == "${{ fromJSON(vars.MAX_PARALLEL || '10') }}"
    )


def the_list_is_counted_where_it_arrives(workflows: Workflows) -> None:
    for job, source in {"propose": "find-promotions", "verify": "recheck"}.items():
        steps = promote(workflows)[job]["steps"]
        check = step_that_runs(promote(workflows)[job], "matrix_check.py")
        outputs = f"needs.{source}.outputs"
        for name in ("any", "count", "digest"):
            assert check["env"][name.upper()] == f"${{{{ {outputs}.{name} }}}}", job
        for name in ("incoming_flow", "incoming_fingerprint", "outgoing_fingerprint"):
            assert check["env"][name.upper()] == f"${{{{ toJSON(fromJSON({outputs}.promotions).*.{name}) }}}}", job
        assert "if" not in check
        assert "continue-on-error" not in check
        assert all("KOSLI_API_TOKEN" not in step.get("env", {}) for step in steps[: steps.index(check)]), (
            "counted first"
        )


def the_digest_is_compared(workflows: Workflows) -> None:
    digest = "${{ needs.find-promotions.outputs.digest }}"
    for job, script in (
        ("approve", "approval.py"),
        ("recheck", "recheck.py"),
        ("verify", "verify.py"),
    ):
        assert step_that_runs(promote(workflows)[job], script)["env"]["DIGEST"] == digest, job
    for job in ("recheck", "verify"):
        assert '"${DIGEST:?' in step_that_runs(promote(workflows)[job], f"{job}.py")["run"], job


def a_recheck_of_another_attempt_deploys_nothing(workflows: Workflows) -> None:
    assert promote(workflows)["recheck"]["outputs"]["attempt"] == "${{ github.run_attempt }}"
    (step,) = [step for step in promote(workflows)["verify"]["steps"] if "RECHECKED" in step.get("env", {})]
    assert '"${RECHECKED:?' in step["run"]
    assert step["env"]["ANY"] == "${{ needs.recheck.outputs.any }}"
    assert step["env"]["DEPLOYED"] == "${{ needs.deploy-to-prod.result }}"
    assert '[ "$ANY" = true ] && [ "$DEPLOYED" = skipped ]' in step["run"]
    assert "exit 1" in step["run"]


def a_run_finds_one_release(workflows: Workflows) -> None:
    """A second one would take its name, and the first could not be rolled back."""
    steps = promote(workflows)["find-promotions"]["steps"]
    (step,) = [step for step in steps if "ATTEMPT" in step.get("env", {})]
    assert step["env"]["ATTEMPT"] == "${{ github.run_attempt }}"
    assert '[ "$ATTEMPT" != 1 ]' in step["run"]
    assert "exit 1" in step["run"]
    assert all("KOSLI_API_TOKEN" not in each.get("env", {}) for each in steps[: steps.index(step)])
    (kept,) = [step for step in steps if "actions/upload-artifact@" in step.get("uses", "")]
    assert "overwrite" not in kept["with"]


def a_refusal_is_never_attested_as_compliant(workflows: Workflows) -> None:
    """It is compliant without a reason; and a gate that refused ends the run."""
    jobs = [step for job in ("find-promotions", "propose", "recheck") for step in promote(workflows)[job]["steps"]]
    steps = [step for step in jobs if "REFUSED=" in step.get("run", "")]
    assert len(steps) == 6
    for step in steps:
        assert re.search(r"^REFUSED=\$\(head --bytes=100000 \w+\.txt\)$", step["run"], re.MULTILINE), "what fits"
        assert '\nexport REFUSED="${REFUSED:-it failed' in f"\n{step['run']}", "an empty one is none"
    assert steps[3]["run"].rstrip().endswith("exit 1")
    declined = promote(workflows)["declined"]
    assert declined["env"]["REFUSED"]
    for script in ("summary.py", "attest.py"):
        assert "REFUSED" not in step_that_runs(declined, script).get("env", {}), "the job's holds for both"


def no_pipe_ends_a_gate(workflows: Workflows) -> None:
    """Pipes are there only to keep the reasons, and end in tee."""
    for where, step in steps_of(workflows, *RELEASE):
        pipes = re.findall(r"(?<!\|)\|(?!\|)(?!\s*$)\s*(.*)", step.get("run", ""))
        assert all(pipe == "tee reasons.txt" for pipe in pipes), where
        assert not pipes or where.startswith(("promote.yml: find-promotions", "promote.yml: recheck")), where


def shells_are_strict(workflows: Workflows) -> None:
    for name, workflow in workflows.items():
        if "runs" in workflow:
            assert all(step["shell"] == "bash" for step in workflow["runs"]["steps"] if "run" in step), name
        elif any("run" in step for _, step in steps_of({name: workflow})):
            assert workflow["defaults"] == {"run": {"shell": "bash"}}, name
    assert all("shell" not in step or "run" not in step for _, step in steps_of(workflows, *RELEASE))


def nothing_is_pasted_into_a_shell(workflows: Workflows) -> None:
    for where, step in steps_of(workflows):
        assert "${{" not in step.get("run", ""), where


def failures_are_not_forgiven(workflows: Workflows) -> None:
    for where, part in [*steps_of(workflows), *((job, contents) for _, job, contents in jobs_of(workflows))]:
        assert "continue-on-error" not in part, where
    for where, step in steps_of(workflows):
        assert not re.search(r"\|\|\s*(true|:|exit 0)\b|set \+e", step.get("run", "")), where


def one_release_at_a_time(workflows: Workflows) -> None:
    assert workflows["promote.yml"]["concurrency"] == {"group": "production-release", "cancel-in-progress": False}
    # The same group in both would be a deadlock.
    assert workflows["rollback.yml"]["concurrency"] == {"group": "production-rollback", "cancel-in-progress": False}
    assert "concurrency" not in workflows["deploy.yml"]


def permissions_are_what_a_job_needs(workflows: Workflows) -> None:
    for name, workflow in workflows.items():
        assert "jobs" not in workflow or workflow["permissions"] == {}, name
    for name, job, contents in jobs_of(workflows):
        assert contents["permissions"], f"{name}: {job}"
    assert {job: contents["permissions"] for job, contents in promote(workflows).items()} == PERMISSIONS
    assert workflows["deploy.yml"]["jobs"]["deploy"]["permissions"] == PERMISSIONS["deploy-to-prod"]
    union = {name: level for permissions in PERMISSIONS.values() for name, level in permissions.items()}
    assert workflows["rollback.yml"]["jobs"]["rollback"]["permissions"] == union


def each_job_ends(workflows: Workflows) -> None:
    for name, job, contents in jobs_of(workflows):
        assert "uses" in contents or 0 < contents["timeout-minutes"] <= 60, f"{name}: {job}"


def secrets_go_where_they_are_needed(workflows: Workflows) -> None:
    """They are in the environment of a step, or an input of an action: never a job's or a workflow's."""
    secret = re.compile(r"secrets\.\w+|github\.token|\bsecrets\b(?!\.)")
    jobs = promote(workflows) | {"deploy-to-prod": workflows["deploy.yml"]["jobs"]["deploy"]}
    for job, contents in jobs.items():
        found: dict[str, int] = {}
        for step in contents["steps"]:
            for name in {match for text in strings(step) for match in secret.findall(text)}:
                found[name] = found.get(name, 0) + 1
            assert not secret.search(step.get("run", "")), job
        assert found == SECRETS[job], job
        rest = {key: value for key, value in contents.items() if key != "steps"}
        assert not [text for text in strings(rest) if secret.search(text)], job
    assert promote(workflows)["deploy-to-prod"]["secrets"] == {"GITLAB_TOKEN": "${{ secrets.GITLAB_TOKEN }}"}
    for name, workflow in workflows.items():
        rest = {key: value for key, value in workflow.items() if key not in ("jobs", "on")}
        assert not [text for text in strings(rest) if secret.search(text)], name


def checkouts_keep_no_token(workflows: Workflows) -> None:
    for where, step in steps_of(workflows):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False, where


def a_rollback_goes_through_the_same_jobs(workflows: Workflows) -> None:
    (job,) = workflows["rollback.yml"]["jobs"].values()
    assert job["uses"] == "./.github/workflows/promote.yml"
    assert job["with"] == {"rollback_of": "${{ inputs.run }}", "preview": "${{ inputs.preview }}"}
    assert job["secrets"] == {name: f"${{{{ secrets.{name} }}}}" for name in ("KOSLI_API_TOKEN", "GITLAB_TOKEN")}
    steps = promote(workflows)["find-promotions"]["steps"]
    known = step_that_runs(promote(workflows)["find-promotions"], "promotion_run.py")
    (taken,) = [step for step in steps if step.get("with", {}).get("run-id")]
    assert taken["with"]["run-id"] == known["env"]["ROLLBACK_OF"] == "${{ inputs.rollback_of }}"
    assert steps.index(known) < steps.index(taken), "whose release it is comes first"
    still = step_that_runs(promote(workflows)["find-promotions"], "recheck.py")
    assert (still["id"], "<diff.json" in still["run"]) == ("still", True)
    assert still["env"] == {"NOTHING_LEFT": "refuse"}
    gate = step_that_runs(promote(workflows)["sdlc-control-gate"], "gate.py")
    assert gate["env"]["RUNS_IN"] == "${{ inputs.rollback_of && env.TO_ENV || env.FROM_ENV }}"


def the_deployment_gets_its_contract(workflows: Workflows) -> None:
    called = promote(workflows)["deploy-to-prod"]
    assert called["uses"] == "./.github/workflows/deploy.yml"
    assert set(called["with"]) == set(workflows["deploy.yml"]["on"]["workflow_call"]["inputs"])
    (step,) = [
        step for step in workflows["deploy.yml"]["jobs"]["deploy"]["steps"] if "terraform apply" in step.get("run", "")
    ]
    assert (step["env"]["IMAGE"], step["env"]["FINGERPRINT"]) == ("${{ inputs.image }}", "${{ inputs.fingerprint }}")
    assert step["run"].startswith('export TF_VAR_TAGGED_IMAGE="${IMAGE%%@sha256:*}@sha256:${FINGERPRINT:?')
    here = "inputs.provider == 'github' && startsWith(inputs.repo_url, format('{0}/', github.server_url))"
    guards = [condition(step.get("if")) for step in workflows["deploy.yml"]["jobs"]["deploy"]["steps"]]
    assert guards == [here, f"!({here})", None, None, None]


CHECKS: list[Callable[[Workflows], None]] = [
    the_jobs_are_the_release,
    each_job_needs_the_ones_before_it,
    each_job_is_guarded,
    each_step_is_guarded,
    exactly_one_job_waits_for_a_person,
    each_matrix_is_guarded_and_runs_to_its_end,
    the_list_is_counted_where_it_arrives,
    the_digest_is_compared,
    a_recheck_of_another_attempt_deploys_nothing,
    a_run_finds_one_release,
    a_refusal_is_never_attested_as_compliant,
    no_pipe_ends_a_gate,
    shells_are_strict,
    nothing_is_pasted_into_a_shell,
    failures_are_not_forgiven,
    one_release_at_a_time,
    permissions_are_what_a_job_needs,
    each_job_ends,
    secrets_go_where_they_are_needed,
    checkouts_keep_no_token,
    a_rollback_goes_through_the_same_jobs,
    the_deployment_gets_its_contract,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_workflows(check: Callable[[Workflows], None]) -> None:
    check(read_workflows())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(GITHUB)))
def test_each_action_from_outside_is_pinned_to_a_commit_and_says_its_version(path: Any) -> None:
    for line in re.findall(r"uses:.*", path.read_text("utf-8")):
        assert re.fullmatch(r"uses: (\./\.github/\S+|[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)", line), line


# Guards that are a part of a script in YAML: the text, and what is left when it goes.
TEXTS = [
    ('"${DIGEST:?the digest was dropped}"', '"$DIGEST"'),
    ('"${REFUSED:-it failed without a word: the log says in which step}"', '"$REFUSED"'),
    ("head --bytes=100000 ", "cat "),
    (': "${RECHECKED:?the attempt was dropped}"', ":"),
    ("exit 1", "exit 0"),
    ("${FINGERPRINT:?an image is deployed by digest}", "$FINGERPRINT"),
]
GUARDS: tuple[str, ...] = (
    "needs",
    "if",
    "permissions",
    "timeout-minutes",
    "environment",
    "concurrency",
    "defaults",
    "fail-fast",
    "shell",
)
INSIDE: tuple[str, ...] = ("persist-credentials", "COUNT", "ANY", "DIGEST", "cancel-in-progress", "group", "attempt")
INSIDE += (
    "INCOMING_FLOW",
    "INCOMING_FINGERPRINT",
    "OUTGOING_FINGERPRINT",
    "ATTEMPT",
    "RECHECKED",
    "DEPLOYED",
    "REFUSED",
    "NOTHING_LEFT",
)


def removals(part: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Give each guard by its place, with what stands there when it is gone (None: nothing)."""
    if isinstance(part, dict):
        for key, value in part.items():
            if (key in GUARDS or key in INSIDE) and place[:1] != ("on",):
                yield (*place, key), None
            if key == "needs" and isinstance(value, list):
                for index in range(len(value)):
                    yield (*place, key, index), None
            if key == "if" and " && " in value and "(" not in value.replace("cancelled()", "").replace("failure()", ""):
                parts = inside(value).split(" && ")
                for index in range(len(parts)):
                    yield (*place, key), f"${{{{ {' && '.join(parts[:index] + parts[index + 1 :])} }}}}"
            if (
                key == "run"
                and isinstance(value, str)
                and re.search(r"(matrix_check|promotion_run|recheck)\.py", value)
            ):
                yield place, None
            if key == "run" and isinstance(value, str):
                for text, rest in TEXTS:
                    for match in re.finditer(re.escape(text), value):
                        yield (*place, key), value[: match.start()] + rest + value[match.end() :]
            yield from removals(value, (*place, key))
    elif isinstance(part, list):
        for index, value in enumerate(part):
            yield from removals(value, (*place, index))


def without(workflow: dict[str, Any], place: tuple[Any, ...], rest: Any) -> dict[str, Any]:
    """Return the workflow with `rest` at that place."""
    changed = copy.deepcopy(workflow)
    part: Any = changed
    for key in place[:-1]:
        part = part[key]
    if rest is None:
        del part[place[-1]]
    else:
        part[place[-1]] = rest
    return changed


def failing(workflows: Workflows) -> list[str]:
    """Return the names of the checks that fail."""
    names = []
    for check in CHECKS:
        try:
            check(workflows)
        except (AssertionError, KeyError, ValueError):
            names.append(check.__name__)
    return names


REMOVALS = [(name, *removal) for name in (*RELEASE, "set-up") for removal in removals(read_workflows()[name])]


@pytest.mark.parametrize(
    ("name", "place", "rest"),
    [
        pytest.param(*removal, id=f"{removal[0]}:{'.'.join(map(str, removal[1]))}:{removal[2] or ''}"[:150])
        for removal in REMOVALS
    ],
)
def test_no_guard_can_go(name: str, place: tuple[Any, ...], rest: Any) -> None:
    workflows = read_workflows()
    assert failing({**workflows, name: without(workflows[name], place, rest)}), "nothing noticed"
