"""The one door to the Kosli CLI: the token is nowhere, nothing leaks in, and nothing of it lives on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from worlds import TOKEN, Ran, World, release_of, set_up, wait_for

from lib import kosli
from lib.filters import KosliFailed, Unusable

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="needs /proc to see processes")
SECOND_TOKEN = "Qy3GdU6jBt1HsN8wFz0E"
GITHUB_TOKEN = "Vk4MxA9eJr5PiC2oLu7S"
HOSTS = "https://one.example,https://two.example"
REVIEW = {"state": "approved", "comment": "go", "user": {"login": "ada"}, "environments": [{"name": "production"}]}
READS = ("snapshots.py", "gate.py", "verify.py")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world in which all is set up, with a release of one promotion in a file."""
    world = World(tmp_path)
    world.write(set_up())
    (tmp_path / "release.json").write_bytes(release_of("runner-ci"))
    return world


# Every script that talks to Kosli: its arguments, what it reads, its own settings.
SCRIPTS: dict[str, tuple[list[str], str, dict[str, str]]] = {
    "snapshots.py": ([], "", {}),
    "gate.py": (["aws-beta", "aws-prod"], "release.json", {}),
    "attest.py": ([], "release.json", {}),
    "attest.py refused": ([], "release.json", {"REFUSED": "not compliant"}),
    "kosli_setup.py": ([], "", {}),
    "begin_trail.py": ([], "", {}),
    "approval.py": ([], "reviews.json", {"DIGEST": "0" * 64}),
    "verify.py": (["../release.json"], "", {"VERIFY_TIMEOUT": "0", "VERIFY_INTERVAL": "0"}),
    "record.py": (["aws-beta"], "", {"RECORDED": "beta"}),
    "attest_build.py": (
        [],
        "",
        {
            "BUILD_FLOW": "saver-ci",
            "ARTIFACT_NAME": "saver",
            "IMAGE": "registry.example/saver:1",
            "FINGERPRINT": "1" * 64,
            "COMMIT_SHA": "3cb945b7c2a4cbe246cd629b8e5dec31d5278f16",
            "GITHUB_REPOSITORY": "cyber-dojo/saver",
            "GITHUB_RUN_ID": "70",
            "KOSLI_GITHUB_TOKEN": GITHUB_TOKEN,
            "REPO_ROOT": str(ROOT),
        },
    ),
}


def run_all(world: World, **variables: str) -> dict[str, Ran]:
    """Run every script that talks to Kosli, side by side."""
    (world.home / "reviews.json").write_text(json.dumps([REVIEW]))

    def one(name: str) -> Ran:
        arguments, reads, more = SCRIPTS[name]
        stdin = (world.home / reads).read_bytes() if reads else b""
        return world.run(name.split()[0], *arguments, stdin=stdin, **{**variables, **more})

    with ThreadPoolExecutor() as pool:
        return dict(zip(SCRIPTS, pool.map(one, SCRIPTS)))


def test_these_are_all_the_scripts_that_talk_to_kosli() -> None:
    users = {path.name for path in (ROOT / "scripts").glob("*.py") if "from lib.kosli import" in path.read_text()}
    assert users == {name.split()[0] for name in SCRIPTS} | {"demo.py"}


# The token


