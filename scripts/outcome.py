#!/usr/bin/env python3
"""Attest how a release ended, into its trail: compliant only if all that was approved has landed.

stdin   what scripts/verify.py printed; empty if it did not finish: then no outcome is known, which is not compliant
stdout  what was attested: {"digest", "landed", "count", "outcomes": [...]}
exit    0 attested, 2 not outcomes, or not the approved release, 3 not recorded in Kosli
reads   DIGEST RELEASE_FLOW RELEASE_TRAIL KOSLI_... and EVIDENCE: a folder to attach (scripts/evidence.py)

    scripts/outcome.py release.json <outcomes.json
"""

import os

from lib.kosli import Told, attest, attested
from lib.model import Outcome, Promotion
from lib.processes import stop_on_signals
from lib.releases import digest, read_approved
from lib.settings import this_run
from lib.streams import one_file, parse, read_bytes, run, typed, write_json


def landed(approved: list[Promotion], outcomes: list[Outcome]) -> int:
    """Return how many approved promotions have landed."""
    there = {(outcome.flow, outcome.fingerprint) for outcome in outcomes if outcome.outcome == "landed"}
    return sum((promotion.incoming_flow, promotion.incoming_fingerprint) in there for promotion in approved)


def main(argv: list[str]) -> int:
    approved = read_approved(one_file(__doc__, argv, "APPROVED"))
    raw = read_bytes("/dev/stdin")
    outcomes = typed(parse(raw, "stdin"), list[Outcome], "stdin is not outcomes") if raw.strip() else []
    count = landed(approved, outcomes)
    data = {"digest": digest(approved), "landed": count, "count": len(approved), "outcomes": outcomes}
    compliant = bool(outcomes) and count == len(approved)
    stop_on_signals()
    command = ("generic", "--description", f"{count} of {len(approved)} have landed")
    attachments = ("--attachments", os.path.abspath(this_run().evidence)) if this_run().evidence else ()
    facts = attested("outcome", "generic", compliant=compliant)
    attest([Told(facts, (*command, *attachments), data=data)])
    write_json(data)
    return 0


if __name__ == "__main__":
    run(main)
