#!/usr/bin/env python3
"""Check that the outputs of scripts/github_output.py arrived whole in this job of a GitHub workflow.

GitHub drops a job's output that holds a registered secret, and the job stays green. Each of the four tells of the
others. The list comes in columns: one variable of the environment holds 128 KiB, a list of 256 promotions is longer.

    env:
      ANY: ${{ needs.find-promotions.outputs.any }}
      COUNT: ${{ needs.find-promotions.outputs.count }}
      DIGEST: ${{ needs.find-promotions.outputs.digest }}
      INCOMING_FLOW: ${{ toJSON(fromJSON(needs.find-promotions.outputs.promotions).*.incoming_flow) }}
      INCOMING_FINGERPRINT: ${{ toJSON(fromJSON(needs.find-promotions.outputs.promotions).*.incoming_fingerprint) }}
      OUTGOING_FINGERPRINT: ${{ toJSON(fromJSON(needs.find-promotions.outputs.promotions).*.outgoing_fingerprint) }}

stdout  nothing
exit    0 they are whole, 1 they are not
"""

from __future__ import annotations

import json

from lib.filters import Refused, printable, run, setting, usage
from lib.releases import digest

COLUMNS = ("incoming_flow", "incoming_fingerprint", "outgoing_fingerprint")
WAY_OUT = "a secret that stands in every image name, such as an account id, makes GitHub drop it: keep it a variable"


def check(values: dict[str, str]) -> None:
    """Raise Refused unless the list has COUNT promotions known by DIGEST, and ANY says whether it is empty."""
    lost = [name for name, value in values.items() if not value]
    if lost:
        raise Refused(*(f"{name} is empty: the output was dropped; {WAY_OUT}" for name in lost))
    columns = []
    for name in COLUMNS:
        try:
            # Of an empty list a column is [] or null.
            column = [] if values[name.upper()] == "null" else json.loads(values[name.upper()])
        except (ValueError, RecursionError):
            column = None
        if type(column) is not list or not all(type(value) is str for value in column):
            raise Refused(f"{name.upper()} is no list of strings: {printable(values[name.upper()])}")
        columns.append(column)
    if len(set(map(len, columns))) != 1:
        raise Refused(f"a part of the list is missing: {', '.join(str(len(column)) for column in columns)} values")
    release = [dict(zip(COLUMNS, row)) for row in zip(*columns)]
    arrived = {
        "ANY": "true" if release else "false",
        "COUNT": str(len(release)),
        "DIGEST": digest(release),
    }
    wrong = [
        f"{name} is {printable(values[name])}, the list says {value}"
        for name, value in arrived.items()
        if values[name] != value
    ]
    if wrong:
        raise Refused(*wrong)


def main(argv: list[str]) -> int:
    """Check the outputs, which are in the environment."""
    usage(argv)
    check({name: setting(name) for name in ("ANY", "COUNT", "DIGEST", *map(str.upper, COLUMNS))})
    return 0


if __name__ == "__main__":
    run(main, __doc__)
