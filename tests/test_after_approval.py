"""What must hold for any release after its approval: recheck, verify and rollback over generated worlds.

A world is what runs in beta and in prod. The diff of it is computed here, and deployments are simulated in it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest import mock

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from strategies import EXAMPLES  # and its profile

from lib import filters
from lib.diffs import Diff, in_progress, matcher, read_diff
from lib.filters import Refused, to_json
from lib.releases import build, digest, read_release
from promotions import promotions
from recheck import recheck
from rollback import rollback
from verify import outcomes

Artifact = dict[str, Any]
Release = list[dict[str, Any]]
World = tuple[list[Artifact], list[Artifact]]

PAGES = (
    "https://github.com/acme-shop/{repo}/commit/{sha}",
    "https://gitlab.com/acme-shop/backend/{repo}/-/commit/{sha}",
    "https://bitbucket.org/acme-shop/{repo}/commits/{sha}",
    "https://bitbucket.acme-shop.example/projects/SHOP/repos/{repo}/commits/{sha}",
    "https://dev.azure.com/acme-shop/shop/_git/{repo}/commit/{sha}",
    "https://git.acme-shop.example:8443/shop/{repo}/commit/{sha}",
)
NO_PAGES = (
    None,
    "",
    "ssh://git@github.com:22/acme-shop/cart/commit/" + "0" * 40,
    "https://ci.acme-shop.example/build/7",
)
EXTRAS = st.dictionaries(
    st.sampled_from(["instance_count", "most_recent_timestamp", "replicas", "zones", "repo_name", "é"]),
    st.integers(0, 9) | st.none(),
) | st.fixed_dictionaries(
    {}, optional={"pods": st.lists(st.text(max_size=3), max_size=2), "share": st.floats(0, 1), "on": st.booleans()}
)
ODD_FLOWS = ("shop ci", "émile-ci", '"quoted"-ci', "two\nlines-ci", "--flow=x", "${{ secrets.X }}")

quick = settings(max_examples=EXAMPLES)


def artifact(service: str, flow: str, number: int, page: str | None, extras: Artifact) -> Artifact:
    """Return a build of a service."""
    seed = f"{service} {flow} {number}".encode()
    fingerprint, sha = hashlib.sha256(seed).hexdigest(), hashlib.sha256(b"commit" + seed).hexdigest()[:40]
    return {
        "fingerprint": fingerprint,
        "name": f"registry.example.com/{service}:{sha[:7]}@sha256:{fingerprint}",
        "flow": flow,
        "commit_url": page and page.format(repo=service, sha=sha),
        **extras,
    }


@st.composite
def pairs(draw: Callable[..., Any], service: str, flow: str) -> tuple[Artifact | None, Artifact | None]:
    """Return what of a service runs in beta and in prod."""
    page = draw(st.sampled_from(PAGES))
    new, old = (artifact(service, flow, number, page, draw(EXTRAS)) for number in (2, 1))
    state = draw(
        st.sampled_from(["behind", "behind", "level", "first", "retired", "unnamed", "untagged", "unknown", "moved"])
    )
    if state == "level":
        return new, new
    if state == "first":
        return new, None
    if state == "retired":
        return None, old
    if state == "unnamed":
        old = {**old, "fingerprint": "", "name": f"registry.example.com/{service}:old"}
    if state == "untagged":
        old["name"] = f"registry.example.com/{service}"
    if state == "unknown":
        old["commit_url"] = draw(st.sampled_from(NO_PAGES))
    if state == "moved":
        old["commit_url"] = f"https://git.moved.example/shop/{service}/commit/{'d' * 40}"
    return new, old


@st.composite
def worlds(draw: Callable[..., Any], images: int = 1) -> World:
    """Return a settled world: of each flow, or image of a flow, at most one artifact in an environment."""
    beta, prod = [], []
    for number in range(draw(st.integers(0, 5))):
        flow = draw(st.sampled_from((f"service-{number}-ci", f"{number} {draw(st.sampled_from(ODD_FLOWS))}")))
        for image in range(draw(st.integers(1, images))):
            new, old = draw(pairs(f"service-{number}{image * '-x'}", flow))
            beta += [new] if new else []
            prod += [old] if old else []
    for number in range(draw(st.integers(0, 2))):
        foreign = {"fingerprint": f"{number}" * 64, "name": f"redis:{number}", "flow": "", "commit_url": None}
        beta.append(foreign)
        prod.append(foreign)
    return draw(st.permutations(beta)), draw(st.permutations(prod))


def document(beta: Iterable[Artifact], prod: Iterable[Artifact], number: int = 3548) -> dict[str, Any]:
    """Return the diff that Kosli would print, of prod's snapshot of this number."""
    in_beta, in_prod = ({each["fingerprint"] or each["name"]: each for each in side} for side in (beta, prod))
    return {
        "snappish1": {
            "snapshot_id": "aws-beta#4754",
            "artifacts": [each for key, each in in_beta.items() if key not in in_prod],
        },
        "snappish2": {
            "snapshot_id": f"aws-prod#{number}",
            "artifacts": [each for key, each in in_prod.items() if key not in in_beta],
        },
        "changed": {"artifacts": []},
        "not-changed": {"artifacts": [each for key, each in in_beta.items() if key in in_prod]},
    }


