"""The report: one HTML file, looked at as text, and in a real browser where there is one (browser.py).

What it says in each situation is in tests/cases/report.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from browser import CHROMIUM, Browser, Page
from conftest import ROOT
from hostile.corpus import TEXTS
from lib.streams import printable
from pages import Tags, changes, diff, inverse, outcomes, page, release_of, verdicts, wrong_html

import pytest

REASON = "policy snyk-scanned: attestation snyk-scan (snyk) is missing"
HOSTILE = [value for value in TEXTS.values() if 0 < len(value) < 80 and "/" not in value]
NAMES = [
    *("nothing to promote", "three", "eleven", "not compliant", "sixty", "refused"),
    *("ended", "no answer", "rollback", "hostile names", "changes"),
]
WIDTHS = (360, 800, 1377)  # the last one is the narrowest with a table


def made(script: str, name: str) -> str:
    """Return the page of a situation."""
    counts = {"three": 3, "no answer": 3, "nothing to promote": 0, "sixty": 60, "refused": 4, "rollback": 3}
    count = counts.get(name, 11)
    document = diff(len(HOSTILE) if name == "hostile names" else count, first=name in ("eleven", "changes"))
    release = release_of(document)
    found = verdicts(release)
    if name in ("not compliant", "refused"):
        found[1].update(verdict="non-compliant", reasons=[REASON])
        found[2].update(verdict="error", reasons=["no answer within 60 seconds"])
        found[4].update(policies=0)
        del found[7]
    if name == "ended":
        return page(script, release, outcomes=outcomes(release))
    if name == "no answer":
        return page(script, release, outcomes=[])
    if name == "refused":
        refused = f"a.py: {'x' * 500}\nb.py: no"
        return page(script, release, refused=refused, snapshots=document, verdicts=found)
    if name == "rollback":
        release = inverse(release)
        found = verdicts(release)
    if name == "hostile names":
        for promotion, value in zip(release, HOSTILE, strict=True):
            promotion["incoming_name"] = promotion["outgoing_name"] = f"x/{value}"
            promotion["incoming_flow"] = value
        return page(script, release, verdicts=found)
    more = {"changes": changes(release)} if name == "changes" else {}
    return page(script, release, snapshots=document, verdicts=found, **more)


@cache
def report(name: str) -> str:
    return made("report", name)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_well_formed_and_has_nothing_but_what_it_is_made_of(name: str) -> None:
    assert list(wrong_html(report(name))) == []
    tags = Tags(report(name))
    kinds = [tag for tag, _ in tags.found]
    assert [kinds.count(kind) for kind in ("h1", "header", "main", "footer")] == [1, 1, 1, 1]
    assert sum(a.get("scope") == "row" for _, a in tags.found) == max(kinds.count("tr") - kinds.count("thead"), 0)
    style = re.search(r"<style>(.*?)</style>", report(name), re.DOTALL)[1]
    assert not re.search(r"url\(|@import|@font-face", style)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(attributes["content"] for _, attributes in tags.found if attributes.get("http-equiv"))
    assert f"default-src 'none'; style-src 'sha256-{digest}';" in policy


@pytest.mark.parametrize("name", ["eleven", "not compliant", "refused", "ended", "rollback", "changes"])
def test_it_says_what_the_summary_says(name: str) -> None:
    """The words of the one, in their order, are those of the other; the pictures are drawn in two ways."""
    markdown = re.sub(r"```mermaid.*?```", "", made("summary", name).replace("<br>", " "), flags=re.DOTALL)
    markdown = re.sub(r"\]\(https:[^)]*\)|<[^>]*>|^\| ---.*|^#+|^- ", "", markdown, flags=re.MULTILINE)
    body = report(name).partition("<body>")[2].partition("<footer>")[0]
    body = re.sub(r"<figure>.*?</figure>", "", body, flags=re.DOTALL)
    texts = re.sub(r"[|`\[]|\*\*", " ", markdown), re.sub(r"<[^>]*>", " ", body)
    assert html.unescape(texts[0]).split() == html.unescape(texts[1]).split()


# From here on, in a browser.

browser_needed = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("chromium"))
    yield found
    found.close()


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Any]:
    pages = []

    def show(name: str, width: int = 1440, **more: Any) -> Page:
        path = tmp_path / "report.html"
        path.write_text(report(name), encoding="utf-8")
        pages.append(browser.open(path, width, **more))
        return pages[-1]

    yield show
    for opened in pages:
        opened.close()


# Every text that is seen, with the colour that it has and the one behind it.
CONTRAST = """(() => {
  const parse = c => (c.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => linear(v / 255));
    return .2126 * r + .7152 * g + .0722 * b };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + .05) / (y + .05) };
  const seen = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility() || element.closest("title, style")) continue;
    let behind = element;
    while (behind && parse(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
    const ground = behind ? getComputedStyle(behind).backgroundColor : "rgb(255, 255, 255)";
    const colour = getComputedStyle(element).color;
    seen.push([text.slice(0, 40), Math.round(ratio(parse(colour), parse(ground)) * 100) / 100]);
  }
  return seen;
})()"""
TOO_WIDE = """[...document.querySelectorAll("body *")].filter(e => {
  const { left, right } = e.getBoundingClientRect();
  return e.checkVisibility() && !e.closest("thead") && (right > innerWidth + .5 || left < -.5);
}).map(e => e.outerHTML.slice(0, 99))"""


@browser_needed
@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_quiet_and_fits(show: Any, name: str) -> None:
    opened = show(name)
    for width in WIDTHS:
        opened.resize(width)
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.evaluate(TOO_WIDE) == []
    assert opened.complaints() == []
    assert [url.rpartition("/")[2] for url in opened.requests()] == ["report.html"]


@browser_needed
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["eleven", "not compliant", "refused", "ended"])
def test_each_text_stands_out(show: Any, name: str, dark: bool) -> None:
    opened = show(name, dark=dark)
    opened.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    seen = opened.evaluate(CONTRAST)
    assert len(seen) > 30
    assert [text for text, ratio in seen if ratio < 4.5] == []
    ground = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.search(r"\d+", ground)[0]) < 60) == dark


@browser_needed
@pytest.mark.parametrize("width", [360, 1440])
def test_the_keyboard_reaches_each_link_and_each_fold(show: Any, width: int) -> None:
    opened = show("eleven", width)
    wanted = opened.evaluate("document.querySelectorAll('summary, a:not(details a)').length")
    assert wanted > 50
    reached = set()
    for _ in range(wanted):
        opened.press("Tab", 9)
        at = opened.evaluate(
            "(e => [[...document.querySelectorAll('a, summary')].indexOf(e), getComputedStyle(e).outlineStyle])"
            "(document.activeElement)"
        )
        assert at[1] == "solid", "where the focus is cannot be seen"
        reached.add(at[0])
    assert len(reached) == wanted
    for is_open in (True, False):  # the last one is a fold
        opened.press("Enter", 13, "\r")
        assert opened.evaluate("document.activeElement.parentElement.open") is is_open


@browser_needed
@pytest.mark.parametrize("width", [360, 1440])
def test_what_a_screen_reader_hears(show: Any, width: int) -> None:
    nodes = show("eleven", width).call("Accessibility.getFullAXTree")["nodes"]
    heard: dict[str, list[str]] = {}
    for node in nodes:
        if not node["ignored"]:
            heard.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    assert [len(heard[landmark]) for landmark in ("banner", "main", "contentinfo", "table", "figure")] == [1] * 5
    assert heard["heading"][0] == "11 of 21 services will change in aws-prod"
    assert heard["columnheader"][:4] == ["service", "runs now", "will run", "difference"]
    assert (len(heard["columnheader"]), len(heard["rowheader"]), len(heard["row"])) == (9, 11, 12)
    assert " ".join(heard["StaticText"]).count("replaces") == 10


@browser_needed
@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_names_are_shown_as_they_are(show: Any, width: int) -> None:
    shown = show("hostile names", width).evaluate(
        "[...document.querySelectorAll('td[data-title=flow]')].map(e => e.textContent)"
    )
    assert [name.removesuffix(" ‡") for name in shown] == [printable(value) for value in HOSTILE]


@browser_needed
def test_paper_shows_what_is_folded(show: Any) -> None:
    opened = show("eleven", media="print")
    seen = "[...document.querySelectorAll('details li')].filter(e => e.checkVisibility() && e.offsetHeight).length"
    assert opened.evaluate(seen) == opened.evaluate("document.querySelectorAll('details li').length") > 10
    assert opened.pdf().startswith(b"%PDF")


@browser_needed
def test_the_page_itself_forbids_what_it_does_not_need(show: Any) -> None:
    """If a name ever became markup, the browser would still load and run nothing of it."""
    ran = show("three").evaluate(
        """new Promise(resolve => {
          document.body.insertAdjacentHTML("beforeend", "<img src='https://example.invalid/x' onerror='ran = 1'>");
          const script = document.createElement("script"); script.textContent = "window.ran = 1";
          document.body.append(script);
          setTimeout(() => resolve(window.ran ?? null), 200);
        })"""
    )
    assert ran is None


def test_ci_has_a_browser() -> None:
    """There, a skip would mean that nobody looks."""
    assert "chromium" in (ROOT / ".ci" / "run").read_text()
