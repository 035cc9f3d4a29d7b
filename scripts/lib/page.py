"""A page about a release, as Markdown or as HTML. No name on it can act as markup.

Whatever a template prints is coded: as HTML by Jinja's own escaping, as Markdown by `coded`.
"""

import os
import re
from base64 import b64encode
from hashlib import sha256

from lib.inputs import Inputs, read_inputs
from lib.streams import LONGEST_VALUE, printable
from lib.view import page

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

LARGEST_SUMMARY = 1_000_000  # bytes; GitHub drops a summary of more than 1 MiB
LONGEST_TEXT = 2000
SIGNS = {"good": "✅", "bad": "❌", "doubtful": "⚠️", "new": "🆕", "refused": "⛔", "rollback": "⏪"}
# Characters that mean nothing inside a line, the others coded; and where some of the former do mean something.
_PLAIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ,;?=/%()'\"._:+-"
_CODED = {number: f"&#{number};" for number in range(128) if chr(number) not in _PLAIN}
_meaningful = re.compile(
    r"^[ -%'-/:-@\[-`{-~]|^[0-9]+[.)]"  # at the start: a list, an indented code block
    r"|:(?! )|(?i:(?<=www)\.)"  # an address, an emoji's name
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # emphasis
    r"| $"
)
_identifier = re.compile(r"[A-Za-z0-9._#-]+").fullmatch


def markdown() -> str:
    """Return the page of what stdin and the settings name as Markdown: as much of each list as fits."""
    inputs = read_inputs()
    for most in (1000, 300, 100, 30, 10):
        text = _render("page.md.j2", inputs, most)
        if len(text.encode()) <= LARGEST_SUMMARY:
            break
    return text


def html() -> str:
    """Return the same page as one HTML file."""
    return _render("report.html.j2", read_inputs(), 1000)


def _render(template: str, inputs: Inputs, most: int) -> str:
    environment = Environment(
        loader=FileSystemLoader(os.path.dirname(__file__)),
        autoescape=True,
        finalize=coded if template.endswith(".md.j2") else shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"identifier": identifier, "label": label, "digest": digest}
    return environment.get_template(template).render(page=page(inputs, most), signs=SIGNS).strip() + "\n"


def shown(value: object) -> str:
    """Return a value as text that can be printed; what a template has made itself stays."""
    if isinstance(value, Markup):
        return value
    whole = str(value)
    short = whole if len(whole) <= LONGEST_TEXT else f"{whole[:LONGEST_TEXT]}..."
    return "".join(printable(short[i : i + LONGEST_VALUE]) for i in range(0, len(short), LONGEST_VALUE))


def coded(value: object) -> Markup:
    """Return a value for Markdown, shown as it is: every character that could mean something there is coded."""
    if isinstance(value, Markup):
        return value
    text = shown(value).translate(_CODED)
    return Markup(_meaningful.sub(lambda match: f"{match[0][:-1]}&#{ord(match[0][-1])};", text))


def identifier(value: str) -> Markup:
    """Return an identifier as Markdown's code, or as text where it is none."""
    return Markup(f"`{value}`") if _identifier(value) else coded(value)


def label(value: str) -> Markup:
    """Return a text for a quoted Mermaid label, coded where Mermaid could read more into it: it knows lists, too."""
    short = printable(value if len(value) <= 40 else f"{value[:40]}...") or " "
    start = len(short) - len(short.lstrip("0123456789"))
    return Markup(
        "".join(
            c if ord(c) > 127 or c.isalnum() or (c in " -./" and i > start) else f"#{ord(c)};"
            for i, c in enumerate(short)
        )
    )


def digest(style: str) -> str:
    """Return what a browser knows the page's own style by, so that it takes no other."""
    return b64encode(sha256(style.encode()).digest()).decode()
