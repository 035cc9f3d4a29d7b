"""A HOME with a world of the Kosli service in it, and the scripts run from there."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from conftest import ROOT, environment, run

TOKEN = "Zq7XbT4mWv9KpL2nRc8DhY5s"
SETTINGS = {"KOSLI_ORG": "cyber-dojo", "KOSLI_API_TOKEN": TOKEN, "RELEASE_TRAIL": "run-42"}

# Lines of sh for World.before_kosli: a child that holds stdout; a CLI that hangs, and does not end on SIGTERM either.
CHILD = 'sleep 300 & echo $! >>"$HOME/.kosli-service/children"'
STUBBORN = f'trap "" TERM; {CHILD}; exec sleep 300'
FLOOD = "head -c 4000000 /dev/zero | tr '\\0' x >&2"


class Ran(NamedTuple):
    """What came of a script."""

    code: int
    out: bytes
    err: bytes


class World:
    """A world of the Kosli service in a HOME of its own. The current directory and TMPDIR are in there too."""

    def __init__(self, home: Path, name: str = "settled", **keys: Any) -> None:
        self.home = home
        self.state = home / ".kosli-service"
        for folder in (home / "cwd", home / "tmp"):
            folder.mkdir()
        made = subprocess.run(
            ["bash", "-c", f". fixtures/use-service '{name}' && env -0"],
            cwd=ROOT,
            env=environment(home),
            capture_output=True,
            check=True,
        )
        variables = dict(line.split("=", 1) for line in made.stdout.decode().split("\0") if line)
        self.variables = {k: v for k, v in variables.items() if k not in ("_", "PWD", "SHLVL", "OLDPWD")}
        self.change(**keys)

    def write(self, world: dict[str, Any]) -> None:
        """Replace the world."""
        (self.state / "world.json").write_text(json.dumps(world))

    def read(self) -> dict[str, Any]:
        """Return the world as it is now."""
        return json.loads((self.state / "world.json").read_text())

    def change(self, **keys: Any) -> None:
        """Replace keys of the world."""
        self.write({**self.read(), **keys})

    def requests(self, path: str = "/api/v2/") -> list[dict[str, Any]]:
        """Return what was asked of the service, as it recorded it, below a path."""
        log = self.state / "requests.jsonl"
        found = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [each for each in found if each["path"].startswith(path)]

    def before_kosli(self, lines: str) -> None:
        """Run lines of sh before each command of the CLI, as before_kosli in fixtures/use-service."""
        folder = self.home / "bin"
        folder.mkdir(exist_ok=True)
        cli = shutil.which("kosli", path=self.variables["PATH"].removeprefix(f"{folder}:"))
        lines = lines.replace("$HOME", str(self.home))  # the scripts give the CLI another HOME
        (folder / "kosli").write_text(f'#!/bin/sh\n{lines}\nexec {cli} "$@"\n')
        (folder / "kosli").chmod(0o755)
        if not self.variables["PATH"].startswith(f"{folder}:"):
            self.variables["PATH"] = f"{folder}:{self.variables['PATH']}"

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the variables for a script: the CLI first on PATH, and what it needs to ask this world."""
        return {**self.variables, "TMPDIR": str(self.home / "tmp"), **SETTINGS, **variables}

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

    def quick(self, script: str, *arguments: str, stdin: bytes = b"", **variables: str) -> Ran:
        """Run a script to its end in a tenth of the time: for tests of what it tells Kosli, not of how it runs."""
        ran = run(script, *arguments, stdin=stdin, cwd=self.home / "cwd", **self.environment(**variables))
        return Ran(ran.code, ran.out, ran.err)

    def done(self, script: str, *arguments: str, stdin: bytes = b"", **variables: str) -> bytes:
        """Run a script that must succeed in silence, and return its stdout."""
        ran = self.run(script, *arguments, stdin=stdin, **variables)
        assert (ran.code, ran.err) == (0, b""), ran
        return ran.out

    def processes(self) -> list[int]:
        """Return what still runs with this HOME, or with one below it, by its process id. Needs /proc."""
        return processes_of(self.home)


