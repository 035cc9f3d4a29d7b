"""What goes wrong for every script that talks to Kosli, in the same way: its settings, its CLI, its streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

from conftest import ROOT
from forked import Forked
from worlds import TO_KOSLI, World, ready, use

import pytest

SCRIPTS = sorted(path.name for path in (ROOT / "scripts").glob("*.py") if path.name != "demo.py")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> World:
    return ready(tmp_path_factory.mktemp("home"))


@pytest.fixture
def world(home: World) -> Iterator[World]:
    """Return a world in which all is set up."""
    before = home.read()
    yield home
    home.write(before)
    (home.state / "requests.jsonl").unlink(missing_ok=True)


def test_these_are_all_the_scripts_that_talk_to_kosli() -> None:
    users = {path.name for path in (ROOT / "scripts").glob("*.py") if "lib.kosli import" in path.read_text()}
    assert users == {name.split()[0] for name in TO_KOSLI}


@pytest.mark.parametrize("script", TO_KOSLI)
def test_all_is_well(script: str, world: World) -> None:
    """Nothing has landed yet, and the trail holds no release yet."""
    code, out, _ = use(world, script, World.quick)
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
    code, out, err = use(world, script, World.quick, **variables)
    # The doctor's answer is what is missing.
    assert (code, out) == (3, b"") or (script == "doctor.py" and code == 1 and not json.loads(out)[-1]["ok"])
    assert reason in err.decode()
    assert b"Traceback" not in err
    assert world.requests() == []
    assert world.read() == before


@pytest.mark.parametrize("script", TO_KOSLI)
def test_kosli_says_nothing(script: str, world: World) -> None:
    world.change(faults=[{"hang": True}])
    code, out, err = use(world, script, World.quick, KOSLI_TIMEOUT="0.5")
    assert code == 3
    assert b"no answer within 0.5 seconds (KOSLI_TIMEOUT)" in err
    if script == "gate.py":
        assert {verdict["verdict"] for verdict in json.loads(out)} == {"error"}
    else:
        assert out == b""
    assert world.processes() == []


@pytest.mark.parametrize("flag", ["--help", "--version"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_it_says_what_it_is(script: str, flag: str, forked: Forked) -> None:
    ran = forked.run(script, flag)
    assert (ran.code, ran.err) == (0, b"")
    assert ran.out


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_unknown_flag(script: str, forked: Forked) -> None:
    ran = forked.run(script, "--no-such-flag")
    assert (ran.code, ran.out) == (2, b"")
    assert ran.err


@pytest.mark.parametrize("script", ["promotions.py", "report.py"])
def test_a_reader_that_is_gone(script: str) -> None:
    """Help, which all print in the same way, ends without a word in a closed pipe: with nothing in its environment."""
    read, write = os.pipe()
    os.close(read)
    try:
        words = [sys.executable, str(ROOT / "scripts" / script), "--help"]
        environment = {"PATH": "/nowhere", "HOME": "/nonexistent"}
        done = subprocess.run(words, env=environment, stdout=write, stderr=subprocess.PIPE, timeout=30, check=False)
    finally:
        os.close(write)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("script", [name for name, how in TO_KOSLI.items() if how.reads and " " not in name])
def test_nothing_on_stdin(script: str, world: World) -> None:
    arguments, _, settings = TO_KOSLI[script]
    ran = world.quick(script, *arguments, **settings)
    assert (ran.code, ran.out) == (2, b"")
    assert b"stdin is empty" in ran.err
    ran = world.quick(script, *arguments, **settings, PIPED_BY_MAKE="yes")
    assert (ran.code, ran.out, ran.err) == (2, b"", b""), "the script before it has said why"
    assert world.requests() == []
