#!/usr/bin/env python3
"""Hand a release to the next jobs of a GitHub workflow.

stdin   a release (make promotions)
stdout  nothing, or without GITHUB_OUTPUT what would be appended to that file:
          promotions=[...]   one line, only the keys that jobs use (jq/matrix.jmespath)
          any=true           false when there is nothing to promote
          count=2            so that a list that GitHub dropped is noticed
          digest=...         what the release is known by: a sha256
exit    0 done, 1 more than a workflow can take, 2 not a release, or the file cannot be written (then it is as before)

    scripts/github_output.py < release.json
"""

from __future__ import annotations

import json
import os

from lib.filters import Refused, Unusable, printable, read_document, run, setting, usage, write
from lib.queries import select
from lib.releases import digest, read_release

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lib.releases import Release

MOST_JOBS = 256  # in a matrix
MOST_CHARACTERS = 500_000  # in all outputs of a job: 1 MB, counted as UTF-16, with some room


def outputs(release: Release) -> str:
    """Return the lines for $GITHUB_OUTPUT. ASCII only: nothing in a name can begin another line."""
    matrix = json.dumps(select("matrix", release), separators=(",", ":")).replace("##[", r"\u0023#[")
    found = {
        "promotions": matrix,
        "any": "true" if release else "false",
        "count": str(len(release)),
        "digest": digest(release),
    }
    if len(release) > MOST_JOBS:
        raise Refused(
            f"{len(release)} promotions, and a workflow's matrix takes {MOST_JOBS}: promote some of the flows at a "
            "time with FLOWS"
        )
    if len(matrix) > MOST_CHARACTERS:
        raise Refused(
            f"{len(matrix)} characters, and a job's outputs take {MOST_CHARACTERS}: promote some of the flows at a "
            "time with FLOWS"
        )
    return "".join(f"{key}={value}\n" for key, value in found.items())


def append(path: str, text: str) -> None:
    """Append to a file all of a text or nothing, on a line of its own."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError as error:
        raise Unusable(f"{printable(path)}: cannot be written: {error.strerror}") from None
    size = os.fstat(descriptor).st_size
    try:
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            text = f"\n{text}"
        rest = text.encode()
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.close(descriptor)
    except OSError as error:
        try:
            os.ftruncate(descriptor, size)
        except OSError:
            pass  # not a file, so nothing of it is kept
        raise Unusable(f"{printable(path)}: cannot be written: {error.strerror}") from None


def main(argv: list[str]) -> int:
    """Read the release, append the outputs."""
    usage(argv)
    text = outputs(read_release(read_document()))
    path = setting("GITHUB_OUTPUT")
    if path:
        append(path, text)
    else:
        write(text.encode())
    return 0


if __name__ == "__main__":
    run(main, __doc__)
