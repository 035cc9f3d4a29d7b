"""A query that only names keys is followed without jmespath: it must give what jmespath gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from lib.queries import _only_keys, read_query, search, select

ABOUT_A_DIFF = ("incoming", "outgoing", "running-in-from", "running-in-to")
DIFFS = sorted((ROOT / "fixtures").glob("*.json"))


@pytest.mark.parametrize("fixture", DIFFS, ids=lambda path: path.stem)
def test_what_is_followed_is_what_jmespath_selects(fixture: Path) -> None:
    diff = json.loads(fixture.read_bytes())
    for name in ABOUT_A_DIFF:
        assert select(name, diff) == search(str(ROOT / "jq" / f"{name}.jmespath"), diff)


def test_the_queries_about_a_diff_are_followed_and_those_about_a_release_are_not() -> None:
    followed = {path.stem for path in (ROOT / "jq").glob("*.jmespath") if _only_keys(read_query(str(path)))}
    assert followed == {*ABOUT_A_DIFF}


@pytest.mark.parametrize(
    "query", ["[].name", "a[0]", "a.b[]", "[a, b]", "{a: b}", "a | b", "length(a)", "[a,\n b][]", "@", ""]
)
def test_whatever_does_more_than_name_keys_is_left_to_jmespath(query: str) -> None:
    assert not _only_keys(query)


def test_a_release_is_derived_without_jmespath() -> None:
    script = (
        "import sys; sys.modules['jmespath'] = None; sys.argv[0] = 'promotions.py'; "
        "import promotions; promotions.run(promotions.main, '')"
    )
    with open(ROOT / "fixtures" / "one-flow-behind.json", "rb") as diff:
        done = subprocess.run([sys.executable, "-c", script], stdin=diff, cwd=ROOT / "scripts", capture_output=True)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 1
