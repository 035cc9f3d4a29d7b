#!/usr/bin/env python3
"""Put a release into one HTML file that needs nothing else: no network, no script. It says what summary.py says.

stdin   a release (make promotions); with REASONS, what was refused: a release, or nothing that can be read
stdout  HTML, for any browser, light or dark, wide or narrow, and for a printer
exit    0 done, 2 not a release, a release of other environments, or a file that cannot be read
reads   what summary.py reads

    make promotions | scripts/report.py >report.html
"""

from lib.page import html
from lib.streams import no_arguments, run, write


def main(argv: list[str]) -> int:
    no_arguments(__doc__, argv)
    write(html().encode())
    return 0


if __name__ == "__main__":
    run(main)
