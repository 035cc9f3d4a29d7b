#!/usr/bin/env python3
"""Print the diff of two snapshots: what runs in FROM, in TO, and in both.

stdout  the diff, as `kosli diff snapshots FROM TO --output=json` gave it
exit    0 done, 1 the diff is of other environments, 2 wrong settings, or a file that holds no diff, 3 Kosli could not
        be asked, or answered with something else
reads   FROM_ENV TO_ENV (environments, or Kosli's expressions for their snapshots: aws-beta#4754, aws-prod~1) SNAPSHOTS
        KOSLI_HOST KOSLI_ORG KOSLI_API_TOKEN KOSLI_TIMEOUT KOSLI_HTTP_PROXY KOSLI_MAX_API_RETRIES

--latest asks for what runs now, even if FROM or TO names one snapshot.

    scripts/snapshots.py | scripts/promotions.py
"""

from lib.kosli import ask_for_diff
from lib.processes import stop_on_signals
from lib.rules import environment_of, read_diff, require_named_environments
from lib.settings import settings, this_run
from lib.streams import Arguments, parse, printable, read_bytes, run, write


def main(argv: list[str]) -> int:
    arguments = Arguments(__doc__)
    arguments.add_argument("--latest", action="store_true")
    one, other = settings().environments
    if arguments.parse_args(argv).latest:
        one, other = environment_of(one), environment_of(other)
    if this_run().snapshots:
        diff = read_saved(this_run().snapshots)
    else:
        stop_on_signals()
        diff = ask_for_diff((one, other))[0]
    write(diff if diff.endswith(b"\n") else diff + b"\n")
    return 0


def read_saved(path: str) -> bytes:
    """Return the diff in a file as it is, after a check that it is a diff, of the environments that are named."""
    raw = read_bytes(path)
    require_named_environments(read_diff(parse(raw, printable(path)), printable(path)))
    return raw


if __name__ == "__main__":
    run(main)