PIECE = 8
LONG_TOKEN = f"{TOKEN}.{SECOND_TOKEN}." * 40
LONG_LINE = 1 << 16  # what the door keeps of stderr
DOCUMENT = {"policy_name": TOKEN, "status": TOKEN, "rule_evaluations": [{"rule": {"type": TOKEN}, "resolutions": []}]}
SUCCESSES: dict[str, tuple[Any, dict[str, str]]] = {
    "all is well": ({}, {}),
    "a flood": ({"flood": True}, {}),
    "several hosts": ({}, {"KOSLI_HOST": HOSTS, "KOSLI_API_TOKEN": f"{TOKEN},{SECOND_TOKEN}"}),
    "debug": ({}, {"KOSLI_DEBUG": "true"}),
}
FAILURES: dict[str, tuple[Any, dict[str, str]]] = {
    "the server echoes the token": ({"echo_token": True}, {}),
    "a crash that echoes it": ({"echo_token": True, "exit": 2}, {}),
    "it dies by a signal after it has echoed it": ({"echo_token": True, "signal": "SIGKILL"}, {}),
    "a server of several that fails": (
        {"hosts": ["https://two.example"], "echo_token": True},
        {"KOSLI_HOST": HOSTS, "KOSLI_API_TOKEN": f"{TOKEN},{SECOND_TOKEN}"},
    ),
    "both of them": ({"echo_token": True}, {"KOSLI_HOST": HOSTS, "KOSLI_API_TOKEN": f"{TOKEN}, {SECOND_TOKEN} "}),
    "more tokens than hosts": ({"fail": SECOND_TOKEN}, {"KOSLI_API_TOKEN": f"{TOKEN},{SECOND_TOKEN}"}),
    "a long line that is cut within the token": ({"fail": TOKEN + "x" * (LONG_LINE - 11)}, {}),
    "a line of stdout that is cut within it": ({"garbage": TOKEN + "x" * (LONG_LINE - 10), "exit": 1}, {}),
    "garbage that begins with it": ({"garbage": f"{TOKEN} is no JSON"}, {}),
    "garbage in which the 80th character is within it": ({"garbage": "x" * 70 + TOKEN + "x" * 99}, {}),
    "garbage in which the 400th character is within it": ({"garbage": "x" * 390 + TOKEN, "exit": 1}, {}),
    "garbage in which the 4096th character is within it": ({"garbage": " " * 4086 + TOKEN + " x"}, {}),
    "a long token": ({"echo_token": True, "garbage": LONG_TOKEN * 20}, {"KOSLI_API_TOKEN": LONG_TOKEN}),
    "an answer that holds it": (
        {"answer": {"compliant": False, "html_url": TOKEN, "policy_evaluations": [DOCUMENT]}, "exit": 1},
        {},
    ),
    "an answer about it": ({"answer": {"fingerprint": TOKEN}, "exit": 1}, {}),
    "a version that is it": ({"version": TOKEN, "exit": 1}, {}),
    "half an answer": ({"half": True, "exit": 1}, {}),
    "no answer": ({"hang": True, "spawn_child": True}, {"KOSLI_TIMEOUT": "0.5"}),
    "no CLI": ({}, {"PATH": "/nowhere"}),
    "no organisation": ({}, {"KOSLI_ORG": ""}),
    "another organisation": ({}, {"KOSLI_ORG": "acme"}),
    "a host that is no host": ({"hosts": [f"https://{TOKEN}.example"]}, {"KOSLI_HOST": f"https://{TOKEN}.example"}),
    "dry run": ({}, {"KOSLI_DRY_RUN": "true"}),
    "dry run by one of the tokens": ({}, {"KOSLI_HOST": HOSTS, "KOSLI_API_TOKEN": f"{TOKEN},DRY_RUN"}),
    "a time-out that is none": ({}, {"KOSLI_TIMEOUT": "never"}),
}


@pytest.mark.parametrize("situation", SUCCESSES)
def test_the_token_is_nowhere_in_success(world: World, situation: str) -> None:
    ran = look_for_the_token(world, *SUCCESSES[situation])
    assert {name: one.code for name, one in ran.items()} == {**dict.fromkeys(ran, 0), "verify.py": 1}


@pytest.mark.parametrize("situation", FAILURES)
def test_the_token_is_nowhere_in_failure(world: World, situation: str) -> None:
    ran = look_for_the_token(world, *FAILURES[situation])
    assert 0 not in {ran[name].code for name in READS}


def look_for_the_token(world: World, mood: Any, variables: dict[str, str]) -> dict[str, Ran]:
    """Run every script in this mood, and assert that no piece of a token is anywhere that others can see."""
    world.change(mood=mood)
    before = sorted(os.listdir(ROOT / "kosli"))
    ran = run_all(world, **variables)
    world.change(mood={})
    assert sorted(os.listdir(ROOT / "kosli")) == before
    for name, one in ran.items():
        no_token(one.out, f"stdout of {name}")
        no_token(one.err, f"stderr of {name}")
        assert b"Traceback" not in one.err, name
    for call in world.calls():
        no_token(json.dumps(call["argv"]).encode(), "argv")
        for secret in ("KOSLI_API_TOKEN", "KOSLI_GITHUB_TOKEN"):
            call["environment"].pop(secret, None)
        if TOKEN not in variables.get("KOSLI_HOST", ""):
            no_token(json.dumps(call["environment"]).encode(), "the CLI's environment")
    for path in world.home.rglob("*"):
        no_token(str(path.relative_to(world.home)).encode(), "a file's name")
        if path.is_file() and path.name != "calls.jsonl":
            no_token(path.read_bytes(), str(path))
    assert os.listdir(world.home / "tmp") == os.listdir(world.home / "cwd") == []
    return ran


