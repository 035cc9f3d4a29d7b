"""What Kosli knows of a release after attest.py: names, data, annotations, compliance."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from conftest import ROOT
from lib import kosli
from lib.model import ArtifactStatus, AttestationStatus, Attested, ComplianceStatus, Trail
from worlds import World, release_of

import pytest

HAS_JQ = bool(shutil.which("jq"))
NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9\-_]*")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """The release flow, the type and the trail are there."""
    return World(tmp_path, "settled set-up")


def diff_of(fixture: str) -> Any:
    return json.loads((ROOT / "fixtures" / f"{fixture}.json").read_text())


def names_collide() -> Any:
    """Return a diff of repositories whose names are one name to Kosli, or none, or nearly one."""
    diff = diff_of("every-provider")
    names = ("my_tool", "-", "my-repo", "my.repo", "web", "my-tool", ".github", "api")
    repositories = dict(zip((artifact["flow"] for artifact in diff["snappish1"]["artifacts"]), names, strict=True))
    for artifact in (*diff["snappish1"]["artifacts"], *diff["snappish2"]["artifacts"]):
        sha = artifact["commit_url"].rpartition("/")[2]
        artifact["commit_url"] = f"https://github.com/acme-shop/{repositories[artifact['flow']]}/commit/{sha}"
    return diff


def released(world: World, diff: Any, **variables: str) -> list[dict[str, Any]]:
    """Return a diff's release."""
    ran = world.quick("promotions.py", stdin=json.dumps(diff).encode(), **variables)
    assert ran.code == 0
    return json.loads(ran.out)


@pytest.fixture
def release() -> list[dict[str, Any]]:
    """Two promotions of the settled world."""
    return json.loads(release_of("runner-ci", "saver-ci"))


def attest(world: World, release: Any, refused: str = "", **variables: str) -> list[dict[str, Any]]:
    """Attest it, or that it was refused, and return what was attested."""
    if refused:
        (world.home / "reasons").write_text(refused)
        variables["REASONS"] = str(world.home / "reasons")
    ran = world.quick("attest.py", stdin=json.dumps(release).encode(), **variables)
    assert (ran.code, ran.err) == (0, b""), ran
    return json.loads(ran.out)


def digest(world: World, release: Any) -> str:
    """Return what scripts/github_output.py says of a release."""
    more = {"DEPLOY_ONE_REPOSITORY": "many"}
    out = world.quick("github_output.py", stdin=json.dumps(release).encode(), **more).out.decode()
    return re.search(r"^digest=(.*)", out, re.MULTILINE)[1]


def trail(world: World) -> dict[str, Any]:
    """Return the release's trail."""
    return world.read()["flows"]["production-promotion"]["trails"]["run-42"]


def latest(world: World) -> dict[str, dict[str, Any]]:
    """Return the trail's attestations by name; the last one of a name counts."""
    return {attestation["name"]: attestation for attestation in trail(world)["attestations"]}


@pytest.mark.parametrize(
    ("fixture", "flows"),
    [
        ("commit-urls", "azure-devops-older-host azure-devops-server"),
        ("hostile-names", ""),
        ("first-deployment-beside-an-update", ""),
    ],
)
def test_each_promotion_is_attested_to_its_artifact(world: World, fixture: str, flows: str) -> None:
    assert_each_is_attested(world, released(world, diff_of(fixture), FLOWS=flows))


def test_two_images_of_one_flow(world: World) -> None:
    assert_each_is_attested(world, released(world, diff_of("monorepo-two-images"), MATCH_BY="image"))


