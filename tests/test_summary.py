"""The page for the approver: always small enough, nothing that a name can break, and no evidence that is not there.

What it says in each situation is in tests/cases/summary.
"""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from conftest import ROOT
from forked import Forked
from hostile.corpus import TEXTS
from hypothesis import given, settings
from markdown_it import MarkdownIt
from strategies import any_text

DIFF = json.loads((ROOT / "fixtures" / "several-behind.json").read_text())
# What GitHub's Markdown has beside the standard's, as far as this parser knows it; HTML and links show as such.
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
MORE = {
    "a keyword": "end",
    "a sub graph": "subgraph x",
    "a style": "style a0 fill:#f00",
    "a class": "a:::b",
    "a shape": "a@{ shape: rounded }",
    "a numbered list": "1. x",
    "an indented line": "     x",
    "a coded character": "#35;#quot;&#35;&quot;",
    "an icon": "fa:fa-car",
    "a formula": "$$x^2$$",
    "an emoji's name": ":tada: :x:",
    "an address": "https://example.com www.example.com a@example.com",
    "underscores": "_a_ a_b __a__ a_ _b",
    "a verdict": "✅ compliant",
    "a footnote": "[^1] [1]: /x",
    "a back slash": "\\| \\",
}
# A flow names its service where the image does not: an empty one is a flow that is missing.
HOSTILE = {name: value for name, value in {**TEXTS, **MORE}.items() if 0 < len(value) < 400}


class Pages:
    """Pages of one release, with other verdicts, outcomes and names."""

    def __init__(self, forked: Forked) -> None:
        self.forked = forked
        self.release: Any = json.loads(forked.run("promotions.py", stdin=json.dumps(DIFF).encode()).out)
        self.plain = kinds(self.page(*called(self, "plain"), VERDICTS=self.verdicts()))

    def page(self, release: Any = None, diff: Any = DIFF, **documents: Any) -> str:
        """Return the page; a document goes into a file that its setting names, and text is the setting itself."""
        variables = {}
        for name, document in {"SNAPSHOTS": diff, **documents}.items():
            path = self.forked.folder / f"{name}.json"
            path.write_text(json.dumps(document))
            variables[name] = document if isinstance(document, str) else str(path)
        stdin = json.dumps(self.release if release is None else release).encode()
        ran = self.forked.run("summary.py", stdin=stdin, **variables)
        assert (ran.code, ran.err) == (0, b"")
        return ran.out.decode()

    def verdicts(self, release: Any = None) -> list[dict[str, Any]]:
        """Return all that the gate would say of a compliant release."""
        return [
            {
                "flow": promotion["incoming_flow"],
                "name": promotion["incoming_name"],
                "fingerprint": promotion["incoming_fingerprint"],
                "environment": environment,
                "verdict": "compliant",
                "policies": 1,
                "reasons": [],
                "html_url": "https://app.kosli.com/acme",
            }
            for promotion in (release or self.release)
            for environment in ("aws-beta", "aws-prod")
        ]


@pytest.fixture(scope="module")
def pages(forked: Forked) -> Pages:
    return Pages(forked)


def evidence(page: str) -> str:
    return re.search(r"\*\*Evidence:\*\* (.*)", page)[1]


def test_evidence_is_what_is_there(pages: Pages) -> None:
    verdicts = pages.verdicts()
    assert evidence(pages.page(VERDICTS=verdicts)) == "✅ all 10 verdicts are compliant"
    assert evidence(pages.page()).startswith("⚠️")
    assert evidence(pages.page(VERDICTS=[])) == "❌ 0 of 10 verdicts are compliant: 10 missing"
    for number in range(10):
        rest = verdicts[:number] + verdicts[number + 1 :]
        assert evidence(pages.page(VERDICTS=rest)) == "❌ 9 of 10 verdicts are compliant: 1 missing"


@pytest.mark.parametrize(
    "wrong",
    [
        {"verdict": "non-compliant"},
        {"verdict": "error"},
        {"policies": 0},
        {"environment": "aws-staging"},
        {"fingerprint": "0" * 64},
    ],
    ids=str,
)
def test_a_verdict_that_is_not_plainly_compliant_never_counts_as_one(pages: Pages, wrong: dict[str, Any]) -> None:
    verdicts = pages.verdicts()
    verdicts[3].update(wrong)
    page = pages.page(VERDICTS=verdicts)
    assert evidence(page).startswith("❌ 9 of 10 verdicts are compliant: 1 ")
    assert "### What speaks against it" in page
    assert len(re.findall(r"✅ \[?compliant", page)) == 9


@pytest.mark.parametrize("wrong", [{"verdict": ["compliant"]}, {"verdict": "Compliant"}, {"policies": True}], ids=str)
def test_a_verdict_of_another_shape_is_refused_or_does_not_count(pages: Pages, wrong: dict[str, Any]) -> None:
    verdicts = pages.verdicts()
    verdicts[3].update(wrong)
    path = pages.forked.folder / "verdicts.json"
    path.write_text(json.dumps(verdicts))
    ran = pages.forked.run("summary.py", stdin=json.dumps(pages.release).encode(), VERDICTS=str(path))
    assert ran.code == 2 or evidence(ran.out.decode()).startswith("❌ 9 of 10 verdicts are compliant: 1 ")


