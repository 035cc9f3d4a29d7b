"""The pages in docs/ tell the truth: commands run, fixtures are there, no refusal and no setting is forgotten."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, environment

DOCS = ROOT / "docs"
PAGES = ("set-up.md", "how-it-decides.md", "when-it-refuses.md")
WORKFLOWS = sorted(path for path in (ROOT / ".github" / "workflows").glob("*.yml") if path.name != "test.yml")


def page(name: str) -> str:
    return (DOCS / name).read_text() if (DOCS / name).exists() else ""


def rows(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the heads and the cells of each row of each table."""
    heads: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            heads = []
        elif not heads:
            heads = cells
        elif set(line) - set("|- "):
            yield heads, cells


def code(text: str) -> list[str]:
    """Return the code spans in a line of Markdown."""
    return [span.strip() for _, span in re.findall(r"(?<!`)(`{1,2})(?!`)(.+?)(?<!`)\1(?!`)", text)]


# Commands stand in a table with the columns "try it" and "exit"; in a sentence, where they end with 0; or in a console
# block, where "$ " begins them and a line "# exit N" follows one that fails. A page runs in one shell, top down, on the
# stand-in Kosli. A shell block is for what the tests cannot reach: it is only parsed.


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(name: str) -> list[tuple[str, int]]:
    found = []
    inside = ""
    heads: list[str] = []
    for line in page(name).splitlines():
        if line.startswith("```"):
            inside = "" if inside else line
        elif inside == "```console":
            if line.startswith("# exit "):
                found[-1] = (found[-1][0], int(line.removeprefix("# exit ")))
            else:
                assert line.startswith("$ "), line
                found.append((line.removeprefix("$ "), 0))
        elif not inside and line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            heads = heads or cells
            if "try it" in heads and len(cells) == len(heads):
                found += [(command, int(cells[heads.index("exit")])) for command in code(cells[heads.index("try it")])]
        else:
            heads = []
            if not inside:
                found += [(span, 0) for span in code(line) if re.match(r"([A-Z_]+=\S+ )*scripts/\S+ <", span)]
    return found


@pytest.mark.parametrize("name", ["set-up.md", "how-it-decides.md"])
def test_every_command_ends_as_the_page_says(name: str, tmp_path: Path) -> None:
    wanted = commands(name)
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


def test_there_are_commands() -> None:
    assert len(commands("how-it-decides.md")) > 60
    assert len(commands("set-up.md")) > 3


@pytest.mark.parametrize("name", PAGES)
def test_shell_blocks_are_shell(name: str) -> None:
    for block in blocks(page(name), "shell"):
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
        assert not done.stderr
        assert not re.search(r"^(make|scripts/)", block, re.MULTILINE), (
            "the project's own commands are run by the tests"
        )


@pytest.mark.parametrize("name", PAGES)
def test_every_fixture_exists(name: str) -> None:
    found = set(re.findall(r"fixtures/[a-z0-9/-]+\.(?:json|txt)", page(name)))
    assert [path for path in sorted(found) if not (ROOT / path).exists()] == []


def test_how_it_decides_shows_most_fixtures_that_refuse() -> None:
    shown = page("how-it-decides.md")
    for case in sorted((ROOT / "tests" / "cases" / "promotions").glob("*/expected/exit_code")):
        command = (case.parent.parent / "cmd").read_text()
        for fixture in re.findall(r"fixtures/[a-z0-9-]+\.json", command):
            assert fixture in shown, f"a fixture that is refused, and not shown: {fixture}"


# Links


def anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", page(name)):
        if target.startswith("http"):
            continue
        path = (DOCS / target).resolve() if target else DOCS / name
        assert path.exists(), target
        assert path.is_relative_to(ROOT)
        if anchor:
            assert anchor in anchors(path.read_text()), f"{target}#{anchor}"


# Messages: each text that a script may say when it refuses. A text is what it consists of between the values in it.

Text = tuple[str, ...]
CODES = {"Refused": 1, "Unusable": 2, "KosliFailed": 3}
SAYING = {*CODES, "ValueError", "exit", "say"}
COLLECTING = ("causes", "changes", "notes", "reason", "reasons", "wrong")
NOT_FOLLOWED = {"compile", "namedtuple", "setting"}
# A page shows texts of its own: of what makes one, only what it refuses counts.
PAGES_MADE_BY = {"demo.py", "summary.py", "report.py", "pages.py"}
TREES = {path: ast.parse(path.read_text()) for path in sorted((ROOT / "scripts").rglob("*.py"))}


