"""The diff of two snapshots, as `kosli diff snapshots FROM TO --output=json` prints it, and the rules about it.

{"snappish1":   {"snapshot_id": "aws-beta#4754", "artifacts": [A, ...]},    runs in FROM and not in TO
 "snappish2":   {"snapshot_id": "aws-prod#3548", "artifacts": [A, ...]},    runs in TO and not in FROM
 "changed":     {"artifacts": [A, ...]},                                    runs in both, in another number
 "not-changed": {"artifacts": [A, ...]}}                                    runs in both
"""

from __future__ import annotations

import re
from collections import Counter, namedtuple
from heapq import nsmallest
from itertools import chain
from operator import itemgetter

from lib.filters import Unusable, choice, printable, setting
from lib.queries import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Any

    Artifact = dict[str, Any]

# Both sides by the names of the environments; the four lists by the queries of jq/.
Diff = namedtuple(
    "Diff", "from_snapshot to_snapshot incoming outgoing running_in_from running_in_to", module="lib.diffs"
)

CATEGORIES = ("snappish1", "snappish2", "changed", "not-changed")
_NULL = type(None)
_MISSING = object()
_KINDS: dict[str, tuple[set[type], str]] = {
    "fingerprint": ({str}, "a string"),
    "name": ({str}, "a string"),
    "flow": ({str}, "a string"),
    "commit_url": ({str, _NULL, object}, "a string or null"),
    "most_recent_timestamp": ({int, _NULL, object}, "an integer"),
    "instance_count": ({int, _NULL, object}, "an integer or null"),
    "s1_instance_count": ({int, _NULL, object}, "an integer or null"),
    "s2_instance_count": ({int, _NULL, object}, "an integer or null"),
    "pods": ({list, _NULL, object}, "a list of strings or null"),
}
_fingerprint = re.compile(r"(?:[0-9a-f]{64})?").fullmatch
_other_digest = re.compile(r"@[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-f]{32,}$", re.IGNORECASE | re.ASCII).search
is_snapshot_id = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*#[0-9]+").fullmatch


def read_diff(document: Any, source: str = "stdin") -> Diff:
    """Return the diff in a JSON document. Anything else is Unusable, named by its place: snappish1.artifacts[3].flow"""
    if type(document) is not dict:
        raise Unusable(f"{source} is not a diff of two snapshots: {_kind(document)} instead of an object")
    for category in CATEGORIES:
        _check_category(document, category, source)
    for key, value in document.items():
        if key not in CATEGORIES and type(value) is dict and "artifacts" in value:
            raise Unusable(f"{printable(key)}: a category of artifacts that this project does not know")
    return Diff(
        document["snappish1"]["snapshot_id"],
        document["snappish2"]["snapshot_id"],
        select("incoming", document),
        select("outgoing", document),
        select("running-in-from", document),
        select("running-in-to", document),
    )


def _check_category(document: dict[str, Any], category: str, source: str) -> None:
    if category not in document:
        raise Unusable(f"{category}: missing: {source} is not a diff of two snapshots")
    body = document[category]
    if type(body) is not dict:
        raise Unusable(f"{category}: {_kind(body)} instead of an object")
    if category.startswith("snappish"):
        snapshot_id = body.get("snapshot_id", _MISSING)
        if type(snapshot_id) is not str or not is_snapshot_id(snapshot_id):
            raise Unusable(f"{category}.snapshot_id: {_kind(snapshot_id)} instead of ENVIRONMENT#NUMBER")
    artifacts = body.get("artifacts", _MISSING)
    if type(artifacts) is not list:
        raise Unusable(f"{category}.artifacts: {_kind(artifacts)} instead of a list")
    misfits = _misfits(artifacts)
    if misfits:
        place, problem = min(misfits)
        more = f" (the first of {len(misfits)} such places)" if len(misfits) > 1 else ""
        raise Unusable(f"{category}.artifacts[{place}]{problem}{more}")


def _misfits(artifacts: list[Any]) -> list[tuple[int, str]]:
    """Return (index, problem) of what is no artifact. One field of all artifacts at a time: that is what is fast."""
    if not {dict}.issuperset(map(type, artifacts)):
        return [(i, f": {_kind(a)} instead of an object") for i, a in enumerate(artifacts) if type(a) is not dict]
    found = []
    shapes = set(map(tuple, artifacts))
    for key, (kinds, wanted) in _KINDS.items():
        if object in kinds and not any(key in shape for shape in shapes):
            continue
        everywhere = all(key in shape for shape in shapes)
        values = list(map(itemgetter(key), artifacts)) if everywhere else [a.get(key, _MISSING) for a in artifacts]
        if not kinds.issuperset(map(type, values)):
            found += [
                (i, f".{key}: {_kind(value)} instead of {wanted}")
                for i, value in enumerate(values)
                if type(value) not in kinds
            ]
        elif key == "fingerprint" and not _all_fingerprints(values):
            found += [
                (i, f".{key}: {printable(value)} is not 64 lower-case hexadecimal digits")
                for i, value in enumerate(values)
                if not _fingerprint(value)
            ]
        elif key == "pods" and not {_NULL, object}.issuperset(map(type, values)):
            found += [
                (i, f".{key}: not {wanted}")
                for i, value in enumerate(values)
                if type(value) is list and not {str}.issuperset(map(type, value))
            ]
    return found


