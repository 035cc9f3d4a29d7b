"""The report: one HTML file, looked at as text, and in a real browser where there is one (browser.py).

What it says in each situation is in tests/cases/report.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from browser import CHROMIUM, Browser, Page
from conftest import ROOT, environment
from hostile.corpus import TEXTS

SERVICES = (
    *("accounts", "basket", "catalog", "checkout", "dashboard", "images"),
    *("mailer", "notifications", "orders", "payments", "recommendations", "refunds"),
)
REASON = "policy snyk-scanned: attestation snyk-scan (snyk) is missing"
WIDTHS = (360, 800, 1440)


def artifact(name: str, build: int, **more: Any) -> dict[str, Any]:
    sha = hashlib.sha1(f"{name} {build}".encode()).hexdigest()
    return {
        "fingerprint": hashlib.sha256(f"{name} {build}".encode()).hexdigest(),
        "name": f"registry.example.com/acme-shop/{name}:{sha[:7]}",
        "flow": f"{name}-ci",
        "commit_url": f"https://github.com/acme-shop/{hashlib.sha1(name.encode()).hexdigest()}/commit/{sha}",
        **more,
    }


class Inputs(NamedTuple):
    """What a page is made of."""

    release: Any
    diff: Any
    verdicts: Any = None
    outcomes: Any = None
    refused: str = ""


def run(script: str, document: Any, **variables: str) -> bytes:
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [ROOT / ".venv" / "bin" / "python", ROOT / "scripts" / script],
            env=environment(Path(home), **variables),
            input=json.dumps(document).encode(),
            capture_output=True,
            check=True,
        )
    return done.stdout


def situation(count: int, first: int = 0, called: tuple[str, ...] = (), **more: Any) -> Inputs:
    """Return what a page is made of: so many promotions, some of them first deployments, and what stays."""
    services = list(called) or [SERVICES[i % 12] + (f"-{i // 12}" if i > 11 else "") for i in range(count)]
    level = [artifact(f"{name}-level", 1) for name in SERVICES[:9]]
    diff = {
        "snappish1": {"snapshot_id": "aws-beta#8232", "artifacts": [artifact(name, 2) for name in services]},
        "snappish2": {
            "snapshot_id": "aws-prod#5474",
            "artifacts": [artifact(name, 1) for name in (*services[: len(services) - first], "retired")],
        },
        "changed": {"artifacts": []},
        "not-changed": {"artifacts": level},
    }
    release = json.loads(run("promotions.py", diff))
    return Inputs(release, diff, **{key: value(release) if callable(value) else value for key, value in more.items()})


def verdicts(release: Any, wrong: bool = False) -> list[dict[str, Any]]:
    found = [
        {
            "flow": promotion["incoming_flow"],
            "name": promotion["incoming_name"],
            "fingerprint": promotion["incoming_fingerprint"],
            "environment": where,
            "verdict": "compliant",
            "policies": 2,
            "reasons": [],
            "html_url": f"https://app.kosli.com/acme-shop/{where}/{promotion['incoming_fingerprint']}",
        }
        for promotion in release
        for where in ("aws-beta", "aws-prod")
    ]
    if wrong:
        found[1].update(verdict="non-compliant", reasons=[REASON])
        found[2].update(verdict="error", reasons=["kosli assert artifact: no answer within 60 seconds"])
        found[4].update(policies=0)
        del found[7]
    return found


def outcomes(release: Any) -> list[dict[str, Any]]:
    words = ("landed", "not landed", "another landed")
    return [
        {
            "flow": promotion["incoming_flow"],
            "fingerprint": promotion["incoming_fingerprint"],
            "outcome": words[number % 3],
            "running": ["f" * 64],
            "snapshot_id": "aws-prod#5480",
            "seconds": 31,
        }
        for number, promotion in enumerate(release)
    ]


# Names that make a page, not those that only make a long line; a name ends where its tag begins.
HOSTILE = tuple(
    f"{number} {value}" for number, value in enumerate(TEXTS.values()) if 0 < len(value) < 200 and "/" not in value
)


@cache
def situations() -> dict[str, Inputs]:
    plain = situation(3)
    return {
        "nothing to promote": situation(0, verdicts=verdicts),
        "three": plain,
        "eleven": situation(11, first=1, verdicts=verdicts),
        "not compliant": situation(11, verdicts=lambda release: verdicts(release, wrong=True)),
        "sixty": situation(60, first=2, verdicts=verdicts),
        "refused": situation(4, verdicts=lambda r: verdicts(r, wrong=True), refused=f"a.py: {'x' * 500}\n<b>|`x`"),
        "ended": situation(11, outcomes=outcomes),
        "no answer": situation(3, outcomes=[]),
        "rollback": plain._replace(
            release=json.loads(run("rollback.py", plain.release)), verdicts=verdicts(plain.release)
        ),
        "hostile names": situation(0, called=HOSTILE, verdicts=verdicts),
    }


NAMES = [
    *("nothing to promote", "three", "eleven", "not compliant", "sixty", "refused"),
    *("ended", "no answer", "rollback", "hostile names"),
]


@cache
def html(name: str) -> str:
    inputs = situations()[name]
    with tempfile.TemporaryDirectory() as folder:
        variables = {"REFUSED": inputs.refused}
        for key in ("diff", "verdicts", "outcomes"):
            document = getattr(inputs, key)
            if document is not None:
                path = Path(folder) / f"{key}.json"
                path.write_text(json.dumps(document))
                variables["SNAPSHOTS" if key == "diff" else key.upper()] = str(path)
        return run("report.py", inputs.release, **variables).decode()


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "br", "hr", "path", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "rect"):
            assert self.open.pop() == tag, f"</{tag}> in the wrong place"


ELEMENTS = {
    *("html", "head", "meta", "link", "title", "style", "body", "header", "main", "footer", "h1", "h2", "p"),
    *("ul", "li", "strong", "em", "code", "a", "span", "table", "thead", "tbody", "tr", "th", "td"),
    *("details", "summary", "figure", "figcaption", "svg", "desc", "rect", "text", "path"),
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "rel", "href", "class", "id", "role", "scope", "data-title"),
    *("aria-labelledby", "aria-describedby", "viewbox", "x", "y", "width", "height", "rx", "d", "text-anchor"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_well_formed_and_has_nothing_but_what_it_is_made_of(name: str) -> None:
    tags = Tags(html(name))
    assert tags.open == []
    kinds = {tag for tag, _ in tags.found}
    assert kinds <= ELEMENTS
    assert {key for _, attributes in tags.found for key in attributes} <= ATTRIBUTES
    ids = [attributes["id"] for _, attributes in tags.found if "id" in attributes]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", NAMES)
def test_a_page_refers_to_nothing_that_is_loaded(name: str) -> None:
    tags = Tags(html(name)).found
    assert all(attributes["href"].startswith(("https://", "data:,")) for _, attributes in tags if "href" in attributes)
    style = re.search(r"<style>(.*?)</style>", html(name), re.DOTALL)[1]
    assert not re.search(r"url\(|@import|@font-face", style)
    policy = next(attributes["content"] for _, attributes in tags if attributes.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}';" in policy


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_what_a_screen_reader_needs(name: str) -> None:
    tags = Tags(html(name)).found
    kinds = [tag for tag, _ in tags]
    assert tags[0] == ("html", {"lang": "en"})
    assert [kinds.count(kind) for kind in ("h1", "header", "main", "footer")] == [1, 1, 1, 1]
    assert kinds.index("title") < kinds.index("body")
    for tag, attributes in tags:
        if tag == "th":
            assert attributes["scope"] in ("col", "row")
        if tag == "svg" and "role" in attributes:
            named = {attributes["aria-labelledby"], attributes["aria-describedby"]}
            assert named <= {attributes.get("id") for _, attributes in tags}
    rows = kinds.count("tr")
    assert sum(attributes.get("scope") == "row" for _, attributes in tags) == max(rows - kinds.count("thead"), 0)


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
        path.write_text(html(name), encoding="utf-8")
        pages.append(browser.open(path, width, **more))
        return pages[-1]

    yield show
    for page in pages:
        page.close()


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
    if (!text || !element.checkVisibility() || element.closest("title, desc, style")) continue;
    let behind = element, colour = getComputedStyle(element).color, box = element.tagName == "text" &&
      element.parentElement.querySelector(":scope > rect:not(.panel)");
    if (element.tagName == "text") colour = getComputedStyle(element).fill;
    while (behind && parse(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
    let ground = behind ? getComputedStyle(behind).backgroundColor : "rgb(255, 255, 255)";
    if (box) ground = getComputedStyle(box).fill;
    seen.push([text.slice(0, 40), Math.round(ratio(parse(colour), parse(ground)) * 100) / 100]);
  }
  return seen;
})()"""
TOO_WIDE = """[...document.querySelectorAll("body *")].filter(e => {
  const { left, right } = e.getBoundingClientRect();
  return e.checkVisibility() && !e.closest("thead, svg svg") && (right > innerWidth + .5 || left < -.5);
}).map(e => e.outerHTML.slice(0, 99))"""


