"""What a golden case cannot show: how the scripts treat their streams, what they import, and how they end."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, environment
from hostile.corpus import artifact, corpus, diff, meant_for, ordinary_reviews, ordinary_run, promotion, to_bytes
from hostile.scripts import (
    DIFF,
    RELEASE,
    SCRIPTS,
    SETTINGS,
    asks_kosli,
    contract,
    document_of,
    reads_stdin,
    run_all,
    streams,
    uses,
)

from lib.filters import LARGE, Unusable, bar, parse, printable, read_file, setting, to_json

READERS = [script for script in SCRIPTS if reads_stdin(script)]
OFFLINE = [script for script in READERS if not asks_kosli(script)]
USES = {use.script: use for use in reversed(uses())}
# In the shell's words: 128 and the number of the signal.
BROKEN_PIPE = 141


def document_for(script: str, number: int) -> bytes:
    """Return a document that a script takes, with so many promotions."""
    kind = document_of(USES[script])
    if kind == "release":
        return to_bytes([promotion(n) for n in range(number)])
    if kind in ("reviews", "run"):
        return to_bytes(ordinary_reviews() if kind == "reviews" else ordinary_run())
    several = [artifact(1000 + n, flow="one-ci") for n in range(number)] if script == "in_progress.py" else []
    outgoing = [artifact(500 + n, flow=f"app-{n}-ci") for n in range(number)]
    return to_bytes(diff([artifact(n) for n in range(number)], outgoing, unchanged=several))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a small document for each script, and release and diff for those that take a file."""
    return documents(tmp_path_factory.mktemp("small"), 2)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same with documents whose answers no pipe holds (64 KiB); the workflow takes 256 promotions."""
    return documents(tmp_path_factory.mktemp("large"), 250)


def documents(folder: Path, number: int) -> Path:
    for script in READERS:
        (folder / script).write_bytes(document_for(script, number))
    (folder / RELEASE).write_bytes(document_for("rollback.py", number))
    (folder / DIFF).write_bytes(document_for("promotions.py", number))
    return folder


def command(script: str, folder: Path) -> list[str]:
    words = [str(folder / word) if word in (RELEASE, DIFF) else word for word in USES[script].arguments]
    return [sys.executable, str(ROOT / "scripts" / script), *words]


def settings(script: str, home: Path) -> dict[str, str]:
    return {**environment(home), **SETTINGS, **dict(USES[script].variables)}


def run(script: str, folder: Path, home: Path, **more) -> subprocess.CompletedProcess[bytes]:
    """Run a script on its document of a folder, unless stdin is given."""
    if "stdin" in more or "input" in more:
        return _run(script, folder, home, **more)
    with open(folder / script, "rb") as stdin:
        return _run(script, folder, home, stdin=stdin, **more)


def _run(script: str, folder: Path, home: Path, **more) -> subprocess.CompletedProcess[bytes]:
    more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 60, **more}
    return subprocess.run(command(script, folder), cwd=ROOT, env=settings(script, home), check=False, **more)


def is_one_line(script: str, stderr: bytes) -> bool:
    return stderr.startswith(f"{script}: ".encode()) and stderr.endswith(b"\n") and stderr.count(b"\n") == 1


# The contract


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_the_contract(script: str, tmp_path: Path) -> None:
    for option in ("--help", "-h"):
        done = subprocess.run(
            [sys.executable, ROOT / "scripts" / script, option],
            env=environment(tmp_path),
            capture_output=True,
            timeout=60,
        )
        assert (done.returncode, done.stdout.decode(), done.stderr) == (0, contract(script), b"")
    assert contract(script).endswith("\n")
    assert "\nexit    " in contract(script)
    assert os.access(ROOT / "scripts" / script, os.X_OK)


@pytest.mark.parametrize("script", SCRIPTS)
def test_wrong_usage_is_one_line(script: str, tmp_path: Path) -> None:
    for words in (["--version"], ["a", "b", "c"], [""], ["\x1b[31m\n::error::x"] * 3):
        done = subprocess.run(
            [sys.executable, ROOT / "scripts" / script, *words],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (2, b""), words
        assert is_one_line(script, done.stderr), done.stderr


# stdin


@pytest.mark.parametrize("script", OFFLINE)
def test_a_file_and_a_pipe_are_the_same(script: str, small: Path, tmp_path: Path) -> None:
    from_file = run(script, small, tmp_path)
    from_pipe = run(script, small, tmp_path, input=(small / script).read_bytes())
    assert from_file.stdout == from_pipe.stdout
    assert from_file.stderr == from_pipe.stderr
    assert from_file.returncode == from_pipe.returncode
    assert from_file.stdout or script == "promotion_run.py"


@pytest.mark.parametrize("script", OFFLINE)
def test_a_pipe_that_is_slow(script: str, small: Path, tmp_path: Path) -> None:
    """It arrives in pieces, in a pipe that does not block: some programs leave theirs like that."""
    content = (small / script).read_bytes()
    expected = run(script, small, tmp_path)
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    child = subprocess.Popen(
        command(script, small),
        cwd=ROOT,
        env=settings(script, tmp_path),
        stdin=reading,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.close(reading)
    wait_until_it_reads(child)
    os.write(writing, content[:10])
    time.sleep(0.02)
    os.write(writing, content[10:])
    os.close(writing)
    stdout, stderr = child.communicate(timeout=60)
    assert (child.returncode, stdout, stderr) == (expected.returncode, expected.stdout, expected.stderr)


def wait_until_it_reads(child: subprocess.Popen[bytes]) -> None:
    """Wait until a process has its script loaded and sleeps in a system call on descriptor 0, or has ended."""
    for _ in range(600):
        try:
            call = Path(f"/proc/{child.pid}/syscall").read_text().split()
        except OSError:
            call = []
        if child.poll() is not None or call[:2] == ["0", "0x0"]:
            return
        time.sleep(0.01)
        if not call:
            time.sleep(0.5)
            return


@pytest.mark.parametrize("script", READERS)
def test_no_stdin(script: str, small: Path, tmp_path: Path) -> None:
    """Closed, empty, white space, a terminal, or open for writing only: one line, exit 2, nothing on stdout."""
    terminal, its_end = pty.openpty()
    with open(tmp_path / "unreadable", "wb") as unreadable:
        for stdin in (None, subprocess.DEVNULL, its_end, unreadable):
            if stdin is None:
                line = f"exec {' '.join(command(script, small))} <&-"
                done = subprocess.run(
                    ["bash", "-c", line], cwd=ROOT, env=settings(script, tmp_path), capture_output=True, timeout=60
                )
            else:
                done = run(script, small, tmp_path, stdin=stdin)
            assert (done.returncode, done.stdout) == (2, b"")
            assert is_one_line(script, done.stderr), done.stderr
            assert b"stdin" in done.stderr
            assert b"write" not in done.stderr
    os.close(terminal)
    os.close(its_end)


@pytest.mark.parametrize("script", READERS)
def test_what_is_refused_prints_nothing(script: str, small: Path, tmp_path: Path) -> None:
    for content in (b"not JSON", b"7", (small / script).read_bytes()[:-3]):
        if (script, content) == ("query.py", b"7"):
            continue
        done = run(script, small, tmp_path, input=content)
        assert (done.returncode, done.stdout) == (2, b"")
        assert is_one_line(script, done.stderr), done.stderr


# stdout


@pytest.mark.parametrize("script", OFFLINE)
def test_a_closed_pipe(script: str, large: Path, tmp_path: Path, bash) -> None:
    """The reader has gone: the script ends quietly, and not with exit 0 after half a document."""
    expected = run(script, large, tmp_path)
    if len(expected.stdout) <= 1 << 16:
        pytest.skip("its answer fits into the pipe")
    line = f"{' '.join(command(script, large))} < {large / script} | head -c 1; echo ${{PIPESTATUS[0]}}"
    done = bash(line, **settings(script, tmp_path))
    assert done.stdout[:1] == expected.stdout[:1]
    assert done.stdout[1:] == b"%d\n" % BROKEN_PIPE
    assert done.stderr == b""


def test_a_closed_pipe_behind_make(bash, large: Path) -> None:
    line = f"make -s promotions SNAPSHOTS={large / DIFF} | head -1; echo ${{PIPESTATUS[0]}}"
    done = bash(line)
    assert done.stdout == b"[\n2\n"
    assert all(text.startswith(b"make: ") for text in done.stderr.splitlines()), done.stderr


@pytest.mark.parametrize("script", OFFLINE)
def test_stdout_that_cannot_be_written(script: str, small: Path, tmp_path: Path) -> None:
    """Full, closed, or larger than a file may be: one line, and not exit 0."""
    if not run(script, small, tmp_path).stdout:
        pytest.skip("it prints nothing")
    words = f"{' '.join(command(script, small))} < {small / script}"
    for line in (f"{words} > /dev/full", f"{words} >&-", f"ulimit -f 0; {words} > {tmp_path}/file"):
        done = subprocess.run(["bash", "-c", line], env=settings(script, tmp_path), capture_output=True, timeout=60)
        assert done.returncode == 2, line
        last = done.stderr.splitlines(keepends=True)[-1]
        assert is_one_line(script, last), done.stderr
        assert b"cannot write" in last


def test_stderr_that_cannot_be_written(small: Path, tmp_path: Path, bash) -> None:
    """It changes neither the answer nor the exit code."""
    for script, code in (("promotions.py", 0), ("in_progress.py", 1)):
        words = f"{' '.join(command(script, small))} < {small / script}"
        expected = run(script, small, tmp_path)
        assert expected.returncode == code
        for line in (f"{words} 2>&-", f"{words} 2>/dev/full"):
            done = bash(line, **settings(script, tmp_path))
            assert (done.returncode, done.stdout) == (code, expected.stdout)
    assert bash(f"{sys.executable} scripts/promotions.py 2>&- <<< '{{}}'").returncode == 2


def test_a_reader_that_is_slow(large: Path, tmp_path: Path) -> None:
    """stdout is a pipe that does not block and is read late: the document comes whole."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(large / "promotions.py", "rb") as stdin:
        child = subprocess.Popen(
            command("promotions.py", large),
            env=environment(tmp_path),
            stdin=stdin,
            stdout=writing,
            stderr=subprocess.PIPE,
        )
    os.close(writing)
    time.sleep(0.3)
    with open(reading, "rb") as pipe:
        release = json.loads(pipe.read())
    assert child.wait(60) == 0
    assert len(release) == 250