def _all_fingerprints(values: list[str]) -> bool:
    """Say whether all are fingerprints or empty, in one look: a match for each takes five times as long."""
    joined = "".join(values).encode("ascii", "replace")
    return {0, 64}.issuperset(map(len, values)) and not joined.translate(None, b"0123456789abcdef")


def _kind(value: object) -> str:
    """Return what a JSON value is, in JSON's words."""
    if value is _MISSING:
        return "missing"
    if type(value) in (str, int, float):
        return f"{'the string' if type(value) is str else 'the number'} {printable(value)}"
    return {bool: "a boolean", _NULL: "null", list: "a list", dict: "an object"}[type(value)]


def environment_of(snapshot_id: str) -> str:
    """Return the environment of a snapshot id or of one of Kosli's expressions for a snapshot.

    aws-beta#4754, aws-beta~1 and aws-beta@{2.hours.ago} are all of aws-beta.
    """
    return re.split(r"[#~@]", snapshot_id, maxsplit=1)[0]


def digest_differs(artifact: Artifact) -> bool:
    """Say whether an artifact's name carries a digest, of whatever kind, that is not its fingerprint."""
    name = artifact["name"]
    if "@" not in name:
        return False
    _, at, digest = name.lower().partition("@sha256:")
    return digest != artifact["fingerprint"] if at else bool(_other_digest(name))


def image_of(name: str) -> str:
    """Return an image's name without tag and digest: registry:5000/saver:6e191a0@sha256:b323 is registry:5000/saver."""
    path, slash, image = name.partition("@")[0].rpartition("/")
    return path + slash + image.partition(":")[0]


def matcher() -> Callable[[Artifact], Hashable]:
    """Return what pairs an incoming artifact with an outgoing one: its flow, or with MATCH_BY=image flow and image."""
    if choice("MATCH_BY", ("flow", "image")) == "flow":
        return itemgetter("flow")
    return lambda artifact: (artifact["flow"], image_of(artifact["name"]))


def in_progress(diff: Diff, match: Callable[[Artifact], Hashable]) -> list[dict[str, Any]]:
    """Return the deployments in progress, FROM's before TO's, each environment's by flow and name.

    [{"environment", "snapshot_id", "flow", "artifacts": [{"name", "fingerprint"}, ...]}]

    A flow with more than one artifact in an environment has not settled. Artifacts without a flow have nothing in
    common with each other.
    """
    found = []
    for snapshot_id, running in (
        (diff.from_snapshot, diff.running_in_from),
        (diff.to_snapshot, diff.running_in_to),
    ):
        if len(set(map(match, running))) == len(running):
            continue
        several = {key for key, count in Counter(map(match, running)).items() if count > 1}
        groups: dict[Hashable, list[Artifact]] = {}
        for artifact in running:
            if artifact["flow"] and match(artifact) in several:
                groups.setdefault(match(artifact), []).append(artifact)
        deployments = [
            {
                "environment": environment_of(snapshot_id),
                "snapshot_id": snapshot_id,
                "flow": group[0]["flow"],
                "artifacts": sorted(
                    ({"name": a["name"], "fingerprint": a["fingerprint"]} for a in group),
                    key=itemgetter("name", "fingerprint"),
                ),
            }
            for group in groups.values()
        ]
        found += sorted(deployments, key=lambda d: (d["flow"], d["artifacts"][0]["name"]))
    return found


def label(artifact: Artifact) -> str:
    """Return how an artifact is called in a message: its name, and its fingerprint where the name does not hold it."""
    name, fingerprint = artifact["name"], artifact["fingerprint"]
    if fingerprint and name.endswith(fingerprint):
        return printable(name)
    return f"{printable(name)} ({fingerprint or 'no fingerprint'})"


def listed(artifacts: list[Artifact]) -> str:
    """Return artifacts as words for a message: the first ten by name, and how many more."""
    first = nsmallest(10, artifacts, key=itemgetter("name", "fingerprint"))
    more = f", and {len(artifacts) - 10} more" if len(artifacts) > 10 else ""
    return ", ".join(map(label, first)) + more


def selected_flows(diff: Diff) -> frozenset[str] | None:
    """Return the flows that FLOWS names, None when it names none. One that runs nowhere is wrong usage."""
    if not setting("FLOWS"):
        return None
    wanted = frozenset(setting("FLOWS").split())
    if not wanted:
        raise Unusable("FLOWS names no flow: empty is all of them, a blank is none")
    running = {artifact["flow"] for artifact in chain(diff.running_in_from, diff.running_in_to)}
    unknown = sorted(wanted - running)
    if unknown:
        from difflib import get_close_matches

        environments = f"{environment_of(diff.from_snapshot)} or {environment_of(diff.to_snapshot)}"
        raise Unusable(
            *(
                f"FLOWS: no flow {printable(flow)} runs in {environments}; "
                f"nearest: {', '.join(map(printable, get_close_matches(flow, running - {''}, 3, 0.4))) or 'none'}"
                for flow in unknown
            )
        )
    return wanted


def running_by(match: Callable[[Artifact], Hashable], running: list[Artifact]) -> dict[Hashable, list[Artifact]]:
    """Return what runs in an environment, by what pairs artifacts."""
    found: dict[Hashable, list[Artifact]] = {}
    for artifact in running:
        found.setdefault(match(artifact), []).append(artifact)
    return found
