"""Guards for speed: ratios in one run, generous enough for a busy machine. `make bench` has the figures."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
from bench import BARE, FLOOR, JQ, PROMOTIONS, STDLIB, Command, Measured, commands, measure, save
from conftest import ROOT


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def measured(size: int, folder: Path, runs: int, *names: str) -> dict[str, Measured]:
    rows = commands(size, folder)
    return measure({name: rows[name] for name in names}, runs)


def test_a_small_release_takes_little_more_than_the_start_of_python(tmp_path: Path) -> None:
    for attempt in ("first", "second"):
        found = measured(10, tmp_path / attempt, 15, BARE, PROMOTIONS)
        ratio = found[PROMOTIONS].seconds / found[BARE].seconds
        if ratio <= 2.5:
            return
    pytest.fail(f"promotions.py takes {ratio:.1f} times as long as bare Python")


def test_a_large_release_stays_in_reach_of_the_floor(tmp_path: Path) -> None:
    found = measured(20_000, tmp_path, 3, FLOOR, STDLIB, PROMOTIONS)
    assert found[PROMOTIONS].seconds < 12 * found[FLOOR].seconds
    assert found[PROMOTIONS].seconds < found[STDLIB].seconds
    assert found[PROMOTIONS].memory < 1.3 * found[FLOOR].memory


def test_ten_times_the_promotions_take_ten_times_as_long_at_most(tmp_path: Path) -> None:
    two, twenty = (measured(size, tmp_path / f"{size}", 3, PROMOTIONS)[PROMOTIONS] for size in (2_000, 20_000))
    assert twenty.seconds < 15 * two.seconds


def test_what_promotions_is_compared_with_prints_the_same(tmp_path: Path) -> None:
    rows = commands(100, tmp_path)
    diff = tmp_path / "github.json"
    diff.write_text(
        re.sub(
            r'(?<="commit_url": ")[^"]*/([^/"]+)/(-/)?commits?/',
            r"https://github.com/acme/\1/commit/",
            rows[FLOOR].stdin.read_text(),
        )
    )
    printed = []
    for name in rows.keys() & {PROMOTIONS, STDLIB, JQ}:
        save(rows[name]._replace(stdin=diff), tmp_path / "printed.json")
        printed.append(json.loads((tmp_path / "printed.json").read_bytes()))
    assert len(printed) > 1
    assert all(each == printed[0] for each in printed)


def test_a_command_that_fails_stops_the_measuring() -> None:
    broken = Command([sys.executable, "-c", "raise SystemExit('no')"], os.devnull, dict(os.environ))
    with pytest.raises(SystemExit, match="status 256: no"):
        measure({"broken": broken}, 1)
