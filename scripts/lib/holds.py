"""Holds and freezes: what must not be released for a time, and why. And what has not run for long enough in FROM."""

import os
from datetime import UTC, datetime

from lib import ROOT
from lib.model import Hold, HoldsDocument
from lib.settings import read_toml, seconds, settings, this_run
from lib.streams import Unusable, typed

EVERY_FLOW = "*"


def read_holds() -> list[Hold]:
    """Return what holds.toml says. Raises Unusable for an unknown key, or a time without an offset."""
    path = this_run().holds or os.path.join(ROOT, "holds.toml")
    name = os.path.basename(path)
    holds = typed(read_toml(path), HoldsDocument, name).hold
    causes = [
        f"{name}: hold[{index}].{key}: a time needs its offset from UTC: 2026-12-24T00:00:00Z"
        for index, hold in enumerate(holds)
        for key, time in (("from", hold.from_), ("until", hold.until))
        if time and time.tzinfo is None
    ]
    if causes:
        raise Unusable(*causes)
    return holds


def utc_now() -> datetime:
    """Return the time, with its offset."""
    return datetime.now(UTC)


def state(hold: Hold, now: datetime) -> str:
    """Return whether a hold is in force, expired, or still to come."""
    if now >= hold.until:
        return "expired"
    return "in force" if not hold.from_ or now >= hold.from_ else "to come"


def in_force(now: datetime) -> list[Hold]:
    """Return the holds that are in force."""
    return [hold for hold in read_holds() if state(hold, now) == "in force"]


def that_count(now: datetime) -> list[Hold]:
    """Return the holds that count: those in force, and none when OVERRIDE says why not."""
    return [] if this_run().override else in_force(now)


def sentence(hold: Hold) -> str:
    """Return what a hold says, until when and why."""
    by = f" ({hold.by})" if hold.by else ""
    return f"until {utc(hold.until)}: {hold.reason}{by}"


def why_young(started: int | None, now: datetime) -> str:
    """Return why an artifact has not run for long enough in FROM (SOAK), "" when it has.

    `started`: the newest start of an instance, in seconds since 1970. A restart makes an artifact young again.
    """
    soak = seconds(settings().soak)
    if not soak:
        return ""
    if (start := start_of(started)) is None:
        return f"it has to run for {settings().soak} first, and since when it runs is not known"
    ripe = datetime.fromtimestamp(start + soak, UTC)
    return f"it has to run for {settings().soak} first, until {utc(ripe)}" if now < ripe else ""


def start_of(started: object) -> int | None:
    """Return a start in seconds since 1970, None for what cannot be one: 0, or milliseconds."""
    return started if isinstance(started, int) and 0 < started < 2**33 else None


def utc(time: datetime) -> str:
    """Return a time as people read it."""
    try:
        return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except OverflowError:  # the last year or the first one, which somebody means as always
        return time.isoformat(" ", "minutes")