def diff_of(beta: Iterable[Artifact], prod: Iterable[Artifact], number: int = 3548) -> Diff:
    return read_diff(document(beta, prod, number))


def printed(diff: Diff) -> bytes:
    """Return what promotions.py prints."""
    written: list[bytes] = []
    with mock.patch.object(filters, "write", lambda *parts: written.extend(parts)):
        filters.write_array(build(promotions(diff)[0], diff.from_snapshot, diff.to_snapshot))
    return b"".join(written)


def released(world: World) -> Release:
    """Return the release of a world, read back as a file is."""
    return read_release(filters.parse(printed(diff_of(*world)), "release.json"))


def deployed(world: World, release: Release, artifacts: Iterable[Artifact]) -> list[Artifact]:
    """Return what prod runs when the incoming artifacts of these promotions have replaced those of their flow."""
    match = matcher()
    known = {each["fingerprint"]: each for each in artifacts}
    incoming = [known[promotion["incoming_fingerprint"]] for promotion in release]
    gone = {match(each) for each in incoming}
    return [each for each in world[1] if match(each) not in gone] + incoming


def reordered(draw: Callable[..., Any], diff: dict[str, Any]) -> dict[str, Any]:
    """Return a diff with its categories, artifacts and their keys in another order."""
    return {
        key: {
            **{name: value for name, value in diff[key].items() if name != "artifacts"},
            "artifacts": [
                {name: each[name] for name in draw(st.permutations(sorted(each)))}
                for each in draw(st.permutations(diff[key]["artifacts"]))
            ],
        }
        for key in draw(st.permutations(sorted(diff)))
    }


