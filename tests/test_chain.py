"""The rehearsal of what comes before a release: a service's pipeline and the recorder, in one world.

Build evidence, deployed to beta, recorded, found by the release. And what stops it early.
"""

import json
import subprocess
from pathlib import Path

from rehearsal.service_pipeline import SERVICE, run_pipeline
from rehearsal.stage import STUCK, TOKEN, Run, Stage, commit_all
from rehearsal.worlds import NGINX, SAVER, SAVER_BEFORE, world

import pytest

pytestmark = pytest.mark.flaky(reruns=1, only_rerun=[STUCK])

FINGERPRINT = SAVER["fingerprint"]
BEFORE = {SAVER_BEFORE["fingerprint"], NGINX["fingerprint"]}
AFTER = {FINGERPRINT, NGINX["fingerprint"]}


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    stage = Stage(tmp_path, world([SAVER_BEFORE, NGINX], [SAVER_BEFORE, NGINX]))
    commit_all(stage.props / "service", SERVICE)
    return stage


def commit_of(stage: Stage) -> str:
    """Return the commit that is built: the CLI reads its author from the service's checkout."""
    command = ["git", "-C", str(stage.props / "service"), "rev-parse", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def record(stage: Stage) -> Run:
    """Record both environments: the clouds are played by the service."""
    (stage.state / "aws").write_text(
        "[default]\nregion = eu-west-1\naws_access_key_id = x\naws_secret_access_key = y\n"
        f"endpoint_url = {stage.host}/cloud/aws\n"
    )
    run = stage.run("record-environments.yml", environment={"AWS_CONFIG_FILE": str(stage.state / "aws")}, run_id=601)
    assert run.code == 0, run.trouble
    return run


def numbers(run: Run) -> dict[str, int]:
    """Return the number of the latest snapshot of each environment."""
    return {name: each["snapshots"][-1]["number"] for name, each in run.world["environments"].items()}


def test_a_build_is_attested_deployed_recorded_and_found(stage: Stage) -> None:
    commit = commit_of(stage)
    built = run_pipeline(stage, FINGERPRINT, commit, "clean.sarif")
    assert built.code == 0, built.trouble
    trail = built.world["flows"]["saver-ci"]["trails"][commit]
    evidence = {each["name"]: each["compliant"] for each in trail["attestations"]}
    assert evidence == {"saver.unit-test": True, "saver.snyk-scan": True}
    assert trail["artifacts"]["saver"]["commit_url"] == f"https://github.com/{SERVICE}/commit/{commit}"
    assert built.asserted == [(FINGERPRINT, "aws-beta")], "prod is the release's gate"
    assert f"{SERVICE} {commit}" in built.checkouts
    assert built.running("aws-beta") == AFTER
    assert numbers(built) == {"aws-beta": 7, "aws-prod": 7}, "nobody has told Kosli yet"

    recorded = record(stage)
    assert recorded.roles == ["reader eu-central-1"], "where one is named"
    assert numbers(recorded)["aws-beta"] == 8, "beta has changed"

    found = stage.run_part("find-promotions")
    assert found.code == 0, found.trouble
    (promotion,) = json.loads(found.outputs("find-promotions")["promotions"])
    assert promotion["incoming_fingerprint"] == FINGERPRINT, "what test_rehearsal.py goes on with"
    for run in (built, recorded, found):
        assert TOKEN not in run.everything()


def test_a_scan_that_finds_something_stops_the_build(stage: Stage) -> None:
    run = run_pipeline(stage, FINGERPRINT, commit_of(stage), "vulnerable.sarif")
    assert run.code != 0
    assert run.result("attest-build") == "failure"
    assert run.result("deploy-to-beta") == "skipped"
    assert run.running("aws-beta") == BEFORE
    assert "non-compliant: policy provenance: the artifact is not compliant" in run.log("attest-build")


def test_a_called_workflow_that_cannot_tell_its_commit(stage: Stage) -> None:
    """It would run the scripts of whatever stands on a branch by then."""
    path = stage.checkout / ".github/workflows/attest-build.yml"
    path.write_text(path.read_text().replace("'c0ffee0123456789c0ffee0123456789c0ffee01'", "''"))
    run = run_pipeline(stage, FINGERPRINT, commit_of(stage), "clean.sarif")
    assert run.code != 0
    assert run.requests == []
    assert "does not say where a called workflow comes from" in run.log("attest-build")
