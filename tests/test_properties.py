"""Properties of the rules, whatever the diff: Hypothesis looks for one that breaks them; strategies.py draws it.

The scripts are run as they are, and only what they print counts.
"""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

from conftest import ROOT
from forked import Forked, Ran
from lib import commit_urls
from strategies import (
    GOES_ON,
    OWN_REPOSITORY,
    REFUSES,
    diffs,
    naive_groups,
    naive_release,
)

import jsonschema
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

SCHEMA = jsonschema.Draft202012Validator(json.loads((ROOT / "kosli" / "promotion.schema.json").read_text()))
Release = list[dict[str, Any]]
HOSTS = (
    *("github.com", "ghe.example", "codeberg.org", "gitlab.com", "git.example:8080", "bitbucket.org", "bb.example"),
    *("bb.example:7990", "dev.azure.com"),
)
SOURCES = " ".join(f"https://{host}/" for host in HOSTS)

modes = st.fixed_dictionaries(
    {}, optional={"MATCH_BY": st.sampled_from(["flow", "image"]), "UNPROVEN": st.sampled_from(["refuse", "skip"])}
)


class Scripts:
    """The scripts, with a document for stdin and what they print as a value."""

    def __init__(self, forked: Forked) -> None:
        self.forked = forked

    def run(self, script: str, document: Any, *arguments: Path, **variables: str) -> Ran:
        stdin = document if isinstance(document, bytes) else json.dumps(document).encode()
        more = {"GITHUB_REPOSITORY": OWN_REPOSITORY, "SOURCES": SOURCES, "DEPLOY_ONE_REPOSITORY": "many"}
        return self.forked.run(script, *arguments, stdin=stdin, **{**more, **variables})

    def attempt(self, document: Any, **variables: str) -> tuple[Release | None, list[str]]:
        """Return the release, or None and the causes of the refusal."""
        ran = self.run("promotions.py", document, **variables)
        assert ran.code in (0, 1), ran.err
        assert bool(ran.out) == (ran.code == 0)
        return (json.loads(ran.out), []) if ran.code == 0 else (None, ran.err.decode().splitlines())

    def release(self, document: Any, **variables: str) -> Release:
        """Return the release, in which every flow may be new: chance gives a new one the image of an old one."""
        flows = json.dumps([artifact["flow"] for artifact in artifacts(document, "snappish1")], ensure_ascii=False)
        path = self.forked.folder / "release.toml"
        path.write_text(f"allow_first = {flows}".replace("\x7f", "\\u007f"), "utf-8")
        variables["SETTINGS"] = str(path)
        release, causes = self.attempt(document, **variables)
        assert release is not None, causes
        return release

    def recheck(self, release: Release, document: Any) -> Ran:
        path = self.forked.folder / "release.json"
        path.write_text(json.dumps(release))
        return self.run("recheck.py", document, path)


@pytest.fixture(scope="module")
def scripts(forked: Forked) -> Scripts:
    return Scripts(forked)


def artifacts(document: dict[str, Any], *categories: str) -> list[dict[str, Any]]:
    return [artifact for category in categories or document for artifact in document[category]["artifacts"]]


def pairs(release: Release | None) -> list[tuple[str, str | None]] | None:
    """Return (incoming fingerprint, name of the outgoing artifact or None) of each promotion, in order."""
    if release is None:
        return None
    return sorted((p["incoming_fingerprint"], p["outgoing_name"] if p["outgoing_flow"] else None) for p in release)


def landed(document: dict[str, Any], release: Release) -> dict[str, Any]:
    """Return the diff after a release has landed: what came in runs in both, what it replaced nowhere."""
    after = copy.deepcopy(document)
    incoming = {promotion["incoming_fingerprint"] for promotion in release}
    gone = {(p["outgoing_flow"], p["outgoing_name"], p["outgoing_fingerprint"]) for p in release}
    arrived = [a for a in artifacts(after, "snappish1") if a["fingerprint"] in incoming]
    after["snappish1"]["artifacts"] = [a for a in artifacts(after, "snappish1") if a not in arrived]
    after["snappish2"]["artifacts"] = [
        a for a in artifacts(after, "snappish2") if (a["flow"], a["name"], a["fingerprint"]) not in gone
    ]
    after["not-changed"]["artifacts"] += arrived
    after["snappish2"]["snapshot_id"] = "aws-prod#3549"
    return after


