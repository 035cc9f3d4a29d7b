#!/usr/bin/env python3
"""Set Kosli up for releases: the release flow and the attestation type promotion. Safe to run again.

stdout  what was set up: [{"kind", "name"}, ...]
exit    0 done, 2 wrong settings, 3 Kosli could not record it
reads   RELEASE_FLOW RELEASE_TRAIL (begun too, when it is set) KOSLI_...

    scripts/kosli_setup.py
"""

import os

from lib import ROOT
from lib.kosli import ask_for_answer, begin_trail, document_in, tell
from lib.processes import stop_on_signals
from lib.queries import read_query
from lib.settings import release_trail, settings, this_run
from lib.streams import no_arguments, run, write_json


def main(argv: list[str]) -> int:
    no_arguments(__doc__, argv)
    stop_on_signals()
    trail = release_trail() if this_run().release_trail else ""
    flow, folder = settings().release_flow, os.path.join(ROOT, "kosli")
    done = [{"kind": "flow", "name": flow}, {"kind": "attestation-type", "name": "promotion"}]
    tell(
        *("create", "flow", flow, "--template-file", os.path.join(folder, "flow-template.yml")),
        *("--description", "Releases into production: what was promoted, on what evidence, and who approved it"),
    )
    # The rules by which Kosli judges a promotion, one a line.
    rules = read_query(os.path.join(folder, "promotion.jq")).splitlines()
    tell(
        *("create", "attestation-type", "promotion", "--schema", os.path.join(folder, "promotion.schema.json")),
        *("--description", "An artifact that goes into production, and the one that it replaces"),
        *(part for rule in rules for part in ("--jq", rule)),
    )
    # A proxy that answers for Kosli would have been believed.
    for name in (("flow", flow), ("attestation-type", "promotion")):
        document_in(ask_for_answer("get", *name))
    if trail:
        begin_trail(flow, trail, "One release into production")
        done.append({"kind": "trail", "name": trail})
    write_json(done)
    return 0


if __name__ == "__main__":
    run(main)