def processes_of(home: Path) -> list[int]:
    """Return what runs with a HOME, or with one below it, by its process id. Needs /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"HOME={home}".encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            pass
    return found


def read_to_the_end(terminal: int) -> str:
    """Return what was drawn on a terminal."""
    drawn = b""
    try:
        while piece := os.read(terminal, 1 << 16):
            drawn += piece
    except OSError:  # how Linux says that nobody writes any more
        pass
    os.close(terminal)
    return drawn.decode()


def set_up() -> dict[str, Any]:
    """Return what a world that is set up has beside that of another one."""
    return runpy.run_path(str(ROOT / "fixtures" / "kosli_service" / "compose.py"))["part"]("set-up")


@cache
def release_of(*flows: str) -> bytes:
    """Return the release of the settled world, or that of some of its flows."""
    with tempfile.TemporaryDirectory() as home:
        world = World(Path(home))
        return world.done("promotions.py", stdin=world.done("snapshots.py"), FLOWS=" ".join(flows))


class Use(NamedTuple):
    """How a script that talks to Kosli is run: its arguments, the file that it reads on stdin, its own settings."""

    arguments: tuple[str, ...] = ()
    reads: str = ""
    settings: Mapping[str, str] = MappingProxyType({})


REVIEW = {"state": "approved", "comment": "go", "user": {"login": "ada"}, "environments": [{"name": "production"}]}
GITHUB_TOKEN = "Vk4MxA9eJr5PiC2oLu7S"
HEAD = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
# HOST becomes the service's address.
OF_A_BUILD = {
    "BUILD_FLOW": "saver-ci",
    "ARTIFACT_NAME": "saver",
    "IMAGE": "registry.example/saver:1",
    "FINGERPRINT": "1" * 64,
    "COMMIT_SHA": HEAD,
    "GITHUB_REPOSITORY": "cyber-dojo/saver",
    "GITHUB_SERVER_URL": "HOST",
    "GITHUB_RUN_ID": "70",
    "KOSLI_GITHUB_TOKEN": GITHUB_TOKEN,
    "REPO_ROOT": str(ROOT),
}
TO_KOSLI = {
    "snapshots.py": Use(),
    "gate.py": Use(("aws-beta", "aws-prod"), "release.json"),
    "attest.py": Use((), "release.json"),
    "attest.py refused": Use((), "release.json", {"REASONS": str(ROOT / "README.md")}),
    "doctor.py": Use(),
    "kosli_setup.py": Use(),
    "begin_trail.py": Use(),
    "approval.py": Use((), "reviews.json", {"DIGEST": "0" * 64}),
    "verify.py": Use(("../release.json",), "", {"VERIFY_TIMEOUT": "0", "VERIFY_INTERVAL": "0"}),
    "record.py": Use(("aws-beta",), "", {"RECORDED": "beta"}),
    "outcome.py": Use(("../release.json",)),
    "known_release.py": Use(("../release.json",), "", {"ROLLBACK_OF": "42"}),
    "attest_build.py": Use((), "", OF_A_BUILD),
}


def ready(home: Path) -> World:
    """Return a world that is set up, with the files that the scripts of TO_KOSLI read."""
    world = World(home, "settled set-up")
    (home / "release.json").write_bytes(release_of("runner-ci"))
    (home / "reviews.json").write_text(json.dumps([REVIEW]))
    return world


def use(world: World, name: str, how: Any = World.run, **variables: str) -> Ran:
    """Run a script of TO_KOSLI as it is used, in a world that is ready."""
    arguments, reads, settings = TO_KOSLI[name]
    stdin = (world.home / reads).read_bytes() if reads else b""
    host = world.variables["KOSLI_HOST"]
    settings = {key: value.replace("HOST", host) for key, value in {**variables, **settings}.items()}
    return how(world, name.split()[0], *arguments, stdin=stdin, **settings)


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