# The two readers: json for small documents, orjson for large ones


# What the large reader sees differently, as the docstring of lib.filters.parse says.
DIFFERENT = {
    "a key twice in an artifact": "only a category of artifacts is looked for twice",
    "a key twice, once escaped": "the same",
    "a key twice in a promotion": "the same",
    "2**64 as extra": "a number beyond 64 bits becomes a float",
    "-2**63 - 1 as extra": "the same",
    "a small fraction as extra": "1e-8 is printed as 1e-8, not as 1e-08",
    "300 lists in an artifact": "orjson writes 254 levels, and refuses more",
    "300 objects in an artifact": "the same",
    "900 lists in an artifact": "the same",
    "900 objects in an artifact": "the same",
}


@pytest.mark.parametrize("script", ["promotions.py", "rollback.py"])
def test_both_readers_take_and_print_the_same(script: str, tmp_path: Path) -> None:
    """A document that white space makes large is the same document."""
    use = USES[script]
    kinds = re.compile("syntax|nested|encoding|key of|text in a (release|diff):")
    entries = {
        name: content
        for name, content in corpus().items()
        if len(content) < LARGE // 2 and kinds.match(name) and meant_for(name) in ("", document_of(use))
    }
    for index, content in enumerate(entries.values()):
        (tmp_path / f"{index}.small").write_bytes(content)
        (tmp_path / f"{index}.large").write_bytes(content + b" " * LARGE)
    ends = {}
    for size in ("small", "large"):
        out = tmp_path / size
        out.mkdir()
        codes = run_all(use, [(tmp_path / f"{index}.{size}", {}) for index in range(len(entries))], out, tmp_path)
        ends[size] = [(code, streams(out, index)[0]) for index, (code, _, _) in enumerate(codes)]
    # What rollback.py reads it may still refuse, when nothing of it can be rolled back.
    read = (0, 1) if script == "rollback.py" else (0,)
    assert len([code for code, _ in ends["small"] if code in read]) > 50
    different = [name for name, one, other in zip(entries, ends["small"], ends["large"]) if one != other]
    unknown = [name for name in different if name.partition(": ")[2] not in DIFFERENT]
    assert not unknown, f"{len(unknown)}:\n" + "\n".join(unknown[:40])


