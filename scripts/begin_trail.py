#!/usr/bin/env python3
"""Begin the trail of one release in the release flow. Safe to run again.

stdout  {"flow", "trail"}
exit    0 done, 2 wrong settings, 3 Kosli could not be told (has make kosli-setup created the flow?)

settings, from the environment:
  RELEASE_FLOW     the flow that records the releases, production-promotion by default
  RELEASE_TRAIL    the trail, such as the number of the workflow run
  KOSLI_...        as for snapshots.py

    RELEASE_TRAIL=run-42 scripts/begin_trail.py
"""

from __future__ import annotations

from lib.filters import run, usage, write_json
from lib.kosli import stop_on_signals
from lib.trails import begin_trail, release_flow, release_trail


def main(argv: list[str]) -> int:
    """Begin the trail."""
    usage(argv)
    stop_on_signals()
    begin_trail()
    write_json({"flow": release_flow(), "trail": release_trail()})
    return 0


if __name__ == "__main__":
    run(main, __doc__)
