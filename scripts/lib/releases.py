"""The release: a JSON array of promotions, each a flat object of one incoming artifact and the one it replaces."""

from __future__ import annotations

import json
import re
from collections import namedtuple
from operator import itemgetter

from lib.commit_urls import compare_page, raw_page
from lib.diffs import environment_of, is_snapshot_id
from lib.filters import Unusable, printable, read_file, setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from lib.commit_urls import Commit

    Artifact = dict[str, Any]
    Promotion = dict[str, Any]
    Release = list[Promotion]

# An incoming artifact and the outgoing one that it replaces, each with its commit; None for what there is not.
Pair = namedtuple("Pair", "incoming commit outgoing old_commit")

SIDES = ("incoming", "outgoing")
FIELDS = ("name", "fingerprint", "flow", "commit_url")
PARSED = ("commit_sha", "repo_url", "repository", "repo_name", "repo_provider", "raw_snyk_policy_url")
ORIGIN = ("snapshot_id", "snapshot_url")
# What an artifact of a diff usually has beside FIELDS.
USUAL = ("instance_count", "most_recent_timestamp")

# A fingerprint, or another sha256.
is_sha256 = re.compile(r"[0-9a-f]{64}").fullmatch
_organisation = re.compile(r"[A-Za-z0-9._-]*").fullmatch
_host = re.compile(r"https?://[A-Za-z0-9._~:/%@\[\]-]+").fullmatch


def read_release(document: Any, source: str = "stdin") -> Release:
    """Return the release in a JSON document. Anything else is Unusable, named by its place: [3].incoming_flow."""
    if type(document) is not list:
        raise Unusable(f"{source} is not a release: not a JSON array of promotions")
    for index, promotion in enumerate(document):
        if type(promotion) is not dict:
            raise Unusable(f"[{index}]: not a promotion: not an object")
        for side in SIDES:
            for field in (*FIELDS, *PARSED, *ORIGIN):
                value = promotion.get(f"{side}_{field}")
                if type(value) is not str:
                    raise Unusable(f"[{index}].{side}_{field}: {'missing' if value is None else 'not a string'}")
        if not is_sha256(promotion["incoming_fingerprint"]):
            raise Unusable(f"[{index}].incoming_fingerprint: not 64 lower-case hexadecimal digits")
        if promotion["outgoing_fingerprint"] and not is_sha256(promotion["outgoing_fingerprint"]):
            raise Unusable(f"[{index}].outgoing_fingerprint: not 64 lower-case hexadecimal digits")
        for side in SIDES:
            snapshot_id = promotion[f"{side}_snapshot_id"]
            if not is_snapshot_id(snapshot_id) and (side == "incoming" or snapshot_id):
                raise Unusable(f"[{index}].{side}_snapshot_id: {printable(snapshot_id)} is not ENVIRONMENT#NUMBER")
        if type(promotion.get("deployment_diff_url")) is not str:
            raise Unusable(f"[{index}].deployment_diff_url: missing, or not a string")
    return document


def read_approved(path: str, known_by: str = "") -> Release:
    """Return the release in a file. With a digest to be known by, a file that has another is Unusable."""
    release = read_release(read_file(path), printable(path))
    if known_by and digest(release) != known_by:
        raise Unusable(f"{printable(path)}: its digest is {digest(release)}, approved was {printable(known_by)}")
    return release


def require_environments(release: Release, *environments: str) -> None:
    """Raise Unusable for a release of other environments than these. A rollback is of the same two."""
    found = {environment_of(promotion[f"{side}_snapshot_id"]) for promotion in release for side in SIDES} - {""}
    if not found.issubset(environments):
        raise Unusable(
            f"the release is of {' and '.join(map(printable, sorted(found)))}, "
            f"not of {' and '.join(map(printable, environments))}"
        )


def too_old(release: Release, from_snapshot: str, to_snapshot: str) -> list[str]:
    """Return why a comparison of these snapshots says nothing of a release: they are older than it, a line each.

    What a rollback brings back ran in TO when the release was found, so only a later recording can say that it is back.
    """
    to_environment = environment_of(to_snapshot)
    found = []
    for snapshot_id in (from_snapshot, to_snapshot):
        environment, number = environment_of(snapshot_id), number_of(snapshot_id)
        needed = [
            number_of(promotion[f"{side}_snapshot_id"]) + (side == "incoming" and environment == to_environment)
            for promotion in release
            for side in SIDES
            if environment_of(promotion[f"{side}_snapshot_id"]) == environment
        ]
        if number < max(needed, default=0):
            found.append(f"{snapshot_id} is too old for this release: wait for {environment}#{max(needed)} or later")
    return found


def number_of(snapshot_id: str) -> int:
    """Return the number of a snapshot in its environment."""
    return int(snapshot_id.rpartition("#")[2])


