"""The page for the approver: always small enough, nothing that a name can break, and no evidence that is not there.

What it says in each situation is in tests/cases/summary.
"""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from conftest import run
from hostile.corpus import TEXTS
from lib.decision import age
from lib.streams import printable
from pages import changes, diff, inverse, outcomes, page, release_of, verdicts

import pytest

LARGEST_PAGE = 1_000_000
FIVE = diff(5)
MORE = {
    "a keyword": "end",
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
    "a formula": "$$x^2$$",
    "an emoji's name": ":tada: :x:",
    "an address": "https://example.com www.example.com a@example.com",
    "underscores": "_a_ a_b __a__ a_ _b",
    "a verdict": "✅ compliant",
    "a line below": "===",
    "a footnote": "[^1] [1]: /x",
    "a back slash": "\\| \\",
}
HOSTILE = [value for value in {**TEXTS, **MORE}.values() if 0 < len(value) < 80]


def evidence(shown: str) -> str:
    found = re.search(r"\*\*Evidence:\*\* (.*)", shown)
    assert found
    return found[1]


def judged(wanted: list[dict[str, Any]]) -> str:
    return page("summary", release_of(FIVE), snapshots=FIVE, verdicts=wanted)


def test_evidence_is_what_is_there() -> None:
    every = verdicts(release_of(FIVE))
    assert evidence(judged(every)) == "✅ all 10 verdicts are compliant"
    assert evidence(judged([])) == "❌ 0 of 10 verdicts are compliant: 10 missing"
    assert evidence(judged(every[1:])) == "❌ 9 of 10 verdicts are compliant: 1 missing"
    assert evidence(page("summary", release_of(FIVE))).startswith("⚠️ none")


@pytest.mark.parametrize(
    "wrong",
    [
        {"verdict": "non-compliant"},
        {"verdict": "error"},
        {"policies": 0},
        {"policies": -1},
        {"environment": "aws-staging"},
        {"fingerprint": "0" * 64},
    ],
    ids=str,
)
def test_a_verdict_that_is_not_plainly_compliant_never_counts_as_one(wrong: dict[str, Any]) -> None:
    found = verdicts(release_of(FIVE))
    found[3].update(wrong)
    shown = judged(found)
    assert evidence(shown).startswith("❌ 9 of 10 verdicts are compliant: 1 ")
    assert "### What speaks against it: 1" in shown
    assert shown.count("✅ [compliant]") == 9


@pytest.mark.parametrize("place", [0, 10])
def test_the_worse_of_two_verdicts_counts(place: int) -> None:
    found = verdicts(release_of(FIVE))
    found.insert(place, {**found[3], "verdict": "error", "reasons": ["no answer"]})
    shown = judged(found)
    assert evidence(shown) == "❌ 9 of 10 verdicts are compliant: 1 error"
    assert "error because no answer" in shown


@pytest.mark.parametrize("name", ["VERDICTS", "OUTCOMES"])
@pytest.mark.parametrize(
    "document", ["7", "[7]", "[{}]", '[{"verdict": "Compliant"}]', '[{"outcome": "half"}]', "[", "[NaN]"]
)
def test_what_is_no_verdict_and_no_outcome_is_refused(name: str, document: str, tmp_path: Any) -> None:
    path = tmp_path / "document.json"
    path.write_text(document)
    done = run("summary.py", stdin=b"[]", **{name: str(path)})
    assert (done.code, done.out) == (2, b"")
    assert done.err.count(b"\n") == 1


@pytest.mark.parametrize(
    ("ago", "said"),
    [(-9, "0 min"), (3599, "59 min"), (3600, "1 h"), (86399, "23 h"), (86400, "1 d 0 h"), (273600, "3 d 4 h")],
)
def test_an_age(ago: int, said: str) -> None:
    assert age(1_790_000_000, datetime.fromtimestamp(1_790_000_000 + ago, UTC)) == said
    assert age(None, datetime.now(UTC)) == "not known"


