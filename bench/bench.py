#!/usr/bin/env python3
"""Measure whole processes beside what they are compared with, in one run.

usage   bench/bench.py [PROMOTIONS ...]      10, 1000 and 100000 when none are named
stdout  a Markdown table: what was measured, what it is compared with, the ratio, and the bound that was asked for
exit    0 each bound holds, 1 one does not

Both sides of a ratio run in turn, once to warm up and then several times; times are medians. Memory is the largest
resident set of one process. The first rows read a diff with as many unchanged artifacts as promotions
(bench/generate_diff.py); those below ask a Kosli on this machine that takes its time.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import NamedTuple

from generate_diff import generate

ROOT = Path(__file__).resolve().parent.parent
SIZES = (10, 1_000, 100_000)
Environment = dict[str, str]


# A CLI of which each call takes its time and nothing else: what is measured is how the scripts ask, not the CLI.
CLI = """#!/bin/sh
sleep {delay}
case "$1" in
  version) echo v2.43.1 ;;
  get) cat {answers}/$2.json ;;
  assert) printf '{{"environment": "%s", "scope": "environment", "compliant": true, "policy_evaluations": []}}' "$6" ;;
esac
"""


# What git fast-import makes a commit of.
COMMIT = "commit refs/heads/main\ncommitter Ada <ada@example.com> 1780000000 +0000\ndata 1\nx\n"
CLONES = (
    'cd "$(mktemp -d)" && seq 40 | xargs -P 8 -I % git clone --quiet --bare --filter=tree:0 https://git.example/acme/%'
)


class GitHost(BaseHTTPRequestHandler):
    """A host 0.1 s away, on which every repository is the same one.

    Its answers are git's own, made once and then kept: a host elsewhere does not work on this machine either.
    """

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # An answer is one write: the kernel would keep back a second one for 0.04 s.
    folder = ""

    @classmethod
    @cache
    def answer(cls, path: str, query: str, kind: str, body: bytes) -> tuple[str, bytes]:
        """Return what `git http-backend` says: the headers, and what follows them."""
        request = {"REQUEST_METHOD": "POST" if body else "GET", "PATH_INFO": path, "QUERY_STRING": query}
        sent = {"CONTENT_TYPE": kind, "CONTENT_LENGTH": str(len(body)), "GIT_PROTOCOL": "version=2"}
        variables = {**os.environ, **request, **sent, "GIT_PROJECT_ROOT": cls.folder, "GIT_HTTP_EXPORT_ALL": "1"}
        said = subprocess.run(["git", "http-backend"], env=variables, input=body, stdout=subprocess.PIPE, check=True)
        headers, _, content = said.stdout.partition(b"\r\n\r\n")
        return headers.decode(), content

    def do_GET(self) -> None:
        """Answer."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(0.1)
        path, _, query = self.path.partition("?")
        below = "/" + path.split("/", 3)[3]  # below /acme/NAME
        headers, content = self.answer(below, query, self.headers.get("Content-Type", ""), body)
        self.send_response(200)
        for header in headers.split("\r\n"):
            self.send_header(*header.split(": ", 1))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Row(NamedTuple):
    """A measurement: seconds or MiB, what it is compared with, and how many times of that it may be."""

    what: str
    value: float
    compared: float
    unit: str
    bound: float | None


def run_once(argv: list[str], environment: Environment, stdin: Path) -> tuple[float, float]:
    """Return one run's seconds, and the MiB of its largest process."""
    with open(stdin, "rb") as source, tempfile.TemporaryFile() as sink, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(argv, cwd=ROOT, env=environment, stdin=source, stdout=sink, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        assert status == 0, f"{argv}: {errors.read(2000).decode()}"
    return seconds, usage.ru_maxrss / 1024


def compare(one: list[str], other: list[str], environment: Environment, stdin: Path, runs: int) -> list[float]:
    """Return the medians of two commands that run in turn: seconds, MiB, of the one and of the other."""
    taken: dict[int, list[tuple[float, float]]] = {0: [], 1: []}
    for number in range(runs + 1):
        for index in (0, 1) if number % 2 else (1, 0):
            taken[index].append(run_once((one, other)[index], environment, stdin))
    return [median(each[part] for each in taken[index][1:]) for index in (0, 1) for part in (0, 1)]


def filters(size: int, folder: Path) -> Iterator[Row]:
    """Yield how promotions.py compares with the same join in plain Python, without any rule."""
    diff = folder / "diff.json"
    diff.write_text(json.dumps(generate(size, size), indent=2))
    script, runs = [sys.executable, "scripts/promotions.py"], 15 if size < 10_000 else 3
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "KOSLI_ORG": "acme"}
    seconds, memory, plain, _ = compare(script, [sys.executable, "bench/join.py"], environment, diff, runs)
    yield Row(
        f"promotions.py of {size:,}: time of plain Python's join", seconds, plain, "s", 1.0 if size > 1000 else None
    )
    if size > 1000:
        floor = compare(script, [sys.executable, "bench/parse_and_write.py"], environment, diff, 1)[3]
        yield Row(f"promotions.py of {size:,}: memory of parse-and-write", memory, floor, "MiB", 1.3)