def test_a_number_has_64_bits() -> None:
    for number in (-(1 << 63), (1 << 64) - 1, 10**19, 0):
        assert parse(b"[%d]" % number, "stdin") == [number]
    for number in (-(1 << 63) - 1, 1 << 64, 10**20, -(10**20), 10**400):
        with pytest.raises(Unusable, match="does not fit into 64 bits"):
            parse(b"[%d]" % number, "stdin")


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"[1.0e+400]"])
def test_a_float_has_64_bits(number: bytes) -> None:
    with pytest.raises(Unusable, match="does not fit into 64 bits"):
        parse(number, "stdin")


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ([float("nan")], "the answer cannot be written as JSON: Out of range float values are not JSON compliant"),
        ({"a": b"bytes"}, "the answer cannot be written as JSON: Object of type bytes is not JSON serializable"),
        (None, "stdin is not usable JSON: it is nested too deeply"),
    ],
    ids=["a NaN", "bytes", "a deep list"],
)
def test_what_cannot_be_written(document: object, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "orjson", raising=False)
    if document is None:
        document = []
        for _ in range(100_000):
            document = [document]
    with pytest.raises(Unusable) as refused:
        to_json(document)
    assert refused.value.causes[0].startswith(why)


def test_an_empty_file_is_what_the_caller_takes_it_for(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.json"
    path.write_bytes(b"")
    with pytest.raises(Unusable, match="is empty"):
        read_file(str(path))
    assert read_file(str(path), empty=[]) == []
    path.write_bytes(b'[{"verdict": "error"}]')
    assert read_file(str(path)) == read_file(str(path), empty=[]) == [{"verdict": "error"}]


def test_a_value_is_cut_when_it_is_long() -> None:
    assert printable("x" * 400) == "x" * 400
    assert printable("x" * 401) == "x" * 400 + "... (401 characters)"


def test_a_setting_is_text_whatever_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, text in ((b"caf\xc3\xa9", "café"), (b"caf\xe9", "caf\ufffd"), (b"cafe", "cafe"), (b"", "default")):
        monkeypatch.setitem(os.environb, b"FLOWS", value)
        assert setting("FLOWS", "default") == text


def test_the_bar() -> None:
    assert [bar(done, 4) for done in (0, 1, 4)] == [
        f"\r[{'.' * 40}] 0/4",
        f"\r[{'#' * 10}{'.' * 30}] 1/4",
        f"\r[{'#' * 40}] 4/4",
    ]


def test_the_line_between_the_readers(tmp_path: Path) -> None:
    content = to_bytes(diff([artifact(1)]))
    answers = {
        run("promotions.py", tmp_path, tmp_path, input=content + b" " * (LARGE - len(content) + more)).stdout
        for more in (-1, 0, 1)
    }
    assert len(answers) == 1
    assert json.loads(answers.pop())[0]["incoming_flow"] == "app-1-ci"


# Start and end


@pytest.mark.parametrize("script", ["promotions.py", "in_progress.py", "rollback.py", "snapshots.py"])
def test_a_small_document_needs_no_heavy_import(script: str, small: Path, tmp_path: Path) -> None:
    """A start is what a user waits for. jmespath brings what it brings; nothing else heavy comes in."""
    words = command(script, small) if script in USES else [sys.executable, str(ROOT / "scripts" / script)]
    if script == "snapshots.py":
        words = [sys.executable, str(ROOT / "scripts" / script)]
    content = (small / (script if script in READERS else DIFF)).read_bytes()
    done = subprocess.run(
        [words[0], "-X", "importtime", *words[1:]],
        cwd=ROOT,
        env={**environment(tmp_path), "SNAPSHOTS": str(small / DIFF)},
        input=content,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode in (0, 1)
    imported = {line.split("|")[-1].strip() for line in done.stderr.decode().splitlines() if "|" in line}
    assert "lib.filters" in imported
    heavy = {"orjson", "argparse", "typing", "dataclasses", "subprocess", "sh", "pathlib", "tempfile", "logging"}
    heavy |= {
        "asyncio",
        "threading",
        "concurrent.futures",
        "difflib",
        "selectors",
        "socket",
        "urllib.parse",
        "datetime",
    }
    assert not imported & heavy
    if script == "snapshots.py":
        assert "jmespath" not in imported


def test_outside_of_a_virtual_environment_it_starts_in_the_projects_own(small: Path, tmp_path: Path) -> None:
    """With the system's Python, the packages come from .venv all the same; from any directory."""
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    if not python.exists() or not (ROOT / ".venv/bin/python").exists():
        pytest.skip("no Python outside, or no .venv")
    done = subprocess.run(
        [python, "-v", ROOT / "scripts" / "promotions.py"],
        cwd=tmp_path,
        env=environment(tmp_path),
        input=(small / DIFF).read_bytes(),
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert len(json.loads(done.stdout)) == 2
    assert f"{ROOT}/.venv/lib" in done.stderr.decode()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("script", READERS)
def test_a_signal_ends_it_quietly(script: str, stop: signal.Signals, small: Path, tmp_path: Path) -> None:
    child = subprocess.Popen(
        command(script, small),
        cwd=ROOT,
        env=settings(script, tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_until_it_reads(child)
    child.send_signal(stop)
    stdout, stderr = child.communicate(timeout=30)
    assert child.returncode in (-stop, 128 + stop)
    assert (stdout, stderr) == (b"", b"")


def test_a_missing_package_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "orjson.py").write_text("raise ModuleNotFoundError(name='orjson')\n")
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "promotions.py"],
        env={**environment(tmp_path), "PYTHONPATH": str(tmp_path)},
        input=to_bytes(diff([artifact(1)])) + b" " * LARGE,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"promotions.py: the Python package orjson is missing: make .venv/.stamp installs it\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        ("MemoryError", 2, "x.py: out of memory\n"),
        ("BrokenPipeError", 141, ""),
        ("KeyboardInterrupt(15)", 143, ""),
        ("OSError(28, 'No space left on device')", 2, "x.py: cannot write: No space left on device\n"),
        ("Unusable('one', 'two')", 2, "x.py: one\nx.py: two\n"),
        ("Refused('why')", 1, "x.py: why\n"),
        ("KosliFailed('how')", 3, "x.py: how\n"),
    ],
)
def test_how_a_script_ends(error: str, code: int, said: str, tmp_path: Path) -> None:
    """Whatever a script raises is an exit code and lines on stderr."""
    (tmp_path / "x.py").write_text(
        f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r})\n"
        f"from lib.filters import *\ndef main(argv): raise {error}\nrun(main, '')\n"
    )
    done = subprocess.run([sys.executable, tmp_path / "x.py"], env=environment(tmp_path), capture_output=True)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (code, b"", said)


def test_out_of_memory_is_one_line(tmp_path: Path) -> None:
    """A document that does not fit into memory is no traceback and no half answer."""
    content = to_bytes(diff([artifact(n) for n in range(20_000)]))
    done = run(
        "promotions.py",
        tmp_path,
        tmp_path,
        input=content,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (60 << 20, 60 << 20)),
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert is_one_line("promotions.py", done.stderr), done.stderr
