#!/usr/bin/env python3
"""Ask Kosli until TO runs exactly what was approved, or the time is up.

stdout  [{"flow", "fingerprint", "outcome", "running", "snapshot_id", "seconds"}, ...] in the release's order. outcome:
          landed            TO runs the approved artifact, and no other of its flow
          another landed    TO runs neither that nor what it should replace
          not landed        anything else
        running: the fingerprints that TO runs for the flow; seconds: when that was first seen, from the start
stderr  a progress bar on a terminal, otherwise a line whenever something changes
exit    0 all landed, 1 some did not, 2 not a release, 3 Kosli gave no answer at all, 130 or 143 stopped by a signal

settings, from the environment:
  FROM_ENV, TO_ENV    as for snapshots.py; only the environments' latest snapshots are asked for
  VERIFY_INTERVAL     seconds between two questions, 15 by default
  VERIFY_TIMEOUT      seconds until the time is up, 900 by default
  DIGEST, MATCH_BY    as for recheck.py
  KOSLI_...           as for snapshots.py

    scripts/verify.py release.json
"""

from __future__ import annotations

import os
import sys
import time

from lib.diffs import environment_of, matcher, read_diff, running_by
from lib.filters import KosliFailed, Unusable, bar, printable, run, say, setting, usage, write_json
from lib.kosli import ask_for_json, require_settings, stop_on_signals
from lib.releases import artifact_of, read_approved, require_environments, too_old

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from lib.diffs import Artifact, Diff
    from lib.releases import Promotion, Release

SHORTEST_QUESTION = 5.0  # seconds that Kosli gets for an answer, however late it is


def outcomes(approved: Release, diff: Diff) -> list[dict[str, Any]]:
    """Return what became of each approved promotion, as a diff shows it."""
    match = matcher()
    runs_in_to = running_by(match, diff.running_in_to)
    found = []
    for promotion in approved:
        running = runs_in_to.get(match(artifact_of(promotion, "incoming")), [])
        found.append(
            {
                "flow": promotion["incoming_flow"],
                "fingerprint": promotion["incoming_fingerprint"],
                "outcome": outcome(promotion, running),
                "running": sorted(artifact["fingerprint"] for artifact in running),
                "snapshot_id": diff.to_snapshot,
            }
        )
    return found


def outcome(promotion: Promotion, running: list[Artifact]) -> str:
    """Return landed, not landed or another landed, for what TO runs of a promotion's flow."""
    fingerprints = [artifact["fingerprint"] for artifact in running]
    if fingerprints == [promotion["incoming_fingerprint"]]:
        return "landed"
    expected = (promotion["incoming_fingerprint"], promotion["outgoing_fingerprint"])
    return "not landed" if not fingerprints or set(fingerprints) & set(expected) else "another landed"


def looks(
    approved: Release, environments: Iterable[str], interval: float, timeout: float
) -> Iterator[tuple[list[dict[str, Any]], str]]:
    """Yield, after each question, what is known and what went wrong with the question: until all have landed.

    A question that fails is no verdict: what is known stays, and the next one is asked until the time is up.
    """
    start = time.monotonic()
    known: list[dict[str, Any]] = []
    while True:
        rest = start + timeout - time.monotonic()
        try:
            diff = ask_for_diff(environments, rest)
            old = too_old(approved, diff.from_snapshot, diff.to_snapshot)
            if old:
                raise KosliFailed("; ".join(old))
            known = with_seconds(outcomes(approved, diff), known, time.monotonic() - start)
            yield known, ""
            if all(each["outcome"] == "landed" for each in known):
                return
        except KosliFailed as error:
            yield known, error.causes[0]
        rest = start + timeout - time.monotonic()
        if rest <= 0:
            return
        time.sleep(min(interval, rest))


def ask_for_diff(environments: Iterable[str], rest: float) -> Diff:
    """Return the diff of the two environments' latest snapshots, asked for within what is left of the time."""
    command = ("diff", "snapshots", *environments, "--output=json", "--debug=false")
    answer = ask_for_json(*command, within=max(rest, SHORTEST_QUESTION))[1]
    try:
        return read_diff(answer, "its answer")
    except Unusable as error:
        raise KosliFailed(f"kosli diff snapshots: {error.causes[0]}") from None


def with_seconds(seen: list[dict[str, Any]], known: list[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """Return outcomes with the time since the start; one that has not changed keeps its time."""
    before = {(each["fingerprint"], each["outcome"], *each["running"]): each["seconds"] for each in known}
    now = round(seconds, 1)
    return [
        {**each, "seconds": before.get((each["fingerprint"], each["outcome"], *each["running"]), now)} for each in seen
    ]


def progress(known: list[dict[str, Any]], trouble: str) -> str:
    """Return where things stand, in a line."""
    if trouble:
        return f"no verdict yet: {trouble}"
    waiting = [f"{printable(each['flow'])}: {each['outcome']}" for each in known if each["outcome"] != "landed"]
    return f"{len(known) - len(waiting)} of {len(known)} landed{'; ' if waiting else ''}{', '.join(waiting)}"


def environment(name: str, default: str) -> str:
    """Return a setting that names an environment, without the snapshot that it may name too."""
    value = environment_of(setting(name, default))
    if not value or value.startswith("-"):
        raise Unusable(f"{name}: {printable(setting(name))} is no environment")
    return value


def draw(text: str) -> None:
    """Write to the terminal, if it is still there."""
    try:
        os.write(2, text.encode())
    except OSError:
        pass


def seconds(name: str, default: str) -> float:
    """Return a setting that is a number of seconds."""
    value = setting(name, default)
    try:
        number = float(value)
    except ValueError:
        number = -1
    if not 0 <= number <= 86400:
        raise Unusable(f"{name}: {printable(value)} is no number of seconds")
    return number


def main(argv: list[str]) -> int:
    """Ask until all of the approved release has landed, write the outcomes."""
    (path,) = usage(argv, "APPROVED")
    approved = read_approved(path, setting("DIGEST"))
    environments = environment("FROM_ENV", "aws-beta"), environment("TO_ENV", "aws-prod")
    require_environments(approved, *environments)
    interval, timeout = seconds("VERIFY_INTERVAL", "15"), seconds("VERIFY_TIMEOUT", "900")
    matcher()
    stop_on_signals()
    require_settings()
    known: list[dict[str, Any]] = []
    trouble = line = end = ""
    stopped = 0
    on_terminal = bool(sys.stderr) and sys.stderr.isatty()
    try:
        for known, trouble in looks(approved, environments, interval, timeout) if approved else ():
            before, line = line, progress(known, trouble)
            if on_terminal and not trouble:
                end = "\n"
                draw(bar(sum(each["outcome"] == "landed" for each in known), len(known)))
            elif line != before:
                draw(end)
                end = ""
                say(line)
    except KeyboardInterrupt as stop:
        stopped = 128 + (stop.args[0] if stop.args else 2)
    draw(end)
    if approved and not known:
        if not stopped:
            raise KosliFailed(f"no answer within {timeout:g} seconds: {trouble}")
        say("stopped before the first answer")
        return stopped
    write_json(known)
    return stopped or int(any(each["outcome"] != "landed" for each in known))


if __name__ == "__main__":
    run(main, __doc__)
