"""What holds for every verdict, and which situations let a release through: a golden accepts anything on update."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from worlds import World, release_of

CASES = sorted((ROOT / "tests" / "cases" / "gate").iterdir())
# The only situations in which the gate exits 0.
OPEN = {"compliant", "empty-release", "leaked-flow", "no-policy-allowed", "one-environment"}
KEYS = ["flow", "name", "fingerprint", "environment", "verdict", "policies", "reasons", "html_url"]


def exit_code(case: Path) -> int:
    """Return the exit code that a case expects."""
    path = case / "expected" / "exit_code"
    return int(path.read_text()) if path.exists() else 0


def test_no_trap_opens_the_gate() -> None:
    assert {case.name for case in CASES if exit_code(case) == 0} <= OPEN


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_exit_code_follows_from_the_verdicts(case: Path) -> None:
    path, code = case / "expected" / "stdout.json", exit_code(case)
    if not path.exists():
        return
    verdicts = json.loads(path.read_text())
    found = {verdict["verdict"] for verdict in verdicts}
    assert found <= {"compliant", "non-compliant", "error"}
    assert code == (1 if "non-compliant" in found else 3 if "error" in found else 0)
    for verdict in verdicts:
        assert list(verdict) == KEYS
        assert bool(verdict["reasons"]) == (verdict["verdict"] != "compliant")
        assert verdict["verdict"] != "compliant" or verdict["policies"] > 0 or case.name == "no-policy-allowed"


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
    assert "8/8" in drawn


def side_by_side(calls: list[dict[str, Any]]) -> int:
    """Return how many calls ran at once, at most."""
    events = sorted([(call["started"], 1) for call in calls] + [(call["ended"], -1) for call in calls])
    running = most = 0
    for _, change in events:
        running += change
        most = max(most, running)
    return most


def test_no_more_at_once_than_asked_for(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.change(mood={"only": ["assert artifact"], "delay": 0.3})
    world.done("gate.py", "aws-beta", "aws-prod", stdin=release_of(), GATE_JOBS="3")
    assert side_by_side([call for call in world.calls() if call["argv"][0] == "assert"]) == 3
