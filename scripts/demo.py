#!/usr/bin/env python3
"""Show a whole release, start to end, on a Kosli that runs on this machine: no account, no network.

stdout  each command line as a user would type it, then what came of it: JSON as tables, names and fingerprints short
exit    0 released and verified, or not approved; 1 a step did not do what it should: each checks what it shows
reads   DEMO_YES (1: approve without asking, as when stdin is no terminal)

All of it happens in a temporary HOME, which is removed, and in an environment of the demo's own making.

    scripts/demo.py
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

from lib import ROOT, processes
from lib.settings import read_toml, refuse_unknown_names, this_run
from lib.streams import Refused, no_arguments, run

import jmespath

FROM, TO = "aws-beta", "aws-prod"
TRAIL = "demo-1"
DATA = os.path.join(ROOT, "fixtures", "demo")


class Demo:
    """A shell in the project's folder with a HOME of its own, which asks a Kosli of its own."""

    def __init__(self, home: str) -> None:
        self.steps = 0
        self.tables = read_toml(f"{DATA}/tables.toml")
        worlds = os.path.join(home, "worlds")
        os.mkdir(worlds)
        service = os.path.join(ROOT, "fixtures", "kosli_service")
        command = [sys.executable, service, worlds, str(os.getpid())]
        # In a session of its own: Ctrl-C is the demo's, which ends the service then.
        self.service = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        while not os.path.exists(os.path.join(worlds, "address")):
            time.sleep(0.01)
        path = f"{ROOT}/.venv/bin:{os.environ.get('PATH', os.defpath)}"
        self.environment = {"PATH": path, "HOME": home, "TMPDIR": home, "WORLDS_SERVICE": worlds}
        variables = self.quietly(". fixtures/demo/begin && env -0").split("\0")
        self.environment = dict(variable.split("=", 1) for variable in variables if variable)

    def quietly(self, line: str) -> str:
        """Return what a line of bash that must succeed prints."""
        ended = self.bash(line)
        expect(ended.code == 0, f"{line}: {ended.stderr.decode()}")
        return ended.stdout.decode()

    def bash(self, line: str) -> processes.Ended:
        command = ("bash", "-o", "pipefail", "-c", line)
        return processes.run(*command, env=self.environment, cwd=ROOT, timeout=60)

    def step(self, title: str, *sentences: str) -> None:
        self.steps += 1
        show("", f"{self.steps:2}  {title}", "", *(f"  {sentence}" for sentence in sentences))

    def run(self, line: str, name: str = "", code: int = 0) -> Any:
        """Show a command line and a table of what came of it (fixtures/demo/tables.toml). Return the document."""
        show("", f"  $ {line}")
        ended = self.bash(line)
        file = re.search(r"> ~/(\S+)$", line)
        out = Path(self.environment["HOME"], file[1]).read_text() if file and not ended.code else ended.stdout.decode()
        document = json.loads(out) if out[:1] in ("[", "{") else None
        if document is None:
            show(*(f"  {short(text)}" for text in out.splitlines()))
        elif name:
            table(self.tables[name]["heads"], jmespath.search(self.tables[name]["rows"], document))
        for message in short(ended.stderr.decode()).splitlines():
            if not message.startswith("make: ***"):  # that holds the number of a line in the Makefile
                show(*(f"  {part}" for part in textwrap.wrap(message, 100, subsequent_indent="  ")))
        if code:
            show(f"  (exit code {ended.code})")
        expect(ended.code == code, f"{line}: exit code {ended.code}")
        return document


def show(*lines: str) -> None:
    for line in lines:
        print(line.rstrip(), flush=True)


