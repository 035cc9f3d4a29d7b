"""The streams and exit codes of a filter: one JSON document in, one out, one line a cause when it goes wrong.

exit    0 done, 1 refused, 2 wrong usage or not the document expected, 3 Kosli could not be asked
"""

from __future__ import annotations

import gc
import json
import os
import sys
from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

# From this size on orjson is faster although its import takes longer than the whole of a small release.
LARGE = 1 << 17
LONGEST_VALUE = 400


class Stop(Exception):
    """Ends a script with `code`, after a line on stderr for each of `causes`. Values in them pass `printable` first."""

    code = 1

    def __init__(self, *causes: str) -> None:
        super().__init__(*causes)
        self.causes = causes


class Refused(Stop):
    """The release must not go on."""


class Unusable(Stop):
    """Wrong usage, or not the document that this script reads."""

    code = 2


class KosliFailed(Stop):
    """Kosli could not be asked, or did not answer in a way that can be trusted."""

    code = 3


def printable(value: object) -> str:
    """Return a value as text that stays on its line and cannot act as a terminal's or a workflow's command."""
    text = str(value)
    if len(text) > LONGEST_VALUE:
        text = f"{text[:LONGEST_VALUE]}... ({len(text)} characters)"
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text.replace("##[", r"\x23\x23[")


def say(line: str) -> None:
    """Write one line to stderr, with the script's name before it. An unwritable stderr is no reason to fail."""
    text = f"{os.path.basename(sys.argv[0])}: {line}\n"
    try:
        os.write(2, text.encode("utf-8", "backslashreplace"))
    except OSError:
        pass


def bar(done: int, total: int) -> str:
    """Return a progress bar, which is drawn over the one before."""
    filled = 40 * done // total
    return f"\r[{'#' * filled}{'.' * (40 - filled)}] {done}/{total}"


def setting(name: str, default: str = "") -> str:
    """Return an environment variable; an empty one counts as unset, as make exports it."""
    value = os.environ.get(name) or default
    return value if value.isascii() else os.fsencode(value).decode("utf-8", "replace")


def choice(name: str, choices: tuple[str, ...]) -> str:
    """Return an environment variable that takes one of `choices`, the first one by default."""
    value = setting(name, choices[0])
    if value not in choices:
        raise Unusable(f"{name}: {printable(value)} is not one of: {', '.join(choices)}")
    return value


def usage(argv: list[str], *names: str) -> list[str]:
    """Return the arguments if there are as many as names, none of them empty: make passes what is unset as that."""
    if len(argv) != len(names) or not all(argv):
        raise Unusable(f"usage: {' '.join((os.path.basename(sys.argv[0]), *names))} (--help says more)")
    return argv


def parse(raw: bytes, source: str) -> Any:
    """Return the JSON document in `raw`. `source` names it in the errors (Unusable).

    Stricter than json: no NaN, no number beyond 64 bits, no lone surrogate, no key twice. In a document of LARGE bytes
    or more only a category of artifacts is looked for twice, and a number beyond 64 bits becomes a float.
    """
    if not raw or raw.isspace():
        raise Unusable(f"{source} is empty: the command before it died, or printed nothing")
    try:
        if len(raw) >= LARGE and raw.count(b'"artifacts"') <= 4 and b"\\u" not in raw:
            import orjson

            return orjson.loads(raw)
        text = raw.decode("utf-8")
        document = json.loads(
            text, object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
        )
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
        return document
    except json.JSONDecodeError as error:
        raise Unusable(
            f"{source} is not JSON: line {error.lineno}, column {error.colno}: {printable(error.msg)}"
        ) from None
    except UnicodeDecodeError as error:
        raise Unusable(f"{source} is not UTF-8: byte {error.start}") from None
    except UnicodeEncodeError:
        raise Unusable(f"{source} is not JSON: it holds half of a surrogate pair") from None
    except RecursionError:
        raise Unusable(f"{source} is not usable JSON: it is nested too deeply") from None
    except ValueError as error:
        raise Unusable(f"{source} is not usable JSON: {printable(error)}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = max(keys, key=keys.count)
        raise ValueError(f"the key {printable(twice)} stands twice in one object")
    return document


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -(1 << 63) <= int(digits) < 1 << 64:
        raise ValueError(f"the number {digits[:24]}... does not fit into 64 bits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {digits[:24]} does not fit into 64 bits")
    return value


def _constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def read_document() -> Any:
    """Return the JSON document on stdin, read to its end."""
    if sys.stdin is None:
        raise Unusable("stdin is closed")
    if sys.stdin.isatty():
        raise Unusable("stdin is a terminal: pipe a document in (--help says which)")
    try:
        os.set_blocking(0, True)
        raw = sys.stdin.buffer.read()
    except OSError as error:
        raise Unusable(f"stdin cannot be read: {_reason(error)}") from None
    return parse(raw, "stdin")


def read_file(path: str, empty: Any = None) -> Any:
    """Return the JSON document in a file. An empty file is Unusable, unless there is a document to take for it."""
    raw = read_bytes(path)
    return empty if empty is not None and not raw else parse(raw, printable(path))


def read_bytes(path: str) -> bytes:
    """Return what is in a file; one that cannot be read is wrong usage."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise Unusable(f"{printable(path)}: cannot be read: {_reason(error)}") from None


def to_json(document: Any) -> bytes:
    """Return a document as two-space indented JSON with a final newline. It holds no command for a workflow's log."""
    try:
        if "orjson" in sys.modules:
            import orjson

            text = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        else:
            text = (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
        return text.replace(b"##[", rb"\u0023#[")
    except RecursionError:
        raise Unusable("stdin is not usable JSON: it is nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise Unusable(f"the answer cannot be written as JSON: {printable(error)}") from None


def write(*parts: bytes) -> None:
    """Write a whole answer to stdout. Called once, when all the work is done."""
    os.set_blocking(1, True)
    for part in parts:
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(1, rest) :]


def write_json(document: Any) -> None:
    """Write a document to stdout."""
    write(to_json(document))


def write_array(items: Iterator[Any]) -> None:
    """Write a JSON array to stdout. Its objects become text a hundred at a time: so many fit the processor's cache."""
    parts: list[bytes] = []
    while chunk := list(islice(items, 100)):
        parts += (b",\n" if parts else b"[\n", to_json(chunk)[2:-3])
    write(*parts, b"\n]\n" if parts else b"[]\n")


def run(main: Callable[[list[str]], int], description: str | None) -> NoReturn:
    """Call main(argv) and exit with its code; a Stop becomes lines on stderr and its code.

    128 + 13 when the reader of stdout has gone, 128 + 2 on Ctrl-C, as a shell would report those signals; 2 when
    stdout cannot be written. Nothing in a filter lives in cycles, so the collector has nothing to do.
    """
    gc.disable()
    try:
        if sys.argv[1:] in (["--help"], ["-h"]):
            write((description or "").encode())
            code = 0
        else:
            code = main(sys.argv[1:])
    except Stop as stop:
        for cause in stop.causes:
            say(cause)
        code = stop.code
    except BrokenPipeError:
        code = 141
    except KeyboardInterrupt as stop:
        code = 128 + (stop.args[0] if stop.args else 2)
    except ModuleNotFoundError as error:
        say(f"the Python package {error.name} is missing: make .venv/.stamp installs it")
        code = 2
    except OSError as error:
        say(f"cannot write: {_reason(error)}")
        code = 2
    except MemoryError:
        say("out of memory")
        code = 2
    # Nothing is left in a buffer; taking a large document apart before the end would only cost time.
    os._exit(code)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or printable(error)
