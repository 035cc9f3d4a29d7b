#!/usr/bin/env python3
"""Compare an approved release with what runs now, and print what is left to do.

An approval can come days after the proposal, and a deployment can half fail. Each approved promotion is
  pending   its incoming artifact still runs in FROM, and TO runs what it ran when the release was proposed;
            of a rollback, whose incoming artifacts come from TO's own past, only TO counts
  landed    its incoming artifact runs in TO, alone of its flow
  changed   anything else: an environment moved on, or a deployment of its flow is in progress

stdin   a fresh diff (make snapshots)
stdout  the pending promotions, as they were approved; [] when all have landed
exit    0 done, 1 some have changed, or the diff is older than the release, 2 not a diff, not the approved release,
        or not of the same environments

settings, from the environment:
  DIGEST      the digest that the approved release must have
  SINCE       a file with an earlier diff, from right before a deployment: what has landed must be seen in a newer one
  MATCH_BY    as for promotions.py

    make -s snapshots | scripts/recheck.py release.json
"""

from __future__ import annotations

from lib.diffs import environment_of, label, listed, matcher, read_diff, running_by
from lib.filters import Refused, Unusable, printable, read_document, read_file, run, say, setting, usage, write_json
from lib.releases import artifact_of, is_first, number_of, read_approved, require_environments, too_old

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from lib.diffs import Artifact, Diff
    from lib.releases import Release


def recheck(approved: Release, diff: Diff, since: Diff | None = None) -> tuple[Release, list[str]]:
    """Return the promotions that are left to do, and a note for each that has landed.

    Raises Refused with every promotion that has changed, when the diff is older than the release, and when one has
    landed in a diff that is no newer than `since`; Unusable for a release of other environments.
    """
    match = matcher()
    runs_in_from, runs_in_to = running_by(match, diff.running_in_from), running_by(match, diff.running_in_to)
    from_environment, to_environment = environment_of(diff.from_snapshot), environment_of(diff.to_snapshot)
    require_environments(approved, from_environment, to_environment)
    old = too_old(approved, diff.from_snapshot, diff.to_snapshot)
    if old:
        raise Refused(*old)
    pending, notes, changes = [], [], []
    for promotion in approved:
        incoming = artifact_of(promotion, "incoming")
        outgoing = [] if is_first(promotion) else [artifact_of(promotion, "outgoing")]
        key = match(incoming)
        in_from, in_to = runs_in_from.get(key, []), runs_in_to.get(key, [])
        origin = environment_of(promotion["incoming_snapshot_id"])
        if same(in_to, [incoming]):
            notes.append(f"{to_environment}: {printable(incoming['flow'])}: {label(incoming)}: has landed")
        elif same(in_to, outgoing) and (origin != from_environment or same(in_from, [incoming])):
            pending.append(promotion)
        else:
            changes.append(
                f"{printable(incoming['flow'])}: approved: {label(incoming)} replaces {listed(outgoing) or 'nothing'}; "
                f"now {from_environment} runs {listed(in_from) or 'nothing of it'}, "
                f"{to_environment} runs {listed(in_to) or 'nothing of it'}"
            )
    if changes:
        raise Refused(*changes)
    if notes and since:
        require_newer(diff.to_snapshot, since.to_snapshot)
    return pending, notes


def require_newer(snapshot_id: str, since: str) -> None:
    """Raise Refused for a snapshot that is no newer than another one, Unusable for one of another environment."""
    environment, number = environment_of(snapshot_id), number_of(since)
    if environment_of(since) != environment:
        raise Unusable(f"SINCE is of {environment_of(since)}, not of {environment}")
    if number_of(snapshot_id) <= number:
        raise Refused(f"{snapshot_id} is too old for this release: wait for {environment}#{number + 1} or later")


def same(running: Iterable[Artifact], wanted: Iterable[Artifact]) -> bool:
    """Say whether these artifacts run and no other: known by fingerprint, or by name where there is none."""
    return sorted(map(identity, running)) == sorted(map(identity, wanted))


def identity(artifact: Artifact) -> str:
    """Return what an artifact is known by."""
    return str(artifact["fingerprint"] or artifact["name"])


def main(argv: list[str]) -> int:
    """Read a fresh diff, write what is left of the approved release."""
    (path,) = usage(argv, "APPROVED")
    approved = read_approved(path, setting("DIGEST"))
    before = setting("SINCE")
    since = read_diff(read_file(before), printable(before)) if before else None
    pending, notes = recheck(approved, read_diff(read_document()), since)
    write_json(pending)
    for note in notes:
        say(note)
    return 0


if __name__ == "__main__":
    run(main, __doc__)
