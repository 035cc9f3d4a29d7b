"""A HOME with a world of the stand-in Kosli in it, and the scripts run from there."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from conftest import PATH, ROOT, environment

TOKEN = "Zq7XbT4mWv9KpL2nRc8DhY5s"
SETTINGS = {"KOSLI_ORG": "cyber-dojo", "KOSLI_API_TOKEN": TOKEN, "RELEASE_TRAIL": "run-42"}


class Ran(NamedTuple):
    """What came of a script."""

    code: int
    out: bytes
    err: bytes


class World:
    """The stand-in's world in a HOME of its own. The current directory and TMPDIR are in there too."""

    def __init__(self, home: Path, name: str = "settled", **keys: Any) -> None:
        self.home = home
        self.state = home / ".kosli-stand-in"
        for folder in (self.state, home / "cwd", home / "tmp"):
            folder.mkdir()
        self.write({**json.loads((ROOT / "fixtures" / "worlds" / f"{name}.json").read_text()), **keys})

    def write(self, world: dict[str, Any]) -> None:
        """Replace the world."""
        (self.state / "world.json").write_text(json.dumps(world))

    def read(self) -> dict[str, Any]:
        """Return the world as it is now."""
        return json.loads((self.state / "world.json").read_text())

    def change(self, **keys: Any) -> None:
        """Replace keys of the world."""
        self.write({**self.read(), **keys})

    def calls(self) -> list[dict[str, Any]]:
        """Return what the stand-in recorded of each call."""
        path = self.state / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the variables for a script: the stand-in first on PATH, and what Kosli needs."""
        path = f"{ROOT}/fixtures/bin:{PATH}"
        return environment(self.home, **{"PATH": path, "TMPDIR": str(self.home / "tmp"), **SETTINGS, **variables})

    def start(self, script: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start a script with pipes for its streams."""
        return subprocess.Popen(
            [sys.executable, str(ROOT / "scripts" / script), *arguments],
            cwd=self.home / "cwd",
            env=self.environment(**variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, script: str, *arguments: str, stdin: bytes = b"", **variables: str) -> Ran:
        """Run a script to its end."""
        process = self.start(script, *arguments, **variables)
        out, err = process.communicate(stdin, timeout=60)
        return Ran(process.returncode, out, err)

    def done(self, script: str, *arguments: str, stdin: bytes = b"", **variables: str) -> bytes:
        """Run a script that must succeed in silence, and return its stdout."""
        ran = self.run(script, *arguments, stdin=stdin, **variables)
        assert (ran.code, ran.err) == (0, b"")
        return ran.out

    def processes(self) -> list[int]:
        """Return what still runs with this HOME, by its process id. Needs /proc."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if f"HOME={self.home}\0".encode() in path.read_bytes():
                    found.append(int(path.parent.name))
            except OSError:
                pass
        return found


@cache
def set_up() -> dict[str, Any]:
    """Return a settled world in which the release flow, the type and the trail are there."""
    with tempfile.TemporaryDirectory() as home:
        world = World(Path(home))
        world.done("kosli_setup.py")
        return world.read()


@cache
def release_of(*flows: str) -> bytes:
    """Return the release of the settled world, or that of some of its flows."""
    with tempfile.TemporaryDirectory() as home:
        world = World(Path(home))
        return world.done("promotions.py", stdin=world.done("snapshots.py"), FLOWS=" ".join(flows))


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
