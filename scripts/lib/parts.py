"""What a line of a page about a release is made of."""

import re
from typing import NamedTuple

_web_page = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9._~%+/?&=#:@,;!$*-]*)?").fullmatch


class Code(NamedTuple):
    """A version, a snapshot or a digest, linked where there is a page of it."""

    code: str
    url: str = ""


class Mark(NamedTuple):
    """Words with a sign for their kind: good, bad, doubtful, new, or none. Linked where there is a page of it."""

    kind: str
    text: str
    url: str = ""


class Fold(NamedTuple):
    """Lines below a summary, folded, and how many more there are."""

    summary: str
    lines: list["Line"]
    more: int = 0


Line = list[str | Code | Mark | Fold]  # a blank stands between two parts


def web_page(url: str) -> str:
    """Return a URL if it is one of a web page, else ""."""
    return url if _web_page(url) else ""