def called(node: ast.AST) -> str:
    function = node.func if isinstance(node, ast.Call) else None
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def text_of(node: ast.expr) -> Text | None:
    """Return the fixed parts of a string; a template's {words} are values too."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return tuple(re.split(r"\{[a-z]*\}", node.value))
    if not isinstance(node, ast.JoinedStr):
        return None
    parts = [""]
    for value in node.values:
        if isinstance(value, ast.Constant):
            parts[-1] += str(value.value)
        else:
            parts.append("")
    return tuple(parts)


@cache
def bindings(scope: ast.AST) -> dict[str, list[ast.expr]]:
    """Return what each name of a function or a module may stand for."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(scope) if isinstance(scope, ast.FunctionDef) else ast.iter_child_nodes(scope):
        if isinstance(node, ast.Assign):
            targets, values = node.targets, [node.value]
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
            targets, values = [node.target], [node.value] if node.value else []
        elif isinstance(node, (ast.For, ast.comprehension)):
            targets, values = [node.target], [node.iter]
        elif called(node) in ("append", "extend") and isinstance(node.func, ast.Attribute):
            targets, values = [node.func.value], node.args
        else:
            continue
        for name in {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}:
            found.setdefault(name, []).extend(values)
    return found


@cache
def functions(path: Path) -> dict[str, tuple[Path, ast.FunctionDef]]:
    """Return the functions that a file has, or imports from the project."""
    found = {}
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ImportFrom) and node.module:
            source = ROOT / "scripts" / f"{node.module.replace('.', '/')}.py"
            theirs = functions(source) if source in TREES else {}
            found.update({name.name: theirs[name.name] for name in node.names if name.name in theirs})
    found.update({node.name: (path, node) for node in ast.walk(TREES[path]) if isinstance(node, ast.FunctionDef)})
    return found


def texts(node: ast.AST, scope: ast.AST, path: Path, seen: set[object]) -> Iterator[Text]:
    """Yield the texts that an expression is made of: through names and through the project's own functions."""
    if isinstance(node, ast.expr) and (text := text_of(node)):
        yield text
    if isinstance(node, ast.Subscript) or called(node) in NOT_FOLLOWED:
        return
    if isinstance(node, ast.Name) and (scope, node.id) not in seen:
        seen.add((scope, node.id))
        for place in (scope, TREES[path]):
            for value in bindings(place).get(node.id, []):
                yield from texts(value, scope, path, seen)
    home, function = functions(path).get(called(node), (path, None))
    if function and function not in seen:
        seen.add(function)
        for part in ast.walk(function):
            if isinstance(part, (ast.Return, ast.Yield)) and part.value:
                yield from texts(part.value, function, home, seen)
    for child in ast.iter_child_nodes(node):
        if not (isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant)):
            yield from texts(child, scope, path, seen)


@cache
def messages() -> dict[tuple[str, Text], int]:
    """Return every text that the scripts may say: (script, text), and its exit code where that is certain, or 0."""
    found: dict[tuple[str, Text], int] = {}
    for path, tree in TREES.items():
        for scope in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
            said: list[tuple[ast.expr, int]] = []
            for node in ast.walk(scope):
                if called(node) in SAYING:
                    said += [(argument, CODES.get(called(node), 0)) for argument in node.args]
            for name in COLLECTING if path.name not in PAGES_MADE_BY else ():
                said += [(value, 0) for value in bindings(scope).get(name, [])]
            for argument, exit_code in said:
                direct = text_of(argument)
                for text in texts(argument, scope, path, set()):
                    if is_said(text):
                        key = (path.name, text)
                        found[key] = max(found.get(key, 0), exit_code if text == direct else 0)
    return dict(sorted(found.items()))


def is_said(text: Text) -> bool:
    """Say whether a text is words, and not a name, an option or a path."""
    joined = "\0".join(text)
    return " " in joined and len(re.findall(r"(?<![\w/-])[A-Za-z]{2,}(?![\w/=-])", joined)) > 1


def spelled(text: Text) -> str:
    return "{}".join(text)


def pattern(text: Text) -> str:
    """Return a regular expression for a text as the page writes it, with <values>."""
    joined = re.sub(r"\0+", "\0", "\0".join(text)).strip("\0 ")
    return r"(?:<[^<>]+>)+".join(map(re.escape, joined.split("\0")))


@cache
def entries() -> list[tuple[str, list[str]]]:
    """Return each message of the page, and the cells beside it."""
    return [
        (message, cells[1:])
        for heads, cells in rows(page("when-it-refuses.md"))
        if heads[0] == "message"
        for message in code(cells[0])
    ]


def fits(message: str, line: str) -> bool:
    """Say whether a line ends with a message of the page, with something in the place of each <value>."""
    position = 0
    for part in re.split(r"<[^<>]+>", message):
        position = line.find(part, position)
        if position < 0:
            return False
        position += len(part)
    return position == len(line) or message.endswith(">")


