"""Hostile input: a script ends, with an exit code that means something, and lets nothing out of its quotes.

hostile/corpus.py makes the input. Each goes through the one script that stands for all that read such a document; a
text that is only a value goes through all that write it for somebody else: a workflow, a page, a log.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from conftest import ROOT, environment
from forked import Forked, Ran
from hostile.corpus import (
    SHORT,
    VALUES,
    corpus,
    diff_of_texts,
    meant_for,
    ordinary_diff,
    ordinary_release,
    outcomes_of_texts,
    to_bytes,
    verdicts_of_texts,
)
from pages import wrong_html

import pytest

# Their answer goes with exit code 1 or 3 too: what is in progress, verdicts.
ANSWER_AND_FAIL = {"in_progress.py": {1}, "gate.py": {1, 3}}
KILOBYTES = 70_000  # that a small input may take
TIMES = 25  # and each byte of a large one
# White space that GitHub takes away before a workflow command.
COMMAND = re.compile(r"^\s*::|##\[", re.MULTILINE)
# The CLI of this folder refuses everything, in words that no log should show.
REFUSES = ROOT / "tests" / "hostile" / "refuses"
SETTINGS = {
    "KOSLI_ORG": "acme",
    "KOSLI_API_TOKEN": "a-token-that-nobody-has",
    "RELEASE_TRAIL": "run-42",
    "DIGEST": "0" * 64,
    "ROLLBACK_OF": "42",
    "GITHUB_REPOSITORY": "acme-shop/releases",
    "GITHUB_REF_NAME": "main",
    "PATH": f"{REFUSES}:{os.environ['PATH']}",
}


class Use(NamedTuple):
    """A script, and how a document gets into it: on stdin, or in the file that a variable names, beside a release."""

    script: str
    variable: str = ""
    arguments: tuple[str, ...] = ()


USES = {
    "": Use("promotions.py"),
    "diff": Use("promotions.py"),
    "release": Use("rollback.py"),
    "reviews": Use("approval.py"),
    "run": Use("promotion_run.py", "", ("comparison.json",)),
    "verdicts": Use("summary.py", "VERDICTS"),
    "outcomes": Use("report.py", "OUTCOMES"),
}
# Every so many inputs: many differ in the broken key only.
EACH = {"diff": 3, "release": 2, "reviews": 2, "verdicts": 2, "outcomes": 2}


@cache
def documents() -> dict[str, bytes]:
    return corpus()


def run(forked: Forked, use: Use, content: bytes, **variables: str) -> Ran:
    """Run a script on an input."""
    (forked.folder / "comparison.json").write_text('{"status": "ahead"}')
    if not use.variable:
        return forked.run(use.script, *use.arguments, stdin=content, cwd=forked.folder, **SETTINGS, **variables)
    path = forked.folder / "input.json"
    path.write_bytes(content)
    variables[use.variable] = str(path)
    return forked.run(use.script, *use.arguments, stdin=to_bytes(ordinary_release()), **SETTINGS, **variables)


def problems(script: str, ran: Ran) -> Iterator[str]:
    """Give what is wrong with the way in which a script ended."""
    if b"Traceback" in ran.err:
        yield f"traceback: {ran.err.decode(errors='replace').strip().splitlines()[-1]}"
        return
    if ran.code not in (0, 1, 2, 3):
        yield f"exit code {ran.code}"
    if ran.code and not ran.out and not ran.err:
        yield f"exit code {ran.code} and not a word"
    if ran.out and ran.code and ran.code not in ANSWER_AND_FAIL.get(script, ()):
        yield f"exit code {ran.code}, and on stdout {ran.out[:80]!r}"
    if ran.seconds > 5:
        yield f"it took {ran.seconds} s"
    yield from wrong_lines(script, ran.err.decode())
    yield from wrong_answer(script, ran.out.decode())


def wrong_lines(script: str, text: str) -> Iterator[str]:
    """Give what is wrong with stderr: each line must start with the script's name, and be nothing but a line."""
    if text and not text.endswith("\n"):
        yield "stderr ends in the middle of a line"
    for line in text.split("\n")[:-1]:
        if not line.startswith(f"{script}: ") or not line.isprintable() or "##[" in line or len(line) > 20_000:
            yield f"a line of stderr: {line[:80]!r}"


