"""How verify.py watches: what an outcome is, the clock, a late answer, signals, a bar on a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import PATH, ROOT, environment

import verify
from lib.diffs import read_diff
from lib.filters import KosliFailed, Unusable

SAVER = "510fbd91425926e9794bb2167124c526984d29fe75c151c05097ba52ea7b0dcd"
WEB = "e3851c412d9e7fd72e186979737d6f6c4f7e1fa2c4da95b95d3a2b821ec33404"
LONG = 30.0  # seconds, until a test gives up
OLD, NEW, OTHER, FOURTH = ("1" * 64, "2" * 64, "3" * 64, "4" * 64)


def row(fingerprint: str, flow: str = "shop-ci", name: str = "shop:1") -> dict[str, Any]:
    return {"fingerprint": fingerprint, "name": name, "flow": flow}


def diff(*in_prod: dict[str, Any], number: int = 7, beta: int = 9) -> dict[str, Any]:
    """Return a diff in which prod runs these artifacts."""
    return {
        "snappish1": {"snapshot_id": f"aws-beta#{beta}", "artifacts": []},
        "snappish2": {"snapshot_id": f"aws-prod#{number}", "artifacts": list(in_prod)},
        "changed": {"artifacts": []},
        "not-changed": {"artifacts": []},
    }


def promotion(incoming: str = NEW, outgoing: str = OLD, flow: str = "shop-ci", name: str = "shop:2") -> dict[str, Any]:
    """Return what verify.py looks at in a promotion."""
    return {
        "incoming_name": name,
        "incoming_flow": flow,
        "incoming_fingerprint": incoming,
        "incoming_commit_url": "",
        "incoming_snapshot_id": "aws-beta#9",
        "outgoing_fingerprint": outgoing,
        "outgoing_snapshot_id": "aws-prod#7" if outgoing else "",
    }


@pytest.mark.parametrize(
    ("outgoing", "running", "outcome"),
    [
        (OLD, [NEW], "landed"),
        (OLD, [OLD], "not landed"),
        (OLD, [], "not landed"),
        (OLD, [OLD, NEW], "not landed"),
        (OLD, [NEW, OTHER], "not landed"),
        (OLD, [OLD, OTHER], "not landed"),
        (OLD, [OTHER], "another landed"),
        (OLD, [OTHER, FOURTH], "another landed"),
        (OLD, [""], "another landed"),
        ("", [NEW], "landed"),
        ("", [], "not landed"),
        ("", [OTHER], "another landed"),
        ("", [NEW, OTHER], "not landed"),
    ],
)
def test_outcome(outgoing: str, running: list[str], outcome: str) -> None:
    prod = [row(fingerprint) for fingerprint in running]
    others = [row(FOURTH, "web-ci"), row(NEW, "scan-ci"), row("", "")]
    (found,) = verify.outcomes([promotion(outgoing=outgoing)], read_diff(diff(*others, *prod)))
    assert found == {
        "flow": "shop-ci",
        "fingerprint": NEW,
        "outcome": outcome,
        "running": sorted(running),
        "snapshot_id": "aws-prod#7",
    }


def test_outcomes_by_image(monkeypatch: pytest.MonkeyPatch) -> None:
    release = [promotion(NEW, OLD, name="shop/web:2"), promotion(OTHER, FOURTH, name="shop/worker:2")]
    prod = read_diff(diff(row(NEW, name="shop/web:2"), row(FOURTH, name="shop/worker:1")))
    assert [each["outcome"] for each in verify.outcomes(release, prod)] == ["not landed", "not landed"]
    monkeypatch.setenv("MATCH_BY", "image")
    assert [each["outcome"] for each in verify.outcomes(release, prod)] == ["landed", "not landed"]


class Clock:
    """A clock that stands still but for `sleep` and for the seconds that an answer takes.

    It has nothing but what it may be asked: the time of day, which can be set at any moment, is none of it.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Any, takes: float = 0.0) -> None:
        self.now, self.asked, self.within = 5000.0, [], []
        self.answers, self.takes = list(answers), takes
        monkeypatch.setattr(verify, "time", self)
        monkeypatch.setattr(verify, "ask_for_json", self.ask)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds

    def ask(self, *command: str, within: float) -> tuple[bytes, Any]:
        """Answer the first of the answers, the last one again and again."""
        assert command == ("diff", "snapshots", "aws-beta", "aws-prod", "--output=json", "--debug=false")
        self.asked.append(self.now - 5000)
        self.within.append(within)
        self.now += min(self.takes, within)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return b"", answer

    def look(self, interval: float = 15, timeout: float = 900) -> list[tuple[list[dict[str, Any]], str]]:
        return list(verify.looks([promotion()], ("aws-beta", "aws-prod"), interval, timeout))


