"""What the tests share: the project's root, and running a command as a user would."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked import Forked

ROOT = Path(__file__).parent.parent
PATH = f"{ROOT}/.venv/bin:/usr/local/bin:/usr/bin:/bin"


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment of the tests' own making: no MAKEFLAGS, no GITHUB_*, no KOSLI_* of the machine's."""
    return {"PATH": PATH, "HOME": str(home), "TZ": "UTC", "LC_ALL": "C.UTF-8", **more}


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


@pytest.fixture(scope="session")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forked]:
    """Run a script in 5 ms: for tests that run one on many documents."""
    folder = tmp_path_factory.mktemp("forked")
    process = Forked(folder, environment(folder))
    yield process
    process.close()


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> None:
    """Make sure that a test that forgets its environment does not reach a real Kosli."""
    for name in [name for name in os.environ if name.startswith("KOSLI_")]:
        del os.environ[name]
