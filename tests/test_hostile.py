"""Hostile input through every script: it ends, with an exit code that means something, and out of no quotes.

hostile/corpus.py makes the input, hostile/scripts.py knows how it gets into each script, hostile/forked.py is quick.
A script that is new takes part by what its contract says of stdin.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import ROOT, environment
from hostile.corpus import TEXTS, a_million_of_one_flow, corpus, meant_for, ordinary_diff, ordinary_release, to_bytes
from hostile.scripts import (
    ALONE,
    DIFF,
    RELEASE,
    SCRIPTS,
    Use,
    contract,
    document_of,
    hostile_environment,
    reads_stdin,
    run_all,
    streams,
    uses,
)

EXIT_CODES = {0, 1, 2, 3}
# Their answer goes with exit code 1 or 3 too: what is in progress, verdicts, outcomes.
ANSWER_AND_FAIL = {"in_progress.py": {1}, "gate.py": {1, 3}, "verify.py": {1, 3}}
KILOBYTES = 70_000  # that a small input may take
TIMES = 25  # and each byte of a large one
# White space that GitHub takes away before a workflow command.
COMMAND = re.compile(r"^\s*::|##\[", re.MULTILINE)

USES = uses()


@cache
def documents() -> dict[str, bytes]:
    return corpus()


@cache
def file_of(name: str) -> str:
    return str(list(documents()).index(name))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with each input, by number, and the harmless documents."""
    folder = tmp_path_factory.mktemp("hostile")
    for number, content in enumerate(documents().values()):
        (folder / str(number)).write_bytes(content)
    (folder / RELEASE).write_bytes(to_bytes(ordinary_release()))
    (folder / DIFF).write_bytes(to_bytes(ordinary_diff()))
    return folder


def names_for(use: Use) -> list[str]:
    """Return the inputs for a use: all that resemble its document or none, and some of the others.

    Of a script's second way in, every third one.
    """
    document = document_of(use)
    mine = {name for name in documents() if document and meant_for(name) in ("", document)}
    some = set(list(documents())[:: 40 if document else 16])
    if "{content}" in dict(use.variables).values():
        # No environment variable holds a NUL or is longer than this.
        mine = {name for name in mine if len(documents()[name]) < 100_000 and b"\0" not in documents()[name]}
        some &= mine
    first = use is next(each for each in USES if each.script == use.script)
    return sorted(mine | some)[:: 1 if first else 3]


def problems(script: str, code: int, stdout: bytes, stderr: bytes) -> Iterator[str]:
    """Give what is wrong with the way in which a script ended."""
    if b"Traceback" in stderr:
        yield f"traceback: {stderr.decode(errors='replace').strip().splitlines()[-1]}"
        return
    if code not in EXIT_CODES:
        yield f"exit code {code}"
    if code and not stdout and not stderr:
        yield f"exit code {code} and not a word"
    if stdout and code and code not in ANSWER_AND_FAIL.get(script, ()):
        yield f"exit code {code}, and on stdout {stdout[:80]!r}"
    yield from wrong_lines(script, stderr)
    yield from wrong_answer(script, stdout)


def wrong_lines(script: str, stderr: bytes) -> Iterator[str]:
    """Give what is wrong with stderr: each line must start with the script's name, and be nothing but a line."""
    try:
        text = stderr.decode("utf-8")
    except UnicodeDecodeError:
        yield f"stderr is not UTF-8: {stderr[:80]!r}"
        return
    if text and not text.endswith("\n"):
        yield "stderr ends in the middle of a line"
    for line in text.split("\n")[:-1]:
        if not line.startswith(f"{script}: "):
            yield f"a line of stderr that is not the script's: {line[:80]!r}"
        if not line.isprintable():
            yield f"a control character on stderr: {line[:80]!r}"
        if "##[" in line:
            yield f"a workflow command on stderr: {line[:80]!r}"
        if len(line) > 20_000:
            yield f"a line of {len(line)} characters on stderr"


