"""The virtual environment: when it is built, when it is built again, and that a script finds it.

The builds here install nothing and bring no pip of their own: `make test` itself has built the real one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from conftest import ROOT, environment
from worlds import wait_for

import pytest

BASE = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info[1]}"
SHOW = "#!/usr/bin/env python3\nimport sys\nimport lib\nprint(sys.prefix, *sys.argv[1:])\n"
Done = subprocess.CompletedProcess[str]


def check_out(folder: Path) -> Path:
    """Make a checkout with a script that says which environment it runs in, and has the packages."""
    (folder / "scripts" / "lib").mkdir(parents=True)
    for name in ("Makefile", "scripts/lib/__init__.py"):
        shutil.copy(ROOT / name, folder / name)
    text = (ROOT / "scripts/lib/build_venv.py").read_text()
    assert text.count('"venv", VENV') == 1
    quick = text.replace('"venv", VENV', '"venv", "--without-pip", "--system-site-packages", VENV')
    (folder / "scripts/lib/build_venv.py").write_text(quick)
    for name in ("requirements.txt", "requirements-dev.txt"):
        (folder / name).write_text("# nothing\n")
    (folder / "scripts" / "snapshots.py").write_text(SHOW)
    for package in ("jmespath", "msgspec"):
        (folder / "scripts" / f"{package}.py").touch()
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return check_out(tmp_path / "it's here")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one checkout for many tests: each leaves it with an environment that stands."""
    return check_out(tmp_path_factory.mktemp("shared") / "it's here")


def make(folder: Path, *words: str) -> Done:
    python = () if any("BASE_PYTHON" in word for word in words) else (f"BASE_PYTHON={BASE}",)
    return subprocess.run(
        ["make", *(words or ("snapshots",)), *python],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=60,
    )


def said(done: Done) -> str:
    """Return what was said about the environment, of a make that worked and printed nothing but its answer."""
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1, done.stdout
    return done.stderr


def test_it_is_built_once(checkout: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        together = "".join(pool.map(said, pool.map(lambda _: make(checkout), range(3))))
    assert together == "building .venv: there is none yet\n"
    assert said(make(checkout)) == ""
    assert said(make(checkout, "-C", ".", "snapshots")) == ""


def _interrupted(checkout: Path) -> None:
    (checkout / ".venv" / ".stamp").unlink()


def _development_interrupted(checkout: Path) -> None:
    (checkout / ".venv" / ".unfinished").touch()


def _of_another_python(checkout: Path) -> None:
    stamp = checkout / ".venv" / ".stamp"
    folder, _, *installed = stamp.read_text().splitlines()
    stamp.write_text("\n".join([folder, "3.10", *installed]))


def _python_gone(checkout: Path) -> None:
    python = checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3.11")


def _other_requirements(checkout: Path) -> None:
    (checkout / "requirements.txt").write_text("# nothing else\n")


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (_interrupted, "its last installation did not end"),
        (_development_interrupted, "its last installation did not end"),
        (_of_another_python, f"it is of Python 3.10, and this is 3.{sys.version_info[1]}"),
        (_python_gone, "its Python is gone"),
        (_other_requirements, "requirements.txt has changed"),
    ],
)
def test_it_is_built_again(happens: Callable[[Path], None], why: str, shared: Path) -> None:
    said(make(shared))
    happens(shared)
    assert said(make(shared)) == f"building .venv: {why}\n"
    assert said(make(shared)) == ""


def test_one_that_was_moved_is_built_again(checkout: Path) -> None:
    said(make(checkout))
    moved = checkout.rename(checkout.parent / "moved")
    assert said(make(moved)) == "building .venv: it was made in another folder\n"


def test_a_build_that_is_stopped_is_done_again(checkout: Path) -> None:
    words = ["make", "snapshots", f"BASE_PYTHON={BASE}"]
    process = subprocess.Popen(
        words, cwd=checkout, env=environment(checkout), stderr=subprocess.DEVNULL, start_new_session=True
    )
    wait_for(lambda: (checkout / ".venv" / "bin" / "python").exists())
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) != 0
    assert said(make(checkout)) == "building .venv: its last installation did not end\n"


