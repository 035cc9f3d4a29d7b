"""Properties of the rules, whatever the diff: Hypothesis looks for one that breaks them; strategies.py draws it."""

from __future__ import annotations

import copy
import json
import os
import random
import sys
from collections import Counter
from typing import Any
from unittest.mock import patch

import jsonschema
import pytest
from conftest import ROOT
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import (
    EXAMPLES,
    GOES_ON,
    OWN_REPOSITORY,
    PAGES,
    REFUSES,
    any_text,
    commit_pages,
    diffs,
    json_values,
    naive_groups,
    naive_release,
    repositories,
)

import github_output
import promotions
import recheck
import rollback
import verify
from lib import commit_urls, filters
from lib.diffs import in_progress, matcher, read_diff
from lib.filters import LARGE, Refused, Stop
from lib.releases import build, digest, read_release

SCHEMA = ROOT / "kosli" / "promotion.schema.json"

modes = st.fixed_dictionaries(
    {}, optional={"MATCH_BY": st.sampled_from(["flow", "image"]), "UNPROVEN": st.sampled_from(["refuse", "skip"])}
)


def release_of(document: dict[str, Any], **variables: str) -> list[dict[str, Any]]:
    """Return the release of a diff, as scripts/promotions.py does; Refused or Unusable when there is none."""
    with patch.dict(os.environ, {"GITHUB_REPOSITORY": OWN_REPOSITORY, **variables}):
        diff = read_diff(document)
        pairs, _ = promotions.promotions(diff)
        return list(build(pairs, diff.from_snapshot, diff.to_snapshot))


def attempt(document: dict[str, Any], **variables: str) -> tuple[list[dict[str, Any]] | None, tuple[str, ...]]:
    """Return the release, or None and the causes of the refusal."""
    try:
        return release_of(document, **variables), ()
    except Refused as refused:
        return None, refused.causes


def in_progress_of(document: dict[str, Any], **variables: str) -> list[dict[str, Any]]:
    with patch.dict(os.environ, variables):
        return in_progress(read_diff(document), matcher())


def artifacts(document: dict[str, Any], *categories: str) -> list[dict[str, Any]]:
    return [artifact for category in categories for artifact in document[category]["artifacts"]]


def landed(document: dict[str, Any], release: list[dict[str, Any]]) -> dict[str, Any]:
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
    return after


# The release


@given(diffs(), modes)
def test_the_release_is_what_a_naive_reading_of_the_rules_gives(document: Any, mode: dict[str, str]) -> None:
    expected = naive_release(document, mode.get("MATCH_BY") == "image", mode.get("UNPROVEN") == "skip")
    release, causes = attempt(document, **mode)
    assert pairs(release) == expected, causes
    assert bool(causes) == (release is None)


@given(diffs(images=True))
def test_by_image_too(document: Any) -> None:
    release, causes = attempt(document, MATCH_BY="image")
    assert pairs(release) == naive_release(document, by_image=True), causes


def pairs(release: list[dict[str, Any]] | None) -> list[tuple[str, str | None]] | None:
    """Return (incoming fingerprint, name of the outgoing artifact or None) of each promotion, in order."""
    if release is None:
        return None
    return sorted((p["incoming_fingerprint"], p["outgoing_name"] if p["outgoing_flow"] else None) for p in release)


