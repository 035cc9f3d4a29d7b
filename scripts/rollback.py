#!/usr/bin/env python3
"""Invert a release: what it brought in goes out, and what it replaced comes back.

stdin   a release (make promotions)
stdout  the inverse release, of the same shape and order; [] when the release is empty
stderr  what cannot be rolled back, and why: a first deployment replaced nothing
exit    0 done, 1 refused: nothing can be rolled back, or the code is below none of the sources, 2 not a release
reads   SOURCES

    make promotions | scripts/rollback.py
"""

from typing import Any

from lib.model import Promotion
from lib.releases import derive, fields_of, in_order, read_release
from lib.rules import cause_in_source, commit_of, why_no_rollback
from lib.streams import Refused, no_arguments, printable, read_document, run, say, write_json


def rollback(release: list[Promotion]) -> tuple[list[Promotion], list[str]]:
    """Return the inverse release, and a note for each promotion that has none. Raises Refused with every cause."""
    inverse, notes, causes = [], [], []
    for promotion in release:
        flow, name = printable(promotion.incoming_flow), printable(promotion.incoming_name)
        reason = why_no_rollback(promotion)
        commit = commit_of(promotion.outgoing)
        if reason:
            notes.append(f"{flow}: {name}: cannot be rolled back: {reason}")
        elif commit and (cause := cause_in_source(commit)):
            causes.append(f"{flow}: {printable(promotion.outgoing_name)}: {cause}")
        else:
            inverse += read_release([swapped(promotion)])
    if causes or (release and not inverse):
        raise Refused(*causes, *notes)
    return in_order(inverse), notes


def swapped(promotion: Promotion) -> dict[str, Any]:
    """Return a promotion the other way round, with the compare page the other way round too."""
    fields = {
        key.replace(side, other, 1): value
        for side, other in (("outgoing", "incoming"), ("incoming", "outgoing"))
        for key, value in promotion.fields.items()
        if key.startswith(f"{side}_")
    }
    return {**fields, "deployment_diff_url": derive(fields)["deployment_diff_url"]}


def main(argv: list[str]) -> int:
    no_arguments(__doc__, argv)
    inverse, notes = rollback(read_release(read_document()))
    write_json(fields_of(inverse))
    for note in notes:
        say(note)
    return 0


if __name__ == "__main__":
    run(main)
