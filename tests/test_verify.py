"""How verify.py watches: what an outcome is, a late answer, a question that fails, signals.

The CLI here is a few lines of shell that give one prepared answer after the other, and the last one for ever.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

from conftest import ROOT, environment, run
from worlds import processes_of, read_to_the_end, wait_for

import pytest

OLD, NEW, OTHER, FOURTH = ("1" * 64, "2" * 64, "3" * 64, "4" * 64)
SETTINGS = {"KOSLI_ORG": "acme", "KOSLI_API_TOKEN": "a-token-that-nobody-has", "VERIFY_INTERVAL": "0"}
DOWN = "exit 1"
HANGS = "sleep 300 & sleep 300"
CLI = """#!/bin/bash
if [ "$1" = version ]; then echo v2.38.0; exit; fi
cd {folder}
number=$(ls asked.* 2>/dev/null | wc -l)
touch asked.$number
[ -e answer.$number ] || number=last
. answer.$number
"""


def row(fingerprint: str, flow: str = "shop-ci", name: str = "shop:1") -> dict[str, Any]:
    page = f"https://github.com/acme/shop/commit/{fingerprint[:40].ljust(40, '0')}"
    return {"fingerprint": fingerprint, "name": name, "flow": flow, "commit_url": page, "most_recent_timestamp": 1}


def diff(*in_prod: dict[str, Any], number: int = 7, beta: int = 9, incoming: Any = ()) -> dict[str, Any]:
    """Return a diff in which prod runs these artifacts."""
    return {
        "snappish1": {"snapshot_id": f"aws-beta#{beta}", "artifacts": list(incoming)},
        "snappish2": {"snapshot_id": f"aws-prod#{number}", "artifacts": list(in_prod)},
        "changed": {"artifacts": []},
        "not-changed": {"artifacts": []},
    }


class Watch:
    """A verify.py with its release, and what Kosli is going to answer."""

    def __init__(self, home: Path, promoted: dict[str, Any], by: str = "flow") -> None:
        self.home = home
        self.variables = {**SETTINGS, "MATCH_BY": by, "PATH": f"{home}:{os.environ['PATH']}"}
        (home / "kosli").write_text(CLI.format(folder=home))
        (home / "kosli").chmod(0o755)
        found = run("promotions.py", stdin=json.dumps(promoted).encode(), MATCH_BY=by)
        (home / "release.json").write_bytes(found.out)

    def answers(self, *answers: dict[str, Any] | str) -> None:
        for number, answer in enumerate(answers):
            text = answer if isinstance(answer, str) else f"echo '{json.dumps(answer)}'"
            for name in (str(number), "last"):
                (self.home / f"answer.{name}").write_text(text)

    def asked(self) -> int:
        """Return how many questions have been asked."""
        return len(list(self.home.glob("asked.*")))

    def ran(self, *answers: dict[str, Any] | str, **more: str) -> tuple[int, list[str], str]:
        """Return exit code, outcomes and stderr."""
        self.answers(*answers)
        ran = run("verify.py", self.home / "release.json", **{**self.variables, "VERIFY_TIMEOUT": "30", **more})
        outcomes = [each["outcome"] for each in json.loads(ran.out or b"[]")]
        return ran.code, outcomes, ran.err.decode()

    def start(self, stderr: int = subprocess.PIPE, **more: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, ROOT / "scripts" / "verify.py", self.home / "release.json"],
            env=environment(self.home, **{**self.variables, "VERIFY_TIMEOUT": "7200", **more}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    """A release of one promotion: NEW in the place of OLD."""
    return Watch(tmp_path, diff(row(OLD), incoming=[row(NEW, name="shop:2")]))


@pytest.mark.parametrize(
    ("running", "outcome"),
    [
        ([NEW], "landed"),
        ([OLD], "not landed"),
        ([], "not landed"),
        ([OLD, NEW], "not landed"),
        ([NEW, OTHER], "not landed"),
        ([OLD, OTHER], "not landed"),
        ([OTHER], "another landed"),
        ([OTHER, FOURTH], "another landed"),
    ],
)
def test_outcome(watch: Watch, running: list[str], outcome: str) -> None:
    others = [row(FOURTH, "web-ci"), row(NEW, "scan-ci")]
    code, outcomes, _ = watch.ran(diff(*others, *map(row, running)), VERIFY_TIMEOUT="0")
    assert (code, outcomes) == (int(outcome != "landed"), [outcome])
    assert watch.asked() == 1, "however little time there is, it asks once"


@pytest.mark.parametrize(("running", "outcome"), [(NEW, "landed"), ("", "not landed"), (OTHER, "another landed")])
def test_outcome_of_a_first_deployment(tmp_path: Path, running: str, outcome: str) -> None:
    watch = Watch(tmp_path, diff(incoming=[row(NEW)]))
    code, outcomes, _ = watch.ran(diff(*([row(running)] if running else [])), VERIFY_TIMEOUT="0")
    assert (code, outcomes) == (int(outcome != "landed"), [outcome])


def test_outcomes_by_image(tmp_path: Path) -> None:
    incoming = [row(NEW, name="shop/web:2"), row(OTHER, name="shop/worker:2")]
    prod = [row(OLD, name="shop/web:1"), row(FOURTH, name="shop/worker:1")]
    watch = Watch(tmp_path, diff(*prod, incoming=incoming), by="image")
    _, outcomes, _ = watch.ran(diff(incoming[0], prod[1]), VERIFY_TIMEOUT="0")
    assert outcomes == ["landed", "not landed"]


def test_it_asks_until_all_has_landed(watch: Watch) -> None:
    code, outcomes, stderr = watch.ran(diff(row(OLD)), DOWN, diff(row(OLD), row(NEW)), diff(row(NEW), number=8))
    assert (code, outcomes, watch.asked()) == (0, ["landed"], 4)
    assert "verify.py: 0 of 1 landed; shop-ci: not landed\n" in stderr
    assert "verify.py: no verdict yet: kosli diff snapshots: exit 1" in stderr
    assert stderr.endswith("verify.py: 1 of 1 landed\n")


def test_a_question_that_fails_changes_nothing_that_is_known(watch: Watch) -> None:
    code, outcomes, _ = watch.ran(diff(row(OTHER)), DOWN, VERIFY_TIMEOUT="0.5")
    assert (code, outcomes) == (1, ["another landed"])
    assert watch.asked() > 2


@pytest.mark.parametrize("answer", [DOWN, "echo '[]'", "echo '{}'", "echo 502 Bad Gateway"])
def test_without_one_answer_there_is_no_outcome(watch: Watch, answer: str) -> None:
    code, outcomes, stderr = watch.ran(answer, VERIFY_TIMEOUT="0")
    assert (code, outcomes) == (3, [])
    assert stderr.startswith("verify.py: ")


def test_an_answer_that_is_older_than_the_release_is_none(watch: Watch) -> None:
    code, outcomes, stderr = watch.ran(diff(row(NEW), beta=8), diff(row(NEW), number=6), diff(row(NEW)))
    assert (code, outcomes, watch.asked()) == (0, ["landed"], 3)
    assert "aws-beta#8 is too old for this release: wait for aws-beta#9 or later" in stderr
    assert "aws-prod#6 is too old for this release: wait for aws-prod#7 or later" in stderr


needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="what runs is read from /proc")
both_signals = pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])


@needs_proc
@both_signals
def test_stopped_between_two_questions(watch: Watch, which: signal.Signals) -> None:
    watch.answers(diff(row(OLD)))
    process = watch.start(VERIFY_INTERVAL="3600")
    assert process.stderr
    assert process.stderr.readline() == b"verify.py: 0 of 1 landed; shop-ci: not landed\n"
    process.send_signal(which)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (128 + which, b"")
    assert [each["outcome"] for each in json.loads(stdout)] == ["not landed"]
    assert watch.asked() == 1


@needs_proc
@both_signals
def test_stopped_during_a_question(watch: Watch, which: signal.Signals) -> None:
    """What is known is said, nothing is asked any more, and no process stays."""
    watch.answers(diff(row(OLD)), HANGS)
    process = watch.start()
    wait_for(lambda: watch.asked() == 2)
    process.send_signal(which)
    stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + which
    assert [each["outcome"] for each in json.loads(stdout)] == ["not landed"]
    assert watch.asked() == 2
    wait_for(lambda: not processes_of(watch.home))


@needs_proc
def test_stopped_before_the_first_answer(watch: Watch) -> None:
    watch.answers(HANGS)
    process = watch.start()
    wait_for(lambda: watch.asked() == 1)
    process.terminate()
    assert process.communicate(timeout=30) == (b"", b"verify.py: stopped before the first answer\n")
    assert process.returncode == 143
    wait_for(lambda: not processes_of(watch.home))


def test_a_bar_on_a_terminal(watch: Watch) -> None:
    watch.answers(diff(row(OLD)), diff(row(NEW)))
    terminal, its_end = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    process = watch.start(stderr=its_end)
    os.close(its_end)
    process.communicate(timeout=30)
    drawn = read_to_the_end(terminal)
    assert process.returncode == 0
    assert "0/1" in drawn
    assert "1/1" in drawn