@pytest.mark.parametrize(("script", "text"), messages(), ids=[f"{s}: {spelled(t)}" for s, t in messages()])
def test_every_message_is_explained(script: str, text: Text) -> None:
    wanted = messages()[script, text]
    found = [
        cells
        for message, cells in entries()
        if re.search(pattern(text), message) or (len(fixed_words(message)) > 1 and fits(message, spelled(text)))
    ]
    if wanted:
        assert found, f"docs/when-it-refuses.md has no message: {spelled(text)}"
        assert any(str(wanted) in cells[0] for cells in found), f"its exit code is {wanted}"
    else:
        assert found or re.search(pattern(text), page("when-it-refuses.md")), f"not on the page: {spelled(text)}"


def fixed_words(message: str) -> list[str]:
    return re.findall(r"[A-Za-z]{2,}", re.sub(r"<[^<>]+>", " ", message))


def said_by_workflows() -> set[str]:
    """Return what the workflows say by themselves."""
    source = "".join(path.read_text() for path in WORKFLOWS)
    return {
        *re.findall(r"\$\{[A-Z_]+:\?([^}]+)\}", source),
        *re.findall(r"echo \"(?:::error::)?([a-z][^\"$=]* [^\"$=]+)\"", source),
    }


def test_every_message_of_a_workflow_is_explained() -> None:
    explained = {message for message, _ in entries()}
    assert sorted(said_by_workflows() - explained) == []


@pytest.mark.parametrize("message", [message for message, _ in entries()])
def test_no_message_is_made_up(message: str) -> None:
    if len(fixed_words(message)) > 1 and message not in said_by_workflows():
        assert any(re.search(pattern(text), message) for _, text in messages())


def test_each_message_stands_once() -> None:
    found = [message for message, _ in entries()]
    assert len(found) == len(set(found))


def test_every_line_that_a_case_expects_is_explained() -> None:
    known = [message for message, _ in entries() if fixed_words(message)]
    lines = {}
    for case in sorted((ROOT / "tests" / "cases").glob("*/*/expected/stderr.txt")):
        lines.update(dict.fromkeys(case.read_text().splitlines(), case.parent.parent.name))
    unexplained = {
        f"{case}: {line}"
        for line, case in lines.items()
        # What the CLI or a query's parser says has words of its own, and make adds a line.
        if not re.match(r"make: \*\*\* |query\.py: .*[.^]$|.*: exit \d: ", line)
        and not any(fits(message, line) for message in known)
    }
    assert sorted(unexplained) == []


# Settings

READING = ("setting", "choice", "seconds", "environment", "get")
NEEDED = re.compile(r"\b(?:vars|secrets)\.([A-Z_]+)").findall


def settings() -> set[str]:
    """Return every variable of the environment that the scripts, the workflows or the Makefile know."""
    found = set()
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and called(node) in READING:
                found |= {node.args[0].value} if isinstance(node.args[0], ast.Constant) else set()
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= set(re.findall(r"^(?:[A-Z]+_[A-Z_]+|[a-z]+_proxy)$", node.value))
    found = {name for name in found if re.fullmatch(r"[A-Z][A-Z0-9_]+|[a-z]+_proxy", name)}
    found |= set(re.findall(r"^(?:export )?([A-Z_]+) \?=", (ROOT / "Makefile").read_text(), re.MULTILINE))
    return found.union(*(NEEDED(path.read_text()) for path in WORKFLOWS))


@pytest.mark.parametrize("name", sorted(settings()))
def test_no_setting_is_forgotten(name: str) -> None:
    everything = "".join(path.read_text() for path in [*DOCS.glob("*.md"), ROOT / "README.md"] if path.exists())
    known = bool(re.search(rf"\b{name}\b", everything))
    assert known, f"{name} stands in no page"


# What a team has to set up, as the workflows have it


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=[path.name for path in WORKFLOWS])
def test_set_up_says_all_that_a_workflow_needs(workflow: Path) -> None:
    text, source = page("set-up.md"), workflow.read_text()
    assert workflow.name in text
    for name in NEEDED(source):
        assert f"`{name}`" in text, name
    called_with = yaml.safe_load(source).get(True, {}).get("workflow_call") or {}
    for name in [*(called_with.get("inputs") or {}), *(called_with.get("secrets") or {})]:
        assert f"`{name}`" in text, name


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_are_plain(name: str) -> None:
    text = page(name)
    assert text.endswith("\n")
    assert not re.search(r"[^\x00-\x7f]", text), "plain characters only"
    prose = re.sub(r"^```.*?^```|`[^`]*`|^\|.*$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert max(map(len, prose.splitlines()), default=0) <= 140