@pytest.mark.parametrize("place", [0, -1])
def test_the_worse_of_two_verdicts_counts(pages: Pages, place: int) -> None:
    verdicts = pages.verdicts()
    verdicts.insert(place, {**verdicts[3], "verdict": "error", "reasons": ["no answer"]})
    page = pages.page(VERDICTS=verdicts)
    assert evidence(page).startswith("❌ 9 of 10 verdicts are compliant: 1 error")
    assert "error: no answer" in page


def test_the_flow_is_told_where_an_image_is_not_named_after_it(pages: Pages) -> None:
    """Anybody can call an image `payments`; the flow decides what it replaces."""
    for flow, told in (("payments-build", False), ("x-payments-mirror", True), ("repayments-ci", True)):
        release = [{**pages.release[0], "incoming_name": "registry/payments:1", "incoming_flow": flow}]
        name = f"payments ({flow})" if told else "payments"
        assert f"\n| {name} |" in pages.page(release, diff="")


def many(pages: Pages, count: int, name: str) -> list[dict[str, Any]]:
    """Return a release of many promotions, each with long names."""
    names = {"incoming_name": name, "outgoing_name": name}
    return [
        {**pages.release[0], **names, "incoming_fingerprint": f"{number:064x}", "incoming_flow": f"{number}{name}"}
        for number in range(count)
    ]


@pytest.mark.parametrize("name", ["<|`é_" * 800, "x" * 4000, "\u202e" * 4000], ids=["markup", "plain", "controls"])
def test_a_page_is_always_less_than_1_mib(pages: Pages, name: str) -> None:
    """GitHub drops a larger one without a word."""
    release = many(pages, 800, name)
    verdicts = [{**each, "verdict": "error", "reasons": [name[:500]]} for each in pages.verdicts(release)]
    for more in ({"VERDICTS": verdicts}, {"VERDICTS": verdicts[:100], "REFUSED": f"{name}\n" * 20}):
        page = pages.page(release, diff="", **more)
        assert 100 < len(page.encode()) < 1 << 20
        assert re.search(r"\.\.\. and [0-9]+ more", page)
        assert page.count("<details>") == page.count("</details>")
        assert page.count("```") in (0, 2)


def test_a_page_of_as_many_as_a_matrix_takes_is_whole(pages: Pages) -> None:
    release = many(pages, 256, "x" * 100)
    page = pages.page(release, diff="", VERDICTS=pages.verdicts(release))
    assert page.partition("```mermaid")[0].count("\n| ") == 258


# Names


def called(pages: Pages, value: str) -> tuple[Any, Any]:
    """Return the release and the diff in which each artifact has this name."""
    diff = copy.deepcopy(DIFF)
    for category in diff.values():
        for artifact in category["artifacts"]:
            artifact["name"] = f"x/{value}"
    release = [
        {**promotion, "incoming_name": f"x/{value}", "outgoing_name": f"x/{value}"} for promotion in pages.release
    ]
    return release, diff


def kinds(page: str) -> list[str]:
    """Return what a page is made of, without its text."""
    return [
        kind.type
        for token in MARKDOWN.parse(page)
        for kind in (token, *(token.children or ()))
        if kind.type not in ("text", "text_special")
    ]


LABEL = r'\["(?:[A-Za-z0-9]|[^\x00-\x7f]|[ ./-]|#[0-9]+;)+(?:: [0-9]+)?"\]'
LINE = re.compile(
    rf"flowchart LR|  subgraph [FBT]{LABEL}|    direction LR|    [awbos](?:[0-9]+|more){LABEL}|  end"
    r"|  a[0-9]+ -->\|replaces\| o[0-9]+|  [aw](?:[0-9]+|more) ~~~ b0 ~~~ [os](?:[0-9]+|more)"
).fullmatch


def assert_is_only_a_name(pages: Pages, value: str) -> None:
    """A page of hostile names has the table and the links of any other, and its picture the lines of any other."""
    release, diff = called(pages, value)
    verdicts = pages.verdicts()
    page = pages.page(release, diff, VERDICTS=verdicts)
    assert kinds(page) == pages.plain
    picture = re.search(r"```mermaid\n(.*?)\n```", page, re.DOTALL)[1]
    assert [line for line in picture.split("\n") if not LINE(line)] == []
    for line in page.split("\n"):
        assert line.isprintable()


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_name_means_nothing(pages: Pages, value: str) -> None:
    assert_is_only_a_name(pages, value)


@settings(max_examples=40)
@given(value=any_text.filter(bool))
def test_no_name_means_anything(pages: Pages, value: str) -> None:
    assert_is_only_a_name(pages, value)


def test_a_reason_is_text(pages: Pages) -> None:
    plain = kinds(pages.page(REFUSED="plain"))
    for value in list(HOSTILE.values())[::3]:
        assert kinds(pages.page(REFUSED=" ".join(value.replace("\0", "").split()) or "plain")) == plain