@browser_needed
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_quiet_and_fits(show: Any, name: str, width: int) -> None:
    page = show(name, width)
    assert page.complaints() == []
    assert [url.rpartition("/")[2] for url in page.requests()] == ["report.html"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate("document.querySelectorAll('figure').length") in (0, 1)
    shown = "[...document.querySelectorAll('svg[role=img]')].filter(e => e.checkVisibility()).length"
    assert page.evaluate(shown) == page.evaluate("document.querySelectorAll('figure').length")


@browser_needed
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["eleven", "not compliant", "refused", "ended"])
def test_each_text_stands_out(show: Any, name: str, dark: bool) -> None:
    page = show(name, dark=dark)
    page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    seen = page.evaluate(CONTRAST)
    assert len(seen) > 30
    assert [text for text, ratio in seen if ratio < 4.5] == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.search(r"\d+", ground)[0]) < 60) == dark


@browser_needed
@pytest.mark.parametrize("width", WIDTHS)
def test_the_keyboard_reaches_each_link_and_each_fold(show: Any, width: int) -> None:
    page = show("eleven", width)
    wanted = page.evaluate("document.querySelectorAll('summary, a:not(details a)').length")
    assert wanted > 50
    reached = set()
    for _ in range(wanted):
        page.press("Tab", 9)
        at = page.evaluate(
            "(e => { const s = getComputedStyle(e); return [[...document.querySelectorAll('a, summary')].indexOf(e),"
            " s.outlineStyle, e.tagName] })(document.activeElement)"
        )
        assert at[0] >= 0
        assert at[1] == "solid", "where the focus is cannot be seen"
        reached.add(at[0])
    assert len(reached) == wanted
    # The last one is a fold: it opens and closes, and what is in it can be reached then.
    for opened in (True, False):
        page.press("Enter", 13, "\r")
        assert page.evaluate("document.activeElement.parentElement.open") is opened


