"""The one door to the Kosli CLI: the token is nowhere, nothing leaks in, and nothing of it lives on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from conftest import ROOT
from lib import kosli
from worlds import (
    CHILD,
    FLOOD,
    GITHUB_TOKEN,
    REVIEW,
    STUBBORN,
    TO_KOSLI,
    TOKEN,
    Ran,
    World,
    ready,
    release_of,
    use,
    wait_for,
)

import pytest

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="needs /proc to see processes")
SECOND_TOKEN = "Qy3GdU6jBt1HsN8wFz0E"
HOSTS = "HOST,HOST"  # HOST becomes the service's address
READS = ("snapshots.py", "gate.py", "verify.py")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world in which all is set up, with a release of one promotion in a file."""
    return ready(tmp_path)


def run_all(world: World, *names: str, **variables: str) -> dict[str, Ran]:
    """Run scripts that talk to Kosli side by side: those that are named, or all.

    The refusal comes after the others: it attests the same release in the same trail as the proposal.
    """
    names = names or tuple(TO_KOSLI)
    together = [name for name in names if name != "attest.py refused"]
    with ThreadPoolExecutor() as pool:
        ran = dict(zip(together, pool.map(lambda name: use(world, name, **variables), together), strict=True))
    return {**ran, **{name: use(world, name, **variables) for name in names if name not in ran}}


# The token


PIECE = 8
LONG_TOKEN = f"{TOKEN}.{SECOND_TOKEN}." * 40
LONG_LINE = 1 << 16  # what the door keeps of stderr
DOCUMENT = {"policy_name": TOKEN, "status": TOKEN, "rule_evaluations": [{"rule": {"type": TOKEN}, "resolutions": []}]}
ECHO = [{"status": 401, "message": "no entry for <TOKEN>"}]
WRITE_DOWN = 'echo "$*" >>"$HOME/argv"; env | grep -v "^KOSLI_.*TOKEN=" >>"$HOME/variables"'
# What goes wrong: the faults of the service, lines of sh before the CLI, and settings.
Situation = tuple[list[dict[str, Any]], str, dict[str, str]]
SUCCESSES: dict[str, Situation] = {
    "all is well": ([], "", {}),
    "a flood": ([], FLOOD, {}),
    "several hosts": ([], "", {"KOSLI_HOST": HOSTS, "KOSLI_API_TOKEN": f"{TOKEN},{SECOND_TOKEN}"}),
    "debug": ([], "", {"KOSLI_DEBUG": "true"}),
}


def says(text: str, code: int = 0) -> str:
    """Return what makes the CLI print a text and exit, whatever it is asked."""
    return f"cat <<'END'\n{text}\nEND\nexit {code}"


FAILURES: dict[str, Situation] = {
    "the server echoes the token": (ECHO, "", {}),
    "an answer that holds it": (
        [{"merge": {"compliant": False, "html_url": TOKEN, "policy_evaluations": [DOCUMENT]}}],
        "",
        {},
    ),
}
FAILURES_AT_THE_DOOR: dict[str, Situation] = {
    "a crash that echoes it": (ECHO, '"$kosli" "$@"; exit 2', {}),
    "it dies by a signal after it has echoed it": (ECHO, '"$kosli" "$@"; kill -KILL $$', {}),
    "a server of several that fails": (
        ECHO,
        "",
        {"KOSLI_HOST": "HOST,http://127.0.0.1:9", "KOSLI_API_TOKEN": f"{TOKEN},{SECOND_TOKEN}"},
    ),
    "both of them": (ECHO, "", {"KOSLI_HOST": HOSTS, "KOSLI_API_TOKEN": f"{TOKEN}, {SECOND_TOKEN} "}),
    "more tokens than hosts": (ECHO, "", {"KOSLI_API_TOKEN": f"{TOKEN},{SECOND_TOKEN}"}),
    "a long line that is cut within the token": ([{"status": 400, "message": TOKEN + "x" * (LONG_LINE - 11)}], "", {}),
    "a line of stdout that is cut within it": ([], says(TOKEN + "x" * (LONG_LINE - 10), 1), {}),
    "garbage that begins with it": ([], says(f"{TOKEN} is no JSON"), {}),
    "garbage in which the 80th character is within it": ([], says("x" * 70 + TOKEN + "x" * 99), {}),
    "garbage in which the 400th character is within it": ([], says("x" * 390 + TOKEN, 1), {}),
    "garbage in which the 4096th character is within it": ([], says(" " * 4086 + TOKEN + " x"), {}),
    "a long token": (ECHO, says(LONG_TOKEN * 20), {"KOSLI_API_TOKEN": LONG_TOKEN}),
    "an answer about it": ([{"merge": {"fingerprint": TOKEN}}], '"$kosli" "$@"; exit 1', {}),
    "a version that is it": ([], says(TOKEN, 1), {}),
    "half an answer": ([{"cut": True}], "", {}),
    "no answer": ([{"hang": True}], f'{CHILD}; "$kosli" "$@"', {"KOSLI_TIMEOUT": "0.5"}),
    "no CLI": ([], "", {"PATH": "/nowhere"}),
    "no organisation": ([], "", {"KOSLI_ORG": ""}),
    "another organisation": ([], "", {"KOSLI_ORG": "acme"}),
    "a host that is no host": ([], "", {"KOSLI_HOST": f"http://127.0.0.1:9/{TOKEN}"}),
    "dry run": ([], "", {"KOSLI_DRY_RUN": "true"}),
    "dry run by one of the tokens": ([], "", {"KOSLI_HOST": HOSTS, "KOSLI_API_TOKEN": f"{TOKEN},DRY_RUN"}),
    "a time-out that is none": ([], "", {"KOSLI_TIMEOUT": "never"}),
}