@pytest.fixture(params=["flow", "image"], autouse=True, scope="module")
def images(request: pytest.FixtureRequest) -> Iterator[int]:
    """Run each test matched by flow and by image. Returns how many images a flow may build."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "KOSLI_"))}
    with mock.patch.dict(os.environ, {**clean, "MATCH_BY": request.param}, clear=True):
        yield {"flow": 1, "image": 3}[request.param]


@quick
@given(st.data())
def test_recheck_of_an_unchanged_world_is_the_release_byte_for_byte(images: int, data: st.DataObject) -> None:
    world = data.draw(worlds(images))
    left, notes = recheck(released(world), diff_of(*world))
    assert to_json(left) == printed(diff_of(*world))
    assert notes == []


@quick
@given(st.data())
def test_after_any_part_was_deployed_recheck_is_exactly_the_rest(images: int, data: st.DataObject) -> None:
    world = data.draw(worlds(images))
    release = released(world)
    landed = [promotion for promotion in release if data.draw(st.booleans())]
    rest = [promotion for promotion in release if promotion not in landed]
    now = diff_of(world[0], deployed(world, landed, world[0]))
    left, notes = recheck(release, now)
    assert to_json(left) == to_json(rest)
    assert len(notes) == len(landed)
    assert all(note.endswith(": has landed") for note in notes)
    assert [each["outcome"] for each in outcomes(release, now)] == [
        "landed" if promotion in landed else "not landed" for promotion in release
    ]
    # What is left to do is a release too: it is rechecked and deployed like the whole.
    assert recheck(left, now) == (left, [])
    everything = diff_of(world[0], deployed(world, release, world[0]))
    assert recheck(left, everything)[0] == []


@quick
@given(st.data())
def test_rollback_of_rollback_is_the_release(images: int, data: st.DataObject) -> None:
    release = released(data.draw(worlds(images)))
    back, notes = rollback(release)
    again, no_more_notes = rollback(read_release(filters.parse(to_json(back), "back.json")))
    assert back == sorted(back, key=lambda each: (each["incoming_flow"], each["incoming_name"]))
    replaced = {promotion["incoming_fingerprint"] for promotion in again}
    assert to_json(again) == to_json([each for each in release if each["incoming_fingerprint"] in replaced])
    assert len(notes) == len(release) - len(back)
    assert no_more_notes == []
    for promotion in release:
        comes_back = bool(promotion["outgoing_fingerprint"] and promotion["outgoing_commit_sha"])
        assert (promotion["incoming_fingerprint"] in replaced) == comes_back


@quick
@given(st.data())
def test_the_link_of_a_rollback_is_the_link_the_other_way_round(images: int, data: st.DataObject) -> None:
    release = released(data.draw(worlds(images)))
    links = {each["outgoing_fingerprint"]: each["deployment_diff_url"] for each in rollback(release)[0]}
    for promotion in release:
        new, old = promotion["incoming_commit_sha"], promotion["outgoing_commit_sha"]
        link = links.get(promotion["incoming_fingerprint"])
        if link and old in promotion["deployment_diff_url"]:
            assert link == promotion["deployment_diff_url"].replace(new, "NEW").replace(old, new).replace("NEW", old)
        elif link:
            assert link == promotion["outgoing_commit_url"]


@quick
@given(st.data())
def test_after_any_part_of_a_rollback_recheck_is_exactly_the_rest(images: int, data: st.DataObject) -> None:
    world = data.draw(worlds(images))
    release = released(world)
    back, _ = rollback(release)
    after = world[0], deployed(world, release, world[0])
    # Beta may have moved on meanwhile: what comes back comes from prod's own past.
    beta = [each for each in world[0] if data.draw(st.booleans())]
    assert recheck(back, diff_of(beta, after[1], 3549)) == (back, [])
    landed = [promotion for promotion in back if data.draw(st.booleans())]
    now = diff_of(beta, deployed(after, landed, world[1]), 3550)
    assert recheck(back, now)[0] == [promotion for promotion in back if promotion not in landed]
    assert [each["outcome"] for each in outcomes(back, now)] == [
        "landed" if promotion in landed else "not landed" for promotion in back
    ]
    # What was recorded before the release came shows what comes back too: it is no answer.
    if back:
        with pytest.raises(Refused, match="aws-prod#3548 is too old for this release: wait for aws-prod#3549 or later"):
            recheck(back, diff_of(*world))


@quick
@given(st.data())
def test_whatever_else_happens_to_a_flow_is_refused_and_named(images: int, data: st.DataObject) -> None:
    world = data.draw(worlds(images))
    release = released(world)
    assume(release)
    promotion = data.draw(st.sampled_from(release))
    match = matcher()
    key = match({"flow": promotion["incoming_flow"], "name": promotion["incoming_name"]})
    other = {
        "fingerprint": "e" * 64,
        "name": promotion["incoming_name"].partition(":")[0] + ":other",
        "flow": promotion["incoming_flow"],
    }
    (new,) = (each for each in world[0] if each["fingerprint"] == promotion["incoming_fingerprint"])
    beta, prod = ([each for each in side if match(each) != key] for side in world)
    old = [each for each in world[1] if match(each) == key]
    changed = {
        "beta moved on": ([other], old),
        "prod moved on": ([new], [other]),
        "both moved on": ([other], [other]),
        "in progress in beta": ([new, other], old),
        "in progress in prod": ([new], [*old, other] if old else [other, new]),
        "gone from beta": ([], old),
        "landing": ([new], [*old, new] if old else [new, other]),
        **({"gone from prod": ([new], []), "went back": (old, old)} if old else {}),
    }
    what = data.draw(st.sampled_from(sorted(changed)))
    now = diff_of(beta + changed[what][0], prod + changed[what][1])
    with pytest.raises(Refused) as refused:
        recheck(release, now)
    (cause,) = refused.value.causes
    assert cause.startswith(f"{filters.printable(promotion['incoming_flow'])}: approved: ")
    assert filters.printable(promotion["incoming_name"]) in cause
    assert "\n" not in cause


def answer(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns, or the causes with which it refuses."""
    try:
        return function(*arguments)
    except Refused as refused:
        return "refused", refused.causes


