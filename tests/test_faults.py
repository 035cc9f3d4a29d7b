"""What goes wrong around the scripts: signals, several at once, the clock. The virtual environment: test_venv.py.

The faults of the CLI itself are golden cases of snapshots, gate and verify, and tests of the door (test_door.py).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from conftest import ROOT, environment
from test_door import needs_proc
from worlds import STUBBORN, TO_KOSLI, World, ready, release_of, wait_for

import pytest

# Signals: each script that talks to Kosli. The others are in test_streams.py.


@needs_proc
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT], ids=lambda sent: sent.name)
@pytest.mark.parametrize("script", TO_KOSLI)
def test_no_question_outlives_a_signal(script: str, sent: signal.Signals, tmp_path: Path) -> None:
    """The CLI hangs, ignores SIGTERM and has a child: all are gone, nothing is printed, the exit code says it."""
    world = ready(tmp_path)
    world.before_kosli(STUBBORN)
    arguments, stdin, variables = TO_KOSLI[script]
    process = world.start(script.split()[0], *arguments, **variables)
    process.stdin.write((tmp_path / stdin).read_bytes() if stdin else b"")
    process.stdin.close()
    children = world.state / "children"
    wait_for(lambda: children.exists() and children.read_text().endswith("\n"))
    process.send_signal(sent)
    assert process.wait(5) == 128 + sent
    assert process.stdout.read() == b""
    assert b"Traceback" not in process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    wait_for(lambda: world.processes() == [], 5)
    assert os.listdir(world.home / "tmp") == []


# Several at once


def test_releases_at_once_in_one_checkout(tmp_path: Path) -> None:
    """Each prints its own."""
    fixtures = ["several-behind", "one-flow-behind", "level", "in-progress-in-beta"] * 2

    def promotions(number: int) -> subprocess.CompletedProcess[bytes]:
        home = tmp_path / str(number)
        home.mkdir()
        words = ["make", "-s", "promotions", f"SNAPSHOTS=fixtures/{fixtures[number]}.json"]
        return subprocess.run(words, cwd=ROOT, env=environment(home), capture_output=True, timeout=60)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(promotions, range(8)))
    assert [done.returncode for done in found] == [0, 0, 0, 2] * 2
    assert [len(json.loads(done.stdout or b"null") or []) for done in found] == [5, 1, 0, 0] * 2
    assert [done.stdout for done in found[:4]] == [done.stdout for done in found[4:]]


def test_releases_at_once_are_attested_each_in_its_own_trail(tmp_path: Path) -> None:
    world = World(tmp_path, "settled set-up")
    flows = ["runner-ci", "saver-ci", "web-ci"]
    for flow in flows:
        assert world.run("begin_trail.py", RELEASE_TRAIL=f"run-{flow}").code == 0

    def attest(flow: str) -> list[dict[str, str]]:
        return json.loads(world.done("attest.py", stdin=release_of(flow), RELEASE_TRAIL=f"run-{flow}"))

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(attest, flows))
    for flow, attested in zip(flows, found):
        assert {facts["trail"] for facts in attested} == {f"run-{flow}"}
    trails = world.read()["flows"]["production-promotion"]["trails"]
    names = [{each["name"] for each in trails[f"run-{flow}"]["attestations"]} for flow in flows]
    assert names == [{"release", f"{flow.removesuffix('-ci')}.promotion"} for flow in flows]
