"""make demo: what a newcomer sees, that it fails when a step does, and that it leaves nothing behind."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import resource
import select
import shutil
import signal
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, environment

STEPS = (
    "What runs where",
    "Is a deployment in progress?",
    "The release",
    "The gate",
    "The evidence",
    "The way back",
    "One approval",
    "Has anything moved since?",
    "The deployment",
    "Has it landed?",
    "The proof",
)
COMMANDS = (
    *("make snapshots", "make in-progress", "make promotions", "make promotions > ~/release.json"),
    "scripts/gate.py aws-beta aws-prod < ~/release.json",
    *("RELEASE_TRAIL=demo-1 make kosli-setup", "RELEASE_TRAIL=demo-1 scripts/attest.py < ~/release.json"),
    *("scripts/rollback.py < ~/release.json", "APPROVED=~/release.json make recheck > ~/rest.json"),
    "APPROVED=~/release.json VERIFY_INTERVAL=0.1 VERIFY_TIMEOUT=10 make verify",
    "kosli snapshot ecs aws-prod --cluster prod",
)
RELEASED = {"dashboard-ci": "5e1ba4ff", "runner-ci": "80aadace", "saver-ci": "510fbd91", "web-ci": "b6f1e761"}
Run = subprocess.CompletedProcess[str]
World = dict[str, Any]


def run_in(tmp_path: Path, line: str = "make -s demo", folder: Path = ROOT, **variables: str) -> Run:
    """Run the demo in a HOME and a TMPDIR below tmp_path; afterwards both must be as they were."""
    where = folders(tmp_path)
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env={**environment(where["HOME"], TMPDIR=str(where["TMPDIR"])), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert_untouched(where)
    return done


def folders(tmp_path: Path) -> dict[str, Path]:
    """Return a HOME, with a configuration and a world that the demo must neither read nor change, and a TMPDIR."""
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    (home / ".kosli-stand-in").mkdir(parents=True, exist_ok=True)
    (home / ".kosli.yml").write_text("flow: another\n")
    (home / ".kosli-stand-in" / "world.json").write_text("mine\n")
    temporary.mkdir(exist_ok=True)
    return {"HOME": home, "TMPDIR": temporary}


def assert_untouched(where: dict[str, Path]) -> None:
    home = where["HOME"]
    files = {str(path.relative_to(home)): path.read_text() for path in home.rglob("*") if path.is_file()}
    assert files == {".kosli.yml": "flow: another\n", ".kosli-stand-in/world.json": "mine\n"}
    assert list(where["TMPDIR"].iterdir()) == []


def steps(output: str) -> list[str]:
    """Return the titles of the steps, which are numbered."""
    found = re.findall(r"^(?:\x1b\[1m)?([ 1-9][0-9])  ([A-Z].*?)(?:\x1b\[0m)?\r?$", output, re.MULTILINE)
    assert [int(number) for number, _ in found] == list(range(1, len(found) + 1))
    return [title for _, title in found]


def after(output: str, command: str, first: bool = False) -> str:
    """Return what is shown after the last time of a command, or the first, up to the next empty line."""
    shown = output.split(f"$ {command}\n")
    return shown[1 if first else -1].partition("\n\n")[0]


class Terminal:
    """A demo on a terminal of its own, which one can read and type into."""

    def __init__(self, tmp_path: Path, *command: str, folder: Path = ROOT, **variables: str) -> None:
        self.where = folders(tmp_path)
        self.mine, its = pty.openpty()
        self.seen = ""
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(self.where["HOME"], TMPDIR=str(self.where["TMPDIR"]), TERM="xterm", **variables),
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(its)

    def read(self, until: str = "") -> str:
        """Read until a text appears, or to the end. Returns all that was seen."""
        end = time.monotonic() + 60
        while not until or until not in self.seen:
            assert select.select([self.mine], [], [], end - time.monotonic())[0], self.seen
            try:
                piece = os.read(self.mine, 4096)
            except OSError:
                piece = b""
            if not piece:
                assert not until, self.seen
                break
            self.seen += piece.decode()
        return self.seen

    def type(self, text: str) -> None:
        os.write(self.mine, text.encode())

    def close(self) -> int:
        """Read the rest, return the exit code; the demo must have left nothing behind."""
        self.read()
        os.close(self.mine)
        code = self.process.wait(60)
        assert_untouched(self.where)
        return code


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return what the demo shows to who has nothing set, in a log."""
    done = run_in(tmp_path_factory.mktemp("demo"))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done