def test_it_asks_at_every_interval_and_once_more_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, diff(row(OLD)))
    looks = clock.look(timeout=100)
    assert clock.asked == [0, 15, 30, 45, 60, 75, 90, 100]
    assert {known[0]["outcome"] for known, _ in looks} == {"not landed"}


def test_it_asks_once_more_however_little_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, diff(row(OLD)))
    clock.look(timeout=30.5)
    assert clock.asked == [0, 15, 30, 30.5]
    assert clock.within[-1] == verify.SHORTEST_QUESTION


def test_it_ends_as_soon_as_all_has_landed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, diff(row(OLD)), diff(row(OLD), row(NEW)), diff(row(NEW), number=8))
    looks = clock.look()
    assert clock.asked == [0, 15, 30]
    assert [known[0]["outcome"] for known, _ in looks] == ["not landed", "not landed", "landed"]
    assert [known[0]["seconds"] for known, _ in looks] == [0, 15, 30]
    assert looks[-1][0][0]["snapshot_id"] == "aws-prod#8"


def test_seconds_are_those_of_the_first_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, diff(row(OLD)), diff(row(OTHER)), diff(row(OTHER), number=8), takes=2.25)
    looks = clock.look(timeout=50)
    assert [known[0]["seconds"] for known, _ in looks] == [2.2, 19.5, 19.5, 19.5]
    assert [known[0]["snapshot_id"] for known, _ in looks] == ["aws-prod#7", "aws-prod#7", "aws-prod#8", "aws-prod#8"]


def test_a_question_that_fails_changes_nothing_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, KosliFailed("down"), diff(row(OTHER)), KosliFailed("down"))
    looks = clock.look(timeout=40)
    assert [trouble for _, trouble in looks] == ["down", "", "down", "down"]
    assert [[each["outcome"] for each in known] for known, _ in looks] == [[], *[["another landed"]] * 3]


def test_an_answer_that_is_no_diff_is_a_question_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, [], {"snappish1": {}}, diff(row(NEW)))
    looks = clock.look()
    assert [trouble for _, trouble in looks] == [
        "kosli diff snapshots: its answer is not a diff of two snapshots: a list instead of an object",
        "kosli diff snapshots: snappish1.snapshot_id: missing instead of ENVIRONMENT#NUMBER",
        "",
    ]


def test_an_answer_that_is_older_than_the_release_is_a_question_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(
        monkeypatch, diff(row(NEW), beta=8), diff(row(NEW), number=6), diff(row(NEW), number=6, beta=8), diff(row(NEW))
    )
    looks = clock.look()
    assert [trouble for _, trouble in looks] == [
        "aws-beta#8 is too old for this release: wait for aws-beta#9 or later",
        "aws-prod#6 is too old for this release: wait for aws-prod#7 or later",
        "aws-beta#8 is too old for this release: wait for aws-beta#9 or later; "
        "aws-prod#6 is too old for this release: wait for aws-prod#7 or later",
        "",
    ]
    assert [bool(known) for known, _ in looks] == [False, False, False, True]


