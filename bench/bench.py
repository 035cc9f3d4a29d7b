#!/usr/bin/env python3
"""Measure whole processes: the scripts and what they are compared with, side by side in one run.

usage   bench/bench.py [--json FILE] [PROMOTIONS ...]      10, 1000 and 100000 promotions when none are named
stdout  Markdown: a table for each number of promotions, and one for the scripts that wait for Kosli
        FILE gets every single measurement

Every command of a table runs once to warm up (that is all, where it takes half a minute) and then in turn with the
others, in both directions, so that a busy moment hits them all. Times are medians; memory is the largest resident set
of one process, as wait4 reports it. Each diff has as many unchanged artifacts as promotions (bench/generate_diff.py).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
SIZES = [10, 1_000, 100_000]
SLOW = 30  # seconds
BARE, FLOOR = 'python3 -c "import json, collections"', "floor: orjson in and out"
JQ, STDLIB, PROMOTIONS = "the same join, jq", "the same join, standard library", "promotions.py"

# A Kosli that answers at once, or after a delay; where it has a landed.json, that is its answer from the fourth on.
KOSLI = r"""#!/bin/sh
case "$1 $2" in
  "version --short") echo v2.38.0 ;;
  "diff snapshots")
    echo >> "$HOME/questions"
    if test -e "$HOME/landed.json" && test "$(wc -l < "$HOME/questions")" -ge 4
    then sleep DELAY; cat "$HOME/landed.json"
    else sleep DELAY; cat "$HOME/diff.json"
    fi ;;
  "assert artifact")
    sleep DELAY
    printf '{"fingerprint": "%s", "environment": "%s", "scope": "environment", "compliant": true, ' "$4" "$6"
    printf '"policy_evaluations": [{"policy_name": "p", "status": "COMPLIANT"}], "html_url": "https://example.com"}' ;;
esac
"""

# A command, what it reads on stdin, and its environment.
Command = namedtuple("Command", "argv stdin environment")
# Medians: seconds and MiB; and every run's seconds.
Measured = namedtuple("Measured", "seconds memory runs")


def measure(commands: dict[str, Command], runs: int) -> dict[str, Measured]:
    """Run the commands in turn, `runs` times after one to warm up, and return what each took.

    A command that is SLOW to warm up is not run again.
    """
    taken = {name: [run_once(command)] for name, command in commands.items()}
    quick = [name for name in commands if taken[name][0][0] < SLOW]
    for name in quick:
        del taken[name][0]
    for number in range(runs):
        for name in quick[:: -1 if number % 2 else 1]:
            taken[name].append(run_once(commands[name]))
    return {
        name: Measured(median(t for t, _ in each), median(m for _, m in each), [t for t, _ in each])
        for name, each in taken.items()
    }


def run_once(command: Command) -> tuple[float, float]:
    """Return one run's seconds, from start to exit, and the MiB of its largest process."""
    with open(command.stdin, "rb") as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        moves = [(os.POSIX_SPAWN_DUP2, file.fileno(), fd) for fd, file in enumerate((stdin, stdout, stderr))]
        start = time.perf_counter()
        process = os.posix_spawnp(command.argv[0], command.argv, command.environment, file_actions=moves)
        _, status, usage = os.wait4(process, 0)
        seconds = time.perf_counter() - start
        if status:
            stderr.seek(0)
            raise SystemExit(f"{' '.join(command.argv)}: status {status}: {stderr.read(2000).decode()}")
    return seconds, usage.ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)


def commands(size: int, folder: Path) -> dict[str, Command]:
    """Return what is measured at a number of promotions, with its input in a folder."""
    home = stand_in(folder, "0")
    diff, release = home / "diff.json", folder / "release.json"
    variables = environment(home)
    save(Command([sys.executable, "bench/generate_diff.py", str(size)], os.devnull, variables), diff)
    save(Command([sys.executable, "scripts/promotions.py"], diff, variables), release)
    argvs = {
        BARE: ([sys.executable, "-c", "import json, collections"], os.devnull),
        FLOOR: ([sys.executable, "bench/floor.py"], diff),
        JQ: (["jq", "--from-file", "bench/join.jq"], diff),
        STDLIB: ([sys.executable, "bench/join.py"], diff),
        PROMOTIONS: ([sys.executable, "scripts/promotions.py"], diff),
        "in_progress.py": ([sys.executable, "scripts/in_progress.py"], diff),
        "rollback.py": ([sys.executable, "scripts/rollback.py"], release),
        "summary.py": ([sys.executable, "scripts/summary.py"], release),
        "make with the standard library's join": (
            ["make", "-s", "-f", "bench/join.mk", f"PYTHON={sys.executable}"],
            os.devnull,
        ),
        "make -s promotions": (["make", "-s", "promotions"], os.devnull),
    }
    if not shutil.which("jq"):
        del argvs[JQ]
    return {name: Command(argv, stdin, variables) for name, (argv, stdin) in argvs.items()}