@settings(max_examples=40)
@given(st.booleans().flatmap(lambda images: diffs(images=images)), modes)
def test_the_release_is_what_a_naive_reading_of_the_rules_gives(scripts: Any, document: Any, mode: Any) -> None:
    expected = naive_release(document, mode.get("MATCH_BY") == "image", mode.get("UNPROVEN") == "skip")
    release, causes = scripts.attempt(document, **mode)
    assert pairs(release) == expected, causes
    assert bool(causes) == (release is None)
    assert all(line.startswith(("promotions.py: aws-beta: ", "promotions.py: aws-prod: ")) for line in causes)


@pytest.mark.parametrize("situation", sorted({*GOES_ON, *REFUSES} - {"one fingerprint twice"}))
@settings(max_examples=4)
@given(data=st.data())
def test_each_situation_ends_as_it_should(scripts: Any, situation: str, data: st.DataObject) -> None:
    document = data.draw(diffs((situation,)))
    release, causes = scripts.attempt(document)
    assert (release is None) == (situation in REFUSES and bool(artifacts(document))), causes


@given(diffs(), modes, st.randoms(use_true_random=False))
def test_no_answer_depends_on_order(scripts: Any, document: Any, mode: Any, rng: random.Random) -> None:
    other = {}
    for category in rng.sample(list(document), 4):
        body = dict(document[category])
        body["artifacts"] = [
            dict(rng.sample(list(artifact.items()), len(artifact)))
            for artifact in rng.sample(body["artifacts"], len(body["artifacts"]))
        ]
        other[category] = body
    for script in ("promotions.py", "in_progress.py"):
        one, two = (scripts.run(script, each, **mode) for each in (document, other))
        assert (one.code, one.out, sorted(one.err)) == (two.code, two.out, sorted(two.err))


@given(diffs(), modes)
def test_in_progress_says_just_what_is_refused_for_it(scripts: Any, document: Any, mode: Any) -> None:
    ran = scripts.run("in_progress.py", document, **mode)
    found = json.loads(ran.out)
    groups = sorted((each["snapshot_id"], each["flow"], len(each["artifacts"])) for each in found)
    assert groups == naive_groups(document, mode.get("MATCH_BY") == "image")
    assert ran.code == bool(found)
    _, causes = scripts.attempt(document, **mode)
    assert bool(found) == any("in progress" in cause for cause in causes)


@given(diffs(GOES_ON), st.sampled_from(["", "acme"]))
def test_a_release_is_whole(scripts: Any, document: Any, organisation: str) -> None:
    """No artifact is lost or doubled, each field comes through, and all promotions have the usual keys, in order."""
    release = scripts.release(document, KOSLI_ORG=organisation)
    incoming = {artifact["fingerprint"]: artifact for artifact in artifacts(document, "snappish1")}
    assert Counter(p["incoming_fingerprint"] for p in release) == Counter(list(incoming))
    assert release == sorted(release, key=lambda p: (p["incoming_flow"], p["incoming_name"]))
    used = Counter((p["outgoing_flow"], p["outgoing_name"]) for p in release if p["outgoing_flow"])
    assert used <= Counter((a["flow"], a["name"]) for a in artifacts(document, "snappish2"))
    usual = {key for p in release if p["outgoing_flow"] for key in p if key.startswith("outgoing_")}
    for promotion in release:
        SCHEMA.validate(promotion)
        assert all(key.startswith(("incoming_", "outgoing_", "deployment_diff_url")) for key in promotion)
        assert promotion["outgoing_flow"] in ("", promotion["incoming_flow"])
        if not promotion["outgoing_flow"]:
            assert usual <= {key for key in promotion if promotion[key] == ""}
        for key, value in incoming[promotion["incoming_fingerprint"]].items():
            assert key in ("commit_sha", "snapshot_id") or promotion[f"incoming_{key}"] == value


