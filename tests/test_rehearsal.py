"""The rehearsal: the very workflows, run by act against the stand-in Kosli. A test is a scenario.

Each says how every job ended, what Kosli was told, and what runs in production afterwards.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rehearsal.stage import APPROVED, JOBS, TOKEN, VARIABLES, Run, Stage
from rehearsal.worlds import (
    FLOW,
    LEVEL,
    NGINX,
    SAVER,
    SAVER_AFTER,
    SAVER_BEFORE,
    WEB,
    WEB_AFTER,
    WEB_BEFORE,
    artifact,
    two_behind,
    world,
)

BOTH = {SAVER["fingerprint"], WEB["fingerprint"], NGINX["fingerprint"]}
BEFORE = {SAVER_BEFORE["fingerprint"], WEB_BEFORE["fingerprint"], NGINX["fingerprint"]}
ALL_WELL = dict.fromkeys(JOBS, "success")


def stopped_at(job: str) -> dict[str, str]:
    """Return how the jobs end when this one fails, and the run with it."""
    at = JOBS.index(job)
    ends = ["success"] * at + ["failure"] + ["skipped"] * (len(JOBS) - at - 1)
    return dict(zip(JOBS, ends, strict=True))


def stopped_before(job: str) -> dict[str, str]:
    """Return how the jobs end when this one is the first that is not wanted."""
    at = JOBS.index(job)
    return dict(zip(JOBS, ["success"] * at + ["skipped"] * (len(JOBS) - at), strict=True))


def attested(run: Run, trail: str = "run-1001") -> dict[str, bool | None]:
    """Return what is attested in the trail of a release: each name with whether it is compliant."""
    trails = run.world["flows"].get(FLOW, {"trails": {}})["trails"]
    return {each["name"]: each["compliant"] for each in trails.get(trail, {"attestations": []})["attestations"]}


def told(run: Run, name: str, trail: str = "run-1001") -> dict[str, Any]:
    """Return the data of an attestation of the release as a whole, as it was last told."""
    attestations = run.world["flows"][FLOW]["trails"][trail]["attestations"]
    return [each["user_data"] for each in attestations if each["name"] == name][-1]


def nothing_happened(run: Run) -> bool:
    """Say whether production runs what it ran, and nobody tried to change that."""
    return run.deployments == [] and run.running("aws-prod") == BEFORE


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, two_behind())


@pytest.mark.parametrize("terraform", [True, False], ids=["terraform", "terraform stand-in"])
def test_two_promotions(stage: Stage, terraform: bool) -> None:
    run = stage.run(terraform=terraform)
    assert run.code == 0, run.trouble
    assert run.results == ALL_WELL
    assert run.result("declined") == "skipped"
    assert set(run.legs["sdlc-control-gate"]) == {"saver-ci", "web-ci"}
    assert set(run.legs["deploy-to-prod"]) == {"saver", "web"}
    assert attested(run) == {
        "saver.promotion": True,
        "web.promotion": True,
        "release": True,
        "approval": True,
    }
    assert run.asserted == sorted(
        (row["fingerprint"], environment) for row in (SAVER, WEB) for environment in ("aws-beta", "aws-prod")
    )
    digest = told(run, "release")["digest"]
    assert told(run, "approval") == {
        "environment": "production",
        "digest": digest,
        "state": "approved",
        "approvers": [{"approver": "octocat", "comment": "Ship it."}],
    }
    assert "2 of 3 services will change in aws-prod" in run.summary
    assert digest in run.summary, "the approver sees what is approved"
    assert run.summary.count("✅ [compliant]") == 4
    assert run.summary.count("✅ landed") == 2
    assert run.deployments == sorted([SAVER["name"], WEB["name"]])
    assert run.running("aws-prod") == BOTH
    assert run.checkouts == sorted(
        f"example/{service} {row['commit_url'].rpartition('/')[2]}" for service, row in (("saver", SAVER), ("web", WEB))
    )
    assert run.roles == [f"{VARIABLES['AWS_ROLE']} {VARIABLES['AWS_REGION']}"] * 2
    assert TOKEN not in run.everything()


def test_nothing_to_promote(tmp_path: Path) -> None:
    run = Stage(tmp_path, world([*LEVEL, SAVER], [*LEVEL, SAVER])).run()
    assert run.code == 0, run.trouble
    assert run.results == stopped_before("sdlc-control-gate")
    assert attested(run) == {}
    assert run.deployments == []
    assert "nothing to promote" in run.summary.lower()


def test_a_deployment_in_progress(tmp_path: Path) -> None:
    stage = Stage(tmp_path, world([SAVER, WEB, WEB_BEFORE, NGINX], [SAVER_BEFORE, WEB_BEFORE, NGINX]))
    run = stage.run()
    assert run.code != 0
    assert run.results == stopped_at("find-promotions")
    assert attested(run) == {"release": False}
    assert nothing_happened(run)
    assert "aws-beta: web-ci: a deployment is in progress" in run.log("find-promotions")
    assert "aws-beta: web-ci: a deployment is in progress" in run.summary
    assert "aws-beta: web-ci: a deployment is in progress" in told(run, "release")["refused"]


def test_more_reasons_than_the_environment_holds(tmp_path: Path) -> None:
    both = [artifact(f"service-{number}-{'x' * 40}", build) for number in range(400) for build in ("new", "old")]
    run = Stage(tmp_path, world([*both, NGINX], [NGINX])).run()
    assert run.code != 0
    assert run.results == stopped_at("find-promotions")
    assert attested(run) == {"release": False}
    assert 90_000 < len(told(run, "release")["refused"]) <= 100_000
    assert run.summary.count("a deployment is in progress") > 200


def test_an_answer_that_is_json_and_no_diff(tmp_path: Path) -> None:
    mood = {"garbage": '{"message": "deprecated"}', "only": ["diff snapshots"]}
    run = Stage(tmp_path, two_behind(mood=mood)).run()
    assert run.code != 0
    assert run.results == stopped_at("find-promotions")
    assert attested(run) == {"release": False}
    assert nothing_happened(run)
    assert "snappish1: missing" in run.summary


@pytest.mark.parametrize(
    ("mood", "said"),
    [
        pytest.param({"fail": "the server is on fire"}, "the server is on fire", id="it fails"),
        pytest.param({"garbage": "<html>Sign in</html>"}, "is not JSON", id="it answers garbage"),
        pytest.param({"half": True}, "is not JSON", id="it answers half of it"),
    ],
)
def test_kosli_cannot_be_asked(tmp_path: Path, mood: dict[str, Any], said: str) -> None:
    run = Stage(tmp_path, two_behind(mood={**mood, "only": ["diff snapshots"]})).run()
    assert run.code != 0
    assert run.results == stopped_at("find-promotions")
    assert attested(run) == {}
    assert nothing_happened(run)
    assert said in run.log("find-promotions")
    assert said in run.summary


def test_one_is_not_compliant(tmp_path: Path) -> None:
    missing = {WEB["fingerprint"]: {"aws-prod": {"resolutions": ["missing_attestation"]}}}
    run = Stage(tmp_path, two_behind(evaluations=missing)).run()
    assert run.code != 0
    assert run.results == {**stopped_at("sdlc-control-gate"), "propose": "failure"}
    assert run.legs["sdlc-control-gate"] == {"saver-ci": "success", "web-ci": "failure"}
    verdicts = {
        (each["flow"], each["environment"]): each["verdict"]
        for path in (run.home / "rehearsal/artifacts/1001").glob("verdicts-*/verdicts.json")
        for each in json.loads(path.read_bytes())
    }
    assert verdicts == {
        ("saver-ci", "aws-beta"): "compliant",
        ("saver-ci", "aws-prod"): "compliant",
        ("web-ci", "aws-beta"): "compliant",
        ("web-ci", "aws-prod"): "non-compliant",
    }
    assert attested(run) == {"release": False}
    assert "aws-prod: web-ci" in told(run, "release")["refused"]
    assert "aws-prod: web-ci" in run.summary
    assert nothing_happened(run)


def test_the_gate_gets_no_answer(tmp_path: Path) -> None:
    mood = {"only": ["assert artifact"], "having": WEB["fingerprint"], "fail": "502 Bad Gateway"}
    run = Stage(tmp_path, two_behind(mood=mood)).run()
    assert run.code != 0
    assert run.results == {**stopped_at("sdlc-control-gate"), "propose": "failure"}
    assert run.legs["sdlc-control-gate"] == {"saver-ci": "success", "web-ci": "failure"}
    assert attested(run) == {"release": False}
    assert "502 Bad Gateway" in told(run, "release")["refused"]
    assert nothing_happened(run)


@pytest.mark.parametrize("kept", ["no verdict", "nothing"])
def test_the_gate_cannot_even_begin(tmp_path: Path, kept: str) -> None:
    """The CLI is one that lets everything pass, and what the gate keeps of that is empty, or was never uploaded."""
    stage = Stage(tmp_path, two_behind(mood={"version": "v2.11.30"}))
    if kept == "nothing":
        stage.edit("name: verdicts-${{ matrix.incoming_fingerprint }}", "name: lost-${{ matrix.incoming_fingerprint }}")
    run = stage.run()
    assert run.code != 0
    assert run.results == {**stopped_at("sdlc-control-gate"), "propose": "failure"}
    assert attested(run) == {"release": False}
    assert ("v2.11.30" in told(run, "release")["refused"]) == (kept == "no verdict")
    assert "Refused: nothing is promoted into aws-prod" in run.summary
    assert "the gate did not find every artifact compliant" in run.summary
    assert "missing" in run.summary
    assert "compliant]" not in run.summary, "no verdict is made up"
    assert nothing_happened(run)


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"variables": {"KOSLI_DRY_RUN": "true"}}, id="by variable"),
        pytest.param({"secrets": {"KOSLI_API_TOKEN": "DRY_RUN"}}, id="by token"),
    ],
)
def test_dry_run_is_on(stage: Stage, more: dict[str, Any]) -> None:
    run = stage.run(**more)
    assert run.code != 0
    assert run.results == stopped_at("find-promotions")
    assert run.calls == []
    assert nothing_happened(run)
    assert "the CLI would report each failure as a success" in run.summary


def test_flows_names_one(stage: Stage) -> None:
    run = stage.run(inputs={"flows": "web-ci"})
    assert run.code == 0, run.trouble
    assert run.results == ALL_WELL
    assert set(run.legs["sdlc-control-gate"]) == {"web-ci"}
    assert set(run.legs["deploy-to-prod"]) == {"web"}
    assert attested(run) == {"web.promotion": True, "release": True, "approval": True}
    assert run.running("aws-prod") == {SAVER_BEFORE["fingerprint"], WEB["fingerprint"], NGINX["fingerprint"]}


def test_flows_names_an_unknown_one(stage: Stage) -> None:
    run = stage.run(inputs={"flows": "wbe-ci"})
    assert run.code != 0
    assert run.results == stopped_at("find-promotions")
    assert attested(run) == {"release": False}
    assert nothing_happened(run)
    assert "wbe-ci" in run.summary
    assert "web-ci" in run.summary


def test_preview(stage: Stage) -> None:
    run = stage.run(inputs={"preview": "true"})
    assert run.code == 0, run.trouble
    assert run.results == stopped_before("approve")
    assert attested(run) == {"saver.promotion": True, "web.promotion": True, "release": True}
    assert nothing_happened(run)


def test_a_deployment_fails(tmp_path: Path) -> None:
    stage = Stage(tmp_path, two_behind(mood={"deploy_fails": ["web-ci"]}))
    stage.inline_deployment()
    run = stage.run(variables={"VERIFY_TIMEOUT": "1"})
    assert run.code != 0
    assert run.results == {**ALL_WELL, "deploy-to-prod": "failure", "verify": "failure"}
    assert run.legs["deploy-to-prod"] == {"saver-ci": "success", "web-ci": "failure"}
    assert run.running("aws-prod") == {SAVER["fingerprint"], WEB_BEFORE["fingerprint"], NGINX["fingerprint"]}
    assert "not landed" in run.summary


HOSTILE = (
    "registry.example.com/$(touch pwned)`touch pwned`'\";touch pwned\n::error::pwned\n${{ secrets.KOSLI_API_TOKEN }}"
)


def test_hostile_names(tmp_path: Path) -> None:
    row = artifact("web", "new", name=HOSTILE)
    stage = Stage(tmp_path, world([row, NGINX], [WEB_BEFORE, NGINX]))
    run = stage.run()
    assert run.code == 0, run.trouble
    assert run.results == ALL_WELL
    (image,) = run.deployments
    assert image == f"{HOSTILE}@sha256:{row['fingerprint']}"
    assert not [path for path in stage.home.rglob("pwned") if path]
    assert not [event for event in run.events if event.get("command") == "error"]
    assert run.running("aws-prod") == {row["fingerprint"], NGINX["fingerprint"]}


BETA_MOVES_ON = (f"stand-in-deploy aws-beta {SAVER_AFTER['fingerprint']}", "record-in-rehearsal aws-beta")
PROD_MOVES_ON = (f"stand-in-deploy aws-prod {SAVER_AFTER['fingerprint']}", "record-in-rehearsal aws-prod")


@pytest.mark.parametrize(
    ("commands", "prod"),
    [
        pytest.param(BETA_MOVES_ON, BEFORE, id="beta"),
        pytest.param(PROD_MOVES_ON, BEFORE - {SAVER_BEFORE["fingerprint"]} | {SAVER_AFTER["fingerprint"]}, id="prod"),
    ],
)
def test_it_moves_on_before_the_approval(stage: Stage, commands: tuple[str, ...], prod: set[str]) -> None:
    stage.while_waiting(*commands)
    run = stage.run()
    assert run.code != 0
    assert run.results == stopped_at("recheck")
    assert attested(run) == {"saver.promotion": True, "web.promotion": True, "release": False, "approval": True}
    assert run.deployments == []
    assert run.running("aws-prod") == prod
    for place in (run.log("recheck"), run.summary, told(run, "release")["refused"]):
        assert SAVER_AFTER["fingerprint"][:7] in place
    assert run.result("declined") == "skipped"


def test_all_of_it_has_landed_before_the_approval(stage: Stage) -> None:
    stage.while_waiting(
        *(f"stand-in-deploy aws-prod {row['fingerprint']}" for row in (SAVER, WEB)), "record-in-rehearsal aws-prod"
    )
    run = stage.run()
    assert run.code == 0, run.trouble
    assert run.results == {**ALL_WELL, "deploy-to-prod": "skipped"}
    assert run.deployments == []
    assert run.running("aws-prod") == BOTH


def test_half_of_it_landed_and_the_recheck_runs_again(stage: Stage) -> None:
    """What a re-run of the job `recheck` does: the approved release, and one of its artifacts is there already."""
    stage.while_waiting(f"stand-in-deploy aws-prod {SAVER['fingerprint']}", "record-in-rehearsal aws-prod")
    run = stage.run()
    assert run.code == 0, run.trouble
    assert run.results == ALL_WELL
    assert run.deployments == [WEB["name"]]
    assert run.running("aws-prod") == BOTH


def test_only_the_failed_jobs_run_again(stage: Stage) -> None:
    """What a re-run of the failed jobs does: the outputs of `recheck` are those of the first attempt."""
    second_attempt(stage)
    stage.edit("attempt: ${{ github.run_attempt }}", 'attempt: "1"')
    run = stage.run(environment={"GITHUB_RUN_ATTEMPT": "2"})
    assert run.code != 0
    assert run.results == {**ALL_WELL, "deploy-to-prod": "skipped", "verify": "failure"}
    assert nothing_happened(run)
    assert "re-run the job recheck instead" in run.log("verify")


def test_verify_alone_runs_again(stage: Stage) -> None:
    """What a re-run of the job `verify` does: the answers of the jobs before it are those of the first attempt."""
    second_attempt(stage)
    stage.edit("attempt: ${{ github.run_attempt }}", 'attempt: "1"')
    stage.edit("DEPLOYED: ${{ needs.deploy-to-prod.result }}", "DEPLOYED: failure")
    run = stage.run(environment={"GITHUB_RUN_ATTEMPT": "2"}, variables={"VERIFY_TIMEOUT": "0"})
    assert run.results == {**ALL_WELL, "deploy-to-prod": "skipped", "verify": "failure"}
    assert "aws-prod runs 0 of 2 as approved" in run.summary, "it asks Kosli, and only Kosli decides"


def second_attempt(stage: Stage) -> None:
    """Let a rehearsal of a later attempt through the job that GitHub would not run again."""
    stage.edit('[ "$ATTEMPT" != 1 ]', '[ "$ATTEMPT" != 2 ]')


def test_a_later_attempt_finds_no_other_release(stage: Stage) -> None:
    """What a re-run of all jobs does: it would take the place of what was approved, and must be rolled back."""
    assert stage.run().results == ALL_WELL
    run = stage.run(environment={"GITHUB_RUN_ATTEMPT": "2"})
    assert run.code != 0
    assert run.results == stopped_at("find-promotions")
    assert run.calls == []
    assert attested(run)["release"] is True, "of the first attempt"
    assert len(json.loads((run.home / "rehearsal/artifacts/1001/release/release.json").read_bytes())) == 2
    assert run.deployments == []
    assert "a run finds its release only once" in run.summary


def test_a_later_attempt_attests_the_release_again(stage: Stage) -> None:
    """What a re-run of the job `recheck` does: the attempt before it may have attested that it was refused."""
    second_attempt(stage)
    run = stage.run(environment={"GITHUB_RUN_ATTEMPT": "2"})
    assert run.results == ALL_WELL
    release = [
        each for each in run.calls if each[:2] == ["attest", "generic"] and each[each.index("--name") + 1] == "release"
    ]
    assert len(release) == 2
    assert attested(run)["release"] is True


@pytest.mark.parametrize(
    ("mood", "outcome", "prod"),
    [
        pytest.param({"deploy_ignored": ["web-ci"]}, "not landed", WEB_BEFORE, id="none"),
        pytest.param(
            {"deploy_instead": {"web-ci": WEB_AFTER["fingerprint"]}}, "another landed", WEB_AFTER, id="another"
        ),
    ],
)
def test_it_lands_not(tmp_path: Path, mood: dict[str, Any], outcome: str, prod: dict[str, Any]) -> None:
    run = Stage(tmp_path, two_behind(mood=mood)).run(variables={"VERIFY_TIMEOUT": "1"})
    assert run.code != 0
    assert run.results == {**ALL_WELL, "verify": "failure"}
    assert run.running("aws-prod") == {SAVER["fingerprint"], prod["fingerprint"], NGINX["fingerprint"]}
    assert outcome in run.summary


@pytest.mark.parametrize(
    "approvals",
    [
        pytest.param([], id="no review"),
        pytest.param([{**APPROVED[0], "state": "rejected"}], id="rejected"),
        pytest.param([{**APPROVED[0], "environments": [{"name": "staging"}]}], id="another environment"),
    ],
)
def test_nobody_approved(tmp_path: Path, approvals: list[dict[str, Any]]) -> None:
    run = Stage(tmp_path, two_behind(), approvals=approvals).run()
    assert run.code != 0
    assert run.results == stopped_at("approve")
    assert run.result("declined") == "success"
    assert attested(run) == {"saver.promotion": True, "web.promotion": True, "release": False}
    assert "nobody approved it" in run.summary
    assert nothing_happened(run)
    assert "nobody approved production" in run.log("approve")


@pytest.mark.parametrize(
    ("output", "results"),
    [
        ("promotions", {**stopped_at("sdlc-control-gate"), "propose": "failure"}),
        ("any", {**stopped_at("propose"), "sdlc-control-gate": "skipped"}),
        ("count", stopped_at("propose")),
        ("digest", stopped_at("propose")),
    ],
)
def test_an_output_of_find_promotions_is_dropped(stage: Stage, output: str, results: dict[str, str]) -> None:
    stage.drop_output("find-promotions", output)
    run = stage.run()
    assert run.code != 0
    assert run.results == results
    assert nothing_happened(run)


@pytest.mark.parametrize(
    ("output", "results"),
    [
        ("promotions", {**ALL_WELL, "deploy-to-prod": "failure", "verify": "failure"}),
        ("any", {**ALL_WELL, "deploy-to-prod": "skipped", "verify": "failure"}),
        ("attempt", {**ALL_WELL, "deploy-to-prod": "skipped", "verify": "failure"}),
    ],
)
def test_an_output_of_recheck_is_dropped(stage: Stage, output: str, results: dict[str, str]) -> None:
    stage.inline_deployment()
    stage.drop_output("recheck", output)
    run = stage.run()
    assert run.code != 0
    assert run.results == results
    assert nothing_happened(run)
    assert "Does production run" not in run.steps("verify"), "it is not asked for what nobody deployed"


def test_a_service_on_gitlab(tmp_path: Path) -> None:
    """It is cloned, with the token for that host, and only over https."""
    rows = [artifact("web", build, group="https://gitlab.com/a/b") for build in ("new", "old")]
    run = Stage(tmp_path, world([rows[0], NGINX], [rows[1], NGINX])).run()
    assert run.code == 0, run.trouble
    sha = rows[0]["commit_url"].rpartition("/")[2]
    assert run.checkouts == [f"https://gitlab.com/a/b/web {sha} protocols=https token=yes"]
    assert run.running("aws-prod") == {rows[0]["fingerprint"], NGINX["fingerprint"]}


def test_a_service_on_some_other_host_gets_no_token(tmp_path: Path) -> None:
    rows = [artifact("web", build, group="https://git.example.org/a") for build in ("new", "old")]
    run = Stage(tmp_path, world([rows[0], NGINX], [rows[1], NGINX])).run()
    assert run.code == 0, run.trouble
    sha = rows[0]["commit_url"].rpartition("/")[2]
    assert run.checkouts == [f"https://git.example.org/a/web {sha} protocols=https token="]


def test_a_rollback(stage: Stage) -> None:
    assert stage.run().results == ALL_WELL
    run = stage.run("rollback.yml", inputs={"run": "1001"}, run_id=1002)
    assert run.code == 0, run.trouble
    assert run.results == ALL_WELL
    assert set(run.asserted) == {(row["fingerprint"], "aws-prod") for row in (SAVER_BEFORE, WEB_BEFORE)}, (
        "the older artifacts ran in production, and go there"
    )
    assert attested(run, "run-1002") == {
        "saver.promotion": True,
        "web.promotion": True,
        "release": True,
        "approval": True,
    }
    assert run.deployments == sorted([SAVER_BEFORE["name"], WEB_BEFORE["name"]])
    assert run.running("aws-prod") == BEFORE


def refused_rollback(stage: Stage) -> Run:
    """Roll the first run back, which is refused before anybody is asked, and attested as that."""
    run = stage.run("rollback.yml", inputs={"run": "1001"}, run_id=1002)
    assert run.code != 0
    assert run.results == stopped_at("find-promotions")
    assert attested(run, "run-1002") == {"release": False}
    assert run.deployments == []
    return run


def test_a_rollback_of_nothing(tmp_path: Path) -> None:
    """A run that promoted nothing is no reason to end green."""
    stage = Stage(tmp_path, world([*LEVEL, SAVER], [*LEVEL, SAVER]))
    assert stage.run().results == stopped_before("sdlc-control-gate")
    assert "nothing is left to do" in refused_rollback(stage).summary


def test_a_rollback_of_what_has_half_landed(tmp_path: Path) -> None:
    """The page says what production runs now, and what the yes would change of it."""
    stage = Stage(tmp_path, two_behind(mood={"deploy_ignored": ["web-ci"]}))
    assert stage.run(variables={"VERIFY_TIMEOUT": "0"}).results == {**ALL_WELL, "verify": "failure"}
    run = stage.run("rollback.yml", inputs={"run": "1001"}, run_id=1002)
    assert run.code == 0, run.trouble
    assert run.results == ALL_WELL
    assert run.deployments == [SAVER_BEFORE["name"]]
    assert run.running("aws-prod") == BEFORE
    assert "Rollback: 1 of 3 services will change in aws-prod" in run.summary
    assert "**Yes** deploys this artifact by digest" in run.summary
    assert "| web | ✅ as it will |" in run.summary


def test_a_rollback_of_what_had_half_landed_when_it_was_rechecked(tmp_path: Path) -> None:
    """What is deployed now was deployed before: no newer snapshot will come until the rollback makes one."""
    stage = Stage(tmp_path, two_behind(mood={"deploy_ignored": ["web-ci"]}))
    stage.while_waiting(f"stand-in-deploy aws-prod {SAVER['fingerprint']}", "record-in-rehearsal aws-prod")
    assert stage.run(variables={"VERIFY_TIMEOUT": "0"}).results == {**ALL_WELL, "verify": "failure"}
    (stage.props / "while-waiting").unlink()
    run = stage.run("rollback.yml", inputs={"run": "1001"}, run_id=1002)
    assert run.code == 0, run.trouble
    assert run.results == ALL_WELL
    assert run.deployments == [SAVER_BEFORE["name"]]
    assert run.running("aws-prod") == BEFORE


def test_a_rollback_of_a_rollback(stage: Stage) -> None:
    """The way forward is a new promotion, whose gate looks at where the artifacts run."""
    assert stage.run().results == ALL_WELL
    assert stage.run("rollback.yml", inputs={"run": "1001"}, run_id=1002).results == ALL_WELL
    run = stage.run("rollback.yml", inputs={"run": "1002"}, run_id=1003)
    assert run.results == stopped_at("find-promotions")
    assert attested(run, "run-1003") == {"release": False}
    assert run.deployments == []
    run = stage.run(run_id=1004)
    assert run.results == ALL_WELL
    assert run.running("aws-prod") == BOTH


def test_a_rollback_of_what_kosli_has_not_recorded(tmp_path: Path) -> None:
    """Production is seen as it was before the release: just as the rollback wants it, and no reason to end green."""
    stage = Stage(tmp_path, two_behind(mood={"deploy_ignored": ["saver-ci", "web-ci"]}))
    assert stage.run(variables={"VERIFY_TIMEOUT": "0"}).results == {**ALL_WELL, "verify": "failure"}
    run = refused_rollback(stage)
    assert "is too old for this release: wait for aws-prod#" in run.summary


def test_a_rollback_of_what_kosli_has_not_recorded_since_the_approval(tmp_path: Path) -> None:
    """Production has moved on since the release was found, but not since it was deployed."""
    stage = Stage(tmp_path, two_behind(mood={"deploy_ignored": ["web-ci"]}))
    stage.while_waiting(*PROD_MOVES_ON)
    run = stage.run(inputs={"flows": "web-ci"}, variables={"VERIFY_TIMEOUT": "0"})
    assert run.results == {**ALL_WELL, "verify": "failure"}
    run = refused_rollback(stage)
    assert "nothing is left to do: aws-prod runs all of it already" in run.summary


def test_a_rollback_of_a_preview(stage: Stage) -> None:
    """Nothing was deployed."""
    assert stage.run(inputs={"preview": "true"}).results == stopped_before("approve")
    run = refused_rollback(stage)
    assert nothing_happened(run)
    assert "is too old for this release" in run.summary


def test_a_rollback_of_what_production_no_longer_runs(stage: Stage) -> None:
    """Nobody is asked to approve it."""
    assert stage.run().results == ALL_WELL
    stage.go_on(*PROD_MOVES_ON)
    run = refused_rollback(stage)
    assert SAVER_AFTER["fingerprint"][:7] in run.summary


def test_a_rollback_of_a_first_deployment(tmp_path: Path) -> None:
    stage = Stage(tmp_path, world([SAVER, WEB, NGINX], [SAVER_BEFORE, NGINX]))
    assert stage.run().results == ALL_WELL
    run = stage.run("rollback.yml", inputs={"run": "1001"}, run_id=1002)
    assert run.code == 0, run.trouble
    assert run.results == ALL_WELL
    assert run.deployments == [SAVER_BEFORE["name"]]
    assert run.running("aws-prod") == {SAVER_BEFORE["fingerprint"], WEB["fingerprint"], NGINX["fingerprint"]}
    assert "web-ci" in run.log("find-promotions"), "it says what it leaves out"


def test_a_rollback_of_nothing_but_a_first_deployment(tmp_path: Path) -> None:
    """Nothing can be brought back: that is no green run."""
    stage = Stage(tmp_path, world([WEB, NGINX], [NGINX]))
    assert stage.run().results == ALL_WELL
    run = refused_rollback(stage)
    assert "cannot be rolled back: it is a first deployment" in run.summary


def test_a_rollback_of_a_run_without_a_release(stage: Stage) -> None:
    run = stage.run("rollback.yml", inputs={"run": "999"}, run_id=1002)
    assert run.code != 0
    assert run.results == stopped_at("find-promotions")
    assert nothing_happened(run)
    assert "Not Found" in run.summary


def test_a_rollback_of_another_workflow_s_run(stage: Stage) -> None:
    """Anybody's pull request could keep something under the name of a release."""
    assert stage.run().results == ALL_WELL
    facts = (stage.props / "runs/1001").read_text()
    (stage.props / "runs/1001").write_text(
        facts.replace("workflow_dispatch", "pull_request").replace("promote", "test")
    )
    run = refused_rollback(stage)
    assert run.running("aws-prod") == BOTH
    assert ".github/workflows/test.yml" in run.summary


def test_more_promotions_than_a_matrix_takes(tmp_path: Path) -> None:
    rows = [(artifact(f"s{number}", "new"), artifact(f"s{number}", "old")) for number in range(257)]
    stage = Stage(tmp_path, world([new for new, _ in rows], [old for _, old in rows]))
    run = stage.run()
    assert run.code != 0
    assert run.results == stopped_at("find-promotions")
    assert attested(run) == {"release": False}
    assert run.deployments == []
    assert "257" in run.summary
    assert "FLOWS" in run.summary
