"""Run scripts by the thousand: each in a process of its own, forked from one that has their libraries loaded.

5 ms a run and not 60. A script is run as `__main__`, with argv, stdin, environment and exit code, as from a shell:
nothing of what is in it is known here. This file is the process that forks; `Forked` starts it and talks to it.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "scripts"
TIME_OUT = 60  # seconds, for what hangs; the machine may be busy
PROCESSOR = 15  # seconds of the processor, for what never ends
MOST_MEMORY = 3 << 30


class Ran(NamedTuple):
    """What came of a script; `code` is negative when a signal ended it."""

    code: int
    out: bytes
    err: bytes
    seconds: float
    kilobytes: int


class Forked:
    """The process that forks, with an environment of the tests' own making and a folder for the streams."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, __file__], cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def run(
        self, script: str, *arguments: str | Path, stdin: bytes | Path = b"", cwd: Path = ROOT, **variables: str
    ) -> Ran:
        """Run scripts/SCRIPT on a document, or on the file with it."""
        if isinstance(stdin, bytes):
            (self.folder / "stdin").write_bytes(stdin)
            stdin = self.folder / "stdin"
        streams = {"stdin": str(stdin), "out": str(self.folder / "stdout"), "err": str(self.folder / "stderr")}
        told = {"script": script, "arguments": [str(each) for each in arguments], "variables": variables, **streams}
        told["cwd"] = str(cwd)
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(told).encode() + b"\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        out, err = (Path(streams[name]).read_bytes() for name in ("out", "err"))
        return Ran(answer["code"], out, err, answer["seconds"], answer["kilobytes"])

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def become(code: CodeType, run: dict[str, Any]) -> None:
    """Be the script, in this process, to its end."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for descriptor, name, mode in ((0, "stdin", os.O_RDONLY), (1, "out", flags), (2, "err", flags)):
        opened = os.open(run[name], mode, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin = os.fdopen(0, closefd=False)
    os.chdir(run["cwd"])
    os.environ.update(run["variables"])
    sys.argv = [str(SCRIPTS / run["script"]), *run["arguments"]]
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR, PROCESSOR))
    module = ModuleType("__main__")
    module.__file__ = sys.argv[0]
    sys.modules["__main__"] = module
    exec(code, module.__dict__)


def ended(code: CodeType, run: dict[str, Any]) -> int:
    """Be the script, and return its exit code as Python would."""
    try:
        become(code, run)
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        print(stop.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def serve() -> None:
    sys.path[0] = str(SCRIPTS)
    for path in sorted((SCRIPTS / "lib").glob("*.py")):
        importlib.import_module(f"lib.{path.stem}")
    codes: dict[str, CodeType] = {}
    for line in sys.stdin.buffer:
        run = json.loads(line)
        path = SCRIPTS / run["script"]
        code = codes.setdefault(run["script"], compile(path.read_bytes(), str(path), "exec"))
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = ended(code, run)
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(status)
        signal.signal(signal.SIGALRM, lambda *_, child=child: os.kill(child, signal.SIGKILL))
        signal.alarm(TIME_OUT)
        _, status, used = os.wait4(child, 0)
        signal.alarm(0)
        answer = {"seconds": used.ru_utime + used.ru_stime, "kilobytes": used.ru_maxrss}
        sys.stdout.write(json.dumps({"code": os.waitstatus_to_exitcode(status), **answer}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
