#!/usr/bin/env python3
"""Say which holds and freezes there are, and which of them are in force.

stdout  [{"flow", "from", "until", "reason", "by", "state"}, ...] as holds.toml lists them; flow "*" is a freeze, which
        covers everything. state: in force, to come or expired
stderr  a line for each that has expired, so that somebody deletes it
exit    0 done, 2 holds.toml cannot be read
reads   HOLDS (another file)

    scripts/holds.py
"""

from lib.holds import read_holds, state, utc, utc_now
from lib.streams import no_arguments, printable, run, say, write_json


def main(argv: list[str]) -> int:
    no_arguments(__doc__, argv)
    now, holds = utc_now(), read_holds()
    write_json(
        [
            {
                "flow": hold.flow,
                "from": utc(hold.from_) if hold.from_ else "",
                "until": utc(hold.until),
                "reason": hold.reason,
                "by": hold.by,
                "state": state(hold, now),
            }
            for hold in holds
        ]
    )
    for hold in holds:
        if state(hold, now) == "expired":
            say(f"{printable(hold.flow)}: expired {utc(hold.until)}, delete it: {printable(hold.reason)}")
    return 0


if __name__ == "__main__":
    run(main)
