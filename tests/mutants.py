"""Change each rule of the decision code, one at a time, and show that some test notices.

The list of mutants is derived from the code: by the operators of cosmic-ray (comparisons, and/or, not, constants,
loops), by leaving out one statement at a time, and by taking one environment or side for the other. Each mutant runs
the golden cases of the scripts that it can change, in a copy of the project, until one fails, and then the other tests
of its file. A survivor that is known to change no answer stands in EQUIVALENT, with the reason; any other survivor
makes this fail.

    make mutants                    all of them, which takes about an hour
    MUTATE=promotions make mutants  only of the files whose path holds that word, or one of several
    SAMPLE=20 make mutants          one in twenty
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from conftest import ROOT, environment
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

# The decision code, the folders of golden cases that it can change, and its other tests.
TARGETS = {
    "scripts/promotions.py": ("promotions make", "test_properties"),
    "scripts/in_progress.py": ("in-progress make", "test_properties"),
    "scripts/recheck.py": ("recheck", "test_after_approval"),
    "scripts/rollback.py": ("rollback", "test_after_approval"),
    "scripts/verify.py": ("verify", "test_verify"),
    "scripts/gate.py": ("gate", "test_gate test_door"),
    "scripts/attest.py": ("attest", "test_attestations test_promotion_type test_faults"),
    "scripts/attest_build.py": ("attest-build", "test_chain test_faults"),
    "scripts/record.py": ("record", "test_chain test_faults"),
    "scripts/matrix_check.py": ("matrix-check", "test_streams"),
    "scripts/github_output.py": ("github-output", "test_streams test_hostile"),
    "scripts/approval.py": ("approval", "test_streams test_faults"),
    "scripts/promotion_run.py": ("promotion-run", "test_streams"),
    "scripts/lib/diffs.py": ("promotions in-progress bad-input recheck", "test_properties"),
    "scripts/lib/commit_urls.py": ("promotions rollback", "test_commit_urls test_properties"),
    "scripts/lib/releases.py": ("promotions github-output rollback recheck", "test_after_approval test_properties"),
    "scripts/lib/filters.py": (
        "bad-input promotions queries in-progress snapshots",
        "test_streams test_properties test_faults",
    ),
    "scripts/lib/kosli.py": ("snapshots gate verify attest", "test_door"),
    "scripts/lib/trails.py": ("attest begin-trail kosli-setup", "test_attestations"),
    "scripts/lib/queries.py": ("queries promotions bad-input", "test_queries"),
    "scripts/query.py": ("queries", "test_queries test_streams"),
    "scripts/snapshots.py": ("snapshots make", "test_door test_faults"),
    **{f"jq/{path.name}": ("queries promotions", "test_queries") for path in sorted((ROOT / "jq").glob("*.jmespath"))},
}
# What may be taken for each other.
SIDES = [
    *(("incoming", "outgoing"), ("snappish1", "snappish2"), ("running_in_from", "running_in_to")),
    *(("from_snapshot", "to_snapshot"), ("from_environment", "to_environment"), ("FROM_ENV", "TO_ENV")),
]
OPERATORS = [
    *("core/AddNot", "core/ReplaceAndWithOr", "core/ReplaceOrWithAnd", "core/ReplaceTrueWithFalse"),
    *("core/ReplaceFalseWithTrue", "core/ReplaceUnaryOperator_Delete_Not", "core/ZeroIterationForLoop"),
    *("core/NumberReplacer", "core/ReplaceContinueWithBreak", "core/ReplaceBreakWithContinue"),
    *("core/ReplaceComparisonOperator_Eq_NotEq", "core/ReplaceComparisonOperator_NotEq_Eq"),
    *("core/ReplaceComparisonOperator_Lt_LtE", "core/ReplaceComparisonOperator_LtE_Lt"),
    *("core/ReplaceComparisonOperator_Gt_GtE", "core/ReplaceComparisonOperator_GtE_Gt"),
    *("core/ReplaceComparisonOperator_Lt_Gt", "core/ReplaceComparisonOperator_Gt_Lt"),
    *("core/ReplaceComparisonOperator_Is_IsNot", "core/ReplaceComparisonOperator_IsNot_Is"),
]
CASE_TIMEOUT = 20
TESTS_TIMEOUT = 300
KILLS: Counter[Path | str] = Counter()
EQUIVALENT = json.loads((ROOT / "tests" / "mutants.json").read_text())


def mutants(path: str) -> Iterator[tuple[str, str, str]]:
    """Yield (name, changed line, changed source) for each mutant of a file. The name survives changes elsewhere."""
    source = (ROOT / path).read_text()
    seen: dict[str, int] = {}
    python = [*by_operators(source), *by_leaving_out(source)] if path.endswith(".py") else []
    for kind, changed in [*python, *by_taking_one_for_the_other(source)]:
        line = first_difference(source, changed)
        if "TYPE_CHECKING" in line or '__name__ == "__main__"' in line:
            continue
        name = f"{path}: {kind}: {line}"
        seen[name] = seen.get(name, 0) + 1
        yield (name if seen[name] == 1 else f"{name} ({seen[name]})"), line, changed


def by_operators(source: str) -> Iterator[tuple[str, str]]:
    """Yield the mutants of cosmic-ray's operators."""
    for name in OPERATORS:
        occurrence = 0
        while changed := mutate_code(source.encode(), get_operator(name)(), occurrence):
            text = changed.decode() if isinstance(changed, bytes) else changed
            if text != source:
                yield name.rpartition("/")[2], text
            occurrence += 1


