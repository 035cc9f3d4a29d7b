#!/usr/bin/env python3
"""Print the diff of two snapshots: what runs in FROM, in TO, and in both.

stdout  the diff, as `kosli diff snapshots FROM_ENV TO_ENV --output=json` gave it
exit    0 done, 2 wrong settings, 3 Kosli could not be asked

settings, from the environment:
  FROM_ENV, TO_ENV    the two environments, or Kosli's expressions for their snapshots: aws-beta#4754, aws-prod~1
  SNAPSHOTS           a file with a saved diff, to read instead of asking Kosli

    scripts/snapshots.py | scripts/promotions.py
"""

from __future__ import annotations

from lib.filters import parse, read_bytes, run, setting, usage, write


def main(argv: list[str]) -> int:
    """Write the saved diff, or the one that Kosli gives."""
    usage(argv)
    saved = setting("SNAPSHOTS")
    diff = read_bytes(saved) if saved else ask(setting("FROM_ENV", "aws-beta"), setting("TO_ENV", "aws-prod"))
    write(diff if diff.endswith(b"\n") else diff + b"\n")
    return 0


def ask(from_environment: str, to_environment: str) -> bytes:
    """Return the diff of two snapshots, after a look that it is JSON."""
    import subprocess

    command = ["kosli", "diff", "snapshots", from_environment, to_environment, "--output=json"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    parse(answer, "the answer of kosli diff snapshots")
    return answer


if __name__ == "__main__":
    run(main, __doc__)