def no_token(data: bytes, where: str) -> None:
    """Assert that there is no piece of a token."""
    for token in (TOKEN, SECOND_TOKEN, GITHUB_TOKEN):
        for start in range(len(token) - PIECE + 1):
            assert token[start : start + PIECE].encode() not in data, f"a piece of the token is in {where}"


def test_a_token_that_begins_like_another_is_redacted_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOSLI_API_TOKEN", "begins-alike,begins-alike-and-goes-on")
    assert kosli.redacted("<begins-alike-and-goes-on> <begins-alike>") == "<[token]> <[token]>"


@pytest.mark.parametrize(("length", "shown"), [(15, True), (16, False)])
def test_an_answer_with_a_token_is_not_shown_unless_it_is_as_short_as_a_word(
    length: int, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "t" * length
    monkeypatch.setenv("KOSLI_API_TOKEN", f"another-token-of-theirs,{token}")
    answer = kosli.Answer("kosli diff snapshots", 0, json.dumps({"flow": f"a{token}z"}).encode(), "")
    monkeypatch.setattr(kosli, "ask", lambda *_, **__: answer)
    if shown:
        assert kosli.ask_for_json("diff", "snapshots") == (answer.stdout, {"flow": f"a{token}z"})
    else:
        with pytest.raises(KosliFailed, match="its answer holds the API token"):
            kosli.ask_for_json("diff", "snapshots")


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
    "DOCKER_HOST": "x",
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


def test_the_environment_of_each_call_is_exactly_the_allowed_set(world: World) -> None:
    allowed = {"PATH", "HOME", "KOSLI_ORG", "KOSLI_API_TOKEN", *OF_THE_MACHINE, *OF_KOSLI}
    ran = run_all(world, **OF_THE_MACHINE, **OF_KOSLI, **OF_THE_CI, **OF_THE_CLOUD, **OF_NOBODY)
    assert {name: (one.code, one.err) for name, one in ran.items() if name != "verify.py"} == {
        name: (0, b"") for name in ran if name != "verify.py"
    }
    calls = world.calls()
    commands = {call["argv"][0] for call in calls}
    assert commands == {"diff", "version", "assert", "attest", "create", "begin", "snapshot"}
    more: dict[str, set[str]] = {
        "diff": set(),
        "version": set(),
        "assert": set(),
        "snapshot": {*OF_THE_CI, *OF_THE_CLOUD},
        "pullrequest": {*OF_THE_CI, "KOSLI_GITHUB_TOKEN"},
    }
    for call in calls:
        kind = "pullrequest" if "pullrequest" in call["argv"] else call["argv"][0]
        # A Python in the C locale, as the stand-in is, sets LC_CTYPE for itself.
        assert {*call["environment"]} - {"LC_CTYPE"} == allowed | more.get(kind, {*OF_THE_CI}), call["argv"]
        assert call["cwd"] == str(ROOT / "kosli")


def test_an_empty_variable_is_none(world: World) -> None:
    world.done("snapshots.py", KOSLI_HOST="", HTTPS_PROXY="", KOSLI_MAX_API_RETRIES="")
    (call,) = world.calls()
    assert {*call["environment"]} - {"LC_CTYPE"} == {"PATH", "HOME", "KOSLI_ORG", "KOSLI_API_TOKEN"}


def test_the_release_is_not_read_from_stdin_by_the_cli(world: World, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    kosli = tmp_path / "bin" / "kosli"
    kosli.write_text('#!/bin/sh\nprintf \'{"read": "%s"}\' "$(cat)"\n')
    kosli.chmod(0o755)
    ran = world.run("snapshots.py", stdin=b"eaten", PATH=f"{tmp_path}/bin:/usr/bin:/bin")
    assert ran == Ran(0, b'{"read": ""}\n', b"")


# Nothing lives on


STUBBORN = {"hang": True, "ignore_sigterm": True, "spawn_child": True}


@needs_proc
@pytest.mark.parametrize(
    "mood",
    [STUBBORN, {"spawn_child": True}, {"spawn_child": True, "linger": 30}, {"signal": "SIGKILL", "spawn_child": True}],
    ids=["hangs", "leaves a child behind", "lives on", "dies and leaves a child behind"],
)
def test_nothing_survives_a_time_out(world: World, mood: dict[str, Any]) -> None:
    world.change(mood=mood)
    start = time.monotonic()
    ran = world.run("snapshots.py", KOSLI_TIMEOUT="0.7")
    assert (ran.code, ran.out) == (3, b"")
    assert ran.err == b"snapshots.py: kosli diff snapshots: no answer within 0.7 seconds (KOSLI_TIMEOUT)\n"
    assert 0.7 <= time.monotonic() - start < 5
    assert (world.state / "children").exists()
    wait_for(lambda: world.processes() == [], 5)


@needs_proc
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT], ids=lambda sent: sent.name)
@pytest.mark.parametrize("script", ["snapshots.py", "gate.py", "attest.py", "verify.py"])
def test_nothing_survives_a_signal(world: World, script: str, sent: signal.Signals) -> None:
    asked = {"gate.py": 8}.get(script, 1)
    world.change(mood={"only": ["diff snapshots", "assert artifact", "attest custom"], **STUBBORN})
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
        assert err.splitlines()[:3] == [
            "attest.py: attested: dashboard (artifact)",
            "attest.py: failed: dashboard.promotion (promotion)",
            "attest.py: not attested: runner (artifact)",
        ]
    assert "Traceback" not in err


