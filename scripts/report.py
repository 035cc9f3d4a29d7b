#!/usr/bin/env python3
"""Put a release into one HTML file that needs nothing else: no network, no script. It says what summary.py says.

stdin   a release (make promotions); with REASONS, what was refused: a release, or nothing that can be read
stdout  HTML, for any browser, light or dark, wide or narrow, and for a printer
exit    as summary.py

settings, from the environment: those of summary.py

    make -s promotions | scripts/report.py >report.html
"""

from lib.page import html
from lib.streams import no_arguments, run, write


def main(argv: list[str]) -> int:
    no_arguments(__doc__, argv)
    write(html().encode())
    return 0


if __name__ == "__main__":
    run(main)
