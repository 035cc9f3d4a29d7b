"""The attestation type promotion: its JSON Schema and its jq rules hold for every release, and for nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from typing import Any

from conftest import ROOT, run

import jsonschema
import pytest

SCHEMA = json.loads((ROOT / "kosli" / "promotion.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
RULES = [rule for rule in (ROOT / "kosli" / "promotion.jq").read_text().splitlines() if not rule.startswith("#")]
FIXTURES = (
    *("every-provider", "hostile-names", "commit-urls", "unknown-extra-field", "first-deployment"),
    "several-behind",
)
needs_jq = pytest.mark.skipif(not shutil.which("jq"), reason="jq is not on PATH: the rules of the type are not tried")


@cache
def release_of(fixture: str, organisation: str = "") -> list[dict[str, Any]]:
    """Return the release of a fixture."""
    document = (ROOT / "fixtures" / f"{fixture}.json").read_bytes()
    ran = run("promotions.py", stdin=document, KOSLI_ORG=organisation)
    assert ran.code == 0
    return json.loads(ran.out)


def good() -> dict[str, Any]:
    return release_of("several-behind")[0]


def every_promotion() -> dict[str, dict[str, Any]]:
    """Return each promotion of each release, with what names it in a failure."""
    releases = {name: release_of(name) for name in FIXTURES}
    releases["snapshots"] = release_of("one-flow-behind", "acme-shop")
    releases["pods"] = [{**good(), "incoming_pods": ["catalog-e23c6147d9-adaa6"], "outgoing_pods": None}]
    return {f"{name}[{n}]": promotion for name, release in releases.items() for n, promotion in enumerate(release)}


def broken() -> dict[str, dict[str, Any]]:
    """Return promotions with one thing wrong."""
    fingerprint, commit = good()["incoming_fingerprint"], good()["incoming_commit_sha"]
    changes: dict[str, dict[str, Any]] = {
        "no flow": {"incoming_flow": ""},
        "no fingerprint": {"incoming_fingerprint": ""},
        "a short fingerprint": {"incoming_fingerprint": fingerprint[1:]},
        "a fingerprint in upper case": {"incoming_fingerprint": fingerprint.upper()},
        "a fingerprint with its algorithm": {"incoming_fingerprint": f"sha256:{fingerprint}"},
        "a branch for a commit": {"incoming_commit_sha": "main"},
        "a short commit": {"incoming_commit_sha": commit[:7]},
        "no commit page": {"incoming_commit_url": ""},
        "an ssh address": {"incoming_commit_url": "ssh://git@github.com/acme-shop/catalog"},
        "no link": {"deployment_diff_url": ""},
        "a script for a link": {"deployment_diff_url": "javascript:alert(1)"},
        "another provider": {"incoming_repo_provider": "sourceforge"},
        "a snapshot without its number": {"incoming_snapshot_id": "aws-beta"},
        "null for a string": {"outgoing_commit_url": None},
        "a number for a string": {"outgoing_name": 7},
    }
    a_key_missing = {key: value for key, value in good().items() if key != "outgoing_fingerprint"}
    found = {what: {**good(), **change} for what, change in changes.items()}
    return {**found, "a key missing": a_key_missing, "nothing at all": {}}


def contradictions() -> dict[str, dict[str, Any]]:
    """Return what no schema refuses, because it is about two values."""
    return {
        "the same artifact in and out": {**good(), "outgoing_fingerprint": good()["incoming_fingerprint"]},
        "another flow goes out": {**good(), "outgoing_flow": "other-ci"},
    }


def holds(rule: str, promotions: dict[str, dict[str, Any]]) -> set[str]:
    """Return the promotions that a rule holds for."""
    program = f".[] | try ({rule}) catch null"
    documents = json.dumps(list(promotions.values())).encode()
    ran = subprocess.run(["jq", "--compact-output", program], input=documents, capture_output=True, check=True)
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    return {name for name, answer in zip(promotions, answers, strict=True) if answer is True}


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_schema_knows_every_key_that_a_promotion_has() -> None:
    usual = {
        f"{side}_{key}" for side in ("incoming", "outgoing") for key in ("instance_count", "most_recent_timestamp")
    }
    assert set(SCHEMA["required"]) == set(SCHEMA["properties"]) == set(good()) - usual


def test_the_schema_takes_every_release() -> None:
    for name, promotion in every_promotion().items():
        assert [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(promotion)] == [], name


def test_the_schema_refuses() -> None:
    no_objects = {"a release": [good()], "text": "promotion", "null": None, "a number": 1}
    assert [what for what, document in {**broken(), **no_objects}.items() if VALIDATOR.is_valid(document)] == []


@needs_jq
def test_the_rules() -> None:
    """Each holds for every release and refuses something. Together they refuse more than the schema does."""
    wrong = {**broken(), **contradictions()}
    held = set(wrong)
    for rule in RULES:
        assert holds(rule, every_promotion()) == set(every_promotion()), rule
        held_by_this = holds(rule, wrong)
        assert held_by_this < set(wrong), rule
        held &= held_by_this
    assert set(wrong) - held >= {
        *("no flow", "no fingerprint", "a short fingerprint", "a fingerprint in upper case"),
        *("a fingerprint with its algorithm", "a branch for a commit", "a short commit", "no link"),
        *("a script for a link", "nothing at all", *contradictions()),
    }


def test_the_flow_template_lists_the_attestation_of_the_release() -> None:
    text = (ROOT / "kosli" / "flow-template.yml").read_text()
    assert text.startswith("#")
    assert re.search(r"- name: release\n +type: generic\n", text)
