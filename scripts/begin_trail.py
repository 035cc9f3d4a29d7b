#!/usr/bin/env python3
"""Begin the trail of one release in the release flow. Safe to run again.

stdout  {"flow", "trail"}
exit    0 done, 2 wrong settings, 3 Kosli could not record it (has make kosli-setup created the flow?)
reads   RELEASE_FLOW RELEASE_TRAIL KOSLI_...

    RELEASE_TRAIL=run-42 scripts/begin_trail.py
"""

from lib.kosli import begin_trail
from lib.processes import stop_on_signals
from lib.settings import release_trail, settings
from lib.streams import no_arguments, run, write_json


def main(argv: list[str]) -> int:
    no_arguments(__doc__, argv)
    flow, trail = settings().release_flow, release_trail()
    stop_on_signals()
    begin_trail(flow, trail, "One release into production")
    write_json({"flow": flow, "trail": trail})
    return 0


if __name__ == "__main__":
    run(main)