@pytest.mark.parametrize("situation", SUCCESSES)
def test_the_token_is_nowhere_in_success(world: World, situation: str) -> None:
    names = () if situation == "all is well" else ("snapshots.py", "gate.py", "attest.py", "verify.py")
    ran = look_for_the_token(world, *SUCCESSES[situation], *names)
    assert {name: one.code for name, one in ran.items()} == {**dict.fromkeys(ran, 0), "verify.py": 1}


@pytest.mark.parametrize("situation", FAILURES)
def test_the_token_is_nowhere_in_failure(world: World, situation: str) -> None:
    ran = look_for_the_token(world, *FAILURES[situation])
    assert 0 not in {ran[name].code for name in READS}


@pytest.mark.parametrize("situation", FAILURES_AT_THE_DOOR)
def test_the_token_is_nowhere_in_a_failure_at_the_door(world: World, situation: str) -> None:
    """One script that shows what the CLI printed, and one that judges it."""
    ran = look_for_the_token(world, *FAILURES_AT_THE_DOOR[situation], "snapshots.py", "gate.py")
    assert 0 not in {one.code for one in ran.values()}


def look_for_the_token(
    world: World, faults: Any, before_kosli: str, variables: dict[str, str], *names: str
) -> dict[str, Ran]:
    """Run scripts, and assert that no piece of a token is anywhere that others can see."""
    world.change(faults=faults)
    world.before_kosli(f"{WRITE_DOWN}\n{before_kosli}")
    before = sorted(os.listdir(ROOT / "kosli"))
    ran = run_all(world, *names, **variables)
    world.change(faults=[])
    world.before_kosli("")
    assert sorted(os.listdir(ROOT / "kosli")) == before
    for name, one in ran.items():
        no_token(one.out, f"stdout of {name}")
        no_token(one.err, f"stderr of {name}")
        assert b"Traceback" not in one.err, name
    if TOKEN in variables.get("KOSLI_HOST", ""):
        (world.home / "variables").unlink(missing_ok=True)
    for path in world.home.rglob("*"):
        no_token(str(path.relative_to(world.home)).encode(), "a file's name")
        if path.is_file():
            no_token(path.read_bytes(), str(path))
    left = [*os.listdir(world.home / "tmp"), *os.listdir(world.home / "cwd")]
    assert left == [], {name: (one.code, one.err[-2000:]) for name, one in ran.items()}
    return ran


def no_token(data: bytes, where: str) -> None:
    """Assert that there is no piece of a token."""
    for token in (TOKEN, SECOND_TOKEN, GITHUB_TOKEN):
        for start in range(len(token) - PIECE + 1):
            assert token[start : start + PIECE].encode() not in data, f"a piece of the token is in {where}"


def test_a_token_that_begins_like_another_is_redacted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOSLI_API_TOKEN", "begins-alike,begins-alike-and-goes-on")
    assert kosli.redacted("<begins-alike-and-goes-on> <begins-alike>") == "<[token]> <[token]>"


# The environment