def assert_each_is_attested(world: World, release: list[dict[str, Any]]) -> None:
    said = attest(world, release)
    artifacts, attestations = trail(world)["artifacts"], latest(world)
    assert {each["fingerprint"] for each in artifacts.values()} == {p["incoming_fingerprint"] for p in release}
    assert len(said) == 2 * len(release) + 1
    names = [each["name"] for each in said if each["type"] == "artifact"]
    assert set(names) == set(artifacts)
    assert all(NAME.fullmatch(name) for name in artifacts)
    for promotion, name in zip(release, names, strict=True):
        artifact = artifacts[name]
        assert artifact["fingerprint"] == promotion["incoming_fingerprint"]
        assert artifact["commit_url"] == artifact["build_url"] == promotion["incoming_commit_url"]
        assert artifact["filename"].removeprefix("./") == promotion["incoming_name"]
        one = attestations[f"{name}.promotion"]
        assert (one["type"], one["data"]) == ("custom:promotion", promotion)
        assert one["fingerprint"] == promotion["incoming_fingerprint"]
        assert one["annotations"] == {"deployment_diff_URL": promotion["deployment_diff_url"]}
        assert one["compliant"] is (True if HAS_JQ else None)
    whole = attestations["release"]
    assert (whole["type"], whole["fingerprint"], whole["compliant"]) == ("generic", None, True)
    # One annotation a service: none lost, none split at a comma.
    assert sorted(whole["annotations"].values()) == sorted(p["deployment_diff_url"] for p in release)
    assert whole["user_data"]["digest"] == digest(world, release)
    assert whole["user_data"]["count"] == len(release)
    triple = ("incoming_flow", "incoming_fingerprint", "outgoing_fingerprint")
    assert whole["user_data"]["promotions"] == [{key: promotion[key] for key in triple} for promotion in release]


def test_the_names_that_collide(world: World) -> None:
    assert_each_is_attested(world, released(world, names_collide()))
    assert set(trail(world)["artifacts"]) == {
        *("artifact", "github", "my_tool", "my-tool", "my-repo-38730d82f549", "my-repo-9bcd612fa89a", "web", "api")
    }
    keys = set(latest(world)["release"]["annotations"])
    assert {key for key in keys if not key.startswith("my_tool_")} == {
        *("artifact", "github", "my_repo_38730d82f549", "my_repo_9bcd612fa89a", "web", "api")
    }
    assert len(keys) == 8


def test_two_promotions_that_cannot_be_told_apart(world: World, release: list[dict[str, Any]]) -> None:
    release[0] = {**release[1], "incoming_flow": "another-ci"}
    ran = world.quick("attest.py", stdin=json.dumps(release).encode())
    assert (ran.code, ran.out) == (2, b"")
    assert ran.err == b"attest.py: two promotions of this release have the same repository name and fingerprint\n"
    assert trail(world)["attestations"] == []


def test_again_is_safe(world: World, release: list[dict[str, Any]]) -> None:
    first, artifacts = attest(world, release), list(trail(world)["artifacts"])
    assert attest(world, release) == first
    assert list(trail(world)["artifacts"]) == artifacts
    assert len(latest(world)) == len(release) + 1


def test_again_after_a_failure_half_way(world: World, release: list[dict[str, Any]]) -> None:
    world.change(faults=[{"path": "/custom$", "skip": 1, "times": 1, "status": 500}])
    ran = world.quick("attest.py", stdin=json.dumps(release).encode(), GATE_JOBS="1")
    said = re.findall(r"^attest.py: (attested|failed|not attested): (\S+)", ran.err.decode(), re.MULTILINE)
    # What it says is what Kosli knows.
    assert {name for how, name in said if how == "attested"} == {*trail(world)["artifacts"], *latest(world)}
    assert [name for how, name in said if how == "failed"] == ["saver.promotion"]
    assert (ran.code, ran.out, len(said)) == (3, b"", 2 * len(release) + 1)
    attest(world, release)
    assert len(latest(world)) == len(release) + 1


def test_the_rules_judge_a_promotion(world: World, release: list[dict[str, Any]]) -> None:
    release[0]["outgoing_fingerprint"] = release[0]["incoming_fingerprint"]
    attest(world, release)
    fingerprint = release[0]["incoming_fingerprint"]
    name = next(n for n, each in trail(world)["artifacts"].items() if each["fingerprint"] == fingerprint)
    assert latest(world)[f"{name}.promotion"]["compliant"] is (False if HAS_JQ else None)


def test_a_refused_release(world: World) -> None:
    assert attest(world, [], refused="a deployment is in progress\nin aws-beta")[0]["compliant"] is False
    whole = latest(world)["release"]
    assert whole["compliant"] is False
    assert whole["description"] == r"Refused: a deployment is in progress\nin aws-beta"
    assert whole["user_data"] == {
        "refused": "a deployment is in progress\nin aws-beta",
        "digest": digest(world, []),
        "count": 0,
        "promotions": [],
    }
    assert trail(world)["artifacts"] == {}