def test_what_cannot_be_installed_takes_nothing_away(shared: Path) -> None:
    said(make(shared))
    (shared / "requirements-dev.txt").write_text("./absent\n")
    done = make(shared, ".venv/.stamp-dev")
    assert (done.returncode, done.stdout) == (2, "")
    assert said(make(shared)) == ""


def test_no_python_and_an_old_one(checkout: Path) -> None:
    done = make(checkout, "snapshots", "BASE_PYTHON=false")
    assert (done.returncode, done.stdout) == (2, "")
    old = checkout / "old.py"
    text = (checkout / "scripts/lib/build_venv.py").read_text()
    old.write_text(text.replace("import sys\n", "import sys\n\nsys.version_info = (3, 9)\n", 1))
    old.rename(checkout / "scripts/lib/build_venv.py")
    done = make(checkout)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Python 3.11 or newer is needed, this is 3.9: name one, as in make BASE_PYTHON=")


def test_an_old_make_is_told(checkout: Path) -> None:
    done = make(checkout, "snapshots", "MAKE_VERSION=3.81")
    assert (done.returncode, done.stdout) == (2, "")
    assert "GNU make 4 or newer is needed, this is 3.81" in done.stderr


@pytest.mark.parametrize("name", ["each", "GIVEN", "AT", "SHORT_FLAGS", "QUOTE", "MAKE_VERSION", "FLOWS"])
def test_no_value_is_run_by_make(name: str, checkout: Path) -> None:
    make(checkout, "--dry-run", "snapshots", f"{name}=$(shell touch owned)")
    assert not (checkout / "owned").exists()


def test_a_dry_run_works_from_another_folder(shared: Path, tmp_path: Path) -> None:
    said(make(shared))
    line = make(shared, "--dry-run", "snapshots").stdout
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True)
    assert done.stdout == f"{shared}/.venv\n", done.stderr


def test_a_script_finds_the_projects_own_environment(checkout: Path, tmp_path: Path) -> None:
    script = checkout / "scripts" / "snapshots.py"
    link = tmp_path / "link"
    link.symlink_to(script)
    own = checkout / ".venv"

    def prefix(*command: str | Path) -> str:
        done = subprocess.run(
            [*command, "a word"], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=10
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.removesuffix(" a word\n")

    assert prefix(sys.executable, script) == sys.prefix, "there is no .venv yet: what there is"
    said(make(checkout))
    # The first is in an environment of its own: the one that runs the tests.
    for python in (sys.executable, BASE, own / "bin" / "python"):
        for words in ((script,), (link,), ("-S", script)):
            assert prefix(python, *words) == str(own), (python, *words)
    (own / "pyvenv.cfg").unlink()
    assert prefix(BASE, script) != str(own), "half of an environment: it does not start for ever"


def test_a_script_has_its_packages_installed(checkout: Path) -> None:
    """Also where the other one is there already."""
    package, lock = checkout / "scripts" / "jmespath.py", checkout / "scripts" / "lib" / "build_venv.py"
    package.write_text("raise ModuleNotFoundError")

    def start() -> subprocess.Popen[str]:
        command = [BASE, checkout / "scripts" / "snapshots.py"]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment(checkout), stdout=pipe, stderr=pipe, text=True)

    process = start()
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (2, ""), "the requirements here install nothing"
    assert stderr == (
        "building .venv: there is none yet\nsnapshots.py: the packages of requirements.txt are not installed\n"
    )
    (checkout / ".venv" / ".stamp").unlink()
    with open(lock) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = start()
        time.sleep(0.5)
        assert process.poll() is None, "it waits for the make that builds the environment"
        package.write_text("")
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (0, f"{checkout / '.venv'}\n"), stderr
