"""The page for the approver: always small enough, nothing that a name can break, and no evidence that is not there.

What it says in each situation is in tests/cases/summary.
"""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from typing import Any

import pytest
from conftest import ROOT
from hostile.corpus import TEXTS
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lib.diffs import read_diff
from lib.filters import printable
from lib.pages import LONGEST_TEXT, Picture, names, text, versioned
from lib.releases import build
from promotions import promotions
from summary import LARGEST_PAGE, Inputs, mermaid, read_verdicts, summary

# What GitHub's Markdown has beside the standard's, as far as this parser knows it; HTML and links show as such.
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
MORE = {
    "a keyword": "end",
    "a keyword, high": "END",
    "a sub graph": "subgraph x",
    "a style": "style a0 fill:#f00",
    "a class": "a:::b",
    "a shape": "a@{ shape: rounded }",
    "a numbered list": "1. x",
    "a list": "- x",
    "another list": "+ x",
    "an indented line": "     x",
    "a coded character": "#35;#quot;&#35;&quot;",
    "a comment": "%% x",
    "an icon": "fa:fa-car",
    "a formula": "$$x^2$$",
    "an emoji's name": ":tada: :x:",
    "an address": "https://example.com www.example.com a@example.com",
    "underscores": "_a_ a_b __a__ a_ _b",
    "a verdict": "✅ compliant",
    "a line below": "===",
    "a footnote": "[^1] [1]: /x",
    "a back slash": "\\| \\",
}
HOSTILE = {name: value for name, value in {**TEXTS, **MORE}.items() if 0 < len(value) <= LONGEST_TEXT}


def release_of(fixture: str) -> tuple[Any, Any]:
    diff = read_diff(json.loads((ROOT / "fixtures" / fixture).read_bytes()))
    return list(build(promotions(diff)[0], diff.from_snapshot, diff.to_snapshot)), diff


@cache
def several_behind() -> tuple[Any, Any]:
    return release_of("several-behind.json")


def inputs(**given: Any) -> Inputs:
    release, diff = several_behind()
    return Inputs(**{"release": release, "diff": diff, "verdicts": None, "outcomes": None, "refused": "", **given})


def compliant(promotion: Any, environment: str, **more: Any) -> dict[str, Any]:
    fingerprint = promotion["incoming_fingerprint"]
    return {"fingerprint": fingerprint, "environment": environment, "verdict": "compliant", "policies": 1, **more}


def all_compliant() -> list[dict[str, Any]]:
    return [compliant(p, environment) for p in several_behind()[0] for environment in ("aws-beta", "aws-prod")]


def evidence(page: str) -> str:
    return re.search(r"\*\*Evidence:\*\* (.*)", page)[1]


def test_evidence_is_what_is_there() -> None:
    assert evidence(summary(inputs(verdicts=all_compliant()))) == "✅ all 10 verdicts are compliant"
    assert evidence(summary(inputs())).startswith("⚠️")
    assert evidence(summary(inputs(verdicts=[]))) == "❌ 0 of 10 verdicts are compliant: 10 missing"
    for number in range(10):
        rest = all_compliant()
        del rest[number]
        assert evidence(summary(inputs(verdicts=rest))) == "❌ 9 of 10 verdicts are compliant: 1 missing"


@pytest.mark.parametrize(
    "wrong",
    [
        {"verdict": "non-compliant"},
        {"verdict": "error"},
        {"verdict": ""},
        {"verdict": None},
        {"verdict": ["compliant"]},
        {"verdict": "Compliant"},
        {"policies": 0},
        {"policies": True},
        {"policies": None},
        {"environment": "aws-staging"},
        {"environment": None},
        {"fingerprint": "0" * 64},
        {"fingerprint": 7},
    ],
    ids=str,
)
def test_a_verdict_that_is_not_plainly_compliant_never_counts_as_one(wrong: dict[str, Any]) -> None:
    verdicts = all_compliant()
    verdicts[3].update(wrong)
    page = summary(inputs(verdicts=verdicts))
    assert evidence(page).startswith("❌ 9 of 10 verdicts are compliant: 1 ")
    assert "### What speaks against it" in page
    assert page.count("✅ compliant") == 9


@pytest.mark.parametrize("place", [0, -1])
def test_the_worse_of_two_verdicts_counts(place: int) -> None:
    verdicts = all_compliant()
    verdicts.insert(place, {**verdicts[3], "verdict": "error", "reasons": ["no answer"]})
    page = summary(inputs(verdicts=verdicts))
    assert evidence(page).startswith("❌ 9 of 10 verdicts are compliant: 1 error")
    assert "error: no answer" in page