OF_THE_MACHINE = {
    **dict.fromkeys(("SSL_CERT_FILE", "SSL_CERT_DIR", "NO_PROXY", "ALL_PROXY", "no_proxy", "all_proxy"), "x"),
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://proxy.example:3128"),
}
OF_KOSLI = {
    "KOSLI_HOST": "https://kosli.example",
    "KOSLI_HTTP_PROXY": "http://proxy.example:3128",
    "KOSLI_MAX_API_RETRIES": "1",
}
OF_THE_CI = {
    "CI": "true",
    "GITHUB_ACTIONS": "true",
    "GITHUB_ACTOR": "ada",
    "GITHUB_REF": "refs/heads/main",
    "GITHUB_REF_NAME": "main",
    "GITHUB_REPOSITORY": "cyber-dojo/production-promotion",
    "GITHUB_REPOSITORY_ID": "7",
    "GITHUB_RUN_ATTEMPT": "1",
    "GITHUB_RUN_ID": "70",
    "GITHUB_RUN_NUMBER": "7",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_SHA": "3cb945b7c2a4cbe246cd629b8e5dec31d5278f16",
    "GITHUB_WORKFLOW": "promote",
}
OF_THE_CLOUD = {
    **{f"AWS_{name}": "x" for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "CA_BUNDLE")},
    **dict.fromkeys(("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_ROLE_ARN"), "x"),
    **dict.fromkeys(("AWS_SHARED_CREDENTIALS_FILE", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE"), "x"),
    **{f"AWS_CONTAINER_CREDENTIALS_{name}_URI": "x" for name in ("RELATIVE", "FULL")},
    **{f"AWS_CONTAINER_AUTHORIZATION_TOKEN{name}": "x" for name in ("", "_FILE")},
    **dict.fromkeys(("DOCKER_HOST", "DOCKER_CONFIG", "KUBECONFIG", "GOOGLE_APPLICATION_CREDENTIALS"), "x"),
    **{f"KOSLI_AZURE_{name}": "x" for name in ("CLIENT_ID", "CLIENT_SECRET", "TENANT_ID", "SUBSCRIPTION_ID")},
}
OF_NOBODY = {
    **{
        f"KOSLI_{name}": "leaked"
        for name in (
            *("FLOW", "NAME", "TRAIL", "FINGERPRINT", "ENVIRONMENT", "POLICY", "OUTPUT", "TYPE", "ARTIFACT_TYPE"),
            *("ANNOTATE", "ATTACHMENTS", "ATTESTATION_DATA", "BUILD_URL", "COMMIT", "COMMIT_URL", "DESCRIPTION"),
            *("CONFIG_FILE", "EXTERNAL_URL", "JQ", "SCHEMA", "TEMPLATE_FILE", "USER_DATA", "VISIBILITY", "EXCLUDE"),
            *("AWS_BETA", "AWS_PROD", "TIMEOUT_OF_SOMETHING_ELSE"),
        )
    },
    **{f"KOSLI_{name}": "true" for name in ("DEBUG", "COMPLIANT", "HELP", "USE_EMPTY_TEMPLATE")},
    **dict.fromkeys(("GITHUB_TOKEN", "GH_TOKEN", "ACTIONS_RUNTIME_TOKEN"), "secret"),
    **dict.fromkeys(("GITHUB_OUTPUT", "GITHUB_ENV", "LD_LIBRARY_PATH", "PYTHONPATH", "GIT_DIR"), "/nowhere"),
    "KOSLI_DRY_RUN": "false",
    "KOSLI_TIMEOUT": "60",
    "kosli_flow": "leaked",
}


ALWAYS = {"PATH", "HOME", "KOSLI_HOST", "KOSLI_ORG", "KOSLI_API_TOKEN", "KOSLI_NO_UPDATE_CHECK"}
# A CLI that writes down what it sees, in one piece, and has nothing to say.
OBSERVER = """env=$(env | cut -d= -f1 | sort | tr '\\n' ' ')
echo "$PWD|$1 $2|$env" >>"$HOME/seen"
exit"""


def seen(world: World) -> list[tuple[str, str, set[str]]]:
    """Return the folder, the command and the variables of each call. The shell that looks sets PWD by itself."""
    lines = [line.split("|") for line in (world.home / "seen").read_text().splitlines()]
    return [(folder, command, {*names.split()} - {"PWD", "SHLVL", "_", "LC_CTYPE"}) for folder, command, names in lines]


def test_the_environment_of_each_call_is_exactly_the_allowed_set(world: World) -> None:
    allowed = {*ALWAYS, *OF_THE_MACHINE, *OF_KOSLI}
    world.before_kosli(OBSERVER)
    run_all(world, **OF_THE_MACHINE, **OF_KOSLI, **OF_THE_CI, **OF_THE_CLOUD, **OF_NOBODY)
    calls = seen(world)
    commands = {command.split()[0] for _, command, _ in calls}
    assert commands == {"diff", "version", "assert", "attest", "create", "begin", "snapshot", "get", "list"}
    more: dict[str, set[str]] = {
        "diff": set(),
        "version": set(),
        "assert": set(),
        "get": set(),
        "list": set(),
        "snapshot": {*OF_THE_CI, *OF_THE_CLOUD},
        "attest pullrequest": {*OF_THE_CI, "KOSLI_GITHUB_TOKEN"},
    }
    for folder, command, names in calls:
        of_this = more.get(command, more.get(command.split()[0], {*OF_THE_CI}))
        assert names == allowed | of_this, command
        assert folder.startswith(f"{world.home}/tmp/kosli-home-")


def test_an_empty_variable_is_none(world: World) -> None:
    world.before_kosli(OBSERVER)
    world.run("snapshots.py", KOSLI_HOST="", HTTPS_PROXY="", KOSLI_MAX_API_RETRIES="")
    ((_, _, names),) = seen(world)
    assert names == ALWAYS


def test_the_release_is_not_read_from_stdin_by_the_cli(world: World) -> None:
    world.before_kosli('cat >"$HOME/eaten"')
    assert world.run("snapshots.py", stdin=b"eaten").code == 0
    assert (world.home / "eaten").read_bytes() == b""


# Files of the user's


@pytest.mark.parametrize("file", [".kosli.json", ".kosli.toml", ".kosli.yaml", ".kosli.yml", ".kosli.env", "", "unset"])
def test_no_file_of_the_users_reaches_a_question(world: World, file: str) -> None:
    """The CLI would look into another flow; without HOME, or with an empty one, into the home of the user database."""
    texts = {".kosli.json": '{"flow": "other"}', ".kosli.toml": 'flow = "other"', ".kosli.env": "KOSLI_FLOW=other"}
    variables: dict[str, str] = {}
    if file.startswith("."):
        (world.home / file).write_text(texts.get(file, "flow: other\n"))
    elif file:
        del world.variables["HOME"]
    else:
        variables["HOME"] = ""
    found = json.loads(world.done("gate.py", "aws-beta", "aws-prod", stdin=release_of("runner-ci"), **variables))
    assert [verdict["verdict"] for verdict in found] == ["compliant", "compliant"]
    asked = [request["query"] for request in world.requests("/api/v2/asserts/")]
    assert sorted(asked, key=str) == [{"environment_name": "aws-beta"}, {"environment_name": "aws-prod"}]


# A proxy that answers for Kosli


SWALLOWED = {"a login page": {"login": True}, "200 and a page": {"body": "<html>Log in</html>"}}


@pytest.mark.parametrize("fault", SWALLOWED.values(), ids=SWALLOWED)
@pytest.mark.parametrize(
    "script",
    [name for name in TO_KOSLI if name.startswith(("attest", "kosli_setup", "begin_trail", "approval", "outcome"))],
)
def test_a_write_that_was_swallowed_is_no_success(world: World, script: str, fault: dict[str, Any]) -> None:
    """The CLI takes the proxy's page for Kosli's yes: only reading back tells."""
    world.write({key: value for key, value in world.read().items() if key != "attestation_types"})
    if script in ("kosli_setup.py", "begin_trail.py"):
        world.change(flows={})
    world.change(faults=[{"method": "POST", **fault}, {"method": "PUT", **fault}])
    ran = use(world, script)
    assert (ran.code, ran.out) == (3, b""), ran.err


AGAIN = {
    "a refusal after a proposal": ("attest.py", [], "release.json", "release.json", str(ROOT / "README.md")),
    "a second approval": ("approval.py", [], "reviews.json", "more-reviews.json", ""),
    "an outcome of a second attempt": ("outcome.py", ["../release.json"], "outcomes.json", "landed.json", ""),
}


@pytest.mark.parametrize(("script", "arguments", "first", "second", "reasons"), AGAIN.values(), ids=AGAIN)
def test_an_earlier_attestation_of_the_same_name_is_not_what_was_told(
    world: World, script: str, arguments: list[str], first: str, second: str, reasons: str
) -> None:
    release = json.loads(release_of("runner-ci"))[0]
    landed = {"flow": "runner-ci", "fingerprint": release["incoming_fingerprint"], "outcome": "landed", "running": []}
    files = {"reviews.json": [REVIEW], "more-reviews.json": [REVIEW, REVIEW], "outcomes.json": []}
    for name, document in {**files, "landed.json": [{**landed, "snapshot_id": "aws-prod#1"}]}.items():
        (world.home / name).write_text(json.dumps(document))
    digest = {"DIGEST": "0" * 64} if script == "approval.py" else {}
    world.done(script, *arguments, stdin=(world.home / first).read_bytes(), **digest)
    again = {**digest, "REASONS": reasons}
    world.change(faults=[{"method": "POST", "login": True}])
    ran = world.run(script, *arguments, stdin=(world.home / second).read_bytes(), **again)
    assert (ran.code, ran.out) == (3, b""), ran.err
    assert b"the trail does not hold what Kosli was told" in ran.err
    world.change(faults=[])
    world.done(script, *arguments, stdin=(world.home / second).read_bytes(), **again)


# Nothing lives on


@needs_proc
@pytest.mark.parametrize(
    ("lines", "code", "said"),
    [
        (STUBBORN, 3, "no answer within 0.7 seconds (KOSLI_TIMEOUT)"),
        (f'{CHILD}; "$kosli" "$@"; exec >&- 2>&-; exec sleep 300', 3, "no answer within 0.7 seconds (KOSLI_TIMEOUT)"),
        (f"{CHILD}; kill -KILL $$", 3, "ended by signal 9: it said nothing"),
        (CHILD, 0, ""),
    ],
    ids=["hangs", "answers and lives on", "dies and leaves a child behind", "answers and leaves a child behind"],
)
def test_nothing_survives_a_question(world: World, lines: str, code: int, said: str) -> None:
    world.before_kosli(lines)
    start = time.monotonic()
    ran = world.run("snapshots.py", KOSLI_TIMEOUT="0.7")
    assert (ran.code, bool(ran.out)) == (code, not code)
    assert ran.err.decode() == (f"snapshots.py: kosli diff snapshots: {said}\n" if said else "")
    assert time.monotonic() - start < 5
    assert (world.state / "children").exists()
    wait_for(lambda: world.processes() == [], 5)


@needs_proc
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda sent: sent.name)
@pytest.mark.parametrize("script", ["snapshots.py", "gate.py", "attest.py", "verify.py"])
def test_nothing_survives_a_signal(world: World, script: str, sent: signal.Signals) -> None:
    asked = {"gate.py": 8, "attest.py": 4}.get(script, 1)
    world.before_kosli(f'case "$1 $2" in "diff snapshots" | "assert artifact" | "attest custom") {STUBBORN} ;; esac')
    arguments = {"gate.py": ["aws-beta", "aws-prod"], "verify.py": ["../release.json"]}.get(script, [])
    process = world.start(script, *arguments)
    process.stdin.write(release_of())
    process.stdin.close()
    children = world.state / "children"
    wait_for(lambda: children.exists() and len(children.read_text().splitlines()) == asked)
    time.sleep(0.1)
    assert len(world.processes()) == 2 * asked + 1
    process.send_signal(sent)
    assert process.wait(5) == 128 + sent
    err = process.stderr.read().decode()
    out = process.stdout.read()
    process.stdout.close()
    process.stderr.close()
    wait_for(lambda: world.processes() == [], 5)
    assert os.listdir(world.home / "tmp") == []
    assert out == b""
    if script == "attest.py":
        said = [line.split(": ")[1] for line in err.splitlines()]
        assert said == ["attested"] * 4 + ["failed"] * 4 + ["not attested"]
    assert "Traceback" not in err


