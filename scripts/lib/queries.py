"""JMESPath queries kept in files: a leading block of # lines says what goes in and out, the rest is the query."""

import os
from typing import Any

from lib import ROOT
from lib.streams import Unusable, printable, read_bytes

import jmespath


def path_of(name: str) -> str:
    """Return the file of the project's own query `name`."""
    return os.path.join(ROOT, "jq", f"{name}.jmespath")


def read_query(path: str) -> str:
    """Return the query in a file, without the leading block of # lines, which JMESPath does not know."""
    text = read_bytes(path).decode("utf-8", "replace").splitlines()
    while text and text[0].startswith("#"):
        del text[0]
    return "\n".join(text).strip()


def search(path: str, document: Any) -> Any:
    """Return what the query in the file at `path` selects. A null is refused: a misspelt key gives one."""
    try:
        answer = jmespath.search(read_query(path), document)
    except (jmespath.exceptions.JMESPathError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        # JMESPath leaves some of a query's mistakes, such as a step of zero, to Python.
        raise Unusable(f"{printable(path)}: {printable(' '.join(str(error).split()))}") from None
    if answer is None:
        raise Unusable(f"{printable(path)}: the query gives null: not the document that it is for, or a misspelt key")
    return answer


def select(name: str, document: Any) -> Any:
    """Return what the project's own query jq/NAME.jmespath selects."""
    return search(path_of(name), document)
