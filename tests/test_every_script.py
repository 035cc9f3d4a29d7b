"""What goes wrong for every script that talks to Kosli, in the same way: its settings, its CLI, its streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT
from worlds import World, release_of

import pytest

TO_KOSLI = {
    "snapshots.py": ([], "", {}),
    "gate.py": (["aws-beta", "aws-prod"], "release", {}),
    "attest.py": ([], "release", {}),
    "doctor.py": ([], "", {}),
    "kosli_setup.py": ([], "", {}),
    "begin_trail.py": ([], "", {}),
    "approval.py": ([], "reviews", {"DIGEST": "0" * 64}),
    "verify.py": (["RELEASE"], "", {"VERIFY_TIMEOUT": "0"}),
    "record.py": (["aws-beta"], "", {"RECORDED": "beta"}),
    "outcome.py": (["RELEASE"], "", {}),
    "known_release.py": (["RELEASE"], "", {"ROLLBACK_OF": "42"}),
    "attest_build.py": (
        [],
        "",
        {
            "BUILD_FLOW": "saver-ci",
            "ARTIFACT_NAME": "saver",
            "IMAGE": "registry.example/saver:1",
            "FINGERPRINT": "1" * 64,
            "GITHUB_REPOSITORY": "cyber-dojo/saver",
            "GITHUB_RUN_ID": "70",
            "REPO_ROOT": str(ROOT),
        },
    ),
}
SCRIPTS = sorted(path.name for path in (ROOT / "scripts").glob("*.py") if path.name != "demo.py")
REVIEW = {"state": "approved", "comment": "go", "user": {"login": "ada"}, "environments": [{"name": "production"}]}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world in which all is set up."""
    return World(tmp_path, "settled set-up")


def run(world: World, script: str, **variables: str) -> tuple[int, bytes, str]:
    """Run a script with what it needs; return its exit code, its stdout and its stderr."""
    arguments, stdin, more = TO_KOSLI[script]
    release = release_of("runner-ci")
    (world.home / "release.json").write_bytes(release)
    document = {"release": release, "reviews": json.dumps([REVIEW]).encode(), "": b""}[stdin]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    more = {"COMMIT_SHA": commit.stdout.strip(), **more}
    words = [str(world.home / "release.json") if word == "RELEASE" else word for word in arguments]
    ran = world.run(script, *words, stdin=document, **{**more, **variables})
    return ran.code, ran.out, ran.err.decode()


def test_these_are_all_the_scripts_that_talk_to_kosli() -> None:
    users = {path.name for path in (ROOT / "scripts").glob("*.py") if "lib.kosli import" in path.read_text()}
    assert users - {"demo.py"} == set(TO_KOSLI)


@pytest.mark.parametrize("script", TO_KOSLI)
def test_all_is_well(script: str, world: World) -> None:
    """Nothing has landed yet, and the trail holds no release yet."""
    code, out, _ = run(world, script)
    assert (code, bool(out)) == {"verify.py": (1, True), "known_release.py": (1, False)}.get(script, (0, True))


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"KOSLI_API_TOKEN": ""}, "KOSLI_API_TOKEN is not set"),
        ({"KOSLI_ORG": ""}, "KOSLI_ORG is not set"),
        ({"KOSLI_DRY_RUN": "true"}, "KOSLI_DRY_RUN is on"),
        ({"KOSLI_API_TOKEN": "DRY_RUN"}, "KOSLI_API_TOKEN is DRY_RUN"),
        ({"PATH": "/nowhere"}, "there is no program kosli on PATH"),
    ],
    ids=["no token", "no organisation", "dry run by a variable", "dry run by the token", "no CLI"],
)
@pytest.mark.parametrize("script", TO_KOSLI)
def test_nothing_is_asked(script: str, variables: dict[str, str], reason: str, world: World) -> None:
    before = world.read()
    code, out, err = run(world, script, **variables)
    assert (code, out) == (3, b"")
    assert reason in err
    assert "Traceback" not in err
    assert world.requests() == []
    assert world.read() == before


@pytest.mark.parametrize("script", TO_KOSLI)
def test_kosli_says_nothing(script: str, world: World) -> None:
    world.change(faults=[{"hang": True}])
    code, out, err = run(world, script, KOSLI_TIMEOUT="0.5")
    assert code == 3
    assert "no answer within 0.5 seconds (KOSLI_TIMEOUT)" in err
    if script == "gate.py":
        assert {verdict["verdict"] for verdict in json.loads(out)} == {"error"}
    else:
        assert out == b""
    assert world.processes() == []


@pytest.mark.parametrize("script", TO_KOSLI)
def test_the_token_is_wrong_and_echoed(script: str, world: World) -> None:
    token = "a-token-that-was-revoked"
    world.change(faults=[{"status": 401, "message": "no entry for <TOKEN>"}])
    code, _, err = run(world, script, KOSLI_API_TOKEN=token)
    assert code == 3
    assert "no entry for [token]" in err
    assert token not in err


def alone(script: str, *arguments: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[bytes]:
    """Run a script with nothing in its environment and nothing on stdin."""
    words = [sys.executable, str(ROOT / "scripts" / script), *arguments]
    environment = {"PATH": "/nowhere", "HOME": "/nonexistent"}
    return subprocess.run(
        words, env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, timeout=30, check=False
    )


@pytest.mark.parametrize("flag", ["--help", "--version"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_it_says_what_it_is(script: str, flag: str) -> None:
    done = alone(script, flag)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_unknown_flag(script: str) -> None:
    done = alone(script, "--no-such-flag")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_reader_that_is_gone(script: str) -> None:
    """Help into a closed pipe ends without a word."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = alone(script, "--help", stdout=write)
    finally:
        os.close(write)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("script", [name for name, (_, stdin, _) in TO_KOSLI.items() if stdin])
def test_nothing_on_stdin(script: str, world: World) -> None:
    arguments, _, more = TO_KOSLI[script]
    ran = world.run(script, *arguments, **more)
    assert (ran.code, ran.out) == (2, b"")
    assert b"stdin is empty" in ran.err
    assert world.requests() == []
