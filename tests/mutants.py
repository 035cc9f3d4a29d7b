"""Change each rule of the decision code, one at a time, and show that some test notices.

A mutant is one change of the syntax tree: a comparison, `and` for `or`, no `not`, a constant, nothing returned.
Each runs a narrow list of tests in a copy of the project. A survivor that is known to change no answer stands in
mutants.json, with the reason; any other one makes this fail.

    make mutants                    all of them, which takes about an hour
    MUTATE=promotions make mutants  only of the files whose path holds that word, or one of several
    SAMPLE=40 make mutants          so many of them, chosen by the commit
"""

from __future__ import annotations

import ast
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parent.parent
# The decision code: the groups of golden cases that a file can change, and the test files for the rest.
RULES = ("promotions in-progress recheck rollback deployment", "test_properties test_broken_documents")
TARGETS = {
    "scripts/promotions.py": ("promotions make", "test_properties"),
    "scripts/in_progress.py": ("in-progress", "test_properties"),
    "scripts/recheck.py": ("recheck", "test_properties"),
    "scripts/rollback.py": ("rollback", "test_properties"),
    "scripts/verify.py": ("verify", "test_verify"),
    "scripts/gate.py": ("gate", "test_gate"),
    "scripts/approval.py": ("approval", "test_broken_documents"),
    "scripts/promotion_run.py": ("promotion-run", "test_broken_documents"),
    "scripts/github_output.py": ("github-output", ""),
    "scripts/deployment.py": ("deployment", ""),
    "scripts/planned_image.py": ("planned-image", ""),
    "scripts/known_release.py": ("known-release", ""),
    "scripts/outcome.py": ("outcome", ""),
    "scripts/changes.py": ("", "test_changes"),
    "scripts/lib/git.py": ("", "test_changes"),
    "scripts/lib/changes.py": ("attest summary", "test_changes"),
    "scripts/lib/holds.py": ("promotions recheck holds", "test_holds"),
    "scripts/lib/kosli.py": (
        "gate attest attest-build approval known-release snapshots",
        "test_gate test_attestations test_door",
    ),
    "scripts/lib/rules.py": RULES,
    "scripts/lib/releases.py": (f"{RULES[0]} attest summary", RULES[1]),
    "scripts/lib/commit_urls.py": ("promotions rollback", "test_commit_urls test_properties"),
}
PAIRS = [(ast.Eq, ast.NotEq), (ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.In, ast.NotIn), (ast.Is, ast.IsNot)]
SWAPS = {one: other for a, b in [*PAIRS, (ast.And, ast.Or)] for one, other in ((a, b), (b, a))}
EQUIVALENT: dict[str, str] = json.loads((ROOT / "tests" / "mutants.json").read_text())


