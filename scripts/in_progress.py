#!/usr/bin/env python3
"""Say which deployments are in progress: flows with more than one artifact running in one environment.

stdin   the diff of two snapshots (make snapshots)
stdout  [{"environment", "snapshot_id", "flow", "artifacts": [{"name", "fingerprint"}, ...]}, ...], FROM's before
        TO's, by flow; [] when there are none
exit    0 nothing in progress, 1 something is, 2 not a diff

settings, from the environment:
  MATCH_BY    flow (default), or image: flow and image name, for a flow that builds several images

    make -s snapshots | scripts/in_progress.py
"""

from __future__ import annotations

from lib.diffs import in_progress, matcher, read_diff
from lib.filters import read_document, run, usage, write_json


def main(argv: list[str]) -> int:
    """Read the diff, write the deployments in progress; 1 when there are any, as diff does."""
    usage(argv)
    found = in_progress(read_diff(read_document()), matcher())
    write_json(found)
    return 1 if found else 0


if __name__ == "__main__":
    run(main, __doc__)
