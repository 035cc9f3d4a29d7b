"""The rehearsal of the whole chain: a service's pipeline, the recorder and the release, in one world.

Build evidence, deployed to beta, recorded, promoted, approved, deployed, recorded, verified. And what stops it early.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rehearsal.service_pipeline import SERVICE, run_pipeline
from rehearsal.stage import JOBS, TOKEN, Run, Stage
from rehearsal.worlds import FLOW, NGINX, SAVER, SAVER_BEFORE, World, world

COMMIT = SAVER["commit_url"].rpartition("/")[2]
FINGERPRINT = SAVER["fingerprint"]
BEFORE = {SAVER_BEFORE["fingerprint"], NGINX["fingerprint"]}
AFTER = {FINGERPRINT, NGINX["fingerprint"]}
CLUSTERS = {"BETA_RECORDED": "beta", "PROD_RECORDED": "prod"}
ROLES = {f"{name}_{what}": f"{name.lower()}-{what.lower()}" for name in ("BETA", "PROD") for what in ("ROLE", "REGION")}
FOUND = {"vulnerabilities": [{"id": "SNYK-1"}]}


def level(**more: Any) -> World:
    """Return the world before the build: both environments run the same."""
    return world([SAVER_BEFORE, NGINX], [SAVER_BEFORE, NGINX], **more)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, level())


def evidence(run: Run) -> dict[str, bool | None]:
    """Return what is attested of the build in its flow: each name with whether it is compliant."""
    trail = run.world["flows"]["saver-ci"]["trails"].get(COMMIT, {"attestations": []})
    return {each["name"]: each["compliant"] for each in trail["attestations"]}


def numbers(run: Run) -> dict[str, int]:
    """Return the number of the latest snapshot of each environment."""
    return {name: each["snapshots"][-1]["number"] for name, each in run.world["environments"].items()}


def refused(run: Run) -> bool:
    """Say whether the build was stopped: the pipeline is red, and beta runs what it ran."""
    assert run.code != 0
    assert run.result("attest-build") == "failure"
    assert run.result("deploy-to-beta") == "skipped"
    return run.running("aws-beta") == BEFORE


def test_the_whole_chain(stage: Stage) -> None:
    built = run_pipeline(stage, SAVER)
    assert built.code == 0, built.trouble
    assert evidence(built) == {"saver.pull-request": True, "saver.unit-test": True, "saver.snyk-scan": True}
    artifact = built.world["flows"]["saver-ci"]["trails"][COMMIT]["artifacts"]["saver"]
    assert artifact["fingerprint"] == FINGERPRINT
    assert artifact["commit_url"] == SAVER["commit_url"]
    assert artifact["build_url"] == f"https://github.com/{SERVICE}/actions/runs/501"
    assert built.asserted == [(FINGERPRINT, "aws-beta")], "prod is the release's gate"
    assert f"{SERVICE} {COMMIT}" in built.checkouts
    assert built.running("aws-beta") == AFTER
    assert numbers(built) == {"aws-beta": 7, "aws-prod": 7}, "nobody has told Kosli yet"

    recorded = stage.run("record-environments.yml", variables=CLUSTERS | ROLES, run_id=601)
    assert recorded.code == 0, recorded.trouble
    assert sorted(recorded.calls) == [
        ["snapshot", "ecs", f"aws-{name}", "--cluster", name, "--dry-run=false", "--debug=false"]
        for name in ("beta", "prod")
    ]
    assert sorted(recorded.roles) == ["beta-role beta-region", "prod-role prod-region"]
    assert numbers(recorded) == {"aws-beta": 8, "aws-prod": 7}, "beta has changed"

    released = stage.run()
    assert released.code == 0, released.trouble
    assert released.results == dict.fromkeys(JOBS, "success")
    assert set(released.asserted) == {(FINGERPRINT, "aws-beta"), (FINGERPRINT, "aws-prod")}
    attestations = released.world["flows"][FLOW]["trails"]["run-1001"]["attestations"]
    assert {each["name"] for each in attestations} == {"saver.promotion", "release", "approval"}
    assert released.deployments == [f"registry.example.com/saver:new@sha256:{FINGERPRINT}"]
    assert released.running("aws-prod") == AFTER
    assert "aws-prod runs 1 of 1 as approved" in released.summary

    again = stage.run("record-environments.yml", variables=CLUSTERS, run_id=602)
    assert again.code == 0, again.trouble
    assert numbers(again) == {"aws-beta": 8, "aws-prod": 8}, "each deployment is one snapshot"
    for run in (built, recorded, released, again):
        assert TOKEN not in run.everything()
        assert not [call for call in run.calls if TOKEN in " ".join(call)]


def test_a_scan_that_finds_something_stops_the_build(stage: Stage) -> None:
    run = run_pipeline(stage, SAVER, scan=FOUND)
    assert refused(run)
    assert evidence(run)["saver.snyk-scan"] is False
    assert "aws-beta: saver-ci" in run.log("attest-build")
    assert "non-compliant: policy provenance: the artifact is not compliant" in run.log("attest-build")


def test_no_policy_stops_the_build(tmp_path: Path) -> None:
    start = level()
    start["environments"]["aws-beta"]["policies"] = []
    run = run_pipeline(Stage(tmp_path, start), SAVER)
    assert refused(run)
    assert "no policy is attached to aws-beta: nothing was checked" in run.log("attest-build")


@pytest.mark.parametrize(
    ("mood", "said"),
    [
        pytest.param({"only": ["assert artifact"], "fail": "502 Bad Gateway"}, "502 Bad Gateway", id="the gate fails"),
        pytest.param({"only": ["attest snyk"], "fail": "502 Bad Gateway"}, "502 Bad Gateway", id="a scan is not taken"),
    ],
)
def test_kosli_that_does_not_answer_stops_the_build(tmp_path: Path, mood: dict[str, Any], said: str) -> None:
    run = run_pipeline(Stage(tmp_path, level(mood=mood)), SAVER)
    assert refused(run)
    assert said in run.log("attest-build")


def test_dry_run_stops_the_build_and_records_nothing(stage: Stage) -> None:
    more = {"KOSLI_DRY_RUN": "true"}
    run = run_pipeline(stage, SAVER, variables=more)
    assert refused(run)
    assert run.calls == []
    assert "the CLI would report each failure as a success" in run.log("attest-build")
    run = stage.run("record-environments.yml", variables=CLUSTERS | more)
    assert run.result("record") == "failure"
    assert run.calls == []


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        pytest.param(
            {**CLUSTERS, "BETA_TYPE": "mainframe"}, "ENVIRONMENT_TYPE: mainframe is not one of: ecs", id="unknown"
        ),
        pytest.param({"PROD_RECORDED": "prod"}, "RECORDED is not set", id="no cluster"),
    ],
)
def test_an_environment_that_cannot_be_recorded(stage: Stage, variables: dict[str, str], said: str) -> None:
    """The other one is recorded all the same."""
    run = stage.run("record-environments.yml", variables=variables)
    assert run.code != 0
    assert said in run.log("record")
    assert [call[2] for call in run.calls if "ecs" in call] == ["aws-prod"]