@pytest.mark.parametrize("shape", [None, 7, "x", [], {}, [{}], {"verdict": {"verdict": "compliant"}}], ids=repr)
def test_a_document_of_another_shape_is_no_verdict_and_no_outcome(shape: Any) -> None:
    assert evidence(summary(inputs(verdicts=[shape]))) == "❌ 0 of 10 verdicts are compliant: 10 missing"
    page = summary(inputs(outcomes=[shape]))
    assert page.startswith("## ❌ aws-prod runs 0 of 5 as approved\n")


def test_verdicts_are_read_from_all_files_of_a_folder(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "verdicts.json").write_text('[{"verdict": "error"}]')
    (tmp_path / "a" / "reasons.txt").write_text("no JSON")
    (tmp_path / "b.json").write_text("[1, 2]")
    assert read_verdicts(str(tmp_path)) == [{"verdict": "error"}, 1, 2]


def test_the_diff_says_which_environments_these_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the settings: a page that names the wrong environment would be approved for it."""
    monkeypatch.setenv("TO_ENV", "another")
    assert summary(inputs()).startswith("## 5 of 11 services will change in aws-prod\n")


def test_the_flow_is_told_where_an_image_is_not_named_after_it() -> None:
    """Anybody can call an image `payments`; the flow decides what it replaces."""
    artifacts = [
        {"name": "registry/payments:1", "flow": "payments-ci", "fingerprint": ""},
        {"name": "registry/payments:1", "flow": "basket-ci", "fingerprint": ""},
        {"name": "registry/payments:1", "flow": "", "fingerprint": ""},
    ]
    assert list(names(artifacts)) == ["payments (payments-ci)", "payments (basket-ci)", "payments"]
    assert list(names([artifacts[0], artifacts[0]])) == ["payments", "payments"], "it is one"
    assert versioned(artifacts[:2]) == ["payments (payments-ci)", "payments (basket-ci)"]
    for flow, told in (
        ("payments", False),
        ("payments-build", False),
        ("x-payments-mirror", True),
        ("repayments-ci", True),
    ):
        (name,) = names([{"name": "registry/payments:1", "flow": flow, "fingerprint": ""}])
        assert name == (f"payments ({flow})" if told else "payments")


def called(name: str) -> dict[str, str]:
    return {"name": name, "flow": name, "fingerprint": "", "commit_url": ""}


def many(count: int, name: str) -> list[Any]:
    """Return a release of many promotions, each with long names."""
    release = []
    for number in range(count):
        promotion = dict(several_behind()[0][0])
        fingerprint = f"{number:064x}"
        promotion["incoming_fingerprint"] = fingerprint
        promotion["incoming_name"] = promotion["outgoing_name"] = name
        promotion["incoming_flow"] = promotion["outgoing_flow"] = f"{number}{name}"
        release.append(promotion)
    return release


@pytest.mark.parametrize("name", ["<|`é_" * 800, "x" * 4000, "\u202e" * 4000], ids=["markup", "plain", "controls"])
def test_a_page_is_always_less_than_1_mib(name: str) -> None:
    """GitHub drops a larger one without a word."""
    release = many(20_000 if name.startswith("x") else 1200, name)
    verdicts = [{**compliant(p, "aws-prod"), "verdict": "error", "reasons": [name[:500]]} for p in release]
    outcomes = [{"fingerprint": p["incoming_fingerprint"], "outcome": name, "running": [name] * 9} for p in release]
    for more in (
        {"verdicts": verdicts},
        {"outcomes": outcomes},
        {"verdicts": verdicts[:100], "refused": f"{name}\n" * 2000},
    ):
        page = summary(inputs(release=release, **more))
        assert 100 < len(page.encode()) <= LARGEST_PAGE < 1 << 20
        assert re.search(r"\.\.\. and [0-9]+ more", page)
        assert page.count("<details>") == page.count("</details>")
        assert page.count("```") in (0, 2)


def test_a_page_of_as_many_as_a_matrix_takes_is_whole() -> None:
    release = many(256, "x" * 100)
    verdicts = [compliant(p, environment) for p in release for environment in ("aws-beta", "aws-prod")]
    page = summary(inputs(release=release, verdicts=verdicts))
    assert page.partition("```mermaid")[0].count("\n| ") == 258


LABEL = r'\["(?:[A-Za-z0-9]|[^\x00-\x7f]|[ ./-]|#[0-9]+;)+(?:: [0-9]+)?"\]'
LINE = re.compile(
    rf"flowchart LR|  subgraph [FBT]{LABEL}|    direction LR|    [awbos](?:[0-9]+|more){LABEL}|  end"
    r"|  a[0-9]+ -->\|replaces\| o[0-9]+|  [aw](?:[0-9]+|more) ~~~ b0 ~~~ [os](?:[0-9]+|more)"
).fullmatch


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_name_means_anything_to_mermaid(value: str) -> None:
    """Each line is one that the page is made of. (Mermaid 11 has drawn all of these, each name as it is.)"""
    one = called(value)
    shown = Picture((f"only in {value}", value, value), [(one, one), (one, None)], [one], [one], [one])
    first, *lines, last = mermaid(shown).split("\n")
    assert (first, last) == ("```mermaid", "```")
    assert [line for line in lines if not LINE(line)] == []
    for line in lines:
        label = re.search(r'\["(.*)"\]', line)
        assert not label or not re.match(r"[ +*#>-]|[0-9]+[.)]", label[1].replace("#", "")) or label[1].startswith("#")


@pytest.mark.parametrize("count", [0, 1, 3, 12, 13, 60])
def test_a_long_picture_is_cut_with_a_count(count: int) -> None:
    pairs = [(called(f"new {number}"), called(f"old {number}")) for number in range(count)]
    lines = mermaid(Picture(("from", "both", "to"), pairs, [called("x")] * 60, [], [])).split("\n")
    assert sum("-->" in line for line in lines) == min(count, 12)
    assert (f'    amore["and {count - 12} more"]' in lines) == (count > 12)
    assert '    bmore["and 48 more"]' in lines
    assert len(lines) < 70


def rendered(markdown: str) -> tuple[str, list[str]]:
    """Return the text of a piece of Markdown, and what else than text came out of it."""
    shown, other = "", []
    for token in MARKDOWN.parse(markdown):
        if token.type == "inline":
            for child in token.children:
                if child.type == "text":
                    shown += child.content
                else:
                    other.append(child.type)
        else:
            other.append(token.type)
    return shown, other


def as_it_is(value: str) -> str:
    return "".join(printable(value[i : i + 400]) for i in range(0, len(value), 400))


def assert_is_text(value: str) -> None:
    wanted = as_it_is(value)
    shown, other = rendered(f"- {text(value)}")
    assert shown == wanted
    assert [kind for kind in other if kind not in ("paragraph_open", "paragraph_close")] in (
        ["bullet_list_open", "list_item_open", "list_item_close", "bullet_list_close"],
    )
    shown, other = rendered(f"| a | b |\n| --- | --- |\n| {text(value)} | {text(value)} |")
    assert shown == f"ab{wanted}{wanted}"
    assert {kind.partition("_")[0] for kind in other} <= {"table", "thead", "tbody", "tr", "th", "td"}
    shown, other = rendered(f"## {text(value)}")
    assert shown == wanted
    assert other == ["heading_open", "heading_close"]
    shown, other = rendered(f"- **x:** {text(value)}: {text(value)}")
    assert shown == f"x: {wanted}: {wanted}"
    assert other.count("strong_open") == 1


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_value_is_nothing_but_text(value: str) -> None:
    assert_is_text(value)
    coded = text(value)
    assert coded.isprintable()
    assert not re.search(r"https?:|www\.|\w@\w|[<>|`\[\]*~$\\]", coded, re.IGNORECASE), "GitHub makes something of it"


@given(st.text(min_size=1, max_size=LONGEST_TEXT))
def test_any_value_is_nothing_but_text(value: str) -> None:
    assert_is_text(value.encode("utf-8", "replace").decode())


def test_a_long_value_is_cut() -> None:
    assert len(text("x" * 100_000)) < LONGEST_TEXT + 4


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_page_of_hostile_names_has_the_table_and_the_links_of_any_other(value: str) -> None:
    release, diff = copy.deepcopy(several_behind())
    verdicts = all_compliant()
    plain = rendered_kinds(summary(inputs(verdicts=verdicts)))
    for artifact in (*diff.incoming, *diff.outgoing, *diff.running_in_to):
        artifact["name"] = f"x/{value}"
    for promotion in release:
        promotion["incoming_name"] = promotion["outgoing_name"] = f"x/{value}"
        promotion["incoming_repo_provider"] = value
    for verdict in verdicts:
        verdict["html_url"] = value
    changed = rendered_kinds(summary(inputs(release=release, diff=diff, verdicts=verdicts)))
    assert changed == plain


def rendered_kinds(page: str) -> list[str]:
    return [
        kind.type
        for token in MARKDOWN.parse(page)
        for kind in (token, *(token.children or ()))
        if kind.type not in ("text", "text_special")
    ]
