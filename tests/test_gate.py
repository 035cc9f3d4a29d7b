"""What holds for every verdict, and which situations let a release through: a golden accepts anything on update."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT
from worlds import World, release_of

CASES = sorted((ROOT / "tests" / "cases" / "gate").iterdir())
# The only situations in which the gate exits 0.
OPEN = {
    "compliant",
    "debug",
    "empty-release",
    "help",
    "leaked-flow",
    "most-jobs",
    "no-policy-allowed",
    "one-environment",
}
KEYS = ["flow", "name", "fingerprint", "environment", "verdict", "policies", "reasons", "html_url"]


def exit_code(case: Path) -> int:
    """Return the exit code that a case expects."""
    path = case / "expected" / "exit_code"
    return int(path.read_text()) if path.exists() else 0


def test_no_trap_opens_the_gate() -> None:
    assert {case.name for case in CASES if exit_code(case) == 0} == OPEN


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_exit_code_follows_from_the_verdicts(case: Path) -> None:
    path, code = case / "expected" / "stdout.json", exit_code(case)
    if not path.exists():
        assert code in (2, 3) or case.name == "help"
        return
    verdicts = json.loads(path.read_text())
    found = {verdict["verdict"] for verdict in verdicts}
    assert found <= {"compliant", "non-compliant", "error"}
    assert code == (1 if "non-compliant" in found else 3 if "error" in found else 0)
    for verdict in verdicts:
        assert list(verdict) == KEYS
        assert bool(verdict["reasons"]) == (verdict["verdict"] != "compliant")
        if verdict["verdict"] == "compliant":
            assert verdict["policies"] > 0 or case.name == "no-policy-allowed"
    asked = [(verdict["fingerprint"], verdict["environment"]) for verdict in verdicts]
    assert len(set(asked)) == len(asked)
    if not case.name.startswith("one-environment"):
        assert [fingerprint for fingerprint, _ in asked[::2]] == [fingerprint for fingerprint, _ in asked[1::2]]
    said = (case / "expected" / "stderr.txt").read_text() if (case / "expected" / "stderr.txt").exists() else ""
    for verdict in verdicts:
        for reason in verdict["reasons"]:
            assert f"{verdict['verdict']}: {reason}\n" in said


def test_a_progress_bar_on_a_terminal(tmp_path: Path) -> None:
    world = World(tmp_path)
    terminal, stderr = os.openpty()
    done = subprocess.run(
        [ROOT / ".venv" / "bin" / "python", ROOT / "scripts" / "gate.py", "aws-beta", "aws-prod"],
        env=world.environment(),
        input=release_of(),
        stdout=subprocess.PIPE,
        stderr=stderr,
    )
    os.close(stderr)
    drawn = ""
    try:
        while piece := os.read(terminal, 1 << 16):
            drawn += piece.decode()
    except OSError:  # how Linux says that nobody writes any more
        pass
    os.close(terminal)
    assert (done.returncode, len(json.loads(done.stdout))) == (0, 8)
    bars = drawn.split("\r")
    assert bars[1] == f"[{'#' * 5}{'.' * 35}] 1/8"
    assert bars[8] == f"[{'#' * 40}] 8/8"
    assert drawn.endswith("\r\n")
