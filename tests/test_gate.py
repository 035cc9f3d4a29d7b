"""What holds for every verdict, and which situations let a release through: a golden accepts anything on update."""

from __future__ import annotations

import json
import os
import subprocess
import termios
from pathlib import Path

from conftest import ROOT
from worlds import World, read_to_the_end, release_of

import pytest

CASES = sorted((ROOT / "tests" / "cases" / "gate").iterdir())
# The only situations in which the gate exits 0.
OPEN = {
    *("compliant", "empty-release", "leaked-flow", "no-policy-allowed", "one-environment", "no-argument"),
    "flow-in-home-configuration",
}


def exit_code(case: Path) -> int:
    """Return the exit code that a case expects."""
    path = case / "expected" / "exit_code"
    return int(path.read_text()) if path.exists() else 0


def test_no_trap_opens_the_gate() -> None:
    assert {case.name for case in CASES if exit_code(case) == 0} <= OPEN


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_exit_code_follows_from_the_verdicts(case: Path) -> None:
    path, code = next((case / "expected").glob("stdout.*"), None), exit_code(case)
    if path is None or case.name == "decisions-on-controls":  # which prints only the controls that its reasons name
        return
    lines = path.read_text().splitlines()
    rows = [json.loads(line) for line in lines] if lines[0].startswith('["') else []
    rows = rows or [
        [v[key] for key in ("environment", "verdict", "policies", "reasons")] for v in json.loads(path.read_text())
    ]
    found = {verdict for _, verdict, _, _ in rows}
    assert found <= {"compliant", "non-compliant", "error"}
    assert code == (1 if "non-compliant" in found else 3 if "error" in found else 0)
    for _, verdict, policies, reasons in rows:
        assert bool(reasons) == (verdict != "compliant")
        assert verdict != "compliant" or policies > 0 or case.name == "no-policy-allowed"


def test_a_progress_bar_on_a_terminal(tmp_path: Path) -> None:
    world = World(tmp_path)
    terminal, stderr = os.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    done = subprocess.run(
        [ROOT / ".venv" / "bin" / "python", ROOT / "scripts" / "gate.py", "aws-beta", "aws-prod"],
        env=world.environment(),
        input=release_of(),
        stdout=subprocess.PIPE,
        stderr=stderr,
    )
    os.close(stderr)
    drawn = read_to_the_end(terminal)
    assert (done.returncode, len(json.loads(done.stdout))) == (0, 8)
    assert "8/8" in drawn, drawn


def test_no_more_at_once_than_asked_for(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.change(faults=[{"path": "/asserts/", "delay": 0.3}])
    world.done("gate.py", "aws-beta", "aws-prod", stdin=release_of(), GATE_JOBS="3")
    assert max(request["at_once"] for request in world.requests("/api/v2/asserts/")) == 3