def schedules(folder: Path) -> list[tuple[str, float, Command]]:
    """Return the scripts that wait for Kosli: what is measured, the ideal seconds, the command."""
    home = stand_in(folder, "0.3")
    diff, release, approved = home / "diff.json", folder / "release.json", folder / "approved.json"
    variables = environment(home)
    for size, file in ((40, release), (10, approved)):
        save(Command([sys.executable, "bench/generate_diff.py", str(size)], os.devnull, variables), diff)
        save(Command([sys.executable, "scripts/promotions.py"], diff, variables), file)
    landed = json.loads(diff.read_bytes())
    landed["not-changed"]["artifacts"] += landed["snappish1"]["artifacts"]
    landed["snappish1"]["artifacts"] = landed["snappish2"]["artifacts"] = []
    (home / "landed.json").write_text(json.dumps(landed))
    gate = [sys.executable, "scripts/gate.py", "aws-beta", "aws-prod"]
    verify = ["sh", "-c", 'rm -f "$HOME/questions"; exec "$0" "$@"', sys.executable, "scripts/verify.py", str(approved)]
    return [
        ("gate.py: 40 promotions, 80 questions of 0.3 s, 8 at a time", 3.0, Command(gate, release, variables)),
        (
            "verify.py: 4 questions of 0.3 s, 0.5 s between them",
            2.7,
            Command(verify, os.devnull, {**variables, "VERIFY_INTERVAL": "0.5"}),
        ),
    ]


def stand_in(folder: Path, delay: str) -> Path:
    """Return a HOME with a stand-in for the Kosli CLI in its bin."""
    (folder / "bin").mkdir(parents=True)
    kosli = folder / "bin" / "kosli"
    kosli.write_text(KOSLI.replace("sleep DELAY", f"sleep {delay}" if float(delay) else ":"))
    kosli.chmod(0o755)
    return folder


def environment(home: Path) -> dict[str, str]:
    """Return an environment of the benchmark's own making."""
    path = f"{home}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
    kosli = {"KOSLI_ORG": "acme", "KOSLI_API_TOKEN": "benchmark"}
    return {"PATH": path, "HOME": str(home), "LC_ALL": "C.UTF-8", **kosli}


def save(command: Command, path: Path) -> None:
    """Keep what a command prints in a file. The benchmark itself stays small: its size counts as that of a child."""
    with open(command.stdin, "rb") as stdin, open(path, "wb") as stdout:
        subprocess.run(command.argv, stdin=stdin, stdout=stdout, env=command.environment, check=True)


def table(size: int, megabytes: float, measured: dict[str, Measured]) -> list[str]:
    """Return the Markdown of one number of promotions."""
    floor, stdlib = measured[FLOOR], measured[STDLIB]
    lines = [
        f"### {size:,} promotions, {size:,} unchanged ({megabytes:,.2f} MB)",
        "",
        "| whole process | ms | of the floor | of the standard library's | MiB | of the floor |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, (seconds, memory, _) in measured.items():
        times = f"{seconds * 1000:,.1f} | {seconds / floor.seconds:.2f} | {seconds / stdlib.seconds:.2f}"
        lines.append(f"| {name} | {times} | {memory:,.0f} | {memory / floor.memory:.2f} |")
    return [*lines, ""]


def growth(results: dict[int, dict[str, Measured]]) -> list[str]:
    """Return the Markdown of what one more promotion costs: the time above that of the smallest release."""
    smallest, *others = sorted(results)
    if not others:
        return []
    lines = [
        "### What one promotion more costs, in microseconds",
        "",
        f"| whole process |{''.join(f' {smallest:,} to {size:,} |' for size in others)}",
        f"| --- |{' ---: |' * len(others)}",
    ]
    for name, first in results[smallest].items():
        if all(name in results[size] for size in others) and name != BARE:
            more = [(results[size][name].seconds - first.seconds) / (size - smallest) * 1e6 for size in others]
            lines.append(f"| {name} |{''.join(f' {each:.1f} |' for each in more)}")
    return [*lines, ""]


def machine() -> str:
    """Return what was measured on, in neutral words."""
    return f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def main() -> int:
    """Measure, print Markdown, keep the JSON."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", metavar="PROMOTIONS", type=int, nargs="*", default=SIZES)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    results: dict[int, dict[str, Measured]] = {}
    lines = [f"Measured on {machine()}.", ""]
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as name:
            rows = commands(size, Path(name))
            megabytes = os.path.getsize(rows[FLOOR].stdin) / 1e6
            results[size] = measure(rows, 21 if size <= 100 else 11 if size <= 10_000 else 3)
        lines += table(size, megabytes, results[size])
    lines += growth(results)
    waiting: list[tuple[str, float, Measured]] = []
    with tempfile.TemporaryDirectory() as name:
        for what, ideal, command in schedules(Path(name)):
            waiting.append((what, ideal, measure({what: command}, 3)[what]))
    lines += ["### Scripts that wait for Kosli", "", "| whole process | s | ideal | of the ideal |"]
    lines += ["| --- | ---: | ---: | ---: |"]
    lines += [f"| {what} | {m.seconds:.2f} | {ideal:.2f} | {m.seconds / ideal:.2f} |" for what, ideal, m in waiting]
    print("\n".join(lines))
    if arguments.json:
        document = {
            "machine": machine(),
            "sizes": {size: {name: row._asdict() for name, row in rows.items()} for size, rows in results.items()},
            "waiting": [{"what": what, "ideal": ideal, **row._asdict()} for what, ideal, row in waiting],
        }
        Path(arguments.json).write_text(json.dumps(document, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