def test_the_diff_says_which_environments_these_are() -> None:
    """Not the settings: a page that names the wrong environment would be approved for it."""
    assert page("summary", release_of(FIVE), snapshots=FIVE).startswith("## 5 of 15 services will change in aws-prod\n")


def test_the_flow_is_told_where_an_image_is_not_named_after_it() -> None:
    """Anybody can call an image `payments`; the flow decides what it replaces."""
    release = release_of(FIVE)
    flows = ("payments", "payments-build", "x-payments-mirror", "repayments-ci", "basket-ci")
    for promotion, flow in zip(release, flows, strict=True):
        promotion["incoming_name"], promotion["incoming_flow"] = "registry/payments:1", flow
    shown = page("summary", release)
    rows = [row[2:-2].split(" | ") for row in shown.split("\n") if row.startswith("| payments")]
    assert [(row[0], row[-1]) for row in rows] == [(f"payments ({flow})", flow) for flow in flows]
    assert re.findall(r"^- (payments.*) from", shown, re.MULTILINE) == [f"payments ({flow})" for flow in flows]
    assert re.findall(r"^- (.*) from", page("summary", release[:1]), re.MULTILINE) == ["payments"]


def many(count: int, name: str) -> list[dict[str, Any]]:
    """Return a release of many promotions, each with long names."""
    template = release_of(FIVE)[0]
    names = {"incoming_name": name, "outgoing_name": name}
    return [
        {**template, **names, "incoming_fingerprint": f"{n:064x}", "incoming_flow": f"{n}{name}"} for n in range(count)
    ]


@pytest.mark.parametrize(
    ("name", "count"),
    [("<|`é_" * 100, 200), ("x" * 500, 1200), ("\u202e" * 500, 200)],
    ids=["markup", "plain", "controls"],
)
def test_a_page_is_always_less_than_1_mib(name: str, count: int) -> None:
    """GitHub drops a larger one without a word."""
    release = many(count, name)
    found = [{**v, "verdict": "error", "reasons": [name[:500]]} for v in verdicts(release)]
    for more in (
        {"verdicts": found},
        {"outcomes": outcomes(release)},
        {"verdicts": found[:100], "refused": f"{name[:100]}\n" * 300},
    ):
        shown = page("summary", release, **more)
        assert 100 < len(shown.encode()) <= LARGEST_PAGE
        assert re.search(r"\.\.\. and [0-9]+ more", shown) or count < 1000
        assert shown.count("<details>") == shown.count("</details>")
        assert shown.count("```") in (0, 2)


@pytest.mark.parametrize("script", ["summary", "report"])
def test_a_long_name_is_cut(script: str) -> None:
    assert "x" * 200 not in page(script, many(1, "x" * 500))


def test_a_page_of_as_many_as_a_matrix_takes_is_whole() -> None:
    release = many(256, "x" * 100)
    shown = page("summary", release, verdicts=verdicts(release))
    assert shown.partition("```mermaid")[0].count("\n| ") == 258


LABEL = r'\["(?:[A-Za-z0-9]|[^\x00-\x7f]|[ ./-]|#[0-9]+;)+"\]'
LINE = re.compile(
    rf"flowchart LR|  subgraph [FBT]{LABEL}|    direction LR|    [awbos](?:[0-9]+|more){LABEL}|  end"
    r"|  a[0-9]+ -->\|replaces\| o[0-9]+|  [awos](?:[0-9]+|more) ~~~ b0 ~~~ [awos](?:[0-9]+|more)"
).fullmatch


# What GitHub's Markdown makes something of, inside a line or at its start.
MEANS_SOMETHING = re.compile(r"https?:|www\.|\w@\w|[<>|`\[\]*~$\\]|^[ #+-]|^\d+[.)] | $").search


def picture(shown: str) -> list[str]:
    return shown.split("```mermaid\n")[1].split("\n```")[0].split("\n")


