"""JMESPath queries kept in files: a leading block of # lines says what goes in and out, the rest is the query."""

from __future__ import annotations

import os
import re
from functools import reduce
from itertools import chain
from operator import getitem

from lib import ROOT
from lib.filters import Unusable, printable, read_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KEYS = r'(?:\w+|"[\w-]+")(?:\.(?:\w+|"[\w-]+"))*'
_only_keys = re.compile(rf"{_KEYS}|\[{_KEYS}(?:, {_KEYS})*\]\[\]").fullmatch


def read_query(path: str) -> str:
    """Return the query in a file, without the leading block of # lines, which JMESPath does not know."""
    text = read_bytes(path).decode("utf-8", "replace").splitlines()
    while text and text[0].startswith("#"):
        del text[0]
    return "\n".join(text).strip()


def search(path: str, document: Any) -> Any:
    """Return what the query in the file at `path` selects. A null is refused: a misspelt key gives one."""
    import jmespath

    try:
        answer = jmespath.search(read_query(path), document)
    except (jmespath.exceptions.JMESPathError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        # JMESPath leaves some of a query's mistakes, such as a step of zero, to Python.
        raise Unusable(f"{printable(path)}: {printable(' '.join(str(error).split()))}") from None
    if answer is None:
        raise Unusable(f"{printable(path)}: the query gives null: not the document that it is for, or a misspelt key")
    return answer


def select(name: str, document: Any) -> Any:
    """Return what the project's own query jq/NAME.jmespath selects in a document that has been checked.

    A query that only names keys, or joins the lists that it names, is followed here: to import jmespath for it would
    take a third of the time of a small release.
    """
    path = os.path.join(ROOT, "jq", f"{name}.jmespath")
    query = read_query(path)
    return _follow(query, document) if _only_keys(query) else search(path, document)


def _follow(query: str, document: Any) -> Any:
    found = [reduce(getitem, keys.replace('"', "").split("."), document) for keys in query.strip("[]").split(", ")]
    return list(chain(*found)) if query.startswith("[") else found[0]
