#!/usr/bin/env python3
"""Set Kosli up for releases: the release flow and the attestation type promotion. Safe to run again.

stdout  what was set up: [{"kind", "name"}, ...]
exit    0 done, 2 wrong settings, 3 Kosli could not be told

settings, from the environment:
  RELEASE_FLOW     the flow that records the releases, production-promotion by default
  RELEASE_TRAIL    begin this trail of it too, when set
  KOSLI_...        as for snapshots.py

    scripts/kosli_setup.py
"""

from __future__ import annotations

import os

from lib import ROOT
from lib.filters import run, setting, usage, write_json
from lib.kosli import stop_on_signals, tell
from lib.queries import read_query
from lib.trails import begin_trail, release_flow, release_trail


def rules() -> list[str]:
    """Return the jq rules of kosli/promotion.jq, by which Kosli judges a promotion."""
    return read_query(os.path.join(ROOT, "kosli", "promotion.jq")).splitlines()


def main(argv: list[str]) -> int:
    """Create or update the flow and the attestation type; begin the trail when one is named."""
    usage(argv)
    stop_on_signals()
    flow, folder = release_flow(), os.path.join(ROOT, "kosli")
    done = [{"kind": "flow", "name": flow}, {"kind": "attestation-type", "name": "promotion"}]
    tell(
        *("create", "flow", flow, "--template-file", os.path.join(folder, "flow-template.yml")),
        *("--description", "Releases into production: what was promoted, on what evidence, and who approved it"),
    )
    tell(
        *("create", "attestation-type", "promotion", "--schema", os.path.join(folder, "promotion.schema.json")),
        *("--description", "An artifact that goes into production, and the one that it replaces"),
        *(part for rule in rules() for part in ("--jq", rule)),
    )
    if setting("RELEASE_TRAIL"):
        begin_trail()
        done.append({"kind": "trail", "name": release_trail()})
    write_json(done)
    return 0


if __name__ == "__main__":
    run(main, __doc__)