@quick
@given(st.data())
def test_no_order_of_the_artifacts_changes_any_answer(images: int, data: st.DataObject) -> None:
    world = data.draw(worlds(images))
    approved = released(world)
    beta, prod = world[0], deployed(world, [each for each in approved if data.draw(st.booleans())], world[0])
    # Some more builds, of whatever flow and whatever repository: now it may be refused.
    for name, side in (("beta", beta), ("prod", prod)):
        for number in range(data.draw(st.integers(0, 2))):
            of = data.draw(st.sampled_from([*beta, *prod, artifact("service-9", "service-9-ci", 1, PAGES[0], {})]))
            more = artifact(f"fork-{number}-{name}", of["flow"], 3, data.draw(st.sampled_from(PAGES)), {})
            side.append({**more, "name": f"{of['name'].partition(':')[0]}:{number}"})
    one = document(beta, prod)
    other = reordered(data.draw, one)
    for function in (
        printed,
        lambda diff: promotions(diff)[1],
        lambda diff: in_progress(diff, matcher()),
        lambda diff: recheck(approved, diff),
        lambda diff: outcomes(approved, diff),
    ):
        assert answer(function, read_diff(one)) == answer(function, read_diff(other))


FLOWS = st.text('ab-é\n" \\', max_size=6)
FINGERPRINTS = st.sampled_from(["a" * 64, "b" * 64, "c" * 64])
TRIPLES = st.lists(st.tuples(FLOWS, FINGERPRINTS, FINGERPRINTS | st.just("")), max_size=3)


def of_triples(triples: Iterable[tuple[str, str, str]]) -> Release:
    keys = ("incoming_flow", "incoming_fingerprint", "outgoing_fingerprint")
    return [dict(zip(keys, triple)) for triple in triples]


@quick
@given(TRIPLES, st.randoms())
def test_the_digest_does_not_depend_on_the_order(triples: list[tuple[str, str, str]], random: Any) -> None:
    shuffled = triples.copy()
    random.shuffle(shuffled)
    assert digest(of_triples(shuffled)) == digest(of_triples(triples))


@quick
@given(TRIPLES, TRIPLES)
@example([("x-ci", "a" * 64, "b" * 64), ("y-ci", "c" * 64, "")], [(f"x-ci {'a' * 64} {'b' * 64}\ny-ci", "c" * 64, "")])
@example([("x\ny", "a" * 64, "")], [(json.dumps("x\ny"), "a" * 64, "")])
@example([("x\ny", "a" * 64, "")], [("x\\ny", "a" * 64, "")])
@example([(f"x {'a' * 64}", "b" * 64, "")], [("x", "a" * 64, "b" * 64)])
def test_the_digest_of_another_release_is_another(one: list[Any], other: list[Any]) -> None:
    assert (digest(of_triples(one)) == digest(of_triples(other))) == (sorted(one) == sorted(other))


@quick
@given(TRIPLES.filter(bool), st.data())
def test_each_of_the_three_parts_changes_the_digest(triples: list[tuple[str, str, str]], data: st.DataObject) -> None:
    index, part = data.draw(st.integers(0, len(triples) - 1)), data.draw(st.integers(0, 2))
    changed = list(triples[index])
    changed[part] = data.draw((FLOWS if part == 0 else FINGERPRINTS).filter(lambda value: value != changed[part]))
    others = [*triples[:index], tuple(changed), *triples[index + 1 :]]
    assert digest(of_triples(others)) != digest(of_triples(triples))


@quick
@given(st.data())
def test_nothing_but_the_three_parts_changes_the_digest(images: int, data: st.DataObject) -> None:
    release = released(data.draw(worlds(images)))
    keys = ("incoming_flow", "incoming_fingerprint", "outgoing_fingerprint")
    known_by = digest(release)
    for promotion in release:
        for key in promotion:
            if key not in keys:
                promotion[key] = "another"
    assert digest(release) == known_by