def test_a_release_that_the_gate_refused_is_known_by_its_digest(world: World, release: list[dict[str, Any]]) -> None:
    assert len(attest(world, release, refused="not compliant")) == 1
    whole = latest(world)["release"]
    assert (whole["compliant"], whole["user_data"]["digest"]) == (False, digest(world, release))
    assert [each["incoming_flow"] for each in whole["user_data"]["promotions"]] == [p["incoming_flow"] for p in release]
    assert sorted(whole["annotations"].values()) == sorted(p["deployment_diff_url"] for p in release)
    assert trail(world)["artifacts"] == {}


def test_a_refusal_does_not_wait_for_changes_that_fit(world: World, release: list[dict[str, Any]]) -> None:
    """Those of another release stop a yes, and never a no."""
    (world.home / "changes").write_text("[]")
    assert attest(world, release, refused="not compliant", CHANGES=str(world.home / "changes"))
    assert "changes" not in latest(world)["release"]["user_data"]


def test_a_very_long_reason(world: World) -> None:
    attest(world, [], refused="because " * 5000)
    assert latest(world)["release"]["description"] == f"Refused: {'because ' * 48}because... (40008 characters)"
    # Escaped it is longer than what it was cut to.
    attest(world, [], refused="\x01" * 5000)
    assert latest(world)["release"]["description"] == ("Refused: " + r"\x01" * 400)[:1000]


def test_in_a_workflow(world: World, release: list[dict[str, Any]]) -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    sha = head.stdout.strip()
    attest(
        world,
        release,
        GITHUB_ACTIONS="true",
        GITHUB_RUN_ID="70",
        GITHUB_RUN_NUMBER="7",
        GITHUB_SERVER_URL="https://github.example",
        GITHUB_REPOSITORY="cyber-dojo/production-promotion",
        GITHUB_SHA=sha,
    )
    artifacts = {artifact["fingerprint"]: artifact for artifact in trail(world)["artifacts"].values()}
    for promotion in release:
        artifact = artifacts[promotion["incoming_fingerprint"]]
        assert artifact["build_url"] == "https://github.example/cyber-dojo/production-promotion/actions/runs/70"
        # The service's own commit page, not the workflow's.
        assert artifact["commit_url"] == promotion["incoming_commit_url"]
        assert artifact["commit"] == sha


def test_set_up_twice(world: World, release: list[dict[str, Any]]) -> None:
    attest(world, release)
    before = trail(world)
    world.done("kosli_setup.py")
    world.done("begin_trail.py")
    after = world.read()
    assert trail(world)["attestations"] == before["attestations"]
    assert list(after["attestation_types"]) == ["promotion"]
    schema = json.loads((ROOT / "kosli" / "promotion.schema.json").read_text())
    assert after["attestation_types"]["promotion"]["versions"][-1]["schema"] == schema
    assert len(after["attestation_types"]["promotion"]["versions"][-1]["jq"]) == 6


@pytest.mark.parametrize(
    ("held", "lost"),
    [({}, 2), ({"saver": "b"}, 2), ({"server": "a"}, 2), ({"saver": "a"}, 0)],
    ids=["no artifact", "another one of this name", "this one of another name", "this one"],
)
def test_an_artifact_that_the_trail_does_not_hold_is_lost(
    monkeypatch: pytest.MonkeyPatch, held: dict[str, str], lost: int
) -> None:
    """And so is what was attested of it."""
    listed = [AttestationStatus("promotion", "COMPLETE", True)]
    artifacts = {name: ArtifactStatus(letter * 64, listed) for name, letter in held.items()}
    monkeypatch.setattr(kosli, "read_trail", lambda *_: Trail(ComplianceStatus([], artifacts)))
    names = {"artifact": "saver", "promotion": "saver.promotion"}
    told = [kosli.Told(Attested("flow", "trail", name, kind, "a" * 64, None), ()) for kind, name in names.items()]
    assert len(kosli.missing_in_trail(told)) == lost