@browser_needed
@pytest.mark.parametrize("width", WIDTHS)
def test_what_a_screen_reader_hears(show: Any, width: int) -> None:
    page = show("eleven", width)
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    heard: dict[str, list[str]] = {}
    for node in nodes:
        if not node["ignored"]:
            heard.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    for landmark in ("banner", "main", "contentinfo"):
        assert len(heard[landmark]) == 1
    assert heard["heading"] == ["11 of 21 services will change in aws-prod"]
    assert heard["columnheader"][:3] == ["service", "runs now", "will run"]
    assert len(heard["columnheader"]) == 7
    assert len(heard["rowheader"]) == 11
    assert len(heard["row"]) == 12
    assert len(heard["table"]) == 1
    assert heard["image"] == ["What runs where"]
    told = [n["description"]["value"] for n in nodes if n.get("role", {}).get("value") == "image" and not n["ignored"]]
    assert "accounts" in told[0]
    assert " replaces " in told[0]


@browser_needed
def test_the_links_are_those_of_the_release(show: Any) -> None:
    page, inputs = show("eleven"), situations()["eleven"]
    rows = page.evaluate(
        "[...document.querySelectorAll('tbody tr')].map(r => [...r.querySelectorAll('a')].map(a => a.href))"
    )
    for promotion, links in zip(inputs.release, rows, strict=True):
        assert links == [
            *([promotion["outgoing_commit_url"]] if promotion["outgoing_name"] else []),
            promotion["incoming_commit_url"],
            promotion["deployment_diff_url"],
            *(v["html_url"] for v in inputs.verdicts if v["fingerprint"] == promotion["incoming_fingerprint"]),
        ]


@browser_needed
@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_names_are_shown_as_they_are(show: Any, width: int) -> None:
    page, inputs = show("hostile names", width), situations()["hostile names"]
    shown = page.evaluate("[...document.querySelectorAll('tbody th')].map(e => e.textContent)")
    assert len(shown) == len(inputs.release)
    assert all(name.isprintable() for name in shown)
    assert len(shown) > 50
    assert page.evaluate("document.title") == page.evaluate("document.querySelector('h1').textContent")
    drawn_names = page.evaluate("[...document.querySelectorAll('svg.wide svg title')].map(e => e.textContent)")
    assert all(name.isprintable() for name in drawn_names)


@browser_needed
def test_paper_shows_what_is_folded(show: Any) -> None:
    page = show("eleven", media="print")
    seen = "[...document.querySelectorAll('details li')].filter(e => e.checkVisibility() && e.offsetHeight).length"
    assert page.evaluate(seen) == page.evaluate("document.querySelectorAll('details li').length") > 10
    assert page.evaluate("getComputedStyle(document.querySelector('svg.wide')).display") == "block"
    assert page.pdf().startswith(b"%PDF")


@browser_needed
def test_the_page_itself_forbids_what_it_does_not_need(show: Any) -> None:
    """If a name ever became markup, the browser would still load and run nothing of it."""
    page = show("three")
    blocked = page.evaluate(
        """new Promise(resolve => {
          const found = []; addEventListener("securitypolicyviolation", e => found.push(e.effectiveDirective));
          document.body.insertAdjacentHTML("beforeend", "<img src='https://example.invalid/x' onerror='ran = 1'>" +
            "<p style='color: red'>x</p><iframe src='https://example.invalid/'></iframe>");
          const script = document.createElement("script"); script.textContent = "window.ran = 1";
          document.body.append(script);
          setTimeout(() => resolve([window.ran ?? null, [...new Set(found)].sort()]), 200);
        })"""
    )
    assert blocked[0] is None
    assert blocked[1] == ["frame-src", "img-src", "script-src-attr", "script-src-elem", "style-src-attr"]


def test_ci_has_a_browser() -> None:
    """There, a skip would mean that nobody looks."""
    assert "chromium" in (ROOT / ".ci" / "run").read_text()
