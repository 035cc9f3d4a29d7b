"""The pages in docs/ tell the truth: their commands run as they say, and their links lead somewhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, environment

DOCS = ROOT / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))

# Commands stand in a table with the columns "try it" and "exit"; in a sentence, where they end with 0; or in a console
# block, where "$ " begins them and a line "# exit N" follows one that fails. A page runs in one shell, top down, on the
# stand-in Kosli. A shell block is for what the tests cannot reach: it is only parsed.


def code(text: str) -> list[str]:
    """Return the code spans in a line of Markdown."""
    return [span.strip() for _, span in re.findall(r"(?<!`)(`{1,2})(?!`)(.+?)(?<!`)\1(?!`)", text)]


def commands(name: str) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    inside = ""
    heads: list[str] = []
    for line in (DOCS / name).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if line.startswith("```"):
            inside = "" if inside else line
        elif inside == "```console" and line.startswith("# exit "):
            found[-1] = (found[-1][0], int(line.removeprefix("# exit ")))
        elif inside == "```console":
            assert line.startswith("$ "), line
            found.append((line.removeprefix("$ "), 0))
        elif cells and not inside:
            heads = heads or cells
            if "try it" in heads and len(cells) == len(heads):
                found += [(command, int(cells[heads.index("exit")])) for command in code(cells[heads.index("try it")])]
        elif not inside:
            heads = []
            found += [(span, 0) for span in code(line) if re.match(r"([A-Z_]+=\S+ )*scripts/\S+ <", span)]
    return found


@pytest.mark.parametrize(("name", "at_least"), [("set-up.md", 4), ("how-it-decides.md", 50)])
def test_every_command_ends_as_the_page_says(name: str, at_least: int, tmp_path: Path) -> None:
    wanted = commands(name)
    assert len(wanted) >= at_least
    lines = [". fixtures/use-world settled"]
    for index, (command, _) in enumerate(wanted):
        lines += [f"{{ {command}", f"}} >{tmp_path}/stdout 2>{tmp_path}/stderr-{index}"]
        lines += [f'echo "$?" >>{tmp_path}/codes']
    subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=ROOT,
        env=environment(tmp_path, TMPDIR=str(tmp_path)),
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
    codes = [int(line) for line in (tmp_path / "codes").read_text().split()]
    assert len(codes) == len(wanted)
    wrong = []
    for index, (command, exit_code) in enumerate(wanted):
        stderr = (tmp_path / f"stderr-{index}").read_text()
        if codes[index] != exit_code or re.search(r"Traceback|command not found|No such file", stderr):
            wrong.append(f"{command}: exit {codes[index]}: {stderr}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", PAGES)
def test_a_page(name: str) -> None:
    """What it names is there, and its shell blocks are shell."""
    text = (DOCS / name).read_text()
    for path in re.findall(r"(?:fixtures|scripts)/[a-z0-9_/-]+\.(?:json|txt|py)", text):
        assert (ROOT / path).exists(), path
    for target, anchor in re.findall(r"\]\(((?!http)[^)#]*)(?:#([^)]*))?\)", text):
        path = (DOCS / target).resolve() if target else DOCS / name
        assert path.exists(), target
        assert path.is_relative_to(ROOT)
        heads = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE) if anchor else []
        anchors = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
        assert not anchor or anchor in anchors, f"{target}#{anchor}"
    for block in re.findall(r"^```shell\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        assert not subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True).stderr