def wrong_answer(script: str, text: str) -> Iterator[str]:
    """Give what is wrong with stdout: it must be JSON, or the format that the script's contract names."""
    if not text:
        return
    if not text.endswith("\n"):
        yield "stdout has no final newline"
    if script == "github_output.py":
        found = dict(line.partition("=")[::2] for line in text.splitlines())
        if len(found) != len(text.splitlines()) or not text.isascii():
            yield f"a line of its own among the outputs: {sorted(found)}"
        elif len(json.loads(found["promotions"])) != int(found["count"]):
            yield "outputs that contradict each other"
    elif script == "summary.py":
        yield from wrong_markdown(text)
    elif script == "report.py":
        yield from wrong_html(text)
        if not set(text).isdisjoint("\0\x07\x08\x1b\x7f\x9b"):
            yield "a control character in the page"
    else:
        json.loads(text, parse_constant=lambda constant: 1 / 0)
        if COMMAND.search(text):
            yield "a workflow command on stdout"


def wrong_markdown(text: str) -> Iterator[str]:
    """Give what of a hostile value has become markup, a command or a line of its own."""
    for line in text.split("\n"):
        if not line.isprintable() or COMMAND.search(line):
            yield f"a command in the summary: {line[:80]!r}"
        if re.search(r"<(?!/?(details|summary|br)>)|\]\((?!https?://)", line):
            yield f"markup in the summary: {line[:80]!r}"
        if re.match(r"# Approved|- \[x\] all is well|> quoted|-->", line):
            yield f"a line of its own in the summary: {line[:80]!r}"


def nothing_ran(folder: Path) -> bool:
    return not list(folder.rglob("owned")) + list(ROOT.glob("owned")) + list((ROOT / "scripts").glob("owned"))


@pytest.mark.parametrize("kind", USES)
def test_each_input(kind: str, forked: Forked) -> None:
    """None crashes, hangs, grows without bound, or gets out of its quotes."""
    use, found = USES[kind], []
    names = [name for name in documents() if meant_for(name) == kind][:: EACH.get(kind, 1)]
    assert len(names) > 20
    for name in names:
        content = documents()[name]
        ran = run(forked, use, content)
        found += [f"{name}: {problem}" for problem in problems(use.script, ran)]
        if ran.kilobytes > KILOBYTES + TIMES * (len(content) + len(ran.out)) // 1024:
            found.append(f"{name}: took {ran.kilobytes} KB")
    assert nothing_ran(forked.folder), "a value ran as a command"
    assert not found, f"{len(found)} problems:\n" + "\n".join(found[:40])


@pytest.fixture(scope="module")
def release(forked: Forked) -> bytes:
    """A release whose names hold each text."""
    return run(forked, USES["diff"], to_bytes(diff_of_texts(SHORT))).out


def test_a_text_comes_through_as_the_value_that_it_is(forked: Forked) -> None:
    ran = run(forked, USES["diff"], to_bytes(diff_of_texts(VALUES)))
    assert list(problems("promotions.py", ran)) == []
    found = {promotion["incoming_flow"]: promotion for promotion in json.loads(ran.out)}
    assert len(found) == 2 * len(VALUES) > 140
    for number, text in enumerate(VALUES):
        update, first = found[f"{number}a{text}"], found[f"{number}b{text}"]
        assert update["incoming_name"] == update["outgoing_name"] == update["outgoing_commit_url"] == text
        assert (first["incoming_name"], first["outgoing_name"]) == (f"{number}{text}", "")


@pytest.mark.parametrize("script", ["github_output.py", "summary.py", "report.py", "gate.py", "query.py"])
def test_a_text_for_somebody_else(script: str, release: bytes, forked: Forked) -> None:
    """A workflow, a page, a log: what a script writes is made of no value."""
    arguments = {"gate.py": ("aws-beta", "aws-prod"), "query.py": (str(ROOT / "jq" / "matrix.jmespath"),)}
    if script == "gate.py":
        release = to_bytes(json.loads(release)[::6])  # the CLI is started twice for each
    ran = run(forked, Use(script, "", arguments.get(script, ())), release, DEPLOY_ONE_REPOSITORY="many")
    assert ran.code == (3 if script == "gate.py" else 0), ran.err
    assert list(problems(script, ran)) == []
    assert nothing_ran(forked.folder), "a value ran as a command"


