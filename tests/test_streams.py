"""What a golden case cannot show: how the scripts treat their streams, and how they end.

They share one reader and one writer: what holds for two of them, one that reads a diff and one that reads a release,
holds for all.
"""

from __future__ import annotations

import json
import os
import pty
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from conftest import ROOT, environment

import pytest

DIFF = (ROOT / "fixtures" / "several-behind.json").read_bytes()
BOTH = pytest.mark.parametrize("script", ["promotions.py", "rollback.py"])
# In the shell's words: 128 and the number of the signal.
BROKEN_PIPE = 141


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the document that each script reads, and a diff whose answer no pipe holds (64 KiB)."""
    folder = tmp_path_factory.mktemp("documents")
    (folder / "promotions.py").write_bytes(DIFF)
    (folder / "rollback.py").write_bytes(ran("promotions.py", folder).stdout)
    large = subprocess.run(
        [sys.executable, ROOT / "bench" / "generate_diff.py", "250", "20"],
        env=environment(folder),
        capture_output=True,
        check=True,
    )
    (folder / "large").write_bytes(large.stdout)
    return folder


def command(script: str) -> list[str]:
    return [sys.executable, str(ROOT / "scripts" / script)]


def ran(script: str, folder: Path, **more) -> subprocess.CompletedProcess[bytes]:
    """Run a script on its document of a folder, unless stdin is given."""
    if "stdin" not in more and "input" not in more:
        more["input"] = (folder / script).read_bytes()
    more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 60, **more}
    return subprocess.run(command(script), cwd=ROOT, env=environment(folder), check=False, **more)


def is_one_line(script: str, stderr: bytes) -> bool:
    return stderr.startswith(f"{script}: ".encode()) and stderr.endswith(b"\n") and stderr.count(b"\n") == 1


# stdin


@BOTH
def test_a_file_and_a_pipe_that_is_slow_are_the_same(script: str, documents: Path, tmp_path: Path) -> None:
    """It arrives in pieces, in a pipe that does not block: some programs leave theirs like that."""
    content = (documents / script).read_bytes()
    with open(documents / script, "rb") as file:
        expected = ran(script, documents, stdin=file)
    assert expected.returncode == 0
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    child = subprocess.Popen(
        command(script), env=environment(tmp_path), stdin=reading, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    os.close(reading)
    time.sleep(0.3)
    os.write(writing, content[:10])
    time.sleep(0.05)
    os.write(writing, content[10:])
    os.close(writing)
    stdout, stderr = child.communicate(timeout=60)
    assert (child.returncode, stdout, stderr) == (0, expected.stdout, expected.stderr)


def test_no_stdin(tmp_path: Path) -> None:
    """Closed, empty, a terminal, or open for writing only: one line, exit 2, nothing on stdout."""
    terminal, its_end = pty.openpty()
    closed = ["bash", "-c", f"exec {' '.join(command('promotions.py'))} <&-"]
    results = [subprocess.run(closed, env=environment(tmp_path), capture_output=True, timeout=60)]
    with open(tmp_path / "unreadable", "wb") as unreadable:
        results += [ran("promotions.py", tmp_path, stdin=each) for each in (subprocess.DEVNULL, its_end, unreadable)]
    os.close(terminal)
    os.close(its_end)
    for done in results:
        assert (done.returncode, done.stdout) == (2, b"")
        assert is_one_line("promotions.py", done.stderr), done.stderr
        assert b"stdin" in done.stderr


# stdout


def test_a_closed_pipe(documents: Path, bash) -> None:
    """The reader has gone: the script ends quietly, and not with exit 0 after half a document."""
    line = f"{' '.join(command('promotions.py'))} < {documents / 'large'} | head -c 1; echo ${{PIPESTATUS[0]}}"
    done = bash(line)
    assert (done.stdout, done.stderr) == (b"[%d\n" % BROKEN_PIPE, b"")
    done = bash(f"make -s promotions SNAPSHOTS={documents / 'large'} | head -1; echo ${{PIPESTATUS[0]}}")
    assert done.stdout == b"[\n2\n"
    assert all(text.startswith(b"make: ") for text in done.stderr.splitlines()), done.stderr


@BOTH
def test_stdout_that_cannot_be_written(script: str, documents: Path, tmp_path: Path, bash) -> None:
    """Full, closed, or larger than a file may be: one line, and not exit 0."""
    words = f"{' '.join(command(script))} < {documents / script}"
    for line in (f"{words} > /dev/full", f"{words} >&-", f"ulimit -f 0; {words} > {tmp_path}/file"):
        done = bash(line)
        assert done.returncode == 2, line
        assert is_one_line(script, done.stderr.splitlines(keepends=True)[-1]), done.stderr
        assert b"cannot write" in done.stderr


def test_stderr_that_cannot_be_written(bash) -> None:
    """It changes neither the answer nor the exit code."""
    for words, code in (
        ("scripts/promotions.py < fixtures/retired-in-beta.json", 0),
        ("scripts/in_progress.py < fixtures/in-progress-in-prod.json", 1),
    ):
        expected = bash(words)
        assert expected.returncode == code
        for line in (f"{words} 2>&-", f"{words} 2>/dev/full"):
            done = bash(line)
            assert (done.returncode, done.stdout) == (code, expected.stdout)


def test_a_reader_that_is_slow(documents: Path, tmp_path: Path) -> None:
    """stdout is a pipe that does not block and is read late: the document comes whole."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(documents / "large", "rb") as stdin:
        child = subprocess.Popen(command("promotions.py"), env=environment(tmp_path), stdin=stdin, stdout=writing)
    os.close(writing)
    time.sleep(0.3)
    with open(reading, "rb") as pipe:
        assert len(json.loads(pipe.read())) == 250
    assert child.wait(60) == 0