@given(diffs(GOES_ON), st.data())
def test_flows_selects_and_changes_nothing_else(scripts: Any, document: Any, data: st.DataObject) -> None:
    names = sorted(
        {a["flow"] for a in artifacts(document) if a["flow"].split() == [a["flow"]] and "\0" not in a["flow"]}
    )
    assume(names)
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    # A first deployment has the keys of the others, and so other ones when the others are left out.
    selected = scripts.release(document, FLOWS=" ".join(chosen))
    assert pairs(selected) == pairs([p for p in scripts.release(document) if p["incoming_flow"] in chosen])


@given(diffs(GOES_ON))
def test_a_rollback_is_the_inverse(scripts: Any, document: Any) -> None:
    release = scripts.release(document)
    ran = scripts.run("rollback.py", release)
    if ran.code:
        return
    again = json.loads(scripts.run("rollback.py", ran.out).out)
    back = {p["incoming_fingerprint"] for p in again}
    kept = [p for p in release if p["incoming_fingerprint"] in back]
    assert len(kept) + ran.err.count(b"\n") == len(release)
    assert pairs(again) == pairs(kept)
    for promotion in release:
        comes_back = bool(promotion["outgoing_fingerprint"] and promotion["outgoing_commit_sha"])
        assert (promotion["incoming_fingerprint"] in back) == comes_back


@given(diffs(GOES_ON), st.data())
def test_a_recheck_of_what_has_partly_landed_is_the_rest(scripts: Any, document: Any, data: st.DataObject) -> None:
    release = scripts.release(document)
    assert json.loads(scripts.recheck(release, document).out) == release
    done = data.draw(st.lists(st.sampled_from(release), unique_by=id)) if release else []
    ran = scripts.recheck(release, landed(document, done))
    assert json.loads(ran.out) == [promotion for promotion in release if promotion not in done]
    assert ran.err.count(b"\n") == len(done)
    assert scripts.release(landed(document, release)) == []


@given(diffs(GOES_ON), st.data())
def test_a_recheck_refuses_what_has_moved(scripts: Any, document: Any, data: st.DataObject) -> None:
    """Another artifact of the flow in either environment: what was approved is not what would be done."""
    release = scripts.release(document)
    assume(release)
    promotion = data.draw(st.sampled_from(release))
    newer = {**artifacts(document, "snappish1")[0], "flow": promotion["incoming_flow"], "fingerprint": "f" * 64}
    category = data.draw(st.sampled_from(["snappish1", "snappish2", "changed", "not-changed"]))
    document[category]["artifacts"].append({**newer, "name": "newer"})
    ran = scripts.recheck(release, document)
    assert (ran.code, ran.out, ran.err.count(b"\n")) == (1, b"", 1)


# Commit URLs


PARTS = (
    *("https:", "http:", "ssh:", "/", "/", "//", "github.com", "gitlab.com", "x.example:80", "[::1]", "@", ":", "-"),
    *("_git", "commit", "commits", "projects", "repos", "users", "a", "b", ".", "..", "%2e", ".git", "a" * 40),
    *("A" * 64, "?", "#", " ", "\n", "\0", "\\", "{sha}", "\u017f", "\u212a"),
)


@settings(max_examples=100)
@given(st.one_of(st.text(), st.lists(st.sampled_from(PARTS), max_size=16).map("".join)))
def test_whatever_is_taken_for_a_commit_page_is_one(url: str) -> None:
    commit = commit_urls.parse(url)
    if commit:
        page = commit_urls.commit_page(commit)
        assert page.isascii()
        assert page.isprintable()
        assert not any(part in page for part in (" ", "@", "/../"))
        assert page.startswith(("https://", "http://"))
        assert commit_urls.parse(page) == commit
