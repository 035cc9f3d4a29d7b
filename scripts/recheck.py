#!/usr/bin/env python3
"""Compare an approved release with what runs now, and print what is left to do.

An approval can come days after the proposal, and a deployment can half fail. Each approved promotion is
  pending   its incoming artifact still runs in FROM, and TO runs what it ran when the release was proposed;
            of a rollback, whose incoming artifacts come from TO's own past, only TO counts
  landed    its incoming artifact runs in TO, alone of its flow
  changed   anything else: an environment moved on, or a deployment of its flow is in progress

stdin   a fresh diff (make snapshots)
stdout  the pending promotions, as they were approved; [] when all have landed
exit    0 done, 1 some have changed, the diff is older than the release, or nothing is left to do, 2 not a diff, not the
        approved release, or not of the same environments

settings, from the environment:
  DIGEST          the digest that the approved release must have
  NOTHING_LEFT    accept (default), or refuse: what becomes of a release of which nothing is left to do
  MATCH_BY        as for promotions.py

    make -s snapshots | scripts/recheck.py release.json
"""

from __future__ import annotations

from lib.diffs import environment_of, label, listed, matcher, read_diff, running_by
from lib.filters import Refused, choice, printable, read_document, run, say, setting, usage, write_json
from lib.releases import artifact_of, is_first, read_approved, require_environments, too_old

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from lib.diffs import Artifact, Diff
    from lib.releases import Release


def recheck(approved: Release, diff: Diff) -> tuple[Release, list[str]]:
    """Return the promotions that are left to do, and a note for each that has landed.

    Raises Refused with every promotion that has changed, when the diff is older than the release, and by NOTHING_LEFT
    when nothing is left to do; Unusable for a release of other environments.
    """
    match = matcher()
    refuse_nothing = choice("NOTHING_LEFT", ("accept", "refuse")) == "refuse"
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
    if refuse_nothing and not pending:
        raise Refused(f"{diff.to_snapshot}: nothing is left to do: {to_environment} runs all of it already", *notes)
    return pending, notes


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
    pending, notes = recheck(approved, read_diff(read_document()))
    write_json(pending)
    for note in notes:
        say(note)
    return 0


if __name__ == "__main__":
    run(main, __doc__)
