"""The README runs, and forgets nothing."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, environment

README = (ROOT / "README.md").read_text()
# ```console blocks: a line that begins with "$ " is a command, what follows it is its output.
BLOCKS = re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
EXAMPLES = [
    (command, output)
    for block in BLOCKS
    for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    if command != "make test"  # this is a part of it
]


@pytest.mark.parametrize(("command", "output"), EXAMPLES, ids=[command for command, _ in EXAMPLES])
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
    if "..." in output.splitlines():
        head, tail = output.split("...\n")
        assert shown.startswith(head)
        assert shown.endswith(tail)
    elif output:
        assert shown == output
    assert (done.returncode != 0) == ("Error" in output)


def test_every_setting_is_one() -> None:
    """A row whose name nothing reads any more tells an old story."""
    files = [path for path in (ROOT / "scripts").rglob("*") if path.suffix in (".py", ".css")]
    files += [ROOT / "Makefile", *(ROOT / ".github").rglob("*.yml")]
    sources = "".join(path.read_text() for path in files)
    rows = README[README.index("## Settings") : README.index("## Exit codes")].splitlines()
    names = {name for row in rows if row.startswith("|") for name in re.findall("`([A-Z_]+)`", row.split("|")[1])}
    assert len(names) > 40
    assert not [name for name in names if not re.search(rf"\b{name}\b", sources)]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 6
    assert "$ make demo\n$ make test\n" in README


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "scripts").glob("*.py")))
def test_every_script_is_mentioned(script: str) -> None:
    assert f"scripts/{script}" in README


@pytest.mark.parametrize("query", sorted(path.stem for path in (ROOT / "jq").glob("*.jmespath")))
def test_every_query_is_mentioned(query: str) -> None:
    assert f"`{query}`" in README
    assert f"[{query}]({query}.jmespath)" in (ROOT / "jq" / "README.md").read_text()


MAKEFILE = (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("target", sorted(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE)))
def test_every_target_is_mentioned(target: str) -> None:
    assert f"`make {target}`" in README


SOURCES = "".join(path.read_text() for path in (ROOT / "scripts").rglob("*.py"))
SETTINGS = sorted(
    {
        *re.findall(r'(?:setting|choice|seconds)\("([A-Z_]+)"', SOURCES),
        *re.findall(r"^SETTINGS := (.*)$", MAKEFILE, re.MULTILINE)[0].split(),
    }
)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_mentioned(name: str) -> None:
    assert f"`{name}`" in README


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README):
        if not target.startswith("http"):
            assert os.path.exists(ROOT / target), target


def run_step(step: str, tmp_path: Path, snapshots: str) -> tuple[int, str]:
    """Run a step of a workflow as GitHub does: `bash -e`, or with pipefail where the step says `shell: bash`."""
    output = tmp_path / "output"
    output.write_text("")
    options = ["--noprofile", "--norc", "-e", "-o", "pipefail"] if "shell: bash" in step else ["-e"]
    done = subprocess.run(
        ["bash", *options, "-c", step.split("run: ")[1]],
        cwd=ROOT,
        env=environment(tmp_path, SNAPSHOTS=snapshots, GITHUB_OUTPUT=str(output)),
        capture_output=True,
    )
    return done.returncode, output.read_text()


def test_the_two_steps_of_a_workflow_do_what_the_readme_says(tmp_path: Path) -> None:
    plain, safe = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert run_step(plain, tmp_path, "fixtures/in-progress-in-prod.json") == (0, "promotions=\n")
    code, written = run_step(safe, tmp_path, "fixtures/in-progress-in-prod.json")
    assert (code != 0, written) == (True, "")
    for step in (plain, safe):
        code, written = run_step(step, tmp_path, "fixtures/one-flow-behind.json")
        assert code == 0
        assert written.startswith('promotions=[{"incoming_')