def wrong_answer(script: str, stdout: bytes) -> Iterator[str]:
    """Give what is wrong with stdout: it must be JSON, or the format that the script's contract names."""
    if not stdout or script == "snapshots.py":
        return
    text = stdout.decode("utf-8")
    if not text.endswith("\n"):
        yield "stdout has no final newline"
    if re.search(r"^::", text, re.MULTILINE) or ("##[" in text and script not in ("summary.py", "report.py")):
        yield "a workflow command on stdout"
    if script == "github_output.py":
        found = dict(line.partition("=")[::2] for line in text.splitlines())
        if sorted(found) != ["any", "count", "digest", "promotions"] or len(text.splitlines()) != 4:
            yield f"other outputs than its own: {sorted(found)}"
        elif len(json.loads(found["promotions"])) != int(found["count"]) or not text.isascii():
            yield "outputs that contradict each other"
    elif script == "summary.py":
        yield from wrong_markdown(text)
    elif script == "report.py":
        yield from wrong_html(text)
    else:
        try:
            json.loads(text, parse_constant=lambda constant: 1 / 0)
        except (ValueError, ZeroDivisionError) as error:
            yield f"stdout is not JSON: {error}"


def wrong_markdown(text: str) -> Iterator[str]:
    """Give what of a hostile value has become markup, a command or a line of its own."""
    for line in text.split("\n"):
        if not line.isprintable():
            yield f"a control character in the summary: {line[:80]!r}"
        if COMMAND.search(line):
            yield f"a workflow command in the summary: {line[:80]!r}"
        outside = re.sub(r"<code>.*?</code>", "", line)
        if re.search(
            r"<(script|img|h1)\b|</(table|details)>.*</(table|details)>|<!-- x|javascript:alert\(1\)\)", outside
        ):
            yield f"markup in the summary: {line[:80]!r}"
        if re.match(r"# Approved|- \[x\] all is well|> quoted|-->", line):
            yield f"a line of its own in the summary: {line[:80]!r}"