def by_leaving_out(source: str) -> Iterator[tuple[str, str]]:
    """Yield the source without one of its statements: a check that is dropped, an answer that is not given."""
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.Raise | ast.Expr | ast.AugAssign | ast.Return | ast.Assert) and not is_docstring:
            assert node.end_lineno
            indent = lines[node.lineno - 1][: node.col_offset]
            changed = [*lines[: node.lineno - 1], f"{indent}pass\n", *lines[node.end_lineno :]]
            yield f"leave out {type(node).__name__}", "".join(changed)


def by_taking_one_for_the_other(source: str) -> Iterator[tuple[str, str]]:
    """Yield the source with one name of one environment or side replaced by its counterpart. Text for people stays."""
    other = {name: pair[1 - index] for pair in SIDES for index, name in enumerate(pair)}
    names = re.compile(rf"(?<![a-z_])(?:{'|'.join(other)})(?![a-z])")
    prose = [match.span() for match in re.finditer(r'"""[\s\S]*?"""|^ *#.*$|#  .*$', source, re.MULTILINE)]
    for match in names.finditer(source):
        if not any(start <= match.start() < end for start, end in prose):
            yield f"{match[0]} -> {other[match[0]]}", source[: match.start()] + other[match[0]] + source[match.end() :]


def first_difference(before: str, after: str) -> str:
    """Return the first line of the original that a mutant changes."""
    pairs = zip(before.splitlines(), [*after.splitlines(), *[""] * before.count("\n")], strict=False)
    return next((old.strip() for old, new in pairs if old != new), "")