def table(heads: str, rows: list[list[str]]) -> None:
    """Print rows below the heads of their columns; no rows are what they are in JSON: []."""
    lines = [heads.split(", "), *([short(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines if rows else ():
        show("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))
    if not rows:
        show("  []")


def short(text: str) -> str:
    """Return a text with its images, fingerprints and commits as short as a person can still tell them apart."""
    text = re.sub(r"[^\s,]*/([^\s,]+)@sha256:([0-9a-f]{8})[0-9a-f]{56}", r"\1 (\2)", text)
    return re.sub(r"\b([0-9a-f]{8})[0-9a-f]{56}\b", r"\1", re.sub(r"\b([0-9a-f]{7})[0-9a-f]{33}\b", r"\1", text))


def expect(fact: object, otherwise: str) -> None:
    """Raise Refused when something did not go as it should."""
    if not fact:
        raise Refused(f"this went wrong: {otherwise}")


def in_to(diff: Any) -> dict[str, str]:
    """Return the names of what runs in TO, by flow: there, no flow runs two artifacts."""
    categories = ("snappish2", "changed", "not-changed")
    return {artifact["flow"]: artifact["name"] for category in categories for artifact in diff[category]["artifacts"]}


def prepare(demo: Demo) -> tuple[Any, Any]:
    """Show everything up to the approval; return the first diff and the release."""
    demo.step("What runs where", "Kosli records which artifacts run in an environment: image:tag (fingerprint).")
    before = demo.run("make snapshots", "running")

    demo.step("Is a deployment in progress?", f"In {FROM}, web-ci runs two artifacts at once. Which one is meant?")
    deployments = demo.run("make in-progress", "in-progress", code=2)
    expect([deployment["flow"] for deployment in deployments] == ["web-ci"], "not web-ci alone is in progress")
    show("", "  So there is no release yet:")
    demo.run("make promotions", code=2)
    show("", "  That deployment ends, and the next snapshot shows it:")
    newer = next(a["fingerprint"] for a in deployments[0]["artifacts"] if a["fingerprint"].startswith("b6f1e761"))
    demo.run(f"stand-in-deploy {FROM} {newer}")
    demo.run(f"kosli snapshot ecs {FROM} --clusters beta")

    demo.step("The release", f"What runs in {FROM} and not in {TO}, and what it replaces there.")
    release = demo.run("make promotions > ~/release.json", "release")
    flows = [promotion["incoming_flow"] for promotion in release]
    expect(flows == ["dashboard-ci", "runner-ci", "saver-ci", "web-ci"], f"it is of other flows: {flows}")

    demo.step("What changes", "The commits between the two, from each service's repository:")
    changes = demo.run("scripts/changes.py < ~/release.json", "changes")
    expect([change["status"] for change in changes] == ["new", "ahead", "ahead", "ahead"], "the commits are others")

    demo.step("A hold", "What is held is left out, and the reason is said. This is how it would be with one:")
    demo.run("HOLDS=~/holds.toml make holds", "holds")
    held = demo.run("HOLDS=~/holds.toml make promotions", "release")
    expect([p["incoming_flow"] for p in held] == ["dashboard-ci", "saver-ci", "web-ci"], "it was not held")

    demo.step("The gate", f"Is each artifact compliant in {FROM}, where it runs, and for {TO}, where it is going?")
    verdicts = demo.run(f"scripts/gate.py {FROM} {TO} < ~/release.json", "verdicts")
    expect([v["verdict"] for v in verdicts] == ["compliant"] * 8, "not all of it is compliant")

    demo.step("The evidence", "Kosli records the release itself too, in a trail of its own:")
    demo.run(f"RELEASE_TRAIL={TRAIL} make kosli-setup", "created")
    demo.run(f"RELEASE_TRAIL={TRAIL} scripts/attest.py < ~/release.json", "attested")

    demo.step("The way back", "What would undo the release? That is known before anyone approves:")
    demo.run("scripts/rollback.py < ~/release.json", "release")
    return before, release


def approve(demo: Demo, count: int, digest: str) -> bool:
    """Ask for the approval. On a terminal, anything but yes is no."""
    demo.step(
        "One approval", f"{count} artifacts are to go into {TO}. The release is known by its digest:", "", digest, ""
    )
    if this_run().demo_yes == "1" or not sys.stdin or not sys.stdin.isatty():
        show("  Approve? [y/N] y    (the demo says so: DEMO_YES=1, or stdin is no terminal)")
        return True
    print("  Approve? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def finish(demo: Demo, before: Any, release: Any, digest: str) -> None:
    """Show everything after the approval."""
    demo.step(
        "Has anything moved since?",
        "An answer can come days later. So what runs now is compared with it. All of it is left to do:",
    )
    demo.environment["DIGEST"] = digest
    show("", f"  $ export DIGEST={digest}")
    rest = demo.run("APPROVED=~/release.json make recheck > ~/rest.json")
    expect(rest == release, "what is left to do is not what was approved")

    demo.step("The deployment", "All at once. For real, each service brings its own; here stand-in-deploy does it:", "")
    lines = [f"stand-in-deploy {TO} {promotion['incoming_fingerprint']}" for promotion in release]
    show(*(f"  $ {line} &" for line in lines), "  $ wait")
    show(*(f"  {short(output.strip())}" for output in processes.side_by_side(demo.quietly, lines, len(lines))))

    demo.step("Has it landed?", "No snapshot shows it yet:")
    demo.run("APPROVED=~/release.json VERIFY_TIMEOUT=0 make verify", "outcomes", code=2)
    show("", "  The next one does:")
    demo.run(f"kosli snapshot ecs {TO} --clusters prod")
    outcomes = demo.run("APPROVED=~/release.json make verify", "outcomes")
    expect([outcome["outcome"] for outcome in outcomes] == ["landed"] * len(release), "not all have landed")

    demo.step("The proof", f"{TO} runs the approved fingerprints, nothing is left to promote, and nothing to redo:")
    after = demo.run("make snapshots", "running")
    wanted = {promotion["incoming_flow"]: promotion["incoming_name"] for promotion in release}
    expect(in_to(after) == {**in_to(before), **wanted}, f"{TO} runs something else")
    expect(demo.run("make promotions", "release") == [], "something is left to promote")
    expect(demo.run("APPROVED=~/release.json make recheck", "release") == [], "something is left to do")
    show("", f"  {TO} runs exactly what was approved.")

    demo.step("A downgrade is refused", f"By mistake, the former saver is brought back into {FROM}:")
    former = next(p["outgoing_fingerprint"] for p in release if p["incoming_flow"] == "saver-ci")
    demo.run(f"stand-in-deploy {FROM} {former}")
    demo.run(f"kosli snapshot ecs {FROM} --clusters beta")
    demo.run("make promotions > ~/older.json", "release")
    older = demo.run("scripts/changes.py < ~/older.json", "changes", code=1)
    expect([change["status"] for change in older] == ["behind"], "not saver-ci alone is older")

    demo.step("The same for real", *Path(DATA, "for-real.txt").read_text().splitlines())


def main(argv: list[str]) -> int:
    no_arguments(__doc__, argv)
    refuse_unknown_names()
    processes.stop_on_signals()
    show("", f"A whole release from {FROM} into {TO}, on a Kosli that runs on this machine: no account, no network")
    with tempfile.TemporaryDirectory(prefix="demo-", ignore_cleanup_errors=True) as home:
        demo = Demo(home)
        try:
            thin = "node_modules" not in demo.quietly("command -v kosli")
            show(
                "",
                f"  It is asked by {'a thin client in place of ' * thin}the Kosli CLI. Each line after $ is a command",
            )
            show("  as you would type it. Of its JSON the demo makes a table, with names cut short.")
            before, release = prepare(demo)
            digest = demo.quietly("scripts/github_output.py < ~/release.json | sed -n s/^digest=//p").strip()
            if approve(demo, len(release), digest):
                finish(demo, before, release, digest)
            else:
                show("", "  Not approved, so nothing is deployed:")
                expect(in_to(demo.run("make snapshots", "running")) == in_to(before), f"{TO} has changed")
                show("", "  That is all. Run it again and answer y to see the rest.")
        finally:
            demo.service.terminate()
            demo.service.wait()
    return 0


if __name__ == "__main__":
    run(main)
