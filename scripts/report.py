#!/usr/bin/env python3
"""Put the page of summary.py into one HTML file that needs nothing else: no network, no script.

stdin   a release (make promotions); with REFUSED, what was refused: a release, or nothing that can be read
stdout  HTML, for any browser, light or dark, wide or narrow, and for a printer
exit    as summary.py

settings, from the environment: those of summary.py

    make -s promotions | scripts/report.py >report.html
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html import escape
from unicodedata import east_asian_width

from lib import ROOT
from lib.filters import read_bytes, run, usage, write
from lib.pages import names, versioned
from summary import drawn, read_inputs, summary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

    from lib.diffs import Artifact
    from lib.pages import Picture

# What stands at the start of a cell or a fact, and how that looks.
MARKS = {"✅": "good", "❌": "bad", "⚠": "doubtful", "🆕": "new"}
# A narrow screen shows a table as a list of cards; then it stays a table only for those who ask for its roles.
ROLES = {
    "table_open": "table",
    "thead_open": "rowgroup",
    "tbody_open": "rowgroup",
    "tr_open": "row",
    "th_open": "columnheader",
    "td_open": "cell",
}
# All the HTML that summary.py writes. Any other would be a name's, and stays text.
_folded = re.compile(r"(?:<details><summary>[^<>]*: [0-9]+</summary>|</details>)\n?").fullmatch


def report(markdown: str, shown: Picture) -> str:
    """Return the page of summary.py as an HTML document; a drawing of the picture stands for the Mermaid block."""
    # Imported here because it takes as long as all the rest.
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark").enable("table")
    tokens = renderer.parse(markdown)
    title = "".join(child.content for child in tokens[1].children or ()).strip("✅❌⛔⏪ ")
    tokens = list(dress(tokens, shown))
    head, body = (renderer.renderer.render(part, renderer.options, {}) for part in (tokens[:3], tokens[3:]))
    style = read_bytes(f"{ROOT}/scripts/report.css").decode()
    style_hash = b64encode(sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{style_hash}'; img-src data:; base-uri 'none'; form-action 'none'"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
<header>
{head}</header>
<main>
{body}</main>
<footer>
<p>This file loads nothing and runs no script. Its links lead to Kosli and to the hosts of the repositories.</p>
</footer>
</body>
</html>
"""


def dress(tokens: list[Token], shown: Picture) -> Iterator[Token]:
    """Yield the tokens of a page with what HTML can say and Markdown cannot: headings of rows, roles, marks."""
    titles: list[str] = []
    cell = ""  # the tag of the cell that we are in
    for index, token in enumerate(tokens):
        if token.type == "html_block" and not _folded(token.content):
            token.content = f"<p>{escape(token.content)}</p>\n"
        elif token.type == "fence" and token.info == "mermaid":
            token.type, token.content = "html_block", figure(shown)
        elif token.type in ("heading_open", "heading_close"):
            token.tag = f"h{int(token.tag[1]) - 1}"
        elif token.type == "bullet_list_open" and index == 3:
            token.attrSet("class", "card")
        elif token.type == "table_open":
            titles = []
        elif token.type == "tr_open":
            column = 0
        elif token.type == "th_open":
            titles.append("".join(child.content for child in tokens[index + 1].children or ()))
            token.attrSet("scope", "col")
        elif token.type == "td_open":
            cell = token.tag = "td" if column else "th"
            token.attrSet(*("data-title", titles[column]) if column else ("scope", "row"))
            column += 1
        elif token.type == "td_close":
            token.tag, cell = cell, ""
        elif token.type == "inline":
            token.children = list(mark(token.children or [], cell == "td"))
        if token.type in ROLES:
            token.attrSet("role", "rowheader" if cell == "th" else ROLES[token.type])
        yield token


def mark(children: list[Token], always: bool) -> Iterator[Token]:
    """Yield the parts of a line, those from a sign on marked as what it says: in a cell, or after a fact's name.

    Anywhere else the sign could be a name's.
    """
    from markdown_it.token import Token

    children = [child for child in children if child.type != "text" or child.content]
    always = always or [child.type for child in children[:1]] == ["strong_open"]
    end = ""
    for child in children:
        if child.type == "html_inline":
            child.type = "text"
        sign = child.content.strip()[:1]
        if always and not end and child.type == "text" and sign in MARKS:
            end = "</span>"
            start = child.content.index(sign)
            yield Token("html_inline", "", 0, content=f'{child.content[:start]}<span class="mark {MARKS[sign]}">')
            child.content = child.content[start:]
        yield child
    if end:
        yield Token("html_inline", "", 0, content=end)


def figure(shown: Picture) -> str:
    """Return the picture as a figure: drawn twice, for wide screens and for narrow ones."""
    drawings = drawing(shown, "wide", 960, 284) + drawing(shown, "narrow", 340, 156)
    dashed = ". What is dashed stays as it is" if shown.waiting or shown.staying else ""
    return f"<figure>\n<figcaption>What runs where{dashed}</figcaption>\n{drawings}</figure>\n"