def test_wrong_settings_are_no_question_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, Unusable("KOSLI_TIMEOUT: soon is no number of seconds"))
    with pytest.raises(Unusable):
        clock.look()


def test_a_hanging_kosli_takes_no_more_than_the_time_and_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, KosliFailed("no answer"), takes=float("inf"))
    clock.look(interval=15, timeout=100)
    assert clock.within == [100]
    assert clock.now == 5100
    clock = Clock(monkeypatch, KosliFailed("no answer"), takes=30)
    clock.look(interval=15, timeout=100)
    assert clock.asked == [0, 45, 90]
    assert clock.within == [100, 55, 10]
    clock = Clock(monkeypatch, KosliFailed("no answer"), takes=float("inf"))
    clock.look(interval=15, timeout=0)
    assert clock.within == [verify.SHORTEST_QUESTION]


def test_no_interval_is_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, diff(row(OLD)), diff(row(OLD)), diff(row(NEW)), takes=1)
    clock.look(interval=0)
    assert clock.asked == [0, 1, 2]


# From here on the script itself runs, against the stand-in.


class Watch:
    """A verify.py that is watching, and the world that it watches."""

    def __init__(self, home: Path, bash: Callable[..., Any]) -> None:
        self.home, self.bash = home, bash
        self.variables = {"PATH": f"{ROOT}/fixtures/bin:{PATH}", "KOSLI_ORG": "cyber-dojo"}
        self.variables["KOSLI_API_TOKEN"] = "stand-in-token-0123456789"
        self.process: subprocess.Popen[bytes] | None = None
        proposed = "scripts/snapshots.py | scripts/promotions.py > ~/release.json"
        self.do(f'. fixtures/use-world settled && export FLOWS="saver-ci web-ci" && {proposed}')

    def do(self, line: str) -> None:
        done = self.bash(line, **self.variables)
        assert done.returncode == 0, done.stderr.decode()

    def deploy(self, *fingerprints: str) -> None:
        """Deploy, and have Kosli record it."""
        deployments = "".join(f"stand-in-deploy aws-prod {each} && " for each in fingerprints)
        self.do(f"{deployments} kosli snapshot ecs aws-prod --cluster prod")

    def mood(self, *moods: dict[str, Any]) -> None:
        path = self.home / ".kosli-stand-in" / "world.json"
        new = path.with_name("new.json")
        new.write_text(json.dumps({**json.loads(path.read_text()), "mood": list(moods)}))
        new.rename(path)

    def start(self, stderr: int = subprocess.PIPE, **settings: str) -> subprocess.Popen[bytes]:
        self.process = subprocess.Popen(
            [ROOT / "scripts" / "verify.py", self.home / "release.json"],
            cwd=ROOT,
            env=environment(self.home, **self.variables, **settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
        return self.process

    def line(self) -> str:
        """Return the next line on stderr."""
        assert self.process
        assert self.process.stderr
        return self.process.stderr.readline().decode()

    def end(self) -> tuple[int, list[dict[str, Any]] | None, str]:
        """Wait for the end: exit code, outcomes (None when nothing is printed), stderr."""
        assert self.process
        stdout, stderr = self.process.communicate(timeout=LONG)
        return self.process.returncode, json.loads(stdout or "null"), (stderr or b"").decode()

    def others(self) -> list[str]:
        """Return the processes that run with this HOME, other than verify.py itself."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environ = (folder / "environ").read_bytes().split(b"\0")
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if f"HOME={self.home}".encode() in environ and self.process and folder.name != str(self.process.pid):
                found.append(command)
        return found

    def asked(self) -> int:
        """Return how many questions Kosli has answered."""
        return (self.home / ".kosli-stand-in" / "calls.jsonl").read_text().count('"diff"')

    def wait_for_questions(self, number: int = 2) -> None:
        """Wait until so many more questions have been answered."""
        enough = self.asked() + number
        self.wait_for(lambda: self.asked() >= enough)

    def wait_for(self, what: Callable[[], Any]) -> None:
        end = time.monotonic() + LONG
        while not what():
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.fixture
def watch(tmp_path: Path, bash: Callable[..., Any]) -> Iterator[Watch]:
    """A settled world with a release of saver and web; whatever was started is ended."""
    watch = Watch(tmp_path, bash)
    yield watch
    if watch.process and watch.process.poll() is None:
        watch.process.kill()
        watch.process.wait()


def test_a_deployment_that_lands_late(watch: Watch) -> None:
    watch.start(VERIFY_INTERVAL="0.05", VERIFY_TIMEOUT=str(LONG))
    assert watch.line() == "verify.py: 0 of 2 landed; saver-ci: not landed, web-ci: not landed\n"
    watch.deploy(SAVER)
    assert watch.line() == "verify.py: 1 of 2 landed; web-ci: not landed\n"
    watch.deploy(WEB)
    code, outcomes, stderr = watch.end()
    assert (code, stderr) == (0, "verify.py: 2 of 2 landed\n")
    assert [(each["flow"], each["outcome"]) for each in outcomes] == [("saver-ci", "landed"), ("web-ci", "landed")]
    assert [each["running"] for each in outcomes] == [[SAVER], [WEB]]
    assert [each["snapshot_id"] for each in outcomes] == ["aws-prod#3550"] * 2
    assert 0 < outcomes[0]["seconds"] <= outcomes[1]["seconds"] < LONG


def test_a_kosli_that_is_down_while_it_lands(watch: Watch) -> None:
    watch.start(VERIFY_INTERVAL="0.05", VERIFY_TIMEOUT=str(LONG))
    assert watch.line().startswith("verify.py: 0 of 2 landed")
    watch.mood({"fail": "the server is down", "only": ["diff snapshots"]})
    assert watch.line() == (
        "verify.py: no verdict yet: kosli diff snapshots: exit 1: Error: [kosli diff snapshots] the server is down\n"
    )
    watch.deploy(SAVER, WEB)
    watch.mood()
    code, outcomes, stderr = watch.end()
    assert (code, stderr) == (0, "verify.py: 2 of 2 landed\n")
    assert {each["outcome"] for each in outcomes} == {"landed"}


def test_a_kosli_that_is_down_at_the_end(watch: Watch) -> None:
    watch.deploy(SAVER)
    watch.mood({"fail": "the server is down", "skip": 1})
    watch.start(VERIFY_INTERVAL="0.05", VERIFY_TIMEOUT="1")
    code, outcomes, stderr = watch.end()
    assert code == 1
    assert [each["outcome"] for each in outcomes] == ["landed", "not landed"]
    assert stderr.startswith("verify.py: 1 of 2 landed; web-ci: not landed\n")


has_processes = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="what runs is read from /proc")
both_signals = pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])


@has_processes
@both_signals
def test_stopped_between_two_questions(watch: Watch, which: signal.Signals) -> None:
    watch.deploy(SAVER)
    process = watch.start(VERIFY_INTERVAL="3600", VERIFY_TIMEOUT="7200")
    assert watch.line() == "verify.py: 1 of 2 landed; web-ci: not landed\n"
    process.send_signal(which)
    code, outcomes, stderr = watch.end()
    assert code == 128 + which
    assert [each["outcome"] for each in outcomes] == ["landed", "not landed"]
    assert stderr == ""
    assert watch.others() == []


@has_processes
@both_signals
def test_stopped_during_a_question(watch: Watch, which: signal.Signals) -> None:
    watch.deploy(SAVER)
    watch.mood({"hang": True, "skip": 1, "spawn_child": True, "ignore_sigterm": True})
    process = watch.start(VERIFY_INTERVAL="0", VERIFY_TIMEOUT="7200")
    assert watch.line() == "verify.py: 1 of 2 landed; web-ci: not landed\n"
    watch.wait_for(lambda: any("sleep" in command for command in watch.others()))
    process.send_signal(which)
    code, outcomes, stderr = watch.end()
    assert code == 128 + which
    assert [each["outcome"] for each in outcomes] == ["landed", "not landed"]
    assert stderr == ""
    watch.wait_for(lambda: not watch.others())


@has_processes
@both_signals
def test_stopped_before_the_first_answer(watch: Watch, which: signal.Signals) -> None:
    watch.mood({"hang": True, "spawn_child": True})
    process = watch.start()
    watch.wait_for(lambda: any("sleep" in command for command in watch.others()))
    process.send_signal(which)
    assert watch.end() == (128 + which, None, "verify.py: stopped before the first answer\n")
    watch.wait_for(lambda: not watch.others())


@has_processes
def test_stopped_at_any_moment(watch: Watch) -> None:
    watch.mood({"hang": True, "only": ["diff snapshots"]})
    for hundredths in range(1, 20, 2):
        process = watch.start()
        time.sleep(hundredths / 100)
        process.terminate()
        code, outcomes, stderr = watch.end()
        # A signal that comes before the script does ends it as it ends any process.
        assert code in (128 + signal.SIGTERM, -signal.SIGTERM)
        assert stderr in ("", "verify.py: stopped before the first answer\n")
        assert outcomes is None
        watch.wait_for(lambda: not watch.others())


def on_a_terminal(
    watch: Watch, during: Callable[[], None] | None = None, **settings: str
) -> tuple[int, list[Any], str]:
    """Run with stderr on a terminal. Returns exit code, outcomes, and what the terminal got."""
    terminal, stderr = pty.openpty()
    watch.start(stderr=stderr, **settings)
    os.close(stderr)
    if during:
        during()
    code, outcomes, _ = watch.end()
    shown = b""
    try:
        while piece := os.read(terminal, 4096):
            shown += piece
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    return code, outcomes, shown.decode()


def test_a_bar_on_a_terminal(watch: Watch) -> None:
    def land() -> None:
        watch.wait_for_questions()
        watch.deploy(SAVER)
        watch.wait_for_questions()
        watch.deploy(WEB)

    code, outcomes, shown = on_a_terminal(watch, land, VERIFY_INTERVAL="0.05", VERIFY_TIMEOUT=str(LONG))
    assert code == 0
    assert {each["outcome"] for each in outcomes} == {"landed"}
    assert shown.endswith(f"\r[{'#' * 40}] 2/2\r\n")
    bars = [bar for bar in re.split(r"[\r\n]+", shown) if bar]
    assert list(dict.fromkeys(bars)) == [f"[{'.' * 40}] 0/2", f"[{'#' * 20}{'.' * 20}] 1/2", f"[{'#' * 40}] 2/2"]


def test_a_bar_that_is_not_full_ends_its_line(watch: Watch) -> None:
    code, _, shown = on_a_terminal(watch, VERIFY_TIMEOUT="0")
    assert (code, shown) == (1, f"\r[{'.' * 40}] 0/2\r\n")


def test_a_question_that_fails_is_said_below_the_bar(watch: Watch) -> None:
    watch.mood({"fail": "the server is down", "skip": 1})

    def stop() -> None:
        watch.wait_for_questions(3)
        assert watch.process
        watch.process.send_signal(signal.SIGINT)

    code, outcomes, shown = on_a_terminal(watch, stop, VERIFY_INTERVAL="0.05")
    assert code == 130
    assert {each["outcome"] for each in outcomes} == {"not landed"}
    assert shown == (
        f"\r[{'.' * 40}] 0/2\r\n"
        "verify.py: no verdict yet: kosli diff snapshots: exit 1: Error: [kosli diff snapshots] the server is down\r\n"
    )


def test_no_bar_but_lines_elsewhere(watch: Watch) -> None:
    watch.start(VERIFY_INTERVAL="0.05", VERIFY_TIMEOUT="1")
    code, _, stderr = watch.end()
    assert (code, stderr) == (1, "verify.py: 0 of 2 landed; saver-ci: not landed, web-ci: not landed\n")
