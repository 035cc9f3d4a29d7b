"""What the tests share: the project's root, a Kosli service, and running a command as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from forked import Forked, Ran

import pytest

ROOT = Path(__file__).parent.parent
# The scripts run with the Python that runs the tests, whoever has installed what requirements.txt lists.
PATH = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
QUIET = {"KOSLI_NO_UPDATE_CHECK": "1", "HOME": "/nonexistent"}
REAL_CLI = ROOT / "kosli" / "node_modules" / ".bin" / "kosli"


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment of the tests' own making: no MAKEFLAGS, no GITHUB_*, no KOSLI_* of the machine's."""
    service = {"WORLDS_SERVICE": os.environ["WORLDS_SERVICE"]}
    return {"PATH": PATH, "HOME": str(home), "TZ": "UTC", "LC_ALL": "C.UTF-8", **service, **more}


@pytest.fixture
def bash(tmp_path: Path):
    """Run one line of bash from the project's root; stdin is closed unless given. Returns the CompletedProcess."""

    def run(line: str, stdin: bytes = b"", timeout: float = 60, **variables: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["bash", "-c", f"set -o pipefail; {line}"],
            cwd=ROOT,
            env=environment(tmp_path, **variables),
            input=stdin,
            capture_output=True,
            timeout=timeout,
        )

    return run


FOLDER = tempfile.TemporaryDirectory()


@cache
def forker() -> Forked:
    """Return what runs a script in 5 ms: for all tests that do not look at its start, its streams or its end."""
    return Forked(Path(FOLDER.name), environment(Path(FOLDER.name)))


def run(script: str, *arguments: str | Path, stdin: bytes = b"", cwd: Path = ROOT, **variables: str) -> Ran:
    """Run a script in 5 ms."""
    return forker().run(script, *arguments, stdin=stdin, cwd=cwd, **variables)


@pytest.fixture(scope="session")
def forked() -> Forked:
    return forker()


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> None:
    """Make sure that a test that forgets its environment does not reach a real Kosli."""
    for name in [name for name in os.environ if name.startswith("KOSLI_")]:
        del os.environ[name]


@pytest.fixture(scope="session", autouse=True)
def _service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run one Kosli service for all tests of this process: fixtures/use-service finds it."""
    folder = tmp_path_factory.mktemp("worlds")
    process = subprocess.Popen([sys.executable, ROOT / "fixtures" / "kosli_service", folder, str(os.getpid())])
    while not (folder / "address").exists():
        assert process.poll() is None, "the Kosli service did not start"
        time.sleep(0.01)
    os.environ["WORLDS_SERVICE"] = str(folder)
    yield
    if forker.cache_info().currsize:
        forker().close()
    process.terminate()
    process.wait()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process runs it alone at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(("tests/test_rehearsal.py", "tests/test_demo.py")))


def pytest_report_header() -> str:
    """Say which CLI the tests run."""
    if not REAL_CLI.exists():
        return "kosli: the thin client (npm ci --prefix kosli installs the real one)"
    version = subprocess.run([REAL_CLI, "version", "--short"], capture_output=True, text=True, check=False, env=QUIET)
    return f"kosli: the real CLI, {version.stdout.strip()}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many answers of both CLIs were compared."""
    passed = terminalreporter.stats.get("passed", [])
    counts = [int(str(value)) for report in passed for key, value in report.user_properties if key == "comparisons"]
    if counts:
        terminalreporter.write_line(f"conformance: {sum(counts)} comparisons of the thin client with the real CLI")
