"""The release: a JSON array of promotions, each a flat object of one incoming artifact and the one it replaces."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from lib.commit_urls import NOT_KNOWN, Commit, compare_page, parse, raw_page
from lib.model import Artifact, Diff, Promotion
from lib.rules import Pair, environment_of
from lib.settings import hosts, settings, this_run, variable
from lib.streams import Refused, Unusable, printable, read_bytes, read_file, typed

Item = tuple[str, Any]

LONGEST_REASONS = 100_000
SIDES = ("incoming", "outgoing")
FIELDS = ("name", "fingerprint", "flow", "commit_url")
ORIGIN = ("snapshot_id", "snapshot_url")
# What an artifact of a diff usually has beside what a promotion derives.
USUAL = ("instance_count", "most_recent_timestamp")
# The keys in a release's digest: whatever else a deployment uses is derived from them.
IN_DIGEST = (
    *("incoming_flow", "incoming_name", "incoming_fingerprint", "incoming_commit_url"),
    *("outgoing_name", "outgoing_fingerprint"),
)


def derived(commit: Commit | None) -> dict[str, str]:
    """Return what a promotion's side says of its commit; "" throughout where that is not known."""
    commit = commit or NOT_KNOWN
    repository = commit.repository
    return {
        "commit_sha": commit.sha,
        "repo_url": repository.url,
        "repository": repository.path,
        "repo_name": repository.name,
        "repo_provider": repository.provider,
        "clone_url": repository.clone,
        "raw_snyk_policy_url": raw_page(commit, ".snyk"),
    }


def build(pairs: list[Pair], diff: Diff) -> Iterator[dict[str, Any]]:
    """Yield the promotion of each pair, with its keys in one order, whatever the order in the diff.

    A first deployment has each outgoing key that any other promotion has, as "".
    """
    replaced = [pair.outgoing for pair in pairs if pair.outgoing]
    every = sorted({*USUAL, *(field for artifact in replaced for field in extras(tuple(artifact.fields)))})
    nothing = dict.fromkeys(keys("outgoing", tuple(every)), "")
    from_url, to_url = snapshot_url(diff.from_snapshot), snapshot_url(diff.to_snapshot)
    for incoming, commit, outgoing, old in pairs:
        promotion = dict(side("incoming", incoming, commit, diff.from_snapshot, from_url))
        promotion.update(side("outgoing", outgoing, old, diff.to_snapshot, to_url) if outgoing else nothing)
        promotion["deployment_diff_url"] = compare_page(old, commit) if commit else ""
        yield promotion


@cache
def extras(fields: tuple[str, ...]) -> list[str]:
    """Return which fields of an artifact a promotion takes over as they are. A derived value is never overwritten."""
    return sorted({*fields} - {*FIELDS, *derived(None), *ORIGIN})


def side(name: str, artifact: Artifact, commit: Commit | None, snapshot_id: str, page: str) -> Iterable[Item]:
    """Return one side of a promotion, its keys with their values. What cannot be parsed is ""."""
    fields = artifact.fields
    own = tuple(fields)
    values = (
        *(artifact.name, artifact.fingerprint, artifact.flow, artifact.commit_url or ""),
        *derived(commit).values(),
        *map(fields.get, extras(own)),
        snapshot_id,
        f"{page}?fingerprint={artifact.fingerprint}" if page and artifact.fingerprint else page,
    )
    return zip(keys(name, own), values, strict=True)


@cache
def keys(name: str, own: tuple[str, ...]) -> list[str]:
    """Return the keys of one side of a promotion whose artifact has the fields `own`, in their order."""
    return [f"{name}_{field}" for field in (*FIELDS, *derived(None), *extras(own), *ORIGIN)]


def derive(promotion: dict[str, Any]) -> dict[str, str]:
    """Return every derived key of a promotion: those of both commits, and the page that compares them."""
    urls = {side: promotion.get(f"{side}_commit_url") for side in SIDES}
    commits = {side: parse(url) if isinstance(url, str) else None for side, url in urls.items()}
    keys = {f"{side}_{key}": value for side in SIDES for key, value in derived(commits[side]).items()}
    new = commits["incoming"]
    return {**keys, "deployment_diff_url": compare_page(commits["outgoing"], new) if new else ""}


def read_release(document: Any, source: str = "stdin") -> list[Promotion]:
    """Return the release in a JSON document. Anything else is Unusable, named by its place: [3].incoming_flow.

    What is derived is derived again: a release that says otherwise is refused, and what an earlier version left out is
    added.
    """
    causes = []
    for index, fields in enumerate(document if isinstance(document, list) else []):
        if isinstance(fields, dict):
            for key, value in derive(fields).items():
                if fields.setdefault(key, value) != value:
                    given = printable(fields[key])
                    causes.append(f"{source}: [{index}].{key}: {given} does not follow from the commit URLs: {value}")
    release = typed(document, list[Promotion], f"{source} is not a release")
    if causes:
        raise Unusable(*causes)
    for promotion, fields in zip(release, document, strict=True):
        promotion.fields = fields
    return release