def _one_line(flow: str) -> str:
    """Return a flow's name so that it cannot forge another promotion's line. Kosli's own names have no line ends."""
    return json.dumps(flow) if "\n" in flow or flow.startswith('"') else flow


def artifact_of(promotion: Promotion, side: str) -> Artifact:
    """Return one side of a promotion as a diff has it: name, fingerprint, flow, commit_url."""
    return {field: promotion[f"{side}_{field}"] for field in FIELDS}


def is_first(promotion: Promotion) -> bool:
    """Say whether a promotion is a first deployment, which replaces nothing."""
    return bool(promotion["outgoing_snapshot_id"] == "")


def in_order(release: Iterable[Promotion]) -> Release:
    """Return promotions in the order of a release: by incoming flow, then name, then fingerprint."""
    return sorted(release, key=itemgetter("incoming_flow", "incoming_name", "incoming_fingerprint"))


def digest(release: Iterable[Promotion]) -> str:
    """Return what a release is known by: a sha256 over its `flow incoming_fingerprint outgoing_fingerprint` lines."""
    import hashlib

    triples = (
        f"{_one_line(p['incoming_flow'])} {p['incoming_fingerprint']} {p['outgoing_fingerprint']}\n".encode()
        for p in release
    )
    return hashlib.sha256(b"".join(sorted(triples))).hexdigest()


def build(pairs: list[Pair], from_snapshot: str, to_snapshot: str) -> Iterator[Promotion]:
    """Yield the promotion of each pair. The commit of an incoming artifact is known.

    The keys of a side come in one order, whatever the order in the diff. A first deployment has each outgoing key that
    any other promotion has, as "".
    """
    outgoing_shapes = {tuple(pair.outgoing) for pair in pairs if pair.outgoing}
    extras = {shape: _extra_fields(shape) for shape in outgoing_shapes.union(tuple(pair.incoming) for pair in pairs)}
    incoming_keys = {shape: _side_keys("incoming", fields) for shape, fields in extras.items()}
    outgoing_keys = {shape: _side_keys("outgoing", fields) for shape, fields in extras.items()}
    every = sorted(set(USUAL).union(*(extras[shape] for shape in outgoing_shapes)))
    nothing = dict.fromkeys(_side_keys("outgoing", tuple(every)), "")
    incoming_url, outgoing_url = snapshot_url(from_snapshot), snapshot_url(to_snapshot)
    for incoming, commit, outgoing, old in pairs:
        shape = tuple(incoming)
        values = _side_values(incoming, commit, extras[shape], from_snapshot, incoming_url)
        promotion = dict(zip(incoming_keys[shape], values))
        if outgoing is None:
            promotion.update(nothing)
        else:
            shape = tuple(outgoing)
            values = _side_values(outgoing, old, extras[shape], to_snapshot, outgoing_url)
            promotion.update(zip(outgoing_keys[shape], values))
        promotion["deployment_diff_url"] = compare_page(old, commit)
        yield promotion


def _extra_fields(artifact: Iterable[str]) -> tuple[str, ...]:
    """Return the fields that a promotion takes over as they are, by name. A derived value is never overwritten."""
    return tuple(sorted({*artifact}.difference(FIELDS, PARSED, ORIGIN)))


def _side_keys(side: str, extras: tuple[str, ...]) -> list[str]:
    return [f"{side}_{field}" for field in (*FIELDS, *PARSED, *extras, *ORIGIN)]


def _side_values(
    artifact: Artifact, commit: Commit | None, extras: tuple[str, ...], snapshot_id: str, page: str
) -> tuple[Any, ...]:
    """Return the values for `_side_keys`. What cannot be parsed is ""."""
    fingerprint = artifact["fingerprint"]
    if commit is None:
        parsed: tuple[str, ...] = ("",) * len(PARSED)
    else:
        sha, repository = commit
        raw = raw_page(commit, ".snyk")
        parsed = (sha, repository.url, repository.path, repository.name, repository.provider, raw)
    return (
        artifact["name"],
        fingerprint,
        artifact["flow"],
        artifact.get("commit_url") or "",
        *parsed,
        *[artifact[field] for field in extras],
        snapshot_id,
        f"{page}?fingerprint={fingerprint}" if page and fingerprint else page,
    )


def snapshot_url(snapshot_id: str) -> str:
    """Return the page of a snapshot, "" when no organisation is configured. Of several hosts, the first."""
    organisation = setting("KOSLI_ORG").partition(",")[0].strip()
    host = setting("KOSLI_HOST", "https://app.kosli.com").partition(",")[0].strip().rstrip("/")
    if not organisation:
        return ""
    if not _organisation(organisation):
        raise Unusable(f"KOSLI_ORG: {printable(organisation)} is no name of an organisation")
    if not _host(host):
        raise Unusable(f"KOSLI_HOST: {printable(host)} is no address of a web page")
    number = snapshot_id.rpartition("#")[2]
    return f"{host}/{organisation}/environments/{environment_of(snapshot_id)}/snapshots/{number}"