# A signal at the worst of all moments: the CLI runs, and the door does not know yet.
WORST = """
import os, signal, subprocess, sys, threading, time
from lib import filters, kosli

class Popen(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.3)

def main(argv):
    kosli.stop_on_signals()
    subprocess.Popen = Popen
    if argv == ["main"]:
        kosli.ask("version", "--short")
    else:
        threading.Thread(target=kosli.ask, args=("version", "--short"), daemon=True).start()
        time.sleep(30)
    return 0

filters.run(main, "")
"""


@needs_proc
@pytest.mark.parametrize("thread", ["main", "another"])
def test_nothing_survives_a_signal_while_it_starts(world: World, thread: str, tmp_path: Path) -> None:
    world.change(mood={"only": ["version"], **STUBBORN})
    (tmp_path / "worst.py").write_text(WORST)
    start = time.monotonic()
    ran = world.run(str(tmp_path / "worst.py"), thread, PYTHONPATH=str(ROOT / "scripts"))
    assert (ran.code, ran.out) == (128 + signal.SIGTERM, b""), ran.err
    assert time.monotonic() - start < 5
    wait_for(lambda: world.processes() == [], 5)


@needs_proc
def test_nothing_survives_a_signal_at_any_moment(world: World) -> None:
    world.change(mood={"only": ["assert artifact"], "delay": 0.02})
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


def test_one_call_that_dies_takes_no_other_with_it(world: World) -> None:
    world.change(mood=[{"delay": 0.1}, {"only": ["assert artifact"], "skip": 3, "times": 1, "signal": "SIGSEGV"}])
    ran = world.run("gate.py", "aws-beta", "aws-prod", stdin=release_of())
    verdicts = [verdict["verdict"] for verdict in json.loads(ran.out)]
    assert (ran.code, sorted(verdicts)) == (3, ["compliant"] * 7 + ["error"])
    assert ran.err.endswith(b"kosli assert artifact: ended by signal 11: it gave no reason\n")


def test_answers_of_calls_side_by_side_are_not_mixed_up(world: World) -> None:
    names = ("aws-beta#4753", "aws-beta#4754", "aws-prod#3547", "aws-prod#3548")
    pairs = [(one, two) for one in names for two in names]

    def ask(pair: tuple[str, str]) -> tuple[str, str]:
        diff = json.loads(world.done("snapshots.py", FROM_ENV=pair[0], TO_ENV=pair[1]))
        return diff["snappish1"]["snapshot_id"], diff["snappish2"]["snapshot_id"]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, pairs)) == pairs
    assert len(world.calls()) == len(pairs)