def read_approved(path: str) -> list[Promotion]:
    """Return the release in a file. With DIGEST set, a file that has another is Unusable."""
    release = read_release(read_file(path), printable(path))
    wanted = this_run().digest
    if wanted and digest(release) != wanted:
        raise Unusable(f"{printable(path)}: its digest is {digest(release)}, approved was {printable(wanted)}")
    return release


def proposed() -> int:
    """Return when the release was proposed, in seconds since 1970: what the file PROPOSED says."""
    path = this_run().proposed
    text = read_bytes(path).decode("ascii", "replace").strip()
    if not re.fullmatch("[0-9]{1,11}", text):
        raise Unusable(f"PROPOSED: {printable(path)} does not hold the seconds that `date +%s` prints")
    return int(text)


def read_reasons() -> list[str] | None:
    """Return why a release was refused, a line each: what the file REASONS says; None where no file is named.

    No more than 100,000 characters: that is what a page and an attestation can hold.
    """
    path = this_run().reasons
    if not path:
        return None
    try:
        text = read_bytes(path).decode("utf-8", "replace")[:LONGEST_REASONS]
    except Unusable:
        text = ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines or ["it failed without a word: the log says in which step"]


def digest(release: Iterable[Promotion]) -> str:
    """Return a release's digest: a sha256 over one JSON line for each promotion, sorted."""
    lines = (json.dumps({key: getattr(p, key) for key in IN_DIGEST}, separators=(",", ":")) + "\n" for p in release)
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def in_order(release: Iterable[Promotion]) -> list[Promotion]:
    """Return promotions in the order of a release: by incoming flow, then name, then fingerprint."""
    return sorted(release, key=lambda p: (p.incoming_flow, p.incoming_name, p.incoming_fingerprint))


def fields_of(release: Iterable[Promotion]) -> list[dict[str, Any]]:
    """Return a release as the JSON that it is written as."""
    return [promotion.fields for promotion in release]


def is_rollback(release: list[Promotion], to: str) -> bool:
    """Say whether a release brings back what TO ran before."""
    return bool(release) and all(environment_of(p.incoming_snapshot_id) == to for p in release)


def require_origin(release: list[Promotion], to: str) -> None:
    """Raise Refused in a workflow for a promotion in a rollback, or the other way round.

    A rollback meets no hold, and the digest does not cover the snapshots that say that it is one.
    """
    wanted = bool(this_run().rollback_of)
    for promotion in release if variable("GITHUB_ACTIONS") else ():
        if (environment_of(promotion.incoming_snapshot_id) == to) != wanted:
            kind = "a rollback (ROLLBACK_OF)" if wanted else "no rollback (ROLLBACK_OF is empty)"
            raise Refused(
                f"{printable(promotion.incoming_flow)}: this run is {kind}, and its artifact ran in "
                f"{promotion.incoming_snapshot_id}: set ROLLBACK_OF for a rollback, or the release was replaced"
            )


def require_environments(release: list[Promotion], *environments: str) -> None:
    """Raise Unusable for a release of other environments than these. A rollback is of the same two."""
    named = {environment_of(s) for p in release for s in (p.incoming_snapshot_id, p.outgoing_snapshot_id)} - {""}
    if not named.issubset(environments):
        raise Unusable(f"the release is of {' and '.join(sorted(named))}, not of {' and '.join(environments)}")


def too_old(release: list[Promotion], from_snapshot: str, to_snapshot: str) -> list[str]:
    """Return a line for each snapshot that is older than a release: a comparison of it says nothing about the release.

    What a rollback brings back ran in TO when the release was found, so only a later recording can say that it is back.
    """
    causes = []
    for snapshot_id in (from_snapshot, to_snapshot):
        environment, _, number = snapshot_id.rpartition("#")
        needed = [
            int(old.rpartition("#")[2]) + (old is promotion.incoming_snapshot_id and snapshot_id is to_snapshot)
            for promotion in release
            for old in (promotion.incoming_snapshot_id, promotion.outgoing_snapshot_id)
            if environment_of(old) == environment
        ]
        if int(number) < max(needed, default=0):
            causes.append(f"{snapshot_id} is too old for this release: wait for {environment}#{max(needed)} or later")
    return causes


def snapshot_url(snapshot_id: str) -> str:
    """Return the page of a snapshot, "" when no organisation is configured. Of several hosts, the first."""
    organisation = settings().kosli.org.partition(",")[0].strip()
    environment, _, number = snapshot_id.rpartition("#")
    return (
        f"{hosts(settings())[0]}/{organisation}/environments/{environment}/snapshots/{number}" if organisation else ""
    )