def test_a_newcomer_sees_a_whole_release(shown: Run) -> None:
    assert steps(shown.stdout) == list(STEPS)
    lines = [line[4:] for line in shown.stdout.splitlines() if line.startswith("  $ ")]
    assert set(COMMANDS) - set(lines) == set()
    assert "Approve? [y/N] y    (the demo says so: stdin is no terminal)" in shown.stdout

    refused = after(shown.stdout, "make promotions", first=True)
    assert "promotions.py: aws-beta: web-ci: a deployment is in progress" in refused
    assert after(shown.stdout, "make in-progress") == "  []"
    assert after(shown.stdout, "make promotions") == "  []"
    assert after(shown.stdout, "APPROVED=~/release.json make recheck").startswith("  []\n")
    proof = after(shown.stdout, "make snapshots").splitlines()[1:]
    assert len(proof) == 7
    assert all(line.endswith("  same") for line in proof)
    for flow, fingerprint in RELEASED.items():
        assert re.search(rf"^  {flow} +{fingerprint}  compliant, 2 .*  compliant, 3 ", shown.stdout, re.MULTILINE)
        assert re.search(rf"^  {flow} +{fingerprint}  landed   {fingerprint}$", shown.stdout, re.MULTILINE)
    for name in ("KOSLI_ORG", "KOSLI_API_TOKEN", "make promotions", "make kosli-setup"):
        assert name in shown.stdout.partition("\nThe same for real\n")[2]


def test_it_fits_a_terminal_and_a_log(shown: Run) -> None:
    assert shown.stdout.isascii()
    assert "\x1b" not in shown.stdout
    assert [line for line in shown.stdout.splitlines() if len(line) > 100 or line != line.rstrip()] == []
    assert "demo-" not in shown.stdout.replace("demo-1", "")  # its HOME


def test_it_takes_less_than_five_seconds(tmp_path: Path) -> None:
    """Less work than that, and less time too, if the machine has nothing else to do: best of three, and by its load."""
    seconds: list[float] = []
    while len(seconds) < 3 and min(seconds, default=5) >= 5:
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        assert run_in(tmp_path).returncode == 0
        after, end = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        seconds.append(end - start)
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5
    assert min(seconds) < 5 * max(1, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))


def test_nothing_of_the_users_environment_counts(shown: Run, tmp_path: Path) -> None:
    token = "a-token-that-is-real-0123456789"
    mine = f"""
        KOSLI_API_TOKEN={token} KOSLI_ORG=mine KOSLI_HOST=https://kosli.example.com KOSLI_DRY_RUN=true KOSLI_FLOW=web-ci
        KOSLI_AWS_PROD=mine CI=true GITHUB_ACTIONS=true GITHUB_REPOSITORY=cyber-dojo/web GITHUB_SHA=1
        FLOWS=mine SNAPSHOTS=mine FROM_ENV=mine MATCH_BY=image DIGEST=mine REFUSED=mine APPROVED=mine GATE_JOBS=mine
        VERIFY_TIMEOUT=mine RELEASE_FLOW=web-ci LC_ALL=C MAKEFLAGS=k
    """
    done = run_in(tmp_path, **dict(each.split("=", 1) for each in mine.split()))
    assert done.returncode == 0, done.stderr
    assert done.stdout == shown.stdout
    assert token not in done.stderr


@pytest.mark.parametrize(
    ("line", "why"),
    [
        pytest.param("make demo DEMO_YES=1", "DEMO_YES=1 says so", id="DEMO_YES on make's command line"),
        pytest.param("make demo <&-", "the demo says so: stdin is no terminal", id="stdin closed"),
        pytest.param("cd / && DEMO_YES=1 $OLDPWD/scripts/demo.py", "DEMO_YES=1 says so", id="from another folder"),
    ],
)
def test_who_approves(tmp_path: Path, line: str, why: str) -> None:
    done = run_in(tmp_path, line)
    assert done.returncode == 0, done.stderr
    assert f"Approve? [y/N] y    ({why})\n" in done.stdout
    assert steps(done.stdout) == list(STEPS)


def test_on_a_terminal_it_asks_and_has_colours(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "make", "-s", "demo", DEMO_YES="")
    terminal.read("Approve? [y/N]")
    terminal.type("y\n")
    assert terminal.close() == 0, terminal.seen
    assert steps(terminal.seen) == list(STEPS)
    assert "\x1b[1m" in terminal.seen
    assert "\x1b[32mlanded\x1b[0m" in terminal.seen
    assert "says so" not in terminal.seen


@pytest.mark.parametrize("variable", ["NO_COLOR=1", "TERM=dumb"])
def test_no_colours_where_they_are_not_wanted(tmp_path: Path, variable: str) -> None:
    terminal = Terminal(tmp_path, "env", variable, "scripts/demo.py")
    assert "\x1b" not in terminal.read("The release")
    terminal.process.send_signal(signal.SIGTERM)
    terminal.close()