@pytest.mark.parametrize("script", ["summary.py", "report.py"])
def test_a_text_of_kosli_on_a_page(script: str, forked: Forked) -> None:
    for variable, document in {"VERDICTS": verdicts_of_texts(), "OUTCOMES": outcomes_of_texts()}.items():
        ran = run(forked, Use(script, variable), to_bytes(document))
        assert ran.code == 0, ran.err
        assert list(problems(script, ran)) == []


@pytest.mark.parametrize(
    ("builds", "variables"),
    [(2, {}), (1, {"SOURCES": "https://github.com/nobody/"}), (1, {"FLOWS": "no-such-flow"})],
    ids=["in progress", "below no source", "no such flow"],
)
def test_a_text_in_a_refusal(builds: int, variables: dict[str, str], forked: Forked) -> None:
    ran = run(forked, USES["diff"], to_bytes(diff_of_texts(VALUES, builds)), **variables)
    assert (ran.code in (1, 2), ran.out) == (True, b"")
    assert list(problems("promotions.py", ran)) == []


HOSTILE_WORDS = {
    "a quote": "a'; touch owned; '",
    "a substitution": "$(touch owned)`touch owned`",
    "make's own": "$(shell touch owned)$$(touch owned)",
    "a command": "x\n::error::owned",
    "an escape": "\x1b[31mx",
    "not UTF-8": os.fsdecode(b"\xff\xfe"),
    "digits": "9" * 5000,
    "not a number": "nan",
    "long": "x" * 100_000,
}


@pytest.mark.parametrize(
    ("script", "names"),
    {
        "promotions.py": "FLOWS MATCH_BY UNPROVEN ALLOW_RENAMED RELEASE_FLOW FROM_ENV KOSLI_ORG KOSLI_HOST",
        "gate.py": "GATE_JOBS KOSLI_TIMEOUT ALLOW_NO_POLICY KOSLI_API_TOKEN KOSLI_HOST KOSLI_ORG",
        "attest.py": "RELEASE_TRAIL RELEASE_FLOW REASONS GITHUB_REPOSITORY GITHUB_SHA",
        "summary.py": "REASONS VERDICTS GITHUB_RUN_ID KOSLI_ORG",
    }.items(),
)
def test_hostile_settings(script: str, names: str, forked: Forked) -> None:
    """A setting is a value like any other."""
    document = to_bytes(ordinary_diff() if script == "promotions.py" else ordinary_release())
    arguments = ("aws-beta", "aws-prod") if script == "gate.py" else ()
    found = []
    for name in names.split():
        for word, value in HOSTILE_WORDS.items():
            ran = forked.run(script, *arguments, stdin=document, **{**SETTINGS, name: value})
            found += [f"{name} is {word}: {problem}" for problem in problems(script, ran)]
    assert nothing_ran(forked.folder), "a setting ran as a command"
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", ["FLOWS", "ANYTHING"])
def test_hostile_settings_through_make(name: str, tmp_path: Path) -> None:
    """A setting is not make code and not shell code, wherever it comes from."""
    value = "".join(HOSTILE_WORDS[word] for word in ("a quote", "a substitution", "make's own"))
    settings = {"SNAPSHOTS": "fixtures/level.json", name: value}
    for words in ([], [f"{key}={value}" for key, value in settings.items()]):
        done = subprocess.run(
            ["make", "--silent", "promotions", *words],
            cwd=ROOT,
            env={**environment(tmp_path), **({} if words else settings)},
            capture_output=True,
            timeout=60,
        )
        ran = (ROOT / "owned").exists()
        (ROOT / "owned").unlink(missing_ok=True)
        assert not ran, f"{name} ran as a command, {'on the command line' if words else 'from the environment'}"
        assert b"Traceback" not in done.stderr
