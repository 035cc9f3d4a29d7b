"""The one door to the Kosli CLI. Nothing else runs it.

The CLI reads every KOSLI_ variable as a flag, and configuration files from the current directory. So it gets an
environment of the door's own making, and a current directory without such a file. It has no time-out, so the door has:
KOSLI_TIMEOUT seconds, after which the CLI and its children are killed. The token is never an argument, and what the CLI
says is shown without it.
"""

from __future__ import annotations

import math
import os
import selectors
import signal
import subprocess
import threading
import time
from collections import namedtuple

from lib import ROOT
from lib.filters import KosliFailed, Stop, Unusable, parse, printable, say, setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# code: the exit code, negative for a signal; stdout: bytes; said: the last line that it said (none of a JSON document),
# without the token.
Answer = namedtuple("Answer", "command code stdout said")

PASSED = (
    *("PATH", "HOME", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"),
    *("KOSLI_HOST", "KOSLI_ORG", "KOSLI_API_TOKEN", "KOSLI_HTTP_PROXY", "KOSLI_MAX_API_RETRIES"),
)
# What the attest commands take from GitHub Actions: the commit and the links to it and to the run.
PASSED_TO_ATTEST = (
    *("CI", "GITHUB_ACTIONS", "GITHUB_ACTOR", "GITHUB_REF", "GITHUB_REF_NAME", "GITHUB_REPOSITORY"),
    *("GITHUB_REPOSITORY_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_RUN_ID", "GITHUB_RUN_NUMBER", "GITHUB_SERVER_URL"),
    *("GITHUB_SHA", "GITHUB_WORKFLOW"),
)
# What the CLI needs to look for pull requests: the workflow's token.
PASSED_TO_FIND_PULL_REQUESTS = ("KOSLI_GITHUB_TOKEN",)
# What it needs to look into a cloud: the role that was taken, and where.
PASSED_TO_RECORD = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"),
    *("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME"),
    *("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    *("AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_CA_BUNDLE", "DOCKER_HOST"),
)
_FALSE = ("", "0", "f", "F", "false", "FALSE", "False")
_LARGEST_ANSWER = 1 << 30
_KEPT = 1 << 16

_lock = threading.RLock()
_running: set[subprocess.Popen[bytes]] = set()
_starting = 0  # the thread that starts a command
_stopped = 0  # the signal that stops this process


def ask(*arguments: str, attesting: bool = False, passing: tuple[str, ...] = (), within: float = math.inf) -> Answer:
    """Run `kosli ARGUMENTS` and return what came of it, whatever its exit code. It sees the variables `passing` too.

    Raises KosliFailed when there is no CLI, no organisation or token, when dry run is on, or when the time is up:
    KOSLI_TIMEOUT seconds, or `within` if that is less.
    """
    require_settings()
    command = " ".join(("kosli", *arguments[: 1 if arguments[0] == "version" else 2]))
    names = (*PASSED, *(PASSED_TO_ATTEST if attesting else ()), *passing)
    environment = {name: os.environ[name] for name in names if os.environ.get(name)}
    timeout = min(_timeout(), within)
    end = time.monotonic() + timeout
    process = _start(["kosli", *arguments], environment)
    try:
        stdout, stderr = _read(process, end)
        if stdout is None:
            raise KosliFailed(f"{command}: no answer within {timeout:g} seconds (KOSLI_TIMEOUT)")
        # It may close its streams and live on.
        code = process.wait(max(end - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        raise KosliFailed(f"{command}: still running after {timeout:g} seconds (KOSLI_TIMEOUT)") from None
    finally:
        _end(process)
    said = _last_line(stderr)
    if not said and not stdout[:_KEPT].lstrip().startswith(b"{"):
        said = _last_line(stdout[-_KEPT:])
    return Answer(command, code, stdout, said)


def ask_for_json(*arguments: str, within: float = math.inf) -> tuple[bytes, Any]:
    """Return the answer of a command that must succeed with JSON, as bytes and as a document."""
    answer = ask(*arguments, within=within)
    if answer.code:
        raise failure(answer)
    if any(token.encode() in answer.stdout for token in _tokens() if len(token) > 15):
        raise KosliFailed(f"{answer.command}: its answer holds the API token, and is not shown")
    return answer.stdout, document_in(answer)


def tell(*arguments: str, passing: tuple[str, ...] = ()) -> None:
    """Run a command that changes something in Kosli and must succeed. Dry run, of whatever source, is off."""
    answer = ask(*arguments, "--dry-run=false", "--debug=false", attesting=True, passing=passing)
    if answer.code:
        raise failure(answer)


def tell_all(commands: list[tuple[str, tuple[str, ...], tuple[str, ...]]]) -> None:
    """Tell Kosli one thing after the other: (what it is, arguments, variables to pass). Stopped, it says how far."""
    done = 0
    try:
        for _, arguments, passing in commands:
            tell(*arguments, passing=passing)
            done += 1
    except (Stop, KeyboardInterrupt):
        for index, (what, _, _) in enumerate(commands):
            say(f"{'attested' if index < done else 'failed' if index == done else 'not attested'}: {what}")
        raise


def document_in(answer: Answer) -> Any:
    """Return the JSON document that a command printed; KosliFailed says what it printed instead."""
    if not answer.stdout.strip():
        raise failure(answer)
    try:
        return parse(answer.stdout, "its answer")
    except Unusable as error:
        # Redacted before it is cut: a piece of the token must not show either.
        begins = printable(redacted(answer.stdout.lstrip()[:_KEPT].decode("utf-8", "replace"))[:80].strip())
        how = f"exit {answer.code}: {answer.said}; " if answer.code and answer.said != begins else ""
        raise KosliFailed(
            f"{answer.command}: {how}{error.causes[0]}; it begins with: {begins} "
            "(several hosts in KOSLI_HOST, debug mode or dry run do that)"
        ) from None


def failure(answer: Answer) -> KosliFailed:
    """Return the error for a command that failed: which one, how, and the last line that it said."""
    how = f"exit {answer.code}" if answer.code >= 0 else f"ended by signal {-answer.code}"
    nothing = "it gave no reason" if answer.stdout.strip() else "it said nothing"
    return KosliFailed(f"{answer.command}: {how}: {answer.said or nothing}")


def require_settings() -> None:
    """Refuse what would make every answer worthless: no organisation, no token, dry run."""
    for name in ("KOSLI_ORG", "KOSLI_API_TOKEN"):
        if not setting(name):
            raise KosliFailed(f"{name} is not set: Kosli cannot be asked")
    if os.environ.get("KOSLI_DRY_RUN", "") not in _FALSE:
        raise KosliFailed("KOSLI_DRY_RUN is on: the CLI would report each failure as a success")
    if "DRY_RUN" in _tokens():
        raise KosliFailed("KOSLI_API_TOKEN is DRY_RUN: the CLI would report each failure as a success")


def redacted(text: str) -> str:
    """Return a text without a token in it: Kosli's, or that of the workflow."""
    for token in sorted(filter(None, (*_tokens(), setting("KOSLI_GITHUB_TOKEN"))), key=len, reverse=True):
        text = text.replace(token, "[token]")
    return text


def stop_on_signals() -> None:
    """Let Ctrl-C and SIGTERM end what runs, children included, and then this process (KeyboardInterrupt)."""
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)


def _stop(signum: int, _frame: object) -> None:
    global _stopped
    _stopped = signum
    if _starting == threading.get_ident():
        return  # _start ends what it starts
    with _lock:
        for process in list(_running):
            _kill(process)
    raise KeyboardInterrupt(signum)


def _tokens() -> list[str]:
    return [token for token in map(str.strip, setting("KOSLI_API_TOKEN").split(",")) if token]


def _timeout() -> float:
    try:
        timeout = float(setting("KOSLI_TIMEOUT", "120"))
    except ValueError:
        timeout = 0
    if not 0 < timeout <= 86400:
        raise Unusable(f"KOSLI_TIMEOUT: {printable(setting('KOSLI_TIMEOUT'))} is no number of seconds")
    return timeout


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    global _starting
    with _lock:
        if _stopped:
            raise KosliFailed("stopped")
        _starting = threading.get_ident()
        try:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=os.path.join(ROOT, "kosli"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise KosliFailed("there is no kosli CLI on PATH") from None
        except OSError as error:
            raise KosliFailed(f"the kosli CLI cannot be run: {error.strerror}") from None
        except ValueError:
            raise KosliFailed("kosli cannot be asked about a value with a NUL character in it") from None
        else:
            _running.add(process)
        finally:
            _starting = 0
        if _stopped:
            _end(process)
            raise KeyboardInterrupt(_stopped)
        return process


def _read(process: subprocess.Popen[bytes], end: float) -> tuple[bytes | None, bytes]:
    """Return all of stdout and the end of stderr, with None for stdout when they are still open at the time `end`."""
    assert process.stdout
    assert process.stderr
    out: list[bytes] = []
    err, size = b"", 0
    with selectors.DefaultSelector() as streams:
        streams.register(process.stdout, selectors.EVENT_READ)
        streams.register(process.stderr, selectors.EVENT_READ)
        while streams.get_map():
            rest = end - time.monotonic()
            if rest <= 0:
                return None, err
            for key, _ in streams.select(rest):
                piece = os.read(key.fd, 1 << 20)
                if not piece:
                    streams.unregister(key.fileobj)
                elif key.fileobj is process.stderr:
                    err = (err + piece)[-_KEPT:]
                else:
                    out.append(piece)
                    size += len(piece)
                    if size > _LARGEST_ANSWER:
                        raise KosliFailed(f"kosli: an answer of more than {_LARGEST_ANSWER} bytes")
    return b"".join(out), err


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of a command behind: neither it nor what it started."""
    _kill(process)
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()
    _running.discard(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _last_line(said: bytes) -> str:
    if len(said) == _KEPT:
        said = said[
            max(map(len, (*_tokens(), setting("KOSLI_GITHUB_TOKEN")))) :
        ]  # it may begin with a piece of the token
    lines = [line for line in redacted(said.decode("utf-8", "replace")).splitlines() if line.strip()]
    return printable(lines[-1].strip()) if lines else ""
