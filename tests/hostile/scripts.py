"""The scripts, found in scripts/, and the ways in which a document gets into each of them."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from conftest import environment

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = sorted(path.name for path in (ROOT / "scripts").glob("*.py"))


# Harmless documents, for a script that takes two: files in the folder that run_all is given.
RELEASE, DIFF = "ordinary-release.json", "ordinary-diff.json"

Run = tuple[Path, dict[str, str]]  # the input, and what is set in the environment for it


class Use(NamedTuple):
    """One way to run a script on a document. {input} and {content} stand for the document's path and for itself."""

    script: str
    arguments: tuple[str, ...] = ()
    stdin: str = "{input}"
    variables: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        words = [*self.arguments, *(f"{name}={value}" for name, value in self.variables)]
        return " ".join((self.script, *(word.rpartition("/")[2] for word in words)))


# A script that is not here takes no arguments, and a document on stdin if its contract says so.
WAYS: dict[str, list[tuple[tuple[str, ...], str, dict[str, str]]]] = {
    "gate.py": [(("aws-beta", "aws-prod"), "{input}", {})],
    "matrix_check.py": [
        (
            (),
            "/dev/null",
            {
                "ANY": "true",
                "COUNT": "2",
                "DIGEST": "0" * 64,
                "INCOMING_FLOW": "{content}",
                "INCOMING_FINGERPRINT": "[]",
                "OUTGOING_FINGERPRINT": "null",
            },
        )
    ],
    "promotions.py": [((), "{input}", {}), ((), "{input}", {"MATCH_BY": "image", "UNPROVEN": "skip"})],
    "query.py": [((f"jq/{name}.jmespath",), "{input}", {}) for name in ("running-in-from", "matrix", "images")],
    "recheck.py": [
        ((RELEASE,), "{input}", {}),
        (("{input}",), DIFF, {}),
    ],
    "report.py": [((), "{input}", {}), ((), RELEASE, {"SNAPSHOTS": "{input}"})],
    "snapshots.py": [((), "/dev/null", {"SNAPSHOTS": "{input}"})],
    "summary.py": [
        ((), "{input}", {}),
        ((), "{input}", {"REFUSED": "promotions.py: a reason\n::error::owned"}),
        *(((), RELEASE, {name: "{input}"}) for name in ("SNAPSHOTS", "VERDICTS", "OUTCOMES")),
    ],
    "verify.py": [(("{input}",), "/dev/null", {})],
}
# Settings that some need to come to the document at all. Kosli is asked, and refuses: tests/hostile/refuses/kosli.
SETTINGS = {
    "KOSLI_ORG": "acme",
    "KOSLI_API_TOKEN": "a-token-that-nobody-has",
    "RELEASE_TRAIL": "run-42",
    "VERIFY_INTERVAL": "0",
    "VERIFY_TIMEOUT": "0",
}
MORE_SETTINGS = {
    "approval.py": {"DIGEST": "0" * 64},
    "promotion_run.py": {"ROLLBACK_OF": "42", "GITHUB_REPOSITORY": "acme-shop/releases", "GITHUB_REF_NAME": "main"},
}


def uses() -> list[Use]:
    """Return each way in which a document can get into a script."""
    return [
        Use(script, arguments, stdin, tuple({**MORE_SETTINGS.get(script, {}), **variables}.items()))
        for script in SCRIPTS
        for arguments, stdin, variables in WAYS.get(script, [((), "{input}", {})] if reads_stdin(script) else [])
    ]


# The scripts that take no document, each with settings that it can work with.
ALONE = [
    Use(
        "attest_build.py",
        stdin="/dev/null",
        variables=(
            *(("BUILD_FLOW", "saver-ci"), ("ARTIFACT_NAME", "saver"), ("IMAGE", "registry.example/saver:1")),
            *(("FINGERPRINT", "0" * 64), ("COMMIT_SHA", "a" * 40), ("REPO_ROOT", str(ROOT))),
        ),
    ),
    Use("begin_trail.py", stdin="/dev/null"),
    Use("kosli_setup.py", stdin="/dev/null"),
    Use("record.py", ("aws-beta",), "/dev/null", (("RECORDED", "beta"),)),
]


def contract(script: str) -> str:
    """Return a script's docstring."""
    return ast.get_docstring(ast.parse((ROOT / "scripts" / script).read_text()), clean=False) or ""


def reads_stdin(script: str) -> bool:
    """Say whether a script's contract speaks of stdin."""
    return bool(re.search(r"^stdin ", contract(script), re.MULTILINE))


def document_of(use: Use) -> str:
    """Return which of corpus.DOCUMENTS goes in this way, "" when any does."""
    variable = next((name.lower() for name, value in use.variables if value == "{input}"), "")
    if use.script == "snapshots.py":
        return ""
    if use.stdin != "{input}":
        return {"snapshots": "diff", "verdicts": "verdicts", "outcomes": "outcomes"}.get(variable, "release")
    line = re.search(r"^stdin .*", contract(use.script), re.MULTILINE)
    words = re.findall("[a-z]+", line[0]) if line else []
    return next((word for word in words if word in ("diff", "release", "reviews", "run")), "")


def asks_kosli(script: str) -> bool:
    """Say whether a script may run the CLI."""
    return bool(re.search(r"lib\.(kosli|trails)", (ROOT / "scripts" / script).read_text()))


def hostile_environment(home: Path, kosli: str = "refuses") -> dict[str, str]:
    """Return an environment in which the CLI refuses (or accepts) everything, in words that no log should show."""
    found = environment(home, **SETTINGS)
    return {**found, "PATH": f"{ROOT}/tests/hostile/{kosli}:{found['PATH']}"}


def run_all(
    use: Use, runs: list[Run], out: Path, harmless: Path, kosli: str = "refuses"
) -> list[tuple[int, float, int]]:
    """Run a script on each input, and return (exit code, seconds, KB); its streams are in OUT/N.stdout and .stderr."""
    given = [str(harmless / word) if word in (RELEASE, DIFF) else word for word in (use.stdin, *use.arguments)]
    stdin, *arguments = given
    done = subprocess.run(
        [sys.executable, ROOT / "tests/hostile/forked.py", ROOT / "scripts" / use.script, stdin, out, *arguments],
        cwd=ROOT,
        env={**hostile_environment(out, kosli), **dict(use.variables)},
        input="".join(f"{json.dumps({'input': str(path), 'variables': variables})}\n" for path, variables in runs),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return [(int(code), float(time), int(size)) for code, time, size in map(str.split, done.stdout.splitlines())]


def streams(out: Path, number: int) -> tuple[bytes, bytes]:
    """Return what a run wrote to stdout and stderr."""
    return (out / f"{number}.stdout").read_bytes(), (out / f"{number}.stderr").read_bytes()
