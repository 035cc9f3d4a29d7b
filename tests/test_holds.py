"""When a hold begins and ends, and when an artifact is old enough: at that very instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

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
