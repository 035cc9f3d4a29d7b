#!/usr/bin/env python3
"""Ask Kosli until TO runs exactly what was approved, or the time is up.

stdout  [{"flow", "fingerprint", "outcome", "running", "snapshot_id", "seconds"}, ...] in the release's order. outcome:
          landed            TO runs the approved artifact, no other of its flow, and nothing of what it replaces
          another landed    TO runs something else: neither the approved artifact nor the one that it replaces
          not landed        anything else
        running: the fingerprints that TO runs for the flow; seconds: how long after the start that was first seen
stderr  a progress bar on a terminal, otherwise a line whenever something changes
exit    0 all landed, 1 some did not, 2 not a release, 3 Kosli gave no answer at all, 130 or 143 stopped by a signal
reads   FROM_ENV TO_ENV (only their latest snapshots are asked for) VERIFY_INTERVAL VERIFY_TIMEOUT DIGEST MATCH_BY
        RENAMED_FLOWS KOSLI_...

    scripts/verify.py release.json
"""

import os
import time
from collections.abc import Iterator

from lib.kosli import ask_for_diff, require_settings
from lib.model import Diff, Ending, Outcome, Promotion
from lib.processes import stop_on_signals
from lib.releases import read_approved, require_environments, too_old
from lib.rules import by_key, environment_of, matcher
from lib.settings import settings
from lib.streams import KosliFailed, one_file, printable, run, say, write_json

from tqdm import tqdm

SHORTEST_QUESTION = 5.0  # seconds that Kosli gets for an answer, even at the end of the time


def outcomes(approved: list[Promotion], diff: Diff, seconds: float, known: list[Outcome]) -> list[Outcome]:
    """Return what became of each approved promotion, as a diff shows it `seconds` after the start.

    What has not changed since it was `known` keeps the time when it was first seen.
    """
    match = matcher()
    runs_in_to = by_key(diff.running_in_to, match)
    all_in_to = {artifact.fingerprint for artifact in diff.running_in_to}
    first_seen = {(outcome.fingerprint, outcome.outcome, *outcome.running): outcome.seconds for outcome in known}
    seen = []
    for promotion in approved:
        fingerprint = promotion.incoming_fingerprint
        running = sorted(artifact.fingerprint for artifact in runs_in_to.get(match(promotion.incoming), []))
        ended = ending(promotion, set(running), all_in_to)
        since = first_seen.get((fingerprint, ended, *running), round(seconds, 1))
        seen.append(Outcome(promotion.incoming_flow, fingerprint, ended, running, diff.to_snapshot, since))
    return seen


def ending(promotion: Promotion, running: set[str], all_in_to: set[str]) -> Ending:
    """Return what became of a promotion, by the fingerprints that TO runs: of its flow, and of all."""
    incoming, outgoing = promotion.incoming_fingerprint, promotion.outgoing_fingerprint
    if running == {incoming}:
        return "not landed" if outgoing and outgoing in all_in_to else "landed"
    return "another landed" if running and running.isdisjoint((incoming, outgoing)) else "not landed"


def looks(
    approved: list[Promotion], environments: tuple[str, str], interval: float, timeout: float
) -> Iterator[tuple[list[Outcome], str]]:
    """Yield what is known after each question, and why the question failed if it did, until all have landed.

    A question that fails is no verdict: what is known stays, and the next one is asked until the time is up.
    """
    start = time.monotonic()
    known: list[Outcome] = []
    while True:
        try:
            rest = start + timeout - time.monotonic()
            diff = ask_for_diff(environments, within=max(rest, SHORTEST_QUESTION))[1]
            if old := too_old(approved, diff.from_snapshot, diff.to_snapshot):
                raise KosliFailed("; ".join(old))
            known = outcomes(approved, diff, time.monotonic() - start, known)
            yield known, ""
            if all(outcome.outcome == "landed" for outcome in known):
                return
        except KosliFailed as error:
            yield known, error.causes[0]
        rest = start + timeout - time.monotonic()
        if rest <= 0:
            return
        time.sleep(min(interval, rest))


def progress(known: list[Outcome], trouble: str) -> str:
    """Return where things stand, in a line."""
    if trouble:
        return f"no verdict yet: {trouble}"
    waiting = [f"{printable(outcome.flow)}: {outcome.outcome}" for outcome in known if outcome.outcome != "landed"]
    return f"{len(known) - len(waiting)} of {len(known)} landed{'; ' if waiting else ''}{', '.join(waiting)}"


def main(argv: list[str]) -> int:
    approved = read_approved(one_file(__doc__, argv, "APPROVED"))
    one, other = map(environment_of, settings().environments)
    require_environments(approved, one, other)
    interval, timeout = settings().verify.interval, settings().verify.timeout
    stop_on_signals()
    require_settings()
    known: list[Outcome] = []
    trouble = line = ""
    stopped = 0
    bar = tqdm(total=len(approved), disable=not os.isatty(2), unit="artifact")
    try:
        for known, trouble in looks(approved, (one, other), interval, timeout) if approved else ():
            before, line = line, progress(known, trouble)
            if not bar.disable and not trouble:
                bar.update(sum(outcome.outcome == "landed" for outcome in known) - bar.n)
            elif line != before:
                say(line)
    except KeyboardInterrupt as stop:
        stopped = 128 + stop.args[0]
    bar.close()
    if approved and not known:
        if not stopped:
            raise KosliFailed(f"no answer within {timeout:g} seconds: {trouble}")
        say("stopped before the first answer")
        return stopped
    write_json(known)
    return stopped or int(any(outcome.outcome != "landed" for outcome in known))


if __name__ == "__main__":
    run(main)
