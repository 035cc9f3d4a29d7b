#!/usr/bin/env python3
"""Print the diff of two snapshots: what runs in FROM, in TO, and in both.

stdout  the diff, as `kosli diff snapshots FROM_ENV TO_ENV --output=json` gave it
exit    0 done, 2 wrong settings, or a saved diff that is not JSON, 3 Kosli could not be asked

settings, from the environment:
  FROM_ENV, TO_ENV    the two environments, or Kosli's expressions for their snapshots: aws-beta#4754, aws-prod~1
  SNAPSHOTS           a file with a saved diff, to read instead of asking Kosli
  KOSLI_HOST, KOSLI_ORG, KOSLI_API_TOKEN, KOSLI_HTTP_PROXY, KOSLI_MAX_API_RETRIES    as the CLI reads them
  KOSLI_TIMEOUT       seconds that Kosli may take, 120 by default

    scripts/snapshots.py | scripts/promotions.py
"""

from __future__ import annotations

from lib.filters import Unusable, parse, printable, read_bytes, run, setting, usage, write


def main(argv: list[str]) -> int:
    """Write the saved diff, or the one that Kosli gives."""
    usage(argv)
    saved = setting("SNAPSHOTS")
    diff = read_saved(saved) if saved else ask_for_diff()
    write(diff if diff.endswith(b"\n") else diff + b"\n")
    return 0


def read_saved(path: str) -> bytes:
    """Return the diff in a file as it is, after a look that it is JSON."""
    diff = read_bytes(path)
    parse(diff, printable(path))
    return diff


def ask_for_diff() -> bytes:
    """Return the diff of FROM_ENV and TO_ENV as Kosli prints it, after a look that it is JSON."""
    from lib.kosli import ask_for_json, stop_on_signals

    expressions = setting("FROM_ENV", "aws-beta"), setting("TO_ENV", "aws-prod")
    for expression in expressions:
        if expression.startswith("-"):
            raise Unusable(f"{printable(expression)} is no environment: the CLI would take it for a flag")
    stop_on_signals()
    answer, _ = ask_for_json("diff", "snapshots", *expressions, "--output=json", "--debug=false")
    return answer


if __name__ == "__main__":
    run(main, __doc__)