# Numbers


@pytest.mark.parametrize("number", [-(1 << 63), (1 << 64) - 1, 10**19])
def test_a_number_of_64_bits_comes_through(number: int, tmp_path: Path) -> None:
    document = json.loads((ROOT / "fixtures" / "one-flow-behind.json").read_text())
    document["snappish1"]["artifacts"][0]["size"] = number
    done = ran("promotions.py", tmp_path, input=json.dumps(document).encode())
    assert json.loads(done.stdout)[0]["incoming_size"] == number


@pytest.mark.parametrize("number", ["-9223372036854775809", "18446744073709551616", "1e999", "-1.0e+400"])
def test_a_larger_one_is_refused(number: str, tmp_path: Path) -> None:
    document = (ROOT / "fixtures" / "one-flow-behind.json").read_text()
    document = document.replace('"instance_count": 2', f'"size": {number}', 1)
    done = ran("promotions.py", tmp_path, input=document.encode())
    assert (done.returncode, done.stdout) == (2, b"")
    assert is_one_line("promotions.py", done.stderr)


# Start and end


def test_outside_of_a_virtual_environment_it_starts_in_the_projects_own(tmp_path: Path) -> None:
    """With the system's Python, the packages come from .venv all the same; from any directory."""
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    if not python.exists() or not (ROOT / ".venv/bin/python").exists():
        pytest.skip("no Python outside, or no .venv")
    done = subprocess.run(
        [python, ROOT / "scripts" / "promotions.py"],
        cwd=tmp_path,
        env=environment(tmp_path),
        input=DIFF,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 5


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
@BOTH
def test_a_signal_ends_it_quietly(script: str, stop: signal.Signals, tmp_path: Path) -> None:
    child = subprocess.Popen(
        command(script),
        env=environment(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    time.sleep(1)  # it waits for its document by then
    child.send_signal(stop)
    stdout, stderr = child.communicate(timeout=30)
    assert child.returncode in (-stop, 128 + stop)
    assert (stdout, stderr) == (b"", b"")


def test_out_of_memory_is_one_line(tmp_path: Path) -> None:
    """A document that does not fit into memory is no traceback and no half answer."""
    content = DIFF.replace(b'"most_recent_timestamp"', b'"notes": [' + b"1," * 5_000_000 + b'1], "x"', 1)
    limit = 300 << 20
    done = ran(
        "promotions.py",
        tmp_path,
        input=content,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    if done.returncode == 0:
        pytest.skip("it fits")
    assert (done.returncode, done.stdout) == (2, b"")
    assert is_one_line("promotions.py", done.stderr), done.stderr
