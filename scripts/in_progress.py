#!/usr/bin/env python3
"""Say which deployments are in progress: flows with more than one fingerprint running in one environment.

stdin   the diff of two snapshots (make snapshots)
stdout  [{"environment", "snapshot_id", "flow", "artifacts": [{"name", "fingerprint"}, ...]}, ...], FROM's before
        TO's, by flow; [] when there are none
exit    0 nothing in progress, 1 something is, or the diff is of other environments, 2 not a diff
reads   MATCH_BY RENAMED_FLOWS FROM_ENV TO_ENV

    make snapshots | scripts/in_progress.py
"""

from lib.rules import in_progress, read_diff, require_named_environments
from lib.streams import no_arguments, read_document, run, write_json


def main(argv: list[str]) -> int:
    no_arguments(__doc__, argv)
    diff = read_diff(read_document())
    require_named_environments(diff)
    deployments = in_progress(diff)
    write_json(deployments)
    return 1 if deployments else 0


if __name__ == "__main__":
    run(main)