@pytest.mark.parametrize("situation", sorted({*GOES_ON, *REFUSES} - {"one fingerprint twice"}))
@settings(max_examples=max(EXAMPLES // 6, 5))
@given(data=st.data())
def test_each_situation_ends_as_it_should(situation: str, data: st.DataObject) -> None:
    document = data.draw(diffs((situation,)))
    release, causes = attempt(document)
    assert (release is None) == (situation in REFUSES and bool(artifacts(document, *document))), causes


@given(diffs(GOES_ON))
def test_no_incoming_artifact_is_lost_or_doubled(document: Any) -> None:
    release = release_of(document)
    incoming = artifacts(document, "snappish1")
    for field in ("fingerprint", "name", "flow"):
        assert Counter(p[f"incoming_{field}"] for p in release) == Counter(a[field] for a in incoming)


@given(diffs(GOES_ON, images=True))
def test_each_outgoing_artifact_is_used_at_most_once(document: Any) -> None:
    release = release_of(document, MATCH_BY="image")
    used = Counter((p["outgoing_flow"], p["outgoing_name"]) for p in release if p["outgoing_flow"])
    there = Counter((a["flow"], a["name"]) for a in artifacts(document, "snappish2"))
    assert used <= there
    for promotion in release:
        if promotion["outgoing_flow"]:
            assert promotion["outgoing_flow"] == promotion["incoming_flow"]


@given(diffs(), modes, st.randoms(use_true_random=False))
def test_no_answer_depends_on_order(document: Any, mode: dict[str, str], rng: random.Random) -> None:
    other = {}
    for category in rng.sample(list(document), 4):
        body = dict(document[category])
        body["artifacts"] = [
            dict(rng.sample(list(artifact.items()), len(artifact)))
            for artifact in rng.sample(body["artifacts"], len(body["artifacts"]))
        ]
        other[category] = body
    assert answer(document, mode) == answer(other, mode)
    assert in_progress_of(document, **mode) == in_progress_of(other, **mode)


def answer(document: Any, mode: dict[str, str]) -> str:
    """Return what promotions.py says to a diff: the release as text, or its causes."""
    release, causes = attempt(document, **mode)
    return json.dumps([release, sorted(causes)])


@given(diffs(REFUSES), modes)
def test_every_refusal_names_its_causes(document: Any, mode: dict[str, str]) -> None:
    release, causes = attempt(document, **mode)
    assert release is not None or causes
    for cause in causes:
        assert cause.isprintable()
        assert cause.startswith(("aws-beta: ", "aws-prod: "))


@given(diffs(), modes)
def test_in_progress_is_empty_exactly_when_nothing_is_refused_for_it(document: Any, mode: dict[str, str]) -> None:
    found = in_progress_of(document, **mode)
    groups = sorted((d["snapshot_id"], d["flow"], len(d["artifacts"])) for d in found)
    assert groups == naive_groups(document, mode.get("MATCH_BY") == "image")
    _, causes = attempt(document, **mode)
    assert bool(found) == any("in progress" in cause for cause in causes)


@pytest.mark.skipif(not SCHEMA.exists(), reason="there is no kosli/promotion.schema.json")
@given(document=diffs(GOES_ON), organization=st.sampled_from(["", "acme"]))
def test_what_is_accepted_validates_against_the_schema(document: Any, organization: str) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    for promotion in release_of(document, KOSLI_ORG=organization):
        validator.validate(promotion)


@given(diffs(GOES_ON))
def test_a_promotion_is_flat_and_whole(document: Any) -> None:
    """Each promotion has each usual key; a first deployment has each outgoing key that others have, as ""."""
    release = read_release(release_of(document))
    usual = [p for p in release if p["outgoing_flow"]]
    for promotion in release:
        assert all(key.startswith(("incoming_", "outgoing_", "deployment_diff_url")) for key in promotion)
        if not promotion["outgoing_flow"]:
            outgoing = {key: value for key, value in promotion.items() if key.startswith("outgoing_")}
            assert set(outgoing.values()) == {""}
            assert outgoing.keys() >= {key for p in usual for key in p if key.startswith("outgoing_")}
        for artifact in artifacts(document, "snappish1"):
            if artifact["fingerprint"] == promotion["incoming_fingerprint"]:
                for key, value in artifact.items():
                    if key not in ("commit_sha", "snapshot_id"):
                        assert promotion[f"incoming_{key}"] == value


@given(diffs(GOES_ON))
def test_the_order_of_a_release(document: Any) -> None:
    release = release_of(document)
    assert release == sorted(release, key=lambda p: (p["incoming_flow"], p["incoming_name"]))


@given(diffs(GOES_ON), st.data())
def test_flows_selects_and_changes_nothing_else(document: Any, data: st.DataObject) -> None:
    running = {a["flow"] for a in artifacts(document, *document)}
    names = sorted(flow for flow in running if len(flow.split()) == 1 and flow.split() == [flow] and "\0" not in flow)
    assume(names)
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    # A first deployment has the keys of the others, and so other ones when the others are left out.
    selected = release_of(document, FLOWS=" ".join(chosen))
    assert pairs(selected) == pairs([p for p in release_of(document) if p["incoming_flow"] in chosen])


@given(diffs(GOES_ON))
def test_what_has_landed_is_not_promoted_again(document: Any) -> None:
    assert release_of(landed(document, release_of(document))) == []


# Around the release


@given(diffs(GOES_ON))
def test_a_rollback_is_the_inverse(document: Any) -> None:
    release = release_of(document)
    inverse, notes = rollback.rollback(release)
    assert len(inverse) + len(notes) == len(release)
    assert read_release(inverse) == inverse
    again, more_notes = rollback.rollback(inverse)
    assert not more_notes
    kept = [p for p in release if not rollback.why_not(p)]
    assert digest(again) == digest(kept)
    for one, other in zip(again, kept):
        assert {key: value for key, value in one.items() if value != ""}.items() <= other.items()


@given(diffs(GOES_ON))
def test_a_recheck_of_the_same_diff_is_all_of_the_release(document: Any) -> None:
    release = release_of(document)
    pending, notes = recheck.recheck(release, read_diff(document))
    assert (pending, notes) == (release, [])


@given(diffs(GOES_ON), st.data())
def test_a_recheck_of_what_has_partly_landed_is_the_rest(document: Any, data: st.DataObject) -> None:
    release = release_of(document)
    done = data.draw(st.lists(st.sampled_from(release), unique_by=id)) if release else []
    after = landed(document, done)
    pending, notes = recheck.recheck(release, read_diff(after))
    assert pending == [promotion for promotion in release if promotion not in done]
    assert len(notes) == len(done)
    outcomes = verify.outcomes(release, read_diff(after))
    assert [o["outcome"] for o in outcomes] == ["landed" if p in done else "not landed" for p in release]


@given(diffs(GOES_ON), st.data())
def test_a_recheck_refuses_what_has_moved(document: Any, data: st.DataObject) -> None:
    """Another artifact of the flow in either environment: what was approved is not what would be done."""
    release = release_of(document)
    assume(release)
    promotion = data.draw(st.sampled_from(release))
    newer = {**artifacts(document, "snappish1")[0], "flow": promotion["incoming_flow"], "fingerprint": "f" * 64}
    category = data.draw(st.sampled_from(["snappish1", "snappish2", "changed", "not-changed"]))
    document[category]["artifacts"].append({**newer, "name": "newer"})
    with pytest.raises(Refused) as refused:
        recheck.recheck(release, read_diff(document))
    assert len(refused.value.causes) == 1


@given(diffs(GOES_ON), st.randoms(use_true_random=False))
def test_the_digest_knows_the_release_and_not_its_order(document: Any, rng: random.Random) -> None:
    release = release_of(document)
    assert digest(rng.sample(release, len(release))) == digest(release)
    for index, promotion in enumerate(release):
        assert digest(release[:index] + release[index + 1 :]) != digest(release)
        for key in ("incoming_flow", "incoming_fingerprint", "outgoing_fingerprint"):
            other = [*release[:index], {**promotion, key: f"{promotion[key]}0"}, *release[index + 1 :]]
            assert digest(other) != digest(release)


hexadecimal = st.sampled_from(["a" * 64, "b" * 64, ""])
forged = st.one_of(
    st.sampled_from(["a", "b", "a ", '"a"', "a\\n", "a " + "a" * 64, "a " + "a" * 64 + " " + "b" * 64 + "\nb"]),
    st.text('a \n"\\', min_size=1, max_size=6),
)
triples = st.fixed_dictionaries(
    {"incoming_flow": forged, "incoming_fingerprint": hexadecimal, "outgoing_fingerprint": hexadecimal}
)


@given(st.lists(triples, max_size=3), st.lists(triples, max_size=3))
def test_no_two_releases_share_a_digest(one: Any, other: Any) -> None:
    def known(release: Any) -> list[Any]:
        return sorted(tuple(sorted(promotion.items())) for promotion in release)

    assert (digest(one) == digest(other)) == (known(one) == known(other))


@given(diffs(GOES_ON))
def test_the_outputs_of_a_workflow_read_back(document: Any) -> None:
    release = release_of(document)
    text = github_output.outputs(release)
    found = dict(line.split("=", 1) for line in text.splitlines())
    matrix = json.loads(found["promotions"])
    assert list(found) == ["promotions", "any", "count", "digest"]
    assert text.isascii()
    assert [p["incoming_fingerprint"] for p in matrix] == [p["incoming_fingerprint"] for p in release]
    assert (found["any"], found["count"], found["digest"]) == (
        str(bool(release)).lower(),
        str(len(release)),
        digest(release),
    )


# Commit URLs


@given(st.data())
def test_a_commit_page_is_read_and_written_again(data: st.DataObject) -> None:
    repository = data.draw(repositories())
    url, other = data.draw(commit_pages(repository)), data.draw(commit_pages(repository))
    new, old = commit_urls.parse(url), commit_urls.parse(other)
    assert new
    assert old
    assert (new.repository.host, new.repository.path.lower()) == (PAGES[url].host, PAGES[url].path)
    assert commit_urls.commit_page(new) == repository.page.format(sha=new.sha)
    assert commit_urls.parse(commit_urls.commit_page(new)) == new
    page = commit_urls.compare_page(old, new)
    assert page.startswith(new.repository.url)
    assert new.sha in page
    assert (old.sha in page) or old.sha == new.sha


PARTS = (
    *("https:", "http:", "ssh:", "/", "/", "//", "github.com", "gitlab.com", "x.example:80", "[::1]", "@", ":", "-"),
    *(
        "_git",
        "commit",
        "commits",
        "projects",
        "repos",
        "users",
        "a",
        "b",
        ".",
        "..",
        "%2e",
        ".git",
        "a" * 40,
        "A" * 64,
    ),
    *("?", "#", " ", "\n", "\0", "\\", "{sha}", "\u017f", "\u212a"),
)


@given(st.one_of(st.text(), st.lists(st.sampled_from(PARTS), max_size=16).map("".join)))
def test_whatever_is_taken_for_a_commit_page_is_one(url: str) -> None:
    commit = commit_urls.parse(url)
    if commit:
        page = commit_urls.commit_page(commit)
        assert page.isascii()
        assert page.isprintable()
        assert " " not in page
        assert "@" not in page
        assert "/../" not in page
        assert page.startswith(("https://", "http://"))
        assert commit_urls.parse(page) == commit


# Reading and writing


@given(json_values)
def test_a_document_is_read_as_it_was_written(value: Any) -> None:
    for raw in (json.dumps(value).encode(), json.dumps(value, ensure_ascii=False).encode()):
        for padding in (b"", b" " * LARGE):
            assert filters.parse(raw + padding, "stdin") == value
    with patch.dict(sys.modules):
        sys.modules.pop("orjson", None)
        small = filters.to_json(value)
        import orjson  # noqa: F401

        assert json.loads(filters.to_json(value)) == json.loads(small) == value


nearly_json = st.text('{}[]",:1e-.nul\\ud8', max_size=20)


@given(st.one_of(st.binary(max_size=50), st.text(max_size=50).map(str.encode), nearly_json.map(str.encode)))
def test_whatever_comes_in_is_a_document_or_unusable(raw: bytes) -> None:
    for padding in (b"", b" " * LARGE):
        _, causes = stop_of(lambda given=raw + padding: filters.to_json(filters.parse(given, "stdin")))
        assert all(cause.isprintable() for cause in causes)


def stop_of(function: Any, *arguments: Any) -> tuple[Any, tuple[str, ...]]:
    """Return what a function returns, or None and why it stops. Any other exception is a failure."""
    try:
        return function(*arguments), ()
    except Stop as stop:
        return None, stop.causes


@given(st.one_of(json_values, diffs()), st.data())
def test_whatever_is_read_is_a_diff_or_unusable(document: Any, data: st.DataObject) -> None:
    document = copy.deepcopy(document)
    if isinstance(document, dict) and "snappish1" in document:
        part = document[data.draw(st.sampled_from(sorted(document)))]
        if part["artifacts"] and data.draw(st.booleans()):
            part = part["artifacts"][0]
        part[data.draw(st.sampled_from(sorted(part)))] = data.draw(json_values)
    release, causes = stop_of(release_of, document)
    assert (release is None) == bool(causes)
    assert all(cause.isprintable() for cause in causes)


@given(st.one_of(json_values, diffs(GOES_ON).map(release_of)), st.data())
def test_whatever_is_read_is_a_release_or_unusable(document: Any, data: st.DataObject) -> None:
    if isinstance(document, list) and document and isinstance(document[0], dict) and document[0]:
        document[0][data.draw(st.sampled_from(sorted(document[0])))] = data.draw(json_values)
    release, causes = stop_of(read_release, document)
    assert (release is None) == bool(causes)
    assert all(cause.isprintable() for cause in causes)
    if release is not None:
        inverse, _ = rollback.rollback(release)
        read_release(inverse)
        assert len(digest(release)) == 64
        assert github_output.outputs(release).count("\n") == 4


@given(st.one_of(st.text(), any_text, st.text("#[:\n\r\x1b\u2028")))
def test_what_is_printable_stays_on_its_line(text: str) -> None:
    shown = filters.printable(text)
    assert shown.isprintable()
    assert "##[" not in shown
    assert shown == text or not text.isprintable() or "##[" in text or len(text) > filters.LONGEST_VALUE
    assert len(filters.printable(text * 1000)) < 20 * filters.LONGEST_VALUE