class Page(HTMLParser):
    """Collects what of a page would act."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "img", "iframe", "object", "embed", "form", "base"):
            self.found.append(f"<{tag}>")
        for name, value in attributes:
            if name.startswith("on"):
                self.found.append(f"{name}={value!r}")
            allowed = "data:" if tag == "link" else "https?://|#|data:"
            if name in ("href", "src", "action", "xlink:href") and not re.match(allowed, value or ""):
                self.found.append(f"{name}={value!r}")

    def handle_comment(self, data: str) -> None:
        self.found.append(f"a comment: {data[:40]!r}")


def wrong_html(text: str) -> Iterator[str]:
    """Give what of a hostile value acts in the page."""
    page = Page()
    page.feed(text)
    yield from (f"in the page: {each}" for each in page.found)
    if not set(text).isdisjoint("\0\x07\x08\x1b\x7f\x9b"):
        yield "a control character in the page"


@pytest.mark.parametrize("use", USES, ids=str)
def test_each_input_through_each_script(use: Use, inputs: Path, tmp_path: Path) -> None:
    """None crashes, hangs, grows without bound, or gets out of its quotes."""
    names = names_for(use)
    ended = run_all(use, [(inputs / file_of(name), {}) for name in names], tmp_path, inputs)
    found = []
    assert len(ended) == len(names)
    for number, (name, (code, seconds, kilobytes)) in enumerate(zip(names, ended)):
        stdout, stderr = streams(tmp_path, number)
        found += [f"{name}: {problem}" for problem in problems(use.script, code, stdout, stderr)]
        if seconds > 5:
            found.append(f"{name}: took {seconds} s")
        if kilobytes > KILOBYTES + TIMES * (len(documents()[name]) + len(stdout)) // 1024:
            found.append(f"{name}: took {kilobytes} KB")
    assert not list(tmp_path.rglob("owned")) + list(ROOT.glob("**/owned")), "a value ran as a command"
    assert not found, f"{len(found)} problems:\n" + "\n".join(found[:40])


def test_the_corpus_is_large_and_stays_as_it_is() -> None:
    assert len(documents()) >= 200
    assert corpus() == documents(), "the same input at each run"


def test_the_corpus_has_teeth(inputs: Path, tmp_path: Path) -> None:
    """Hostile values come through as the values that they are: what is only refused proves little."""
    names = [f"text in a diff: {name}" for name in TEXTS]
    ended = run_all(Use("promotions.py"), [(inputs / file_of(name), {}) for name in names], tmp_path, inputs)
    assert [code for code, _, _ in ended] == [0] * len(names)
    for number, text in enumerate(TEXTS.values()):
        release = json.loads(streams(tmp_path, number)[0])
        assert [promotion["incoming_flow"] for promotion in release] == [f"1{text}", f"2{text}"]
        assert release[0]["incoming_name"] == release[0]["outgoing_name"] == release[0]["outgoing_commit_url"] == text


def test_each_script_takes_part() -> None:
    """A new script that reads a document comes in by its contract; one with arguments needs a row in WAYS."""
    without = {script for script in SCRIPTS if script not in {use.script for use in USES}}
    assert without == {"demo.py", *(use.script for use in ALONE)}, "how does a document get into these?"
    for script in SCRIPTS:
        assert not (reads_stdin(script) and script in without)


SAMPLE = [
    "text in a diff: shell: substitution",
    "text in a diff: command: set-output",
    "text in a diff that is refused: command: error in a second line",
    "text in a diff that is refused: control: escape",
    "text in a release: control: NUL",
    "syntax: a key twice, the empty one last",
    "syntax: halves the wrong way round as extra",
    "encoding: diff in utf-16",
    "nested: 1000000 lists",
    "large: ten names of 1 MB that are refused",
]


@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_through_true_processes(name: str, inputs: Path, tmp_path: Path) -> None:
    """What a forked child does, a process of its own does too."""
    path = inputs / file_of(name)
    for use in (Use("promotions.py"), Use("in_progress.py"), Use("rollback.py"), Use("github_output.py")):
        out = tmp_path / use.script
        out.mkdir()
        ((code, _, _),) = run_all(use, [(path, {})], out, inputs)
        with open(path, "rb") as stdin:
            done = subprocess.run(
                [sys.executable, ROOT / "scripts" / use.script],
                cwd=ROOT,
                env=hostile_environment(tmp_path),
                stdin=stdin,
                capture_output=True,
                timeout=30,
            )
        assert not list(problems(use.script, done.returncode, done.stdout, done.stderr))
        assert (done.returncode, done.stdout, done.stderr) == (code, *streams(out, 0))


MAKE = [
    "text in a diff: shell: end of a quote",
    "text in a diff: command: set-output",
    "text in a diff that is refused: command: error in a second line",
    "truncated: diff several-behind at 50%",
    "large: 10,000 of one flow",
]


@pytest.mark.parametrize("part", range(4))
def test_a_sample_through_make(part: int, inputs: Path, tmp_path: Path) -> None:
    """Some that have been trouble, and every 30th; not 10,000 promotions, of which the gate asks for an hour."""
    names = [*MAKE, *(name for name in sorted(documents())[::30] if not name.startswith("large"))]
    assert len(names) > 50
    for name in names[part::4]:
        for target in ("in-progress", "promotions", "gate"):
            done = subprocess.run(
                ["make", "--silent", target],
                cwd=ROOT,
                env={**hostile_environment(tmp_path), "SNAPSHOTS": str(inputs / file_of(name))},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
            )
            assert done.returncode in (0, 2), name
            lines = done.stderr.decode().splitlines()
            said = all(re.match(r"make: \*\*\* |[a-z_]+\.py: ", line) and line.isprintable() for line in lines)
            assert said, (name, lines)
            if done.stdout:
                json.loads(done.stdout)
            else:
                assert lines, name


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


def settings_of(script: str) -> list[str]:
    """Return the settings that a script's contract names."""
    rows = re.findall(r"^  ([A-Z][A-Z_, ]+?)(?:  |\.\.\.)", contract(script).partition("\nsettings")[2], re.MULTILINE)
    return [name for row in rows for name in re.findall("[A-Z_]+", row) if name != "KOSLI_"]