def variants(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield (what is done, the changed node) for each way to change a node."""
    changed = copy.deepcopy(node)
    if isinstance(changed, ast.Compare) and type(changed.ops[0]) in SWAPS:
        changed.ops[0] = SWAPS[type(changed.ops[0])]()
        yield "another comparison", changed
    elif isinstance(changed, ast.BoolOp):
        changed.op = SWAPS[type(changed.op)]()
        yield "and for or", changed
    elif isinstance(changed, ast.UnaryOp) and isinstance(changed.op, ast.Not):
        yield "without not", changed.operand
    elif isinstance(changed, ast.Constant) and isinstance(changed.value, (bool, int)):
        changed.value = not changed.value if isinstance(changed.value, bool) else changed.value + 1
        yield "another constant", changed
    # A script that returns None exits with 0, too.
    elif isinstance(changed, ast.Return) and changed.value and ast.unparse(changed.value) not in ("None", "0"):
        changed.value = ast.Constant(None)
        yield "nothing returned", changed
    elif isinstance(changed, ast.If):
        changed.test = ast.UnaryOp(ast.Not(), changed.test)
        yield "the other branch", changed


class Replace(ast.NodeTransformer):
    """Puts a node in the place of the one with this number."""

    def __init__(self, number: int, node: ast.AST) -> None:
        self.number, self.node = number, node

    def visit(self, node: ast.AST) -> ast.AST:
        return self.node if getattr(node, "number", -1) == self.number else self.generic_visit(node)


def mutants(path: str) -> Iterator[tuple[str, str, str]]:
    """Yield (path, name, changed source). The name holds the line, so it survives changes elsewhere in the file."""
    text = (ROOT / path).read_text()
    tree, lines = ast.parse(text), text.splitlines()
    nodes = list(ast.walk(tree))
    for number, node in enumerate(nodes):
        node.number = number  # type: ignore[attr-defined]
    seen: dict[str, int] = {}
    for number, node in enumerate(nodes):
        for kind, changed in variants(node):
            line = lines[node.lineno - 1].strip()
            name = f"{path}: {kind}: {ast.unparse(node).splitlines()[0]} in: {line}"
            seen[name] = seen.get(name, 0) + 1
            source = written(text, Replace(number, changed).visit(copy.deepcopy(tree)))
            if "__name__" not in name and "TYPE_CHECKING" not in name:
                yield path, f"{name} ({seen[name]})" if seen[name] > 1 else name, source


def written(text: str, tree: ast.AST) -> str:
    """Return a syntax tree as source, with the first line of the original: without it nothing could start a script."""
    first = text.partition("\n")[0]
    source = ast.unparse(ast.fix_missing_locations(tree))
    return f"{first}\n{source}\n" if first.startswith("#!") else f"{source}\n"


def copy_of_the_project(folder: Path) -> Path:
    """Make a copy that is a git repository, as the tests need it, with the same virtual environment."""
    left_out = shutil.ignore_patterns(".git", ".venv", ".*cache", "__pycache__", "node_modules")
    shutil.copytree(ROOT, folder, ignore=left_out)
    for name in (".venv", "kosli/node_modules"):
        (folder / name).symlink_to(ROOT / name)
    git = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example.com"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "A copy"]):
        subprocess.run([*git, *words], check=True)
    return folder


def survives(folder: Path, path: str, source: str) -> bool:
    """Say whether no test notices a mutant."""
    groups, files = TARGETS[path]
    cases = ["tests/test_cases.py", "-k", " or ".join(f"{group}/" for group in groups.split())]
    original = (folder / path).read_text()
    (folder / path).write_text(source)
    try:
        # The files first: most of them take a second or two.
        for tests in [[f"tests/{name}.py"] for name in files.split()] + ([cases] if groups else []):
            command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
            done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=900)
            if done.returncode:
                return False
        return True
    except subprocess.TimeoutExpired:
        return False
    finally:
        (folder / path).write_text(original)


def main() -> int:
    words = os.environ.get("MUTATE", "").split() or [""]
    work = [mutant for path in TARGETS if any(word in path for word in words) for mutant in mutants(path)]
    work = [mutant for mutant in work if mutant[1] not in EQUIVALENT]
    if sample := int(os.environ.get("SAMPLE", "0")):
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
        work = random.Random(commit).sample(work, min(sample, len(work)))
    folders: SimpleQueue[Path] = SimpleQueue()
    survivors = []
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(os.cpu_count()) as pool:
        for number in range(os.cpu_count() or 1):
            folders.put(copy_of_the_project(Path(temporary) / str(number)))
        # Written as the mutants are: else what the writing alone breaks would count as noticed.
        texts = {path: (ROOT / path).read_text() for path in dict.fromkeys(path for path, _, _ in work)}
        unchanged = {path: written(text, ast.parse(text)) for path, text in texts.items()}
        broken = [path for path, source in unchanged.items() if not survives(Path(temporary) / "0", path, source)]
        if broken:
            print(f"without any change its tests fail in a copy of the project: {', '.join(broken)}")
            return 2

        def attempt(mutant: tuple[str, str, str]) -> None:
            path, name, source = mutant
            folder = folders.get()
            if survives(folder, path, source):
                survivors.append(name)
                print(f"survived: {name}", flush=True)
            folders.put(folder)

        list(pool.map(attempt, work))
    print(f"{len(work)} mutants, {len(survivors)} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