def questions(folder: Path) -> Iterator[Row]:
    """Yield how long the scripts take that ask Kosli."""
    nothing = folder / "nothing"
    nothing.touch()
    with_delay = service(folder / "make", 10, 0.3)
    pipe = ["make", "-s", "-f", "bench/join.mk", f"PYTHON={sys.executable}"]
    seconds, _, plain, _ = compare(["make", "-s", "promotions"], pipe, with_delay, nothing, 5)
    yield Row("make promotions of 10, 0.3 s a question: time of join.mk", seconds, plain, "s", 1.3)
    home = folder / "kosli"
    environment = service(home, 40, 0)
    release = home / "release.json"
    release.write_bytes(output("make -s promotions", environment))
    output("scripts/kosli_setup.py && scripts/attest.py <$HOME/release.json", environment)
    for name, of in {"trail": "run-1", "attestation": "release --trail run-1"}.items():
        line = f"kosli get {name} {of} --flow production-promotion --output json"
        (home / f"{name}.json").write_bytes(output(line, environment))
    for script, delay, ideal, bound in (("gate.py", 0.3, 3.0, 1.25), ("attest.py", 0.1, 1.2, 1.5)):
        (home / "bin").mkdir(exist_ok=True)
        (home / "bin" / "kosli").write_text(CLI.format(delay=delay, answers=home))
        (home / "bin" / "kosli").chmod(0o755)
        stand_in = {**environment, "PATH": f"{home}/bin:{environment['PATH']}"}
        taken = [run_once([sys.executable, f"scripts/{script}"], stand_in, release)[0] for _ in range(4)][1:]
        yield Row(f"{script} of 40, {delay} s a call, 8 at a time: time of the ideal", median(taken), ideal, "s", bound)


def repositories(folder: Path) -> Iterator[Row]:
    """Yield how long changes.py takes with 40 repositories, 100 commits ahead in each."""
    GitHost.folder = f"{folder}/repository.git"
    git = f"git -c init.defaultBranch=main --git-dir={GitHost.folder}"
    line = f"{git} init -q --bare && {git} config uploadpack.allowFilter 1 && {git} fast-import --quiet"
    subprocess.run(["bash", "-c", line], input=200 * COMMIT.encode(), check=True)
    new, old = output(f"{git} rev-parse main main~100", dict(os.environ)).decode().split()
    diff = generate(40, 0)
    for part, sha in (("snappish1", new), ("snappish2", old)):
        for artifact in diff[part]["artifacts"]:
            artifact["commit_url"] = f"https://git.example/acme/{artifact['flow']}/commit/{sha}"
    (folder / "diff.json").write_text(json.dumps(diff))
    server = ThreadingHTTPServer(("127.0.0.1", 0), GitHost)
    (folder / ".gitconfig").write_text(
        f'[url "http://127.0.0.1:{server.server_port}/"]\ninsteadOf = https://git.example/\n'
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    variables = {"HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C.UTF-8", "GIT_ALLOW_PROTOCOL": "http"}
    environment = {"PATH": os.environ["PATH"], **variables}
    release = folder / "release.json"
    release.write_bytes(output(f"{sys.executable} scripts/promotions.py <$HOME/diff.json", environment))
    changes = [sys.executable, "scripts/changes.py"]
    seconds, _, clones, _ = compare(changes, ["bash", "-c", CLONES], environment, release, 5)
    server.shutdown()
    what = "changes.py of 40, 0.1 s a request, 8 at a time: time of"
    yield Row(f"{what} git clone alone", seconds, clones, "s", 1.5)
    yield Row(f"{what} three requests each, and no work", seconds, 1.5, "s", None)


def service(home: Path, size: int, delay: float) -> Environment:
    """Return the environment of a Kosli that takes its time, in which so many artifacts wait for their promotion."""
    diff = generate(size, 0)
    environments = {
        name: {"type": "ECS", "policies": [], "snapshots": [{"number": 1, "timestamp": 0, "artifacts": artifacts}]}
        for name, artifacts in (
            ("aws-beta", diff["snappish1"]["artifacts"]),
            ("aws-prod", diff["snappish2"]["artifacts"]),
        )
    }
    (home / "worlds").mkdir(parents=True)
    world = json.dumps({"environments": environments, "flows": {}, "faults": [{"delay": delay}]})
    path = f"{ROOT}/.venv/bin:{os.environ['PATH']}"
    variables = {"PATH": path, "HOME": str(home), "WORLDS_SERVICE": os.environ["WORLDS_SERVICE"], "WORLD": world}
    found = output('. fixtures/use-service settled "$WORLD" && env -0', variables)
    settings = dict(variable.split("=", 1) for variable in found.decode().split("\0") if variable)
    return {**settings, "ALLOW_NO_POLICY": "1", "RELEASE_TRAIL": "run-1", "FROM_ENV": "aws-beta", "TO_ENV": "aws-prod"}


def output(line: str, environment: Environment) -> bytes:
    """Return what a line of bash prints."""
    return subprocess.run(["bash", "-c", line], cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True).stdout


def main() -> int:
    """Measure, print the table."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in map(int, sys.argv[1:] or SIZES):
            rows += filters(size, folder)
        worlds = folder / "worlds"
        worlds.mkdir()
        service_of = [sys.executable, ROOT / "fixtures" / "kosli_service", worlds, str(os.getpid())]
        # Without jq, with which it would judge each promotion, one after the other.
        kosli = subprocess.Popen(service_of, env={"PATH": "/nowhere"})
        while not (worlds / "address").exists():
            time.sleep(0.01)
        os.environ["WORLDS_SERVICE"] = str(worlds)
        try:
            rows += questions(folder)
            rows += repositories(folder)
        finally:
            kosli.terminate()
            kosli.wait()
    print("| measured | | compared with | ratio | asked |\n| --- | ---: | ---: | ---: | ---: |")
    for what, value, compared, unit, bound in rows:
        asked = f"{bound:g}" if bound else ""
        print(f"| {what} | {value:.3g} {unit} | {compared:.3g} {unit} | {value / compared:.2f} | {asked} |")
    return int(any(row.bound and row.value / row.compared > row.bound for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