@needs_proc
def test_nothing_survives_a_signal_at_any_moment(world: World) -> None:
    world.change(faults=[{"path": "/asserts/", "delay": 0.02}])
    release = release_of()
    for moment in range(10):
        process = world.start("gate.py", "aws-beta", "aws-prod", GATE_JOBS="2")
        process.stdin.write(release)
        process.stdin.close()
        time.sleep(0.03 + 0.025 * moment)
        process.send_signal(signal.SIGTERM)
        code = process.wait(5)
        assert code in (0, -signal.SIGTERM, 128 + signal.SIGTERM)  # done; not ready for signals yet; stopped
        assert b"Traceback" not in process.stderr.read()
        process.stdout.close()
        process.stderr.close()
    wait_for(lambda: world.processes() == [], 5)


def test_a_closed_stderr_changes_no_verdict(world: World) -> None:
    words = ["bash", "-c", 'exec "$@" 2>&-', "bash", sys.executable, ROOT / "scripts/gate.py", "aws-beta", "aws-prod"]
    ran = subprocess.run(words, cwd=world.home, env=world.environment(), input=release_of(), stdout=subprocess.PIPE)
    assert ran.returncode == 0
    assert [verdict["verdict"] for verdict in json.loads(ran.stdout)] == ["compliant"] * 8


