#!/usr/bin/env python3
"""Put a release on one page for the person who says yes or no.

stdin   a release (make promotions); with REASONS, what was refused: a release, or nothing that can be read
stdout  Markdown, for $GITHUB_STEP_SUMMARY or a pager; always less than 1 MiB
exit    0 done, 2 not a release, a release of other environments, or a file that cannot be read

settings, from the environment; the page leaves out what is not given:
  SNAPSHOTS         the diff that the release comes from: for what stays, is left out, or is retired in FROM
  VERDICTS          the gate's verdicts, a file or a folder of files; the page names a missing verdict
  CHANGES           what scripts/changes.py printed
  PROPOSED          when it was proposed: what comes in is as old as it was then; without it, as it is now
  OVERRIDE          the reason that passes holds and freezes
  OUTCOMES          what scripts/verify.py printed: then the page says how the release ended
  REASONS           a file that says why there is no release, one reason a line
  GITHUB_RUN_ID     the number of this run, for what to do next

    make promotions | scripts/summary.py
"""

from lib.page import markdown
from lib.streams import no_arguments, run, write


def main(argv: list[str]) -> int:
    no_arguments(__doc__, argv)
    write(markdown().encode())
    return 0


if __name__ == "__main__":
    run(main)
