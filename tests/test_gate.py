"""What holds for every verdict, and which situations let a release through: a golden accepts anything on update."""

from __future__ import annotations

import json
import os
import subprocess
import termios
from pathlib import Path
from typing import Any

from conftest import ROOT
from worlds import World, read_to_the_end, release_of

import pytest

CASES = sorted((ROOT / "tests" / "cases" / "gate").iterdir())
# The only situations in which the gate exits 0.
OPEN = {"compliant", "empty-release"}
ONE = json.loads((ROOT / "fixtures" / "release-of-runner.json").read_text())
SHORT = {"incoming_fingerprint": "f" * 63}
# Exit code, message, arguments, settings and stdin; mostly it is an empty release, which hides none of this.
REFUSED: dict[str, tuple[int, str, tuple[str, ...], dict[str, str], Any]] = {
    "a flag": (2, "unrecognized arguments: --dry-run", ("aws-beta", "--dry-run"), {}, []),
    "an empty name": (2, "an empty text is no name of an environment", ("aws-beta", ""), {}, []),
    "three environments": (2, "3 environments, and the gate asks in one or two", ("a", "b", "c"), {}, []),
    "too many at once": (2, "GATE_JOBS: 65: expected whole number <= 64", (), {"GATE_JOBS": "65"}, []),
    "a misspelt waiver": (2, "ALLOW_NO_POLICY: yes: expected true", (), {"ALLOW_NO_POLICY": "yes"}, []),
    "a short fingerprint": (2, "a release: [0].incoming_fingerprint: expected 64", (), {}, [{**ONE[0], **SHORT}]),
    "a short one of a job": (2, "a promotion: incoming_fingerprint: expected 64", (), {}, {**ONE[0], **SHORT}),
    "no token": (3, "KOSLI_API_TOKEN is not set", (), {"KOSLI_API_TOKEN": ""}, []),
    "dry run, perhaps": (3, "KOSLI_DRY_RUN is on", (), {"KOSLI_DRY_RUN": "on"}, []),
    "dry run by one token": (3, "KOSLI_API_TOKEN is DRY_RUN", (), {"KOSLI_API_TOKEN": "token, DRY_RUN"}, []),
}
# What the CLI says of its version.
VERSIONS = {
    "echo v2.9.0": (3, "kosli v2.9.0 cannot be trusted as a gate"),
    "echo v2.11.40": (0, ""),
    "echo dev": (0, "the version of the kosli CLI cannot be read: dev"),
    "echo 'Error: cannot execute' >&2; exit 1": (3, "kosli version: exit 1: Error: cannot execute"),
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
    if path is None:
        return
    lines = path.read_text().splitlines()
    rows = [json.loads(line)[1:] for line in lines] if lines[0].startswith('["') else []
    rows = rows or [[v[key] for key in ("verdict", "policies", "reasons")] for v in json.loads(path.read_text())]
    found = {verdict for verdict, _, _ in rows}
    assert found <= {"compliant", "non-compliant", "error"}
    assert code == (1 if "non-compliant" in found else 3 if "error" in found else 0)
    for verdict, policies, reasons in rows:
        assert bool(reasons) == (verdict != "compliant")
        assert verdict != "compliant" or policies > 0 or case.name == "no-policy-allowed"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("home"))


@pytest.mark.parametrize("situation", REFUSED)
def test_it_is_refused_before_anything_is_asked(world: World, situation: str) -> None:
    code, said, arguments, settings, document = REFUSED[situation]
    ran = world.quick("gate.py", *arguments, stdin=json.dumps(document).encode(), **settings)
    assert (ran.code, ran.out) == (code, b"")
    assert said in ran.err.decode()
    assert world.requests() == []


@pytest.mark.parametrize("lines", VERSIONS)
def test_the_version_is_looked_at_before_an_empty_release(world: World, lines: str) -> None:
    code, said = VERSIONS[lines]
    world.before_kosli(f"{lines}; exit")
    ran = world.quick("gate.py", stdin=b"[]")
    world.before_kosli("")
    assert (ran.code, ran.out) == (code, b"" if code else b"[]\n")
    assert said in ran.err.decode()
    assert bool(said) == bool(ran.err)


@pytest.mark.parametrize("arguments", [(), ("aws-beta#4754", "aws-prod@{2.hours.ago}")], ids=["settings", "snapshots"])
def test_which_environments_are_asked_about(world: World, arguments: tuple[str, ...]) -> None:
    verdicts = json.loads(world.quick("gate.py", *arguments, stdin=json.dumps(ONE).encode()).out)
    assert [verdict["environment"] for verdict in verdicts] == ["aws-beta", "aws-prod"]
    assert {verdict["verdict"] for verdict in verdicts} == {"compliant"}


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
