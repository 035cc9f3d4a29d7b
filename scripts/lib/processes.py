"""Running programs, with the package sh: Kosli's CLI and git.

A program gets an environment of our making and a time. It is stopped, with all that it has started, when the time is up
and when this process gets a signal. What it leaves behind when it ends by itself is stopped too.
"""

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from lib import streams
from lib.streams import KosliFailed, printable

T = TypeVar("T")
R = TypeVar("R")

# The variables that every program may see.
PASSED = (
    *("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"),
)

_lock = threading.Lock()
_running: dict[int, Any] = {}  # sh's commands by process id
_stopped = 0  # the signal that stops this process
_deferred = False  # whether that waits for a moment
# Programs are started by these threads and a signal reaches the main one: so it never comes in the middle of a start.
_starters = ThreadPoolExecutor(max_workers=64)


class Ended(NamedTuple):
    """What came of a program: its exit code, negative for a signal, and all that it said."""

    code: int
    stdout: bytes
    stderr: bytes


def environment(passing: Sequence[str], own: dict[str, str]) -> dict[str, str]:
    """Return an environment for a program: the variables PASSED and `passing`, then `own`; nothing that is empty."""
    passed = {name: os.environ.get(name, "") for name in (*PASSED, *passing)}
    return {name: value for name, value in {**passed, **own}.items() if value}


def run(program: str, *arguments: str, env: dict[str, str], cwd: str, timeout: float) -> Ended:
    """Run a program to its end. Raises KosliFailed when it cannot run, and TimeoutError after `timeout` seconds."""
    return _result(_undisturbed(lambda: _starters.submit(_run, program, arguments, env, cwd, timeout)))


def _result(future: Future[R]) -> R:
    """Return what a thread returns."""
    return _undisturbed(lambda: _wait(future))


def _wait(future: Future[R]) -> R:
    # A wait without an end could sleep through a signal that comes just before it.
    while not future.done() and not _stopped:
        futures.wait([future], timeout=0.2)
    return future.result()


def _undisturbed(function: Callable[[], R]) -> R:
    """Call a function that a signal must not leave half done. Raises KeyboardInterrupt when one has come.

    A pool or a future that is left half done keeps a thread waiting, and with it this process, for ever.
    """
    global _deferred
    if threading.current_thread() is not threading.main_thread():
        return function()
    _deferred = True
    try:
        return function()
    finally:
        _deferred = False
        if _stopped:
            raise KeyboardInterrupt(_stopped)


def _run(program: str, arguments: tuple[str, ...], env: dict[str, str], cwd: str, timeout: float) -> Ended:
    import sh  # here, like tqdm below: their imports take longer than all others, and often nothing is run

    if any("\0" in argument for argument in arguments):
        raise KosliFailed(f"{program} cannot be asked about a value with a NUL character in it")
    # Files, because sh loses the end of a pipe that a child of the program keeps open.
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        options = {"_env": env, "_cwd": cwd, "_in": b"", "_out": stdout, "_err": stderr}
        command = _start(program, arguments, options)
        # Not sh's own time-outs: they check only ten times a second whether a program has ended.
        timer = threading.Timer(timeout, _kill, [command])
        timer.start()
        try:
            command.wait()
        except sh.ErrorReturnCode:
            pass  # whoever asked judges the exit code; the exception's text would hold the whole command
        finally:
            late = not timer.is_alive()
            timer.cancel()
            _kill(command)
            with _lock:
                _running.pop(command.pid)
        if _stopped:
            raise KosliFailed("stopped")
        if late:
            raise TimeoutError
        stdout.seek(0)
        stderr.seek(0)
        return Ended(command.exit_code, stdout.read(), stderr.read())


def _start(program: str, arguments: tuple[str, ...], options: dict[str, Any]) -> Any:
    import sh

    try:
        with _lock:
            if _stopped:
                raise KosliFailed("stopped")
            found = sh.Command(program, search_paths=options["_env"].get("PATH", "").split(":"))
            command = found(*arguments, **options, _bg=True, _bg_exc=False, _new_session=True)
            _running[command.pid] = command
        if _stopped:
            _kill(command)  # the signal came while it started
        return command
    except sh.CommandNotFound:
        raise KosliFailed(f"there is no program {program} on PATH") from None
    except (OSError, sh.ForkException) as error:
        reason = printable(str(error).strip().splitlines()[-1].strip())
        raise KosliFailed(f"{program} cannot be run: {reason}") from None


def _kill(command: Any) -> None:
    try:
        # Not kill_group(): it fails when the group's leader has ended already.
        os.killpg(command.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def side_by_side(function: Callable[[T], R], items: Sequence[T], jobs: int, unit: str = "") -> Iterator[R]:
    """Yield what a function returns for each item, in order; `jobs` at once, and none begins after a stop.

    With a `unit`, a bar on a terminal shows how far it is.
    """
    pool = ThreadPoolExecutor(max_workers=jobs)
    try:
        answers: Iterable[R] = map(_result, _undisturbed(lambda: [pool.submit(function, item) for item in items]))
        if unit and os.isatty(2):
            from tqdm import tqdm

            answers = tqdm(answers, total=len(items), unit=unit)
        yield from answers
    finally:
        _undisturbed(lambda: pool.shutdown(wait=False, cancel_futures=True))


def stop_on_signals() -> None:
    """Let Ctrl-C, SIGTERM and a closed terminal end what runs, children included, and then this process."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) != signal.SIG_IGN:  # as nohup has it
            signal.signal(signum, _stop)


def _stop(signum: int, _frame: object) -> None:
    global _stopped
    _stopped = signum
    # Without the lock: the thread that has it may wait for one that the main thread holds, which this has interrupted.
    for command in list(_running.values()):
        _kill(command)
    if not (_deferred or streams.ended):
        raise KeyboardInterrupt(signum)
