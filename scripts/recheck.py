#!/usr/bin/env python3
"""Compare an approved release with what runs now, and print what is left to do.

An approval can come days after the proposal, and a deployment can half fail. Each approved promotion is
  pending   its incoming artifact still runs in FROM, and TO runs what it ran when the release was proposed;
            in a rollback only TO counts, because the incoming artifacts come from TO's own past
  landed    its incoming artifact runs in TO, and nothing of what it replaces beside it
  changed   anything else: an environment moved on, or a deployment of its flow is in progress

stdin   a fresh diff (scripts/snapshots.py --latest)
stdout  the pending promotions, as they were approved; [] when all have landed
exit    0 done, 2 not a diff, not the approved release, or one of other environments than FROM and TO, 1 refused:
          some have changed, or are held now, or their repository is below none of the sources
          the diff is older than the release
          the release was proposed too long ago, or in the future
          nothing is left to do, and NOTHING_LEFT is refuse
          in a workflow: the release is a rollback and ROLLBACK_OF is empty, or the other way round
reads   DIGEST NOTHING_LEFT ROLLBACK_OF MATCH_BY RENAMED_FLOWS FROM_ENV TO_ENV SOURCES PROPOSED APPROVAL_MAX_AGE HOLDS
        OVERRIDE

    scripts/snapshots.py --latest | scripts/recheck.py release.json
"""

import time

from lib.holds import EVERY_FLOW, sentence, that_count, utc_now
from lib.model import Diff, Promotion
from lib.releases import fields_of, is_rollback, proposed, read_approved, require_environments, require_origin, too_old
from lib.rules import (
    by_key,
    cause_in_source,
    commit_of,
    environment_of,
    flow_of,
    label,
    listed,
    matcher,
    place,
    read_diff,
    renamed,
    require_named_environments,
    same_artifacts,
)
from lib.settings import seconds, settings, this_run, variable
from lib.streams import Refused, one_file, printable, read_document, run, say, write_json


def recheck(approved: list[Promotion], diff: Diff) -> tuple[list[Promotion], list[str]]:
    """Return the promotions that are left to do, and a note for each that has landed.

    Raises Refused with every promotion that has changed, when the diff is older than the release, and by NOTHING_LEFT
    when nothing is left to do; Unusable for a release of other environments.
    """
    match = matcher()
    runs_in_from, runs_in_to = by_key(diff.running_in_from, match), by_key(diff.running_in_to, match)
    by_fingerprint = by_key(diff.running_in_to, lambda artifact: (artifact.fingerprint,))
    one, other = environment_of(diff.from_snapshot), environment_of(diff.to_snapshot)
    require_environments(approved, one, other)
    if old := too_old(approved, diff.from_snapshot, diff.to_snapshot):
        raise Refused(*old)
    pending, notes, changes = [], [], []
    for promotion in approved:
        incoming = promotion.incoming
        outgoing = [] if promotion.is_first else [promotion.outgoing]
        in_from, in_to = runs_in_from.get(match(incoming), []), runs_in_to.get(match(incoming), [])
        replaced = promotion.outgoing_fingerprint
        beside = by_fingerprint.get((replaced,), []) if replaced else []  # whatever its name and flow
        from_to = environment_of(promotion.incoming_snapshot_id) == other
        if (commit := commit_of(incoming)) and (cause := cause_in_source(commit)):
            changes.append(f"{place(one, incoming)}: {cause}")
        elif same_artifacts(in_to, [incoming]) and not beside:
            notes.append(f"{place(other, incoming)}: has landed")
        elif same_artifacts(in_to, outgoing) and (from_to or same_artifacts(in_from, [incoming])):
            pending.append(promotion)
        else:
            changes.append(
                f"{printable(incoming.flow)}: approved: {label(incoming)} replaces {listed(outgoing) or 'nothing'}; "
                f"now {one} runs {listed(in_from) or 'nothing of it'}, {other} runs "
                f"{listed([*in_to, *(a for a in beside if a not in in_to)]) or 'nothing of it'}"
            )
    nothing_left = not pending and not changes
    for hold in [] if nothing_left or is_rollback(approved, other) else that_count(utc_now()):
        if hold.flow == EVERY_FLOW or renamed(hold.flow) in {flow_of(p.incoming) for p in pending}:
            what = "a freeze" if hold.flow == EVERY_FLOW else f"{printable(hold.flow)}: held"
            changes.append(f"{other}: {what} {printable(sentence(hold))}")
    if changes:
        raise Refused(*changes)
    if this_run().nothing_left == "refuse" and not pending:
        raise Refused(f"{diff.to_snapshot}: nothing is left to do: {other} runs all of it already", *notes)
    return pending, notes


def refuse_expired(age: float) -> None:
    """Raise Refused for a release whose proposal is longer ago than APPROVAL_MAX_AGE."""
    longest = settings().approval.max_age
    if age < -300:  # clocks differ, but not by so much
        raise Refused("the release was proposed at a time that is still to come: propose it anew")
    if age > seconds(longest):
        ago = f"{age / 86400:.1f} days ago"
        raise Refused(f"the release was proposed {ago}, and an approval is good for {longest}: propose it anew")


def refuse_pinned(expressions: tuple[str, str]) -> None:
    """Raise Refused in a workflow when FROM or TO names one snapshot: that never changes."""
    for expression in expressions if variable("GITHUB_ACTIONS") else ():
        if environment_of(expression) != expression:
            raise Refused(f"{printable(expression)} is one snapshot: a release is compared with what runs now")


def main(argv: list[str]) -> int:
    approved = read_approved(one_file(__doc__, argv, "APPROVED"))
    refuse_pinned(settings().environments)
    if this_run().proposed:
        refuse_expired(time.time() - proposed())
    diff = read_diff(read_document())
    require_named_environments(diff)
    require_origin(approved, environment_of(diff.to_snapshot))
    pending, notes = recheck(approved, diff)
    write_json(fields_of(pending))
    for note in notes:
        say(note)
    return 0


if __name__ == "__main__":
    run(main)
