#!/usr/bin/env python3
"""Check before a rollback that a file holds the release that the run to roll back has recorded in Kosli.

The file is an artifact of that run, and any job could have written it. Kosli knows the digest of what was proposed.

stdout  nothing
exit    0 it is, or the trail cannot be read and OVERRIDE says why, 1 the trail holds another release, or holds this one
        as refused only, 2 not a release, 3 the trail cannot be read
reads   RELEASE_FLOW ROLLBACK_OF (the run, whose trail is run-ROLLBACK_OF) OVERRIDE (the reason) KOSLI_...

    ROLLBACK_OF=1001 scripts/known_release.py before/release.json
"""

from lib.kosli import read_attestations
from lib.processes import stop_on_signals
from lib.releases import digest, read_release
from lib.settings import resource_name, settings, this_run
from lib.streams import KosliFailed, Refused, one_file, printable, read_file, run, say


def main(argv: list[str]) -> int:
    path = one_file(__doc__, argv, "RELEASE")
    wanted = digest(read_release(read_file(path), printable(path)))
    resource_name("ROLLBACK_OF", this_run().rollback_of)
    trail = f"run-{this_run().rollback_of}"
    stop_on_signals()
    try:
        attestations = read_attestations(settings().release_flow, trail, "release")
    except KosliFailed as error:
        if not this_run().override:
            raise
        say(f"the trail {trail} cannot be read, and the override passes that: {error.causes[0]}")
        return 0
    # Whoever refuses a release attests the digest of the file too, even if that has been replaced.
    proposed = [entry.user_data for entry in attestations if entry.is_compliant and isinstance(entry.user_data, dict)]
    if wanted not in [data.get("digest") for data in proposed]:
        raise Refused(f"{printable(path)}: the trail {trail} holds no proposed release with its digest, {wanted}")
    return 0


if __name__ == "__main__":
    run(main)