@pytest.mark.parametrize(
    ("command", "answer", "code"),
    [("make demo", "n\n", 2), ("scripts/demo.py", "\n", 1), ("scripts/demo.py", "\x04", 1)],
    ids=["n", "return", "end of input"],
)
def test_not_approved(tmp_path: Path, command: str, answer: str, code: int) -> None:
    terminal = Terminal(tmp_path, *command.split(), NO_COLOR="1")
    terminal.read("Approve? [y/N]")
    terminal.type(answer)
    assert terminal.close() == code, terminal.seen
    assert steps(terminal.seen) == list(STEPS[: STEPS.index("One approval") + 1])
    rest = terminal.seen.partition("Not approved, so nothing is deployed:")[2]
    assert "  flow          aws-beta#4756                 aws-prod#3548 " in rest
    assert "stand-in-deploy aws-prod" not in terminal.seen
    assert "Traceback" not in terminal.seen


def test_ctrl_c_at_the_question(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "scripts/demo.py")
    terminal.read("Approve? [y/N]")
    time.sleep(0.5)  # A signal right before it begins to read would be seen only after that.
    terminal.type("\x03")
    assert terminal.close() == 130, terminal.seen
    assert "Traceback" not in terminal.seen


def test_the_reader_goes_away(tmp_path: Path) -> None:
    done = run_in(tmp_path, "set -o pipefail; scripts/demo.py | head -n 3")
    assert done.returncode == 141
    assert done.stderr == ""


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Callable[[World], object]], Path]:
    """Return a function that makes a copy of the project in which the demo's world is changed."""

    def copy(change: Callable[[World], object]) -> Path:
        folder = tmp_path / "copy"
        for name in ("scripts", "fixtures", "jq", "kosli"):
            shutil.copytree(ROOT / name, folder / name)
        for name in ("Makefile", "requirements.txt"):
            shutil.copy2(ROOT / name, folder)
        (folder / ".venv").symlink_to(ROOT / ".venv")
        path = folder / "fixtures" / "worlds" / "in-progress.json"
        world = json.loads(path.read_text())
        change(world)
        path.write_text(json.dumps(world))
        return folder

    return copy


def test_outside_of_git(shown: Run, tmp_path: Path, changed) -> None:
    done = run_in(tmp_path, folder=changed(lambda world: None))
    assert done.stdout == shown.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_stopped_while_kosli_hangs(tmp_path: Path, changed, sent: signal.Signals) -> None:
    folder = changed(lambda world: world.update(mood={"hang": True, "only": ["assert artifact"]}))
    terminal = Terminal(tmp_path, "scripts/demo.py", folder=folder)
    terminal.read("scripts/gate.py")
    time.sleep(1)
    terminal.process.send_signal(sent)
    assert terminal.close() == 128 + sent, terminal.seen
    assert "Traceback" not in terminal.seen


@pytest.mark.parametrize(
    ("change", "step", "said"),
    [
        pytest.param(
            lambda world: world.update(mood={"fail": "the server is on fire"}),
            "What runs where",
            "`make snapshots` ended with 2, not 0",
            id="Kosli cannot be asked",
        ),
        pytest.param(
            lambda world: world["environments"]["aws-beta"]["snapshots"].pop(),
            "What runs where",
            "web-ci does not run twice in aws-beta",
            id="nothing is in progress",
        ),
        pytest.param(
            lambda world: world["environments"]["aws-prod"].update(policies=[]),
            "The gate",
            "`scripts/gate.py aws-beta aws-prod < ~/release.json` ended with 3, not 0",
            id="no policy is attached",
        ),
        pytest.param(
            lambda world: world.update(mood={"deploy_fails": ["saver-ci"]}),
            "The deployment",
            "ended with 1, not 0",
            id="a deployment fails",
        ),
        pytest.param(
            lambda world: world.update(
                mood={"fail": "no such cluster", "only": ["snapshot ecs"], "having": "aws-prod"}
            ),
            "Has it landed?",
            "`kosli snapshot ecs aws-prod --cluster prod` ended with 1, not 0",
            id="the environment is not recorded",
        ),
    ],
)
def test_a_step_that_does_not_do_what_it_should(tmp_path: Path, changed, change, step: str, said: str) -> None:
    done = run_in(tmp_path, "scripts/demo.py", folder=changed(change))
    assert done.returncode == 1, done.stdout
    assert steps(done.stdout)[-1] == step
    assert done.stderr.startswith("demo.py: this went wrong: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