@pytest.mark.parametrize("use", {use.script: use for use in (*USES, *ALONE)}.values(), ids=str)
def test_hostile_settings(use: Use, inputs: Path, tmp_path: Path) -> None:
    """Each setting that a contract names is a value like any other."""
    path = inputs / (DIFF if document_of(use) == "diff" else RELEASE)
    tried = [(name, word) for name in settings_of(use.script) for word in HOSTILE_WORDS]
    folder = tmp_path / "out"
    folder.mkdir()
    runs = [(path, {name: HOSTILE_WORDS[word]}) for name, word in tried]
    ended = run_all(use, runs, folder, inputs, kosli="accepts")
    found = []
    for number, ((name, word), (code, _, _)) in enumerate(zip(tried, ended)):
        wrong = problems(use.script, code, *streams(folder, number))
        found += [f"{name} is {word}: {problem}" for problem in wrong]
    assert len(ended) == len(tried)
    assert not list(tmp_path.rglob("owned")) + list(ROOT.glob("**/owned")), "a setting ran as a command"
    assert not found, "\n".join(found)


def test_settings_are_found_in_the_contracts() -> None:
    assert settings_of("promotions.py")[:4] == ["FLOWS", "MATCH_BY", "UNPROVEN", "ALLOW_RENAMED"]
    assert {"FROM_ENV", "TO_ENV", "SNAPSHOTS"} <= set(settings_of("snapshots.py"))
    assert "GATE_JOBS" in settings_of("gate.py")


@pytest.mark.parametrize("where", ["environment", "command line"])
def test_hostile_settings_through_make(where: str, tmp_path: Path) -> None:
    """A setting is not make code and not shell code, wherever it comes from."""
    owned = ROOT / "owned"
    for name in ("FROM_ENV", "FLOWS", "SNAPSHOTS", "MATCH_BY", "KOSLI_ORG", "DIGEST", "ANYTHING"):
        for word in ("a quote", "a substitution", "make's own"):
            settings = {"SNAPSHOTS": "fixtures/level.json", name: HOSTILE_WORDS[word]}
            words = [f"{key}={value}" for key, value in settings.items()]
            done = subprocess.run(
                ["make", "--silent", "promotions", *(words if where == "command line" else ())],
                cwd=ROOT,
                env={**environment(tmp_path), **({} if where == "command line" else settings)},
                capture_output=True,
                timeout=60,
            )
            ran = owned.exists()
            owned.unlink(missing_ok=True)
            assert not ran, f"{name}={HOSTILE_WORDS[word]} ran as a command"
            assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("script", ["promotions.py", "in_progress.py"])
def test_a_million_artifacts_of_one_flow(script: str, tmp_path: Path) -> None:
    """It is one deployment in progress; what is said about it has a bound."""
    content = a_million_of_one_flow()
    path = tmp_path / "million.json"
    path.write_bytes(content)
    ((code, seconds, kilobytes),) = run_all(Use(script), [(path, {})], tmp_path, tmp_path)
    _, stderr = streams(tmp_path, 0)
    assert code == 1
    assert seconds < 6
    assert kilobytes < KILOBYTES + TIMES * len(content) // 1024
    assert not list(wrong_lines(script, stderr))
    assert (tmp_path / "0.stdout").stat().st_size == 0 or script == "in_progress.py"
