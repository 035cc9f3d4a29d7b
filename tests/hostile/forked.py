"""Run one script on many inputs, each in a process of its own, forked from one that has it loaded: 3 ms, not 50.

    forked.py SCRIPT STDIN OUT [ARGUMENT...] < runs

runs        a JSON object a line: {"input": path, "variables": {name: value}}
STDIN       the file that the script reads: {input}, or another one for a script that gets the input otherwise
ARGUMENT    {input} among them, or as the value of a variable, stands for the path of the input; {content} as the value
            of a variable for what is in it
OUT         what the script wrote goes to OUT/N.stdout and OUT/N.stderr
stdout      for each run a line: exit code (negative: a signal), seconds of the processor, most memory in KB
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import signal
import sys
import traceback
from types import ModuleType
from typing import Any

TIME_OUT = 120  # seconds, for what hangs; the machine may be busy
PROCESSOR = 15  # seconds, for what never ends
MOST_MEMORY = 3 << 30


def load(script: str) -> ModuleType:
    """Import a script as a module, with what it would import later. Not orjson: when it is there it is used."""
    sys.path[0] = os.path.dirname(script)
    spec = importlib.util.spec_from_file_location("script", script)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    import jmespath  # noqa: F401

    assert "orjson" not in sys.modules
    return module


def become(module: ModuleType, script: str, stdin: str, out: str, arguments: list[str], run: dict[str, Any]) -> None:
    """Be the script, in this process, to its end."""
    path = run["input"]
    os.environ.update(run.get("variables", {}))
    for descriptor, file, mode in ((0, stdin, os.O_RDONLY), (1, f"{out}.stdout", 65), (2, f"{out}.stderr", 65)):
        opened = os.open(file.replace("{input}", path), mode | (os.O_CREAT | os.O_WRONLY if descriptor else 0))
        os.dup2(opened, descriptor)
        os.close(opened)
    for name, value in list(os.environ.items()):
        if value == "{input}":
            os.environ[name] = path
        elif value == "{content}":
            with open(path, "rb") as file:
                os.environb[name.encode()] = file.read()
    sys.stdin = os.fdopen(0, closefd=False)
    sys.argv = [script, *(path if argument == "{input}" else argument for argument in arguments)]
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR, PROCESSOR))
    module.run(module.main, module.__doc__)


def main() -> None:
    script, stdin, out, *arguments = sys.argv[1:]
    script = os.path.abspath(script)
    sys.argv = [script]
    module = load(script)
    for number, line in enumerate(sys.stdin.read().splitlines()):
        child = os.fork()
        if child == 0:
            try:
                become(module, script, stdin, os.path.join(out, str(number)), arguments, json.loads(line))
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            os._exit(1)
        signal.signal(signal.SIGALRM, lambda *_, child=child: os.kill(child, signal.SIGKILL))
        signal.alarm(TIME_OUT)
        _, status, used = os.wait4(child, 0)
        signal.alarm(0)
        seconds = used.ru_utime + used.ru_stime
        print(os.waitstatus_to_exitcode(status), f"{seconds:.3f}", used.ru_maxrss, flush=True)


if __name__ == "__main__":
    main()
