"""The streams and exit codes of a filter: one JSON document in, one out, one line a cause when it goes wrong.

exit    0 done, 1 refused, 2 wrong usage or not the document expected, 3 Kosli could not be asked
"""

import argparse
import gc
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, NoReturn, TypeVar

from lib import VERSION
from lib.model import FORMS

import msgspec

T = TypeVar("T")

LONGEST_VALUE = 400
ended = False  # whether a script has done its work, and only its end is left
_PLACE = re.compile(r"(.*?)(?: - at `\$\.?(.*)`)?", re.DOTALL).fullmatch
_WORDS = {"str": "string", "int": "whole number", "bool": "true or false", "float": "number"}


class Stop(Exception):
    """Ends a script with `code`, after a line on stderr for each of `causes`. Values in them pass `printable` first."""

    code = 1

    def __init__(self, *causes: str) -> None:
        super().__init__(*causes)
        self.causes = causes


class Refused(Stop):
    """The release must not go on, or a verdict is not compliant."""


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


def parse(raw: bytes, source: str) -> Any:
    """Return the JSON document in `raw`. `source` names it in the errors (Unusable).

    Stricter than json: no NaN, no number beyond 64 bits, no half of a surrogate pair, no key twice.
    """
    if not raw or raw.isspace():
        raise Unusable(f"{source} is empty: the command that writes it failed, or printed nothing")
    try:
        text = raw.decode("utf-8")
        document = json.loads(
            text, object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
        )
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
        return document
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Unusable(f"{source} is not JSON: {place}: {printable(error.msg)}") from None
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
    value = int(digits) if len(digits) <= 20 else 1 << 64
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError(f"the number {digits[:24]}... does not fit into 64 bits")
    return value


def _float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {digits[:24]} does not fit into 64 bits")
    return value


def _constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def typed(document: Any, kind: type[T], source: str) -> T:
    """Return a document as the record `kind`. What does not fit is Unusable: `stdin: [3].incoming_flow: missing`."""
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise Unusable(f"{source}: {misfit(error)}") from None
    except RecursionError:
        raise Unusable(f"{source} is not usable JSON: it is nested too deeply") from None


def misfit(error: msgspec.ValidationError) -> str:
    """Return where a document does not fit its record, and why: `snappish1.artifacts[3].flow: missing`."""
    match = _PLACE(str(error))
    assert match, "every text matches"
    problem, place = match[1], match[2] or ""
    if name := re.fullmatch(r"Object (missing required|contains unknown) field `(.*)`", problem, re.DOTALL):
        place = f"{place}.{name[2]}" if place else name[2]
        problem = "missing" if name[1].startswith("missing") else "not a key that this document may have"
    elif form := re.fullmatch(r"Expected `str` matching regex '(.*)'", problem):
        problem = f"expected {FORMS.get(form[1].encode().decode('unicode_escape'), form[1])}"
    problem = re.sub(r"`([^`]*)`", lambda kinds: " or ".join(_WORDS.get(k, k) for k in kinds[1].split(" | ")), problem)
    problem = problem[:1].lower() + problem[1:]
    return printable(f"{place}: {problem}" if place else problem)


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
        raise Unusable(f"stdin cannot be read: {reason(error)}") from None
    if not raw and os.environ.get("PIPED_BY_MAKE"):
        raise Unusable  # without a word: the script before it in make's pipe has said why
    return parse(raw, "stdin")


def read_file(path: str) -> Any:
    """Return the JSON document in a file."""
    return parse(read_bytes(path), printable(path))


def read_bytes(path: str) -> bytes:
    """Return what is in a file; one that cannot be read is wrong usage."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise Unusable(f"{printable(path)}: cannot be read: {reason(error)}") from None


def to_json(document: Any) -> bytes:
    """Return a document as two-space indented JSON with a final newline. It holds no command for a workflow's log."""
    try:
        text = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    except RecursionError:
        raise Unusable("stdin is not usable JSON: it is nested too deeply") from None
    return text.replace(b"##[", rb"\u0023#[")


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


def write_array(items: Iterable[Any]) -> None:
    """Write a JSON array to stdout. A hundred objects at a time become text: that saves 160 MiB at 100,000."""
    parts: list[bytes] = []
    rest = iter(items)
    while chunk := list(islice(rest, 100)):
        parts += (b",\n" if parts else b"[\n", to_json(chunk)[2:-3])
    write(*parts, b"\n]\n" if parts else b"[]\n")


class Arguments(argparse.ArgumentParser):
    """The arguments of a script: --help prints its docstring, wrong usage is Unusable."""

    def __init__(self, description: str | None) -> None:
        super().__init__(description=description, add_help=False, allow_abbrev=False)
        self.add_argument("-h", "--help", action=_Print, text=description)
        self.add_argument("--version", action=_Print, text=f"{self.prog} {VERSION}\n")

    def error(self, message: str) -> NoReturn:
        """Refuse wrong usage in one line."""
        raise Unusable(f"{printable(message)} (--help says more)")


class _Print(argparse.Action):
    """Prints a text and ends the script."""

    def __init__(self, option_strings: Sequence[str], dest: str, text: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS)
        self.text = text

    def __call__(self, *_: Any) -> NoReturn:
        write(self.text.encode())
        raise SystemExit(0)


def no_arguments(description: str | None, argv: list[str]) -> None:
    """Read the arguments of a script that takes none."""
    Arguments(description).parse_args(argv)


def one_file(description: str | None, argv: list[str], name: str) -> str:
    """Return the one argument of a script that takes a file; make passes an unset variable as an empty one."""
    arguments = Arguments(description)
    arguments.add_argument("file", metavar=name)
    path = str(arguments.parse_args(argv).file)
    if not path:
        raise Unusable(f"no file is named: {name}=FILE (--help says more)")
    return path


def run(main: Callable[[list[str]], int]) -> NoReturn:
    """Call main(argv) and exit with its code; a Stop becomes lines on stderr and its code.

    128 + 13 when the reader of stdout has gone, 128 + 2 on Ctrl-C, as a shell would report those signals; 2 when
    stdout cannot be written.
    """
    global ended
    try:
        os.fstat(2)
    except OSError:  # closed: the next file that is opened would get what belongs there
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        if null != 2:
            os.close(null)
    gc.disable()  # a filter makes no reference cycles; at 100,000 promotions this saves a tenth of the time
    try:
        code = main(sys.argv[1:])
    except Stop as stop:
        for cause in stop.causes:
            say(cause)
        code = stop.code
    except BrokenPipeError:
        code = 141
    except KeyboardInterrupt as stop:
        code = 128 + (stop.args[0] if stop.args else 2)  # without one it is Python's own, in a debugger
    except OSError as error:
        say(f"cannot write: {reason(error)}")
        code = 2
    except MemoryError:
        say("out of memory")
        code = 2
    finally:
        ended = True
    # Now the next script in the pipe goes on, while Python ends this one, and complains of no reader that is gone.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    raise SystemExit(code)


def reason(error: Exception) -> str:
    """Return what the system says of an error."""
    return (error.strerror if isinstance(error, OSError) else None) or printable(error)
