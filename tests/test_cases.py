"""The golden cases: a folder each, with the command line in `cmd` and what comes out in `expected/`.

An absent file in expected/ means: that stream is empty, or the exit code is 0. `make goldens` writes them anew.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

from conftest import PATH, REAL_CLI, ROOT, environment

import pytest

CASES = sorted(path.parent for path in (ROOT / "tests" / "cases").glob("*/*/cmd"))
# A list that is not empty is these scripts' answer and their failure at once.
ANSWERS_AND_FAILS = re.compile(r"\b((in_progress|gate|verify|doctor)\.py|make( -s)? (in-progress|gate|verify|doctor))")

# What only the real CLI says; the thin client says as much in words of its own.
WORDS_OF_THE_CLI = re.compile(r"\[kosli |net/http: ")
HOST = re.compile(r"http://127\.0\.0\.1:\d+(/w/\w{8})?")


def name(case: Path) -> str:
    return f"{case.parent.name}/{case.name}"


@pytest.mark.parametrize("case", CASES, ids=name)
def test_case(case: Path, tmp_path: Path, snapshot, request: pytest.FixtureRequest) -> None:
    comment, command = (case / "cmd").read_text().split("\n", 1)
    assert re.fullmatch(r"# .*\.", comment), "the first line of cmd says what it proves"
    assert re.fullmatch(r".+\n", command), "cmd is one comment and one line"
    if re.search(r"(^|[|&(;] *)jq ", command) and not shutil.which("jq", path=PATH):
        pytest.skip("there is no jq")
    goldens = "".join(path.read_text() for path in (case / "expected").glob("*"))
    if not REAL_CLI.exists() and WORDS_OF_THE_CLI.search(goldens):
        pytest.skip("its golden holds words of the real CLI: npm ci --prefix kosli")
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=ROOT,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )
    stdout, stderr = done.stdout.decode(), re.sub(r"Makefile:\d+", "Makefile:LINE", done.stderr.decode())
    stdout, stderr = (HOST.sub("<HOST>", text).replace(str(tmp_path), "HOME") for text in (stdout, stderr))
    stderr = stderr.replace(str(ROOT), "ROOT")
    print(f"exit {done.returncode}\n{stderr}")

    assert "Traceback" not in stderr
    if done.returncode:
        assert stdout == "" or ANSWERS_AND_FAILS.search(command), "a refusal prints nothing on stdout"
        assert stderr or stdout, "a refusal says why"

    expected = {}
    if stdout:
        expected["stdout.json" if is_json(stdout) else "stdout.txt"] = stdout
    if stderr:
        expected["stderr.txt"] = stderr
    if done.returncode:
        expected["exit_code"] = f"{done.returncode}\n"
    if request.config.getoption("--snapshot-update"):
        for path in (case / "expected").glob("*"):
            if path.name not in expected:
                path.unlink()
    snapshot.snapshot_dir = case
    if expected or (case / "expected").exists():
        snapshot.assert_match_dir(expected, "expected")


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def test_every_folder_is_a_case_and_every_case_is_a_folder() -> None:
    folders = sorted(path for path in (ROOT / "tests" / "cases").glob("*/*"))
    assert folders == CASES, "a folder without a cmd"
    for case in CASES:
        assert {path.name for path in case.iterdir()} <= {"cmd", "expected"}


def test_more_than_half_of_the_cases_are_refusals() -> None:
    failing = [case for case in CASES if (case / "expected" / "exit_code").exists()]
    assert len(failing) > len(CASES) / 2


def test_each_script_has_a_case_that_succeeds() -> None:
    """Where all are refused, it may be for another reason than the one that they are about."""
    folders = {case.parent for case in CASES if not (case / "expected" / "exit_code").exists()}
    assert folders == {case.parent for case in CASES}


def test_each_fixture_is_used_and_described() -> None:
    readme = (ROOT / "fixtures" / "README.md").read_text()
    uses = [*(case / "cmd" for case in CASES), *(ROOT / "tests").glob("*.py")]
    text = " ".join(path.read_text() for path in uses)
    words = set(re.findall(r"[\w-]+", text))
    for fixture in [
        path for folder in (".", "verdicts", "outcomes") for path in (ROOT / "fixtures" / folder).glob("*.json")
    ]:
        path = str(fixture.relative_to(ROOT / "fixtures"))
        assert path in text or (path == fixture.name and fixture.stem in words), f"nothing uses {fixture}"
        assert path in readme, f"fixtures/README.md does not mention {fixture}"


def test_each_query_has_a_case() -> None:
    commands = "".join(case.joinpath("cmd").read_text() for case in CASES if case.parent.name == "queries")
    for query in (ROOT / "jq").glob("*.jmespath"):
        assert f"jq/{query.name}" in commands, f"no case in tests/cases/queries runs {query.name}"