class Workshop:
    """A copy of the project in which one mutant after the other is tried."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "project"
        subprocess.run(["git", "clone", "--quiet", "--no-checkout", ROOT, self.root], check=True)
        left_out = shutil.ignore_patterns(".git", ".venv", ".*cache", ".hypothesis", "__pycache__")
        shutil.copytree(ROOT, self.root, ignore=left_out, dirs_exist_ok=True)
        os.symlink(ROOT / ".venv", self.root / ".venv")
        self.home = folder / "home"
        self.second = 1_000_000_000

    def survives(self, path: str, changed: str) -> bool:
        """Say whether no test notices a mutant. The golden cases that have killed most come first."""
        target = self.root / path
        original = target.read_text()
        tests = [*sorted(cases(path), key=lambda case: -KILLS[case]), *TARGETS[path][1].split()]
        self.write(target, changed)
        try:
            killer = next((test for test in tests if not self.passes(test)), None)
        finally:
            self.write(target, original)
        if killer is None:
            return True
        if not KILLS[killer] and not self.passes(killer):
            raise SystemExit(f"{killer} fails without any mutant")
        KILLS[killer] += 1
        return False

    def write(self, target: Path, text: str) -> None:
        """Replace a file. Python takes one of the same size and second for the one that it has compiled."""
        self.second += 1
        target.write_text(text)
        os.utime(target, (self.second, self.second))

    def passes(self, test: Path | str) -> bool:
        """Say whether a golden case, or the tests of a file, come out as they should."""
        return self.passes_case(test) if isinstance(test, Path) else self.passes_file(test)

    def passes_file(self, name: str) -> bool:
        """Say whether the tests of a file pass."""
        options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"]
        try:
            done = subprocess.run(
                [self.root / ".venv/bin/python", "-m", "pytest", *options, f"tests/{name}.py"],
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TESTS_TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def passes_case(self, case: Path) -> bool:
        """Say whether a golden case comes out as it should."""
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()
        try:
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", (case / "cmd").read_text()],
                cwd=self.root,
                env={**environment(self.home), "PATH": f"{self.root}/.venv/bin:/usr/local/bin:/usr/bin:/bin"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=CASE_TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            return False
        return found_in(done, self) == expected_of(case)


def cases(path: str) -> list[Path]:
    """Return the golden cases that a file can change."""
    groups = TARGETS[path][0].split()
    return [case for group in groups for case in sorted((ROOT / "tests" / "cases" / group).glob("*"))]


def found_in(done: subprocess.CompletedProcess[bytes], shop: Workshop) -> tuple[str, str, str]:
    """Return what came out of a case, as the goldens keep it."""
    stderr = re.sub(r"Makefile:\d+", "Makefile:LINE", done.stderr.decode("utf-8", "replace"))
    stderr = stderr.replace(str(shop.root), "ROOT").replace(str(shop.home), "HOME")
    return done.stdout.decode("utf-8", "replace"), stderr, f"{done.returncode}\n" if done.returncode else ""


def expected_of(case: Path) -> tuple[str, str, str]:
    """Return what should come out of a case."""

    def text(*names: str) -> str:
        paths = [case / "expected" / name for name in names]
        return next((path.read_text() for path in paths if path.exists()), "")

    return text("stdout.json", "stdout.txt"), text("stderr.txt"), text("exit_code")


def main(argv: list[str]) -> int:
    """Try the mutants of the files whose path holds a word of MUTATE, of each SAMPLE one."""
    words, every = os.environ.get("MUTATE", "").split() or [""], os.environ.get("SAMPLE", "1")
    if not every.isdecimal() or not int(every):
        raise SystemExit(f"SAMPLE: {every} is no number of mutants, of which one is tried")
    sample = int(every)
    start = time.monotonic()
    work = [(path, *mutant) for path in TARGETS if any(word in path for word in words) for mutant in mutants(path)]
    if sample > 1:
        work = [item for item in work[::sample] if item[1] not in EQUIVALENT]
    if not work:
        raise SystemExit("MUTATE and SAMPLE leave no mutant to try")
    survivors: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        shops = [Workshop(Path(tempfile.mkdtemp(dir=folder))) for _ in range(os.cpu_count() or 1)]

        def attempt(item: tuple[str, str, str, str]) -> tuple[str, bool]:
            path, name, _, changed = item
            shop = shops.pop()
            try:
                return name, shop.survives(path, changed)
            finally:
                shops.append(shop)

        with ThreadPoolExecutor(max_workers=len(shops)) as pool:
            for done, (name, survived) in enumerate(pool.map(attempt, work), 1):
                survivors += [name] if survived else []
                if survived and name not in EQUIVALENT:
                    print(f"survived: {name}", flush=True)
                if sys.stderr.isatty():
                    print(f"\r{done}/{len(work)}, {len(survivors)} survived", end="", file=sys.stderr)
    known = [name for name in survivors if name in EQUIVALENT]
    unknown = [name for name in survivors if name not in EQUIVALENT]
    seconds = time.monotonic() - start
    print(
        f"{len(work)} mutants, {len(work) - len(survivors)} killed, {len(known)} that change no answer, "
        f"{len(unknown)} survived; {seconds:.0f} s"
    )
    return 1 if unknown else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