def drawing(shown: Picture, kind: str, width: int, column: int, most: int = 12) -> str:
    """Return the three categories as columns of boxes, with an arrow from each box to the one that it replaces.

    Where there is no room for a third column, what runs in both stands below. Long lists are cut with a count.
    """
    wide = kind == "wide"
    step, height = (38, 30) if wide else (54, 46)
    far, top = width - column, 44 if wide else 62
    replaced = [old for _, old in shown.pairs if old]
    arrows = min(len(replaced), most)
    parts: list[str] = []

    def boxes(x: int, y: int, style: str, artifacts: list[Artifact], w: int = column) -> int:
        for name in (names if artifacts is shown.both else versioned)(artifacts[:most]):
            parts.append(box(x + 12, y, w - 24, height, style, name))
            y += step
        if len(artifacts) > most:
            parts.append(f'<text class="soft" x="{x + 22}" y="{y + 16}">and {len(artifacts) - most} more</text>')
            y += 32
        return y

    def panel(x: int, y: int, w: int, end: int, title: str) -> None:
        parts.append(f'<rect class="panel" x="{x + 0.5}" y="{y + 0.5}" width="{w - 1}" height="{end - y - 1}" rx="8"/>')
        lines = [title] if w > 200 else [*title.rsplit(" ", 2)]
        lines = lines if len(lines) < 3 else [lines[0], " ".join(lines[1:])]
        for i, line in enumerate(lines):
            parts.append(f'<text class="title" x="{x + 12}" y="{y + 27 + 18 * i}">{escape(fit(line, w - 24))}</text>')

    left = boxes(0, boxes(0, top, "arriving", [new for new, _ in shown.pairs]), "quiet", shown.waiting)
    right = boxes(far, boxes(far, top, "", replaced), "quiet", shown.staying)
    panel(0, 0, column, left + 4, f"{shown.titles[0]}: {len(shown.pairs) + len(shown.waiting)}")
    panel(far, 0, column, right + 4, f"{shown.titles[2]}: {len(replaced) + len(shown.staying)}")
    for i in range(arrows):
        y = top + i * step + height // 2
        parts.append(f'<path class="arrow" d="M{column - 8} {y}H{far}"/>')
        parts.append(f'<path class="head" d="M{far + 10} {y}l-11 -6v12z"/>')
    if arrows and wide:
        parts.append(f'<text class="soft" x="{width // 2}" y="{top + 8}" text-anchor="middle">replaces</text>')
    bottom = max(left, right) + 4
    for i in range(arrows, min(len(shown.pairs), most)):
        parts.append(f'<text class="soft" x="{column + 3}" y="{top + i * step + height // 2 + 5}">new</text>')
    if shown.both:
        x, y, w = (far // 2, arrows * step + (top if arrows else 0), column) if wide else (0, bottom + 16, width)
        step, height = 38, 30
        end = boxes(x, y + 44, "", shown.both, w) + 4
        panel(x, y, w, end, f"{shown.titles[1]}: {len(shown.both)}")
        bottom = max(bottom, end)
    named = f'role="img" aria-labelledby="{kind}-title" aria-describedby="{kind}-told"'
    start = f'<svg class="{kind}" viewBox="0 0 {width} {bottom}" {named}>'
    title = f'<title id="{kind}-title">What runs where</title>'
    description = f'<desc id="{kind}-told">{escape(told(shown, most))}</desc>'
    return "\n".join((start, title, description, *parts, "</svg>\n"))


def box(x: int, y: int, width: int, height: int, style: str, name: str) -> str:
    """Return a name in a box: a high one has the version below the name. What is too long is cut, and told."""
    lines = [name] if height < 40 or " " not in name else [*name.rpartition(" ")[::2]]
    first = height // 2 + 5 - 9 * (len(lines) - 1)
    texts = "".join(
        f'<text x="10" y="{first + 18 * i}">{escape(fit(line, width - 20))}</text>' for i, line in enumerate(lines)
    )
    return (
        f'<svg x="{x}" y="{y}" width="{width}" height="{height}"><title>{escape(name)}</title>'
        f'<rect class="{style}" x="1" y="1" width="{width - 2}" height="{height - 2}" rx="6"/>{texts}</svg>'
    )


def fit(name: str, width: int) -> str:
    """Return as much of a name as fits into so many pixels."""
    room = width / 8
    for i, character in enumerate(name):
        room -= 2 if east_asian_width(character) in "WF" else 1
        if room < 0:
            return f"{name[: i - 1]}…"
    return name


def told(shown: Picture, most: int) -> str:
    """Return the picture in words."""
    pairs = [[new, old] for new, old in shown.pairs if old]
    lists: list[tuple[str, list[list[Artifact]]]] = [
        ("", pairs),
        ("new: ", [[new] for new, old in shown.pairs if not old]),
        (f"{shown.titles[0]}, not promoted: ", [[artifact] for artifact in shown.waiting]),
        (f"{shown.titles[1]}: ", [[artifact] for artifact in shown.both]),
        (f"{shown.titles[2]}, not replaced: ", [[artifact] for artifact in shown.staying]),
    ]
    sentences = []
    for start, found in lists:
        more = f", and {len(found) - most} more" if len(found) > most else ""
        called = iter(versioned(artifact for each in found[:most] for artifact in each))
        words = ", ".join(" replaces ".join(next(called) for _ in each) for each in found[:most])
        sentences += [f"{start}{words}{more}."] if found else []
    return " ".join(sentences)


def main(argv: list[str]) -> int:
    """Read what summary.py reads, write its page as HTML."""
    usage(argv)
    inputs = read_inputs()
    write(report(summary(inputs), drawn(inputs)).encode())
    return 0


if __name__ == "__main__":
    run(main, __doc__)