def test_one_call_that_dies_takes_no_other_with_it(world: World) -> None:
    world.change(faults=[{"delay": 0.1}])
    world.before_kosli('[ "$1" = assert ] && mkdir "$HOME/once" 2>&- && kill -SEGV $$')
    ran = world.run("gate.py", "aws-beta", "aws-prod", stdin=release_of())
    verdicts = [verdict["verdict"] for verdict in json.loads(ran.out)]
    assert (ran.code, sorted(verdicts)) == (3, ["compliant"] * 7 + ["error"])
    assert ran.err.endswith(b"kosli assert artifact: ended by signal 11: it said nothing\n")


def test_answers_of_calls_side_by_side_are_not_mixed_up(world: World) -> None:
    beta, prod = ("aws-beta#4753", "aws-beta#4754"), ("aws-prod#3547", "aws-prod#3548")
    pairs = [pair for one in beta for two in prod for pair in ((one, two), (two, one))]

    def ask(pair: tuple[str, str]) -> tuple[str, str]:
        diff = json.loads(world.done("snapshots.py", FROM_ENV=pair[0], TO_ENV=pair[1]))
        return diff["snappish1"]["snapshot_id"], diff["snappish2"]["snapshot_id"]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, pairs)) == pairs
    assert len(world.requests()) == len(pairs)