def test_the_door_is_the_only_one() -> None:
    for path in (ROOT / "scripts").rglob("*.py"):
        if path.name not in ("kosli.py", "demo.py", "build_venv.py"):
            assert "subprocess" not in path.read_text(), f"{path.name} runs something past the door"


# The door from within: its bounds, and what ends a question


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what puts a CLI of these shell commands first on PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("KOSLI_ORG", "cyber-dojo")
    monkeypatch.setenv("KOSLI_API_TOKEN", TOKEN)
    monkeypatch.setattr(kosli, "_stopped", 0)

    def make(body: str, mode: int = 0o755) -> None:
        (tmp_path / "kosli").write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "kosli").chmod(mode)

    return make


def refusal(*arguments: str) -> str:
    """Return why the door gives no answer to a question."""
    with pytest.raises(KosliFailed) as failed:
        kosli.ask(*arguments)
    return failed.value.causes[0]


def test_a_cli_that_closes_its_streams_and_lives_on(
    cli: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("exec >&- 2>&-; sleep 60")
    monkeypatch.setenv("KOSLI_TIMEOUT", "0.5")
    assert refusal("diff", "snapshots") == "kosli diff snapshots: still running after 0.5 seconds (KOSLI_TIMEOUT)"


def test_a_cli_that_cannot_be_run(cli: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cli("true", mode=0o644)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refusal("version") == "the kosli CLI cannot be run: Permission denied"
    assert refusal("assert", "a\0b") == "kosli cannot be asked about a value with a NUL character in it"


def test_no_question_is_asked_after_a_signal(cli: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    cli("true")
    monkeypatch.setattr(kosli, "_stopped", signal.SIGTERM)
    assert refusal("version") == "stopped"


@pytest.mark.parametrize(("size", "taken"), [(999, True), (1000, True), (1001, False)])
def test_an_answer_without_end_is_not_read(
    size: int, taken: bool, cli: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # In several pieces.
    cli(f"printf %0500d 0; sleep 0.1; printf %0{size - 500}d 0")
    monkeypatch.setattr(kosli, "_LARGEST_ANSWER", 1000)
    if taken:
        assert len(kosli.ask("version").stdout) == size
    else:
        assert refusal("version") == "kosli: an answer of more than 1000 bytes"


@pytest.mark.parametrize(("end", "read"), [(99.5, False), (100.0, False), (100.5, True)])
def test_nothing_is_read_when_the_time_is_up(end: float, read: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen(["echo", "late"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    monkeypatch.setattr(kosli.time, "monotonic", lambda: 100.0)
    assert kosli._read(process, end) == ((b"late\n" if read else None), b"")
    monkeypatch.undo()
    kosli._end(process)


def test_nothing_of_a_question_is_left() -> None:
    process = kosli._start(["sleep", "60"], dict(os.environ))
    assert process in kosli._running
    kosli._end(process)
    assert process not in kosli._running
    assert process.returncode == -signal.SIGKILL, "it was waited for"
    assert process.stdout.closed
    assert process.stderr.closed


@pytest.mark.parametrize(
    ("timeout", "right"), [("86400", True), ("86400.5", False), ("0.001", True), ("0", False), ("-1", False)]
)
def test_a_time_out_is_a_day_at_most(timeout: str, right: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOSLI_TIMEOUT", timeout)
    if right:
        assert kosli._timeout() == float(timeout)
    else:
        with pytest.raises(Unusable, match="is no number of seconds"):
            kosli._timeout()


def test_how_a_command_failed() -> None:
    answer = kosli.Answer("kosli x", 0, b" ", "")
    said = {code: kosli.failure(answer._replace(code=code)).causes[0] for code in (1, 0, -1, -9)}
    assert said == {
        1: "kosli x: exit 1: it said nothing",
        0: "kosli x: exit 0: it said nothing",
        -1: "kosli x: ended by signal 1: it said nothing",
        -9: "kosli x: ended by signal 9: it said nothing",
    }
    with pytest.raises(KosliFailed, match=r"^kosli x: exit 0: boom$"):
        kosli.document_in(answer._replace(said="boom"))
    assert kosli._last_line(b"first\nlast\n \n") == "last"


if sys.platform == "win32":
    pytest.skip("a POSIX system is needed", allow_module_level=True)
