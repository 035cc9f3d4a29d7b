"""When a hold begins and ends, and when an artifact is old enough: at that very instant. And what is no hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from conftest import run
from lib.holds import state, why_young
from lib.model import Hold
from lib.settings import Settings

import pytest

NOON = datetime(2026, 12, 24, 12, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)


def test_a_hold_is_in_force_from_its_beginning_and_no_longer_at_its_end() -> None:
    hold = Hold("saver-ci", until=NOON + timedelta(hours=1), reason="a review", from_=NOON)
    states = [state(hold, NOON + after) for after in (-MOMENT, timedelta(0), timedelta(hours=1) - MOMENT)]
    assert states == ["to come", "in force", "in force"]
    assert state(hold, hold.until) == "expired"


def test_an_artifact_is_old_enough_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.holds.settings", lambda: Settings(soak="4h"))
    started = int(NOON.timestamp()) - 4 * 3600
    assert why_young(started, NOON) == ""
    assert why_young(started, NOON - MOMENT) == "it has to run for 4h first, until 2026-12-24 12:00 UTC"
    ages = {start: why_young(start, NOON) for start in (0, 1, 2**33 - 1, 2**33)}
    assert [start for start, why in ages.items() if "not known" in why] == [0, 2**33], "no start, and milliseconds"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('flow = "*"\nuntil = 2099-01-01T00:00:00Z', "hold[0].reason: missing"),
        ('flow = "*"\nreason = "x"', "hold[0].until: missing"),
        ('flow = ""\nuntil = 2099-01-01T00:00:00Z\nreason = "x"', "hold[0].flow: expected string of length >= 1"),
        ('flow = "*"\nuntill = 2099-01-01T00:00:00Z\nreason = "x"', "hold[0].untill: not a key that this document may"),
        ('flow = "*"\nuntil = "2099"\nreason = "x"', "hold[0].until: "),
        ("flow = ", "is not TOML: "),
    ],
)
def test_what_is_no_hold(text: str, said: str, tmp_path: Path) -> None:
    """A hold of no flow would leave out what has no provenance."""
    (tmp_path / "holds.toml").write_text(f"[[hold]]\n{text}\n")
    ran = run("holds.py", HOLDS=str(tmp_path / "holds.toml"))
    assert (ran.code, ran.out, ran.err.count(b"\n")) == (2, b"", 1)
    assert said in ran.err.decode()
