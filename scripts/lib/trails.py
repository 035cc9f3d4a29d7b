"""Where a release is recorded: a trail of the release flow."""

from __future__ import annotations

import re

from lib import ROOT
from lib.filters import Unusable, printable, setting
from lib.kosli import tell

_resource_name = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._~-]*").fullmatch


def release_flow() -> str:
    """Return RELEASE_FLOW."""
    return resource_name("RELEASE_FLOW", setting("RELEASE_FLOW", "production-promotion"))


def release_trail() -> str:
    """Return RELEASE_TRAIL, which has no default: two releases never share a trail by accident."""
    return resource_name("RELEASE_TRAIL", setting("RELEASE_TRAIL"))


def begin_trail() -> None:
    """Begin RELEASE_TRAIL, or go on with it."""
    tell(
        *("begin", "trail", release_trail(), "--flow", release_flow(), "--repo-root", ROOT),
        *("--description", "One release into production"),
    )


def resource_name(name: str, value: str) -> str:
    """Return the value of the setting `name`, if Kosli takes it for the name of a flow or a trail."""
    if not _resource_name(value):
        raise Unusable(f"{name}: {printable(value)} is no name that Kosli takes" if value else f"{name} is not set")
    return value
