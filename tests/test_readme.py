"""The README's examples run, print what it shows, and fit on a few screens."""

import re
import subprocess
from pathlib import Path

from conftest import ROOT, environment

import pytest

README = (ROOT / "README.md").read_text()
# In a console block, a line that begins with "$ " is a command, and what follows it is its output. A line "..." stands
# for any lines. The demo indents its own commands.
BLOCKS = re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
EXAMPLES = [
    (command, output)
    for block in BLOCKS
    for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    if command != "make test"  # this is a part of it
]
DEMO = "make demo"  # tests/test_demo.py runs it, and compares it


def is_shown(output: str, printed: str) -> bool:
    """Say whether the README shows what a command printed."""
    parts = re.split(r"^\.\.\.\n", output, flags=re.MULTILINE)
    return bool(re.fullmatch("(?s:.*)".join(re.escape(part) for part in parts), printed))


@pytest.mark.parametrize(("command", "output"), [example for example in EXAMPLES if example[0] != DEMO])
def test_example(command: str, output: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=ROOT,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    shown = re.sub(r"Makefile:\d+", "Makefile:LINE", done.stdout + done.stderr)
    assert is_shown(output, shown), shown
    assert (done.returncode != 0) == ("Error" in output)


def test_it_is_short_and_has_examples() -> None:
    assert len(README.splitlines()) <= 150
    assert len(EXAMPLES) >= 6
    assert "\n$ make test\n" in README


def run_step(step: str, tmp_path: Path, snapshots: str) -> tuple[int, str]:
    """Run a step of a workflow as GitHub does, without `shell: bash`: `bash -e`, with no pipefail."""
    output = tmp_path / "output"
    output.write_text("")
    done = subprocess.run(
        ["bash", "-e", "-c", step.split("run: ")[1]],
        cwd=ROOT,
        env=environment(tmp_path, SNAPSHOTS=snapshots, GITHUB_OUTPUT=str(output)),
        capture_output=True,
    )
    return done.returncode, output.read_text()


def test_the_right_step_fails_and_the_wrong_one_does_not(tmp_path: Path) -> None:
    right, wrong = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    code, written = run_step(right, tmp_path, "fixtures/in-progress-in-prod.json")
    assert (code != 0, written) == (True, "")
    assert run_step(wrong, tmp_path, "fixtures/in-progress-in-prod.json") == (0, "promotions=\n")
    for step in (right, wrong):
        code, written = run_step(step, tmp_path, "fixtures/saver.json")
        assert code == 0
        assert written.startswith('promotions=[{"incoming_')
