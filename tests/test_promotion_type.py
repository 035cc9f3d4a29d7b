"""The attestation type promotion: its JSON Schema and its jq rules hold for every release, and for nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from conftest import PATH, ROOT

import jsonschema
import pytest

SCHEMA = json.loads((ROOT / "kosli" / "promotion.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
RULES = [rule for rule in (ROOT / "kosli" / "promotion.jq").read_text().splitlines() if not rule.startswith("#")]
needs_jq = pytest.mark.skipif(not shutil.which("jq"), reason="jq is not on PATH: the rules of the type are not tried")


def release_of(fixture: str, **variables: str) -> list[dict[str, Any]]:
    """Return the release of a fixture."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [ROOT / ".venv" / "bin" / "python", ROOT / "scripts" / "promotions.py"],
            env={"PATH": PATH, "HOME": home, "LC_ALL": "C.UTF-8", **variables},
            input=(ROOT / "fixtures" / f"{fixture}.json").read_bytes(),
            capture_output=True,
            check=True,
        )
    return json.loads(done.stdout)


RELEASES = {
    **{
        name: release_of(name) for name in ("every-provider", "hostile-names", "odd-commit-urls", "unknown-extra-field")
    },
    **{name: release_of(name) for name in ("first-deployment", "several-behind", "unparsable-commit-url-outgoing")},
    "snapshots": release_of("one-flow-behind", KOSLI_ORG="acme-shop"),
}
GOOD = RELEASES["several-behind"][0]
RELEASES["pods"] = [{**GOOD, "incoming_pods": ["catalog-e23c6147d9-adaa6"], "outgoing_pods": None}]
FIRST = RELEASES["first-deployment"][0]


def holds(rule: str, documents: list[Any]) -> list[Any]:
    """Return what a rule says of each document; None where it fails."""
    program = f".[] | try ({rule}) catch null"
    ran = subprocess.run(
        ["jq", "--compact-output", program], input=json.dumps(documents).encode(), capture_output=True, check=True
    )
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_schema_knows_every_key_that_a_promotion_has() -> None:
    assert set(SCHEMA["required"]) == set(SCHEMA["properties"])
    usual = {"instance_count", "most_recent_timestamp"}
    assert set(GOOD) - {f"{side}_{key}" for side in ("incoming", "outgoing") for key in usual} == set(
        SCHEMA["required"]
    )


@pytest.mark.parametrize("name", RELEASES)
def test_the_schema_takes_every_release(name: str) -> None:
    for index, promotion in enumerate(RELEASES[name]):
        problems = [f"[{index}].{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(promotion)]
        assert problems == []


@needs_jq
@pytest.mark.parametrize("rule", RULES)
def test_the_rule_holds_for_every_release(rule: str) -> None:
    promotions = [(name, promotion) for name, release in RELEASES.items() for promotion in release]
    answers = holds(rule, [promotion for _, promotion in promotions])
    assert [name for (name, _), answer in zip(promotions, answers, strict=True) if answer is not True] == []


BROKEN: dict[str, dict[str, Any]] = {
    "no flow": {**GOOD, "incoming_flow": ""},
    "no fingerprint": {**GOOD, "incoming_fingerprint": ""},
    "a short fingerprint": {**GOOD, "incoming_fingerprint": GOOD["incoming_fingerprint"][1:]},
    "a fingerprint in upper case": {**GOOD, "incoming_fingerprint": GOOD["incoming_fingerprint"].upper()},
    "a fingerprint with its algorithm": {**GOOD, "incoming_fingerprint": f"sha256:{GOOD['incoming_fingerprint']}"},
    "a branch for a commit": {**GOOD, "incoming_commit_sha": "main"},
    "a short commit": {**GOOD, "incoming_commit_sha": GOOD["incoming_commit_sha"][:7]},
    "no commit page": {**GOOD, "incoming_commit_url": ""},
    "an ssh address": {**GOOD, "incoming_commit_url": "ssh://git@github.com/acme-shop/catalog"},
    "no link": {**GOOD, "deployment_diff_url": ""},
    "a script for a link": {**GOOD, "deployment_diff_url": "javascript:alert(1)"},
    "another provider": {**GOOD, "incoming_repo_provider": "sourceforge"},
    "a snapshot without its number": {**GOOD, "incoming_snapshot_id": "aws-beta"},
    "null for a string": {**GOOD, "outgoing_commit_url": None},
    "a number for a string": {**GOOD, "outgoing_name": 7},
    "a key missing": {key: value for key, value in GOOD.items() if key != "outgoing_fingerprint"},
    "nothing at all": {},
}
# What no schema says, because it is about two values.
CONTRADICTIONS: dict[str, dict[str, Any]] = {
    "the same artifact in and out": {**GOOD, "outgoing_fingerprint": GOOD["incoming_fingerprint"]},
    "another flow goes out": {**GOOD, "outgoing_flow": "other-ci"},
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_schema_refuses(what: str) -> None:
    assert not VALIDATOR.is_valid(BROKEN[what])


@pytest.mark.parametrize("document", [[GOOD], "promotion", None, 1], ids=["a release", "text", "null", "a number"])
def test_the_schema_refuses_what_is_no_object(document: Any) -> None:
    assert not VALIDATOR.is_valid(document)


@needs_jq
def test_a_rule_refuses() -> None:
    refused = {
        *("no flow", "no fingerprint", "a short fingerprint", "a fingerprint in upper case"),
        *("a fingerprint with its algorithm", "a branch for a commit", "a short commit", "no link"),
        *("a script for a link", "nothing at all", *CONTRADICTIONS),
    }
    broken = {**BROKEN, **CONTRADICTIONS}
    answers = [holds(rule, list(broken.values())) for rule in RULES]
    assert {what for what, said in zip(broken, zip(*answers)) if said != (True,) * len(RULES)} >= refused


@needs_jq
@pytest.mark.parametrize("rule", RULES)
def test_each_rule_refuses_something_and_no_good_promotion(rule: str) -> None:
    broken = {**BROKEN, **CONTRADICTIONS}
    assert holds(rule, [GOOD, FIRST]) == [True, True]
    assert any(answer is not True for answer in holds(rule, list(broken.values())))


def test_the_flow_template_lists_the_attestation_of_the_release() -> None:
    text = (ROOT / "kosli" / "flow-template.yml").read_text()
    assert re.search(r"- name: release\n +type: generic\n", text)
    assert Path(ROOT / "kosli" / "flow-template.yml").read_text().startswith("#")
