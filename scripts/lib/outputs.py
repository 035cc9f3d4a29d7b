"""The outputs of a workflow's step: the lines of $GITHUB_OUTPUT."""

import os
from collections.abc import Mapping

from lib.settings import variable
from lib.streams import Unusable, printable, write


def append_outputs(outputs: Mapping[str, object]) -> None:
    """Append the lines NAME=value to $GITHUB_OUTPUT, or write them to stdout where there is none.

    A line break is escaped: it would begin another output.
    """
    text = "".join(f"{name}={printable_line(value)}\n" for name, value in outputs.items())
    path = variable("GITHUB_OUTPUT")
    if path:
        _append(path, text)
    else:
        write(text.encode())


def printable_line(value: object) -> str:
    """Return a value whole, on one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(value))


def _append(path: str, text: str) -> None:
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
            pass  # a pipe or a terminal: what was written cannot be taken back
        raise Unusable(f"{printable(path)}: cannot be written: {error.strerror}") from None