def test_the_door_is_the_only_one() -> None:
    for path in (ROOT / "scripts").rglob("*.py"):
        if path.name not in ("processes.py", "demo.py", "build_venv.py", "__init__.py"):
            assert not re.search(r"subprocess|import sh\b|os\.(exec|spawn|system|popen)", path.read_text()), path.name


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("exec >&- 2>&-; sleep 60", "kosli diff snapshots: no answer within 0.5 seconds (KOSLI_TIMEOUT)"),
        ("exit 1", "kosli diff snapshots: exit 1: it said nothing"),
        ("exit 0", "kosli diff snapshots: exit 0: it said nothing"),
        ("kill -9 $$", "kosli diff snapshots: ended by signal 9: it said nothing"),
        ("echo first >&2; echo last >&2; echo >&2; exit 1", "kosli diff snapshots: exit 1: last"),
        (
            "printf 'panic: no\\n\\ngoroutine 1:\\n  main.go:38\\n' >&2; exit 2",
            "kosli diff snapshots: exit 2: panic: no",
        ),
    ],
)
def test_how_a_command_failed(world: World, lines: str, said: str) -> None:
    world.before_kosli(f"{lines}; exit")
    assert world.run("snapshots.py", KOSLI_TIMEOUT="0.5") == Ran(3, b"", f"snapshots.py: {said}\n".encode())


def test_a_long_cause_is_shown_from_both_ends(world: World) -> None:
    """The cause of a network error stands at the end of its line, that of a template error at the beginning."""
    world.before_kosli(f"echo 'begins {'x' * 2000} connection refused' >&2; exit 1")
    err = world.run("snapshots.py").err.decode()
    assert re.fullmatch(r"snapshots.py: kosli diff snapshots: exit 1: begins x+ \.\.\. x+ connection refused\n", err)
    assert len(err) < 500


def test_a_cli_that_cannot_be_run(world: World, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "kosli").write_text("not a program")
    (tmp_path / "bin" / "kosli").chmod(0o755)
    ran = world.run("snapshots.py", PATH=f"{tmp_path}/bin")
    assert (ran.code, ran.out) == (3, b"")
    assert b"kosli cannot be run: " in ran.err
