#!/usr/bin/env python3
"""Show a whole release, start to end, on a stand-in Kosli: no account, no CLI, no network.

stdout  each command line as a user would type it, then what came of it: JSON as tables, names and fingerprints short
exit    0 released and verified; 1 not approved, or a step did not do what it should: each checks what it shows

All of it happens in a temporary HOME, which is removed, and in an environment of the demo's own making.

settings, from the environment:
  DEMO_YES    1: approve without asking, as when stdin is no terminal
  NO_COLOR    any value: no colour, as when stdout is no terminal

    scripts/demo.py
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from itertools import zip_longest
from operator import itemgetter

from lib import ROOT
from lib.filters import Refused, run, setting, usage
from lib.kosli import stop_on_signals
from lib.releases import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from lib.releases import Release

    Process = subprocess.Popen[bytes]
    Rows = Iterable[tuple[str, ...]]
    Table = Callable[[Any], Rows]

FROM, TO = "aws-beta", "aws-prod"
FLOW, TRAIL = "production-promotion", "demo-1"
WIDTH = 100
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"
STYLES = {"same": GREEN, "compliant": GREEN, "landed": GREEN, "behind": YELLOW, "new": YELLOW, "not settled": RED}
BEFORE = (
    "Each line after $ is a command as you would type it. It prints JSON, of which the demo makes a",
    "table, with names, commits and fingerprints cut short. HOME is a temporary folder here.",
)
AFTER = (
    "With the Kosli CLI (v2.11.40 or newer) on PATH, set",
    "",
    "  KOSLI_ORG           your organisation in Kosli",
    "  KOSLI_API_TOKEN     its API token",
    "  FROM_ENV, TO_ENV    your two environments, if they are not called aws-beta and aws-prod",
    "",
    "and run",
    "",
    "  make promotions     the release as it would be now; this only reads",
    "  make kosli-setup    once: what Kosli needs to record releases",
    "",
    "Then .github/workflows/promote.yml does all of the above, with one approval on GitHub.",
)


class Shell:
    """A shell in the project's folder, with its own HOME, where the stand-in Kosli is first on PATH."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.steps = 0
        self.processes: list[Process] = []
        self.starting = False
        self.stopped = 0
        self.environment = {
            "PATH": f"{ROOT}/fixtures/bin:{ROOT}/.venv/bin:{os.environ.get('PATH', os.defpath)}",
            "HOME": home,
            "TMPDIR": home,
            "KOSLI_ORG": "cyber-dojo",
            "KOSLI_API_TOKEN": "the-stand-in-takes-any-token",
        }
        os.mkdir(self.path(".kosli-stand-in"))
        shutil.copyfile(f"{ROOT}/fixtures/worlds/in-progress.json", self.path(".kosli-stand-in/world.json"))
        for each in SIGNALS:
            signal.signal(each, self._stop)

    def path(self, name: str) -> str:
        """Return where a file below HOME is."""
        return os.path.join(self.home, name)

    def step(self, title: str, *sentences: str) -> None:
        """Begin a step."""
        self.steps += 1
        heading(f"{self.steps:2}  {title}")
        show(*sentences)

    def start(self, line: str) -> Process:
        """Show a command line and start it."""
        show(paint(f"$ {line}", CYAN))
        self.starting = True
        process = subprocess.Popen(
            ["bash", "-c", line.removesuffix(" &")],
            bufsize=0,
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.processes.append(process)
        self.starting = False
        if self.stopped:
            raise KeyboardInterrupt(self.stopped)
        return process

    def finish(self, line: str, process: Process, table: Table | None = None, code: int = 0) -> Any:
        """Wait for what was started, and show what it printed, as a table if one is given, and what it said.

        Returns the document that it printed, or wrote into a file. Raises Refused when its exit code is another.
        """
        out, err = process.communicate()
        document: Any = None
        if table and process.returncode == code:
            file = line.partition(" > ~/")[2]
            document = json.loads(read(self.path(file)) if file else out)
            show_table(table(document))
        else:
            show(*short(out.decode()).splitlines())
        show_said(err, "" if process.returncode else DIM)
        if process.returncode:
            show(paint(f"(exit code {process.returncode})", RED))
        expect(process.returncode == code, f"`{line}` ended with {process.returncode}, not {code}")
        return document

    def run(self, line: str, table: Table | None = None, code: int = 0) -> Any:
        """Show a command line, run it, show what came of it. Returns what `finish` returns."""
        show("")
        return self.finish(line, self.start(line), table, code)

    def end(self) -> None:
        """Leave no process behind: nothing uses HOME any more when it is removed."""
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.communicate()

    def _stop(self, signum: int, _frame: object) -> None:
        """End the demo on a signal, but not while a process is started: nobody would know of it."""
        if not self.starting:
            raise KeyboardInterrupt(signum)
        self.stopped = signum


def show(*lines: str) -> None:
    """Print lines, set in from the margin."""
    for line in lines:
        print(f"  {line}".rstrip(), flush=True)


def heading(text: str) -> None:
    """Print what begins a part."""
    print("", paint(text, BOLD), "", sep="\n", flush=True)


def show_said(err: bytes, style: str = DIM) -> None:
    """Print what a command said on stderr, without make's own words: they hold the number of a line in the Makefile."""
    for line in short(err.decode()).splitlines():
        if not line.startswith("make: ***"):
            wrapped = textwrap.wrap(
                line, WIDTH - 2, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
            )
            show(*(paint(part, style) for part in wrapped))


def paint(text: str, style: str) -> str:
    """Return a text in a style, on a terminal that is to have colours."""
    dull = setting("NO_COLOR") or setting("TERM") == "dumb" or not sys.stdout or not sys.stdout.isatty()
    return text if dull or not style or not text else f"\x1b[{style}m{text}\x1b[0m"


def show_table(rows: Rows) -> None:
    """Print rows, the first of them the heads of the columns; no rows but the heads is what it is in JSON: []."""
    head, *body = rows
    widths = [max(map(len, column)) for column in zip(head, *body)]
    for row in (head, *body) if body else ():
        styles = [DIM if row is head else STYLES.get(cell.partition(",")[0], "") for cell in row]
        cells = [paint(cell, style) + " " * (width - len(cell)) for cell, style, width in zip(row, styles, widths)]
        show("  ".join(cells))
    if not body:
        show("[]")


def short(text: str) -> str:
    """Return a text with its images, fingerprints and commits as short as a person can still tell them apart."""
    text = re.sub(r"\S*/(\S+)@sha256:([0-9a-f]{8})[0-9a-f]{56}", r"\1 (\2)", text)
    return re.sub(r"\b([0-9a-f]{8})[0-9a-f]{56}\b", r"\1", re.sub(r"\b([0-9a-f]{7})[0-9a-f]{33}\b", r"\1", text))


def read(path: str) -> bytes:
    """Return what is in a file."""
    with open(path, "rb") as file:
        return file.read()


def expect(fact: object, otherwise: str) -> None:
    """Raise Refused when something did not go as it should."""
    if not fact:
        raise Refused(f"this went wrong: {otherwise}")


# What is shown of a document


def running(diff: Any, side: str, key: str = "fingerprint") -> dict[str, list[str]]:
    """Return what runs on one side of a diff: the fingerprints, or names, of each flow."""
    found: dict[str, list[str]] = {}
    for category in (side, "changed", "not-changed"):
        for artifact in diff[category]["artifacts"]:
            found.setdefault(artifact["flow"], []).append(artifact[key])
    return {flow: sorted(found[flow]) for flow in sorted(found)}


def side_by_side(diff: Any) -> Rows:
    """Show what runs in the two environments."""
    yield "flow", diff["snappish1"]["snapshot_id"], diff["snappish2"]["snapshot_id"], "state"
    here, there = running(diff, "snappish1", "name"), running(diff, "snappish2", "name")
    for flow in sorted({*here, *there}):
        mine, its = here.get(flow, []), there.get(flow, [])
        state = "same" if mine == its else "behind" if its else "new"
        if max(len(mine), len(its)) > 1:
            state = "not settled"
        for index, (one, other) in enumerate(zip_longest(mine, its, fillvalue="")):
            yield ("", short(one), short(other), "") if index else (flow, short(one), short(other), state)


def deployments(found: Any) -> Rows:
    """Show what is in progress."""
    yield "environment", "flow", "artifacts that run at once"
    for each in found:
        names = ", ".join(short(artifact["name"]) for artifact in each["artifacts"])
        yield each["snapshot_id"], each["flow"], names


def promotions(release: Any) -> Rows:
    """Show a release."""
    yield "flow", "incoming", "replaces", "what changes"
    for each in release:
        new, old = each["incoming_fingerprint"][:8], each["outgoing_fingerprint"][:8]
        yield each["incoming_flow"], new, old or "nothing", short(each["deployment_diff_url"])


def verdicts(found: Any) -> Rows:
    """Show the verdicts, a promotion's two in a row."""
    yield "flow", "incoming", f"in {FROM}", f"for {TO}"
    for pair in zip(found[::2], found[1::2]):
        words = (f"{each['verdict']}, {each['policies']} policies" for each in pair)
        yield pair[0]["flow"], pair[0]["fingerprint"][:8], *words


def set_up(done: Any) -> Rows:
    """Show what was set up in Kosli."""
    yield "created", "name"
    yield from ((each["kind"], each["name"]) for each in done)


def attestations(done: Any) -> Rows:
    """Show what was attested."""
    yield "attested", "name", "artifact"
    yield from ((each["type"], each["name"], each["fingerprint"][:8]) for each in done)


def outcomes(found: Any) -> Rows:
    """Show what became of each promotion."""
    yield "flow", "approved", "outcome", f"{TO} runs"
    for each in found:
        running = ", ".join(fingerprint[:8] for fingerprint in each["running"])
        yield each["flow"], each["fingerprint"][:8], each["outcome"], running


# The steps


def what_runs(shell: Shell) -> Any:
    """Show what runs where, and return it."""
    shell.step("What runs where", "Kosli records which artifacts run in an environment: image:tag (fingerprint).")
    diff = shell.run("make snapshots", side_by_side)
    expect(len(running(diff, "snappish1")["web-ci"]) == 2, f"web-ci does not run twice in {FROM}")
    return diff


def settle(shell: Shell) -> None:
    """Show that a deployment in progress refuses the release, until it has settled."""
    shell.step(
        "Is a deployment in progress?", f"In {FROM}, web-ci runs two artifacts at once. Which one is to be released?"
    )
    found = shell.run("make in-progress", deployments, code=2)
    expect([each["flow"] for each in found] == ["web-ci"], "not web-ci alone is in progress")
    show("", "So there is no release yet:")
    shell.run("make promotions", code=2)
    show("", "That deployment ends, and the next snapshot shows it:")
    newer = next(each["fingerprint"] for each in found[0]["artifacts"] if ":49cedc4@" in each["name"])
    shell.run(f"stand-in-deploy {FROM} {newer}")
    shell.run(f"kosli snapshot ecs {FROM} --cluster beta")
    expect(shell.run("make in-progress", deployments) == [], "something is still in progress")


def propose(shell: Shell) -> Release:
    """Show the release, and return it."""
    shell.step("The release", f"What runs in {FROM} and not in {TO}, and what it replaces there.")
    show("From here on, this file is the release:")
    release: Release = shell.run("make promotions > ~/release.json", promotions)
    flows = [each["incoming_flow"] for each in release]
    expect(flows == ["dashboard-ci", "runner-ci", "saver-ci", "web-ci"], f"it is of other flows: {flows}")
    return release


def pass_the_gate(shell: Shell, release: Release) -> None:
    """Show that each artifact is compliant."""
    shell.step("The gate", f"Is each artifact compliant in {FROM}, where it runs, and for {TO}, where it is going?")
    found = shell.run(f"scripts/gate.py {FROM} {TO} < ~/release.json", verdicts)
    asked = [(each["incoming_fingerprint"], environment) for each in release for environment in (FROM, TO)]
    expect([(each["fingerprint"], each["environment"]) for each in found] == asked, "not two verdicts a promotion")
    expect({each["verdict"] for each in found} == {"compliant"}, "not all is compliant")


def attest(shell: Shell, release: Release) -> None:
    """Show what Kosli is told about the release, and look that it knows."""
    shell.step("The evidence", "Kosli records the release itself too, in a trail of its own:")
    shell.run(f"RELEASE_TRAIL={TRAIL} make kosli-setup", set_up)
    done = shell.run(f"RELEASE_TRAIL={TRAIL} scripts/attest.py < ~/release.json", attestations)
    trail = json.loads(read(shell.path(".kosli-stand-in/world.json")))["flows"][FLOW]["trails"][TRAIL]
    known = {each["fingerprint"] for each in trail["artifacts"].values()}
    expect(known == fingerprints(release, "incoming"), "the trail has other artifacts than the release")
    names = {each["name"] for each in done if each["type"] != "artifact"}
    expect({each["name"] for each in trail["attestations"]} == names, "the trail has other attestations")
    expect(all(each["compliant"] is not False for each in trail["attestations"]), "the trail is not compliant")


def look_back(shell: Shell, release: Release) -> None:
    """Show what the rollback would be."""
    shell.step("The way back", "What would undo the release? That is known before anyone approves:")
    inverse = shell.run("scripts/rollback.py < ~/release.json", promotions)
    expect(fingerprints(inverse, "incoming") == fingerprints(release, "outgoing"), "it does not bring all back")


def approve(shell: Shell, release: Release) -> bool:
    """Ask for the approval. On a terminal, anything but yes is no."""
    shell.step("One approval", f"{len(release)} artifacts are to go into {TO}. The release is known by its digest:")
    show("", digest(release), "")
    question = paint("Approve? [y/N]", BOLD)
    if setting("DEMO_YES") == "1":
        show(f"{question} y    (DEMO_YES=1 says so)")
        return True
    if not sys.stdin or not sys.stdin.isatty():
        show(f"{question} y    (the demo says so: stdin is no terminal)")
        return True
    print(f"  {question} ", end="", flush=True)
    return sys.stdin.buffer.readline().strip().lower() in (b"y", b"yes")


def leave(shell: Shell, before: Any) -> None:
    """Show that nothing was deployed."""
    show("", "Not approved, so nothing is deployed:")
    now = shell.run("make snapshots", side_by_side)
    expect(running(now, "snappish2") == running(before, "snappish2"), f"{TO} has changed")
    show("", "That is all. Run it again and answer y to see the rest.")


def recheck(shell: Shell, release: Release) -> None:
    """Show that what was approved is what would be released now."""
    shell.step(
        "Has anything moved since?",
        "An answer can come days later. So the file must have the digest that was approved,",
        "and what runs now is compared with the file:",
    )
    shell.environment["DIGEST"] = digest(release)
    show("", paint(f"$ export DIGEST={digest(release)}", CYAN))
    shell.run("APPROVED=~/release.json make recheck > ~/rest.json")
    same = read(shell.path("rest.json")) == read(shell.path("release.json"))
    expect(same, "what is left to do is not what was approved")
    show("", paint(f"Nothing has: all {len(release)} are left to do, exactly as they were approved.", GREEN))


def deploy(shell: Shell, release: Release) -> None:
    """Deploy side by side, each artifact by its fingerprint."""
    shell.step("The deployment", "All at once. For real, each service brings its own; here stand-in-deploy does it:")
    show("")
    lines = [f"stand-in-deploy {TO} {each['incoming_fingerprint']} &" for each in release]
    processes = [shell.start(line) for line in lines]
    show(paint("$ wait", CYAN))
    for line, process in zip(lines, processes):
        shell.finish(line, process)


def verify(shell: Shell, release: Release) -> None:
    """Show that verify waits until Kosli has seen each artifact in production."""
    shell.step("Has it landed?", "Kosli is asked until it has seen each artifact run:")
    line = "APPROVED=~/release.json VERIFY_INTERVAL=0.1 VERIFY_TIMEOUT=10 make verify"
    show("")
    process = shell.start(line)
    assert process.stderr
    said = process.stderr.readline()
    show_said(said)
    expect(f" 0 of {len(release)} landed".encode() in said, "verify sees what no snapshot shows")
    show("", "No snapshot shows it yet. The next one is taken while verify waits:")
    shell.run(f"kosli snapshot ecs {TO} --cluster prod")
    show("", "And verify goes on:", "")
    show_said(process.stderr.readline())
    found = shell.finish(line, process, outcomes)
    expect([each["outcome"] for each in found] == ["landed"] * len(release), "not all have landed")


def prove(shell: Shell, release: Release, before: Any) -> None:
    """Show that production runs what was approved, beside what stayed as it was, and that nothing is left to do."""
    shell.step("The proof", f"{TO} runs the approved fingerprints, nothing is left to promote, and nothing to redo:")
    after = shell.run("make snapshots", side_by_side)
    wanted = {each["incoming_flow"]: [each["incoming_fingerprint"]] for each in release}
    expect(running(after, "snappish2") == {**running(before, "snappish2"), **wanted}, f"{TO} runs something else")
    expect(shell.run("make promotions", promotions) == [], "something is left to promote")
    expect(shell.run("APPROVED=~/release.json make recheck", promotions) == [], "something is left to do")
    show("", paint(f"{TO} runs exactly what was approved.", GREEN))


def fingerprints(release: Release, side: str) -> set[str]:
    """Return the fingerprints of one side of a release, without first deployments' empty ones."""
    return set(map(itemgetter(f"{side}_fingerprint"), release)) - {""}


def whole_release(shell: Shell) -> bool:
    """Go through all the steps; says whether the release was approved."""
    diff = what_runs(shell)
    settle(shell)
    release = propose(shell)
    pass_the_gate(shell, release)
    attest(shell, release)
    look_back(shell, release)
    if not approve(shell, release):
        leave(shell, diff)
        return False
    recheck(shell, release)
    deploy(shell, release)
    verify(shell, release)
    prove(shell, release, diff)
    return True


def main(argv: list[str]) -> int:
    """Show a release; 1 when it was not approved."""
    usage(argv)
    stop_on_signals()
    heading(f"A whole release from {FROM} into {TO}, on a stand-in Kosli: no account, no network")
    show(*BEFORE)
    with tempfile.TemporaryDirectory(prefix="demo-", ignore_cleanup_errors=True) as home:
        shell = Shell(home)
        try:
            done = whole_release(shell)
        finally:
            shell.end()
    if done:
        heading("The same for real")
        show(*AFTER)
    return 0 if done else 1


if __name__ == "__main__":
    run(main, __doc__)