@pytest.mark.parametrize("start", range(0, len(HOSTILE), 12))
def test_no_name_means_anything(start: int) -> None:
    """Each cell shows the name as it is, and each line of the picture is one that the page is made of."""
    values = HOSTILE[start : start + 12]
    document = diff(len(values))
    release = release_of(document)
    for promotion, value in zip(release, values, strict=True):
        promotion["incoming_name"] = promotion["outgoing_name"] = f"x/{value}"
        promotion["incoming_flow"] = value
    shown = page("summary", release, snapshots=document, verdicts=verdicts(release))
    rows = [line for line in shown.split("\n") if line.startswith("| ")][2:]
    assert len(rows) == len(values)
    for row, value in zip(rows, values, strict=True):
        cells = row[2:-2].split(" | ")
        assert len(cells) == 9
        assert html.unescape(cells[-1]).removesuffix(" ‡") == printable(value)
        for cell in (cells[0], cells[-1]):
            assert cell.isprintable()
            assert not MEANS_SOMETHING(cell)
    assert [line for line in picture(shown) if not LINE(line)] == []
    assert shown.count("<") == 2 * shown.count("<details><summary>") * 2, "no markup but the page's own"


@pytest.mark.parametrize("count", [0, 1, 12, 13, 60])
def test_a_long_picture_is_cut_with_a_count(count: int) -> None:
    document = diff(count)
    lines = picture(page("summary", release_of(document), snapshots=document))
    assert sum("-->" in line for line in lines) == min(count, 12)
    assert (f'    amore["and {count - 12} more"]' in lines) == (count > 12)
    assert len(lines) < 70


@pytest.mark.parametrize(("count", "listed"), [(60, 20), (400, 5)])
def test_long_histories_leave_room_for_every_service(count: int, listed: int) -> None:
    release = release_of(diff(count))
    found = changes(release)
    for change in found:
        change["commits"] *= 250
        change["ahead"] = 300 if change["commits"] else change["ahead"]
    shown = page("summary", release, verdicts=verdicts(release), changes=found)
    assert len(shown.encode()) < LARGEST_PAGE
    rows = [line for line in shown.split("\n") if line.startswith("| ")][2:]
    assert (len(rows), rows[0].count("<br>")) == (count, listed + 1)
    assert f"... and {300 - listed} more</details>" in rows[0]


def test_no_subject_of_a_commit_means_anything() -> None:
    release = release_of(diff(len(HOSTILE)))
    found = changes(release)
    for change, subject in zip(found, HOSTILE, strict=True):
        hostile = {"subject": subject, "author": subject, "pull_request": ""}
        change |= {"status": "ahead", "commits": [found[0]["commits"][0] | hostile], "on_branch": True, "ahead": 1}
    shown = page("summary", release, changes=found)
    rows = [line for line in shown.split("\n") if line.startswith("| ")][2:]
    for row, subject in zip(rows, HOSTILE, strict=True):
        assert len(row[2:-2].split(" | ")) == 7
        assert row.count("<") == 5, "no markup but the page's own"
        assert printable(subject).split()[:1] == [] or printable(subject).split()[0] in html.unescape(row)


def test_a_rollback_that_is_back_already_changes_nothing() -> None:
    release = inverse(release_of(FIVE))
    shown = page("summary", release, snapshots=FIVE, verdicts=verdicts(release))
    assert shown.startswith("## ⏪ Rollback: 0 of 15 services will change in aws-prod\n")
    assert "**Yes:** deploys nothing: aws-prod runs all of it already" in shown
    assert evidence(shown) == "✅ all 5 verdicts are compliant"


def test_a_refusal_needs_no_release(tmp_path: Path) -> None:
    (tmp_path / "reasons").write_text("promotions.py: it is frozen")
    for stdin in (b"", b"nonsense", b"{}", b"[7]"):
        done = run("summary.py", stdin=stdin, REASONS=str(tmp_path / "reasons"))
        assert done.out.decode() == "## ⛔ Refused: nothing is promoted into aws-prod\n\n- it is frozen\n"
