"""The service's answers have the shapes of the live one's, as they were recorded; worlds keep to themselves."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from conftest import ROOT
from worlds import TOKEN, World, release_of

import pytest

# Keys that the live service's answers have, as far as the project or the CLI reads them.
DIFF = {"snappish1", "snappish2", "changed", "not-changed"}
ROW = {"fingerprint", "name", "flow", "commit_url", "most_recent_timestamp", "instance_count"}
TRAIL = {"name", "description", "compliance_status", "compliance_state", "is_compliant", "events", "flow", "html_url"}
STATUS = {"attestation_name", "attestation_type", "attestation_id", "status", "is_compliant", "unexpected"}
ARTIFACT = {"artifact_fingerprint", "artifact_id", "status", "is_compliant", "attestations_statuses"}
SNAPSHOT = {"index", "is_latest", "timestamp", "type", "compliant", "html_url", "artifacts", "applied_policies"}
RUNNING = {
    "name",
    "compliant",
    "policy_decisions",
    "fingerprint",
    "creationTimestamp",
    "annotation",
    "flow_name",
    "flows",
}
EVALUATION = {"policy_name", "policy_version", "status", "rule_evaluations"}
RULE = {"rule", "satisfied", "ignored", "resolutions"}
ASSERTION = {"fingerprint", "compliant", "scope", "environment", "html_url", "policy_evaluations", "flows"}
ATTESTATION = {
    "attestation_name",
    "attestation_type",
    "is_compliant",
    "user_data",
    "created_at",
    "artifact_fingerprint",
}
ATTESTATION |= {"target_artifacts", "html_url", "flow_name", "trail_name"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Return a world with a release in its trail: all tests ask the same one."""
    world = World(tmp_path_factory.mktemp("world"), "settled set-up")
    world.done("begin_trail.py")
    world.done("attest.py", stdin=release_of("runner-ci"))
    return world


def ask(world: World, path: str) -> Any:
    """Return the service's answer."""
    url = f"{world.variables['KOSLI_HOST']}/api/v2/{path}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_a_diff(world: World) -> None:
    diff = ask(world, "env-diff/cyber-dojo?snappish1=aws-beta&snappish2=aws-prod")
    assert set(diff) == DIFF
    assert set(diff["snappish1"]["artifacts"][0]) >= ROW


def test_a_trail(world: World) -> None:
    trail = ask(world, "trails/cyber-dojo/production-promotion/run-42")
    assert set(trail) >= TRAIL
    state = trail["compliance_status"]
    assert {each["attestation_name"]: each["status"] for each in state["attestations_statuses"]} == {
        "release": "COMPLETE"
    }
    (artifact,) = state["artifacts_statuses"].values()
    assert set(artifact) >= ARTIFACT
    (promotion,) = artifact["attestations_statuses"]
    assert set(promotion) >= STATUS
    assert (promotion["attestation_name"], promotion["attestation_type"]) == ("promotion", "custom:promotion")


def test_what_the_template_lists_is_missing_first(world: World) -> None:
    world.done("begin_trail.py", RELEASE_TRAIL="run-43")
    (release,) = ask(world, "trails/cyber-dojo/production-promotion/run-43")["compliance_status"][
        "attestations_statuses"
    ]
    assert (release["status"], release["is_compliant"], release["unexpected"]) == ("MISSING", None, False)


def test_attestations_of_a_name(world: World) -> None:
    (found,) = ask(world, "attestations/cyber-dojo/production-promotion/trail/run-42/release")
    assert set(found) >= ATTESTATION
    assert found["user_data"]["count"] == 1


def test_a_snapshot(world: World) -> None:
    snapshot = ask(world, "snapshots/cyber-dojo/aws-beta/-1")
    assert set(snapshot) >= SNAPSHOT
    assert set(snapshot["artifacts"][0]) >= RUNNING
    assert set(snapshot["artifacts"][0]["policy_decisions"][0]) >= EVALUATION


def test_an_assertion(world: World) -> None:
    fingerprint = json.loads(release_of("runner-ci"))[0]["incoming_fingerprint"]
    answer = ask(world, f"asserts/cyber-dojo/fingerprint/{fingerprint}?environment_name=aws-prod")
    assert set(answer) == ASSERTION
    assert set(answer["policy_evaluations"][0]) == EVALUATION
    assert set(answer["policy_evaluations"][0]["rule_evaluations"][0]) == RULE
    ignored = ask(world, f"asserts/cyber-dojo/fingerprint/{fingerprint}?environment_name=nowhere")
    assert (ignored["scope"], ignored["environment"]) == ("flow", None)


def test_a_swallowed_write_changes_nothing(world: World) -> None:
    for fault in ({"login": True}, {"body": "<html>Log in</html>"}, {"status": 500}, {"drop": True}):
        world.change(faults=[fault])
        before = world.read()["flows"]
        world.run("begin_trail.py", RELEASE_TRAIL="run-44")
        assert world.read()["flows"] == before, fault
    world.change(faults=[{"status": 500, "applied": True}])
    world.run("begin_trail.py", RELEASE_TRAIL="run-44")
    assert "run-44" in world.read()["flows"]["production-promotion"]["trails"]
    world.change(faults=[])


def test_a_world_that_is_set_up_is_what_the_script_makes(tmp_path_factory: pytest.TempPathFactory) -> None:
    worlds = [World(tmp_path_factory.mktemp("one"), name) for name in ("settled set-up", "settled")]
    worlds[1].done("kosli_setup.py")
    one, other = (world.read() for world in worlds)
    flows = [each["flows"]["production-promotion"] for each in (one, other)]
    assert flows[0]["template"] == flows[1]["template"]
    assert flows[0]["trails"].keys() == flows[1]["trails"].keys()
    types = [each["attestation_types"]["promotion"]["versions"][0] for each in (one, other)]
    assert types[0] == {key: value for key, value in types[1].items() if key != "description"}


def test_the_saved_releases_are_those_of_the_world(world: World) -> None:
    diff = world.done("snapshots.py")
    for name, flows in {"runner": "runner-ci", "three": "saver-ci web-ci dashboard-ci"}.items():
        saved = (ROOT / "fixtures" / f"release-of-{name}.json").read_bytes()
        assert world.done("promotions.py", stdin=diff, FLOWS=flows, KOSLI_ORG="") == saved


def test_worlds_keep_to_themselves(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = World(tmp_path_factory.mktemp("other"))
    assert "production-promotion" not in other.read()["flows"]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        ask(other, "trails/cyber-dojo/production-promotion/run-42")
    assert len(other.requests()) == 1


def test_the_token_is_not_written_down(world: World) -> None:
    assert world.requests()
    assert TOKEN not in (world.state / "requests.jsonl").read_text()
