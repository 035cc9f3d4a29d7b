#!/usr/bin/env python3
"""Invert a release: what it brought in goes out, and what it replaced comes back.

stdin   a release (make promotions)
stdout  the inverse release, of the same shape and order; [] when the release is empty
stderr  what cannot be rolled back, and why: a first deployment replaced nothing
exit    0 done, 1 refused: none of it can be rolled back, 2 not a release

    make -s promotions | scripts/rollback.py
"""

from __future__ import annotations

from lib.commit_urls import compare_page, parse
from lib.diffs import digest_differs
from lib.filters import Refused, printable, read_document, run, say, usage, write_json
from lib.releases import artifact_of, in_order, is_first, read_release

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lib.releases import Promotion, Release

_SWAPPED = {"incoming": "outgoing", "outgoing": "incoming"}


def rollback(release: Release) -> tuple[Release, list[str]]:
    """Return the inverse release, and a note for each promotion that has none."""
    inverse, notes = [], []
    for promotion in release:
        reason = why_not(promotion)
        if reason:
            flow, name = printable(promotion["incoming_flow"]), printable(promotion["incoming_name"])
            notes.append(f"{flow}: {name}: cannot be rolled back: {reason}")
        else:
            inverse.append(swapped(promotion))
    return in_order(inverse), notes


def why_not(promotion: Promotion) -> str:
    """Return why a promotion cannot be rolled back, "" when it can."""
    if is_first(promotion):
        return "it is a first deployment, there is nothing to go back to"
    if not promotion["outgoing_fingerprint"]:
        return "what it replaces has no fingerprint"
    if digest_differs(artifact_of(promotion, "outgoing")):
        return "the digest in the name of what it replaces is not its fingerprint"
    if not parse(promotion["outgoing_commit_url"]):
        return "the commit of what it replaces is not known"
    return ""


def swapped(promotion: Promotion) -> Promotion:
    """Return a promotion the other way round, with the compare page the other way round too."""
    sides: dict[str, Promotion] = {"incoming": {}, "outgoing": {}}
    for key, value in promotion.items():
        side, _, field = key.partition("_")
        if side in _SWAPPED:
            sides[_SWAPPED[side]][f"{_SWAPPED[side]}_{field}"] = value
    new, old = parse(promotion["outgoing_commit_url"]), parse(promotion["incoming_commit_url"])
    assert new, "why_not has looked"
    return {**sides["incoming"], **sides["outgoing"], "deployment_diff_url": compare_page(old, new)}


def main(argv: list[str]) -> int:
    """Read a release, write its inverse."""
    usage(argv)
    release = read_release(read_document())
    inverse, notes = rollback(release)
    if release and not inverse:
        raise Refused(*notes)
    write_json(inverse)
    for note in notes:
        say(note)
    return 0


if __name__ == "__main__":
    run(main, __doc__)
