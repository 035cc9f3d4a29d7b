#!/usr/bin/env python3
"""Put the evidence of a release into one folder, with the checksum of each file.

FOLDER is made if it is not there; FILES are copied into it under their own names, and folders with all that they hold.

stdout  [{"file", "sha256"}, ...], by file: what FOLDER/SHA256SUMS lists too, for `sha256sum --check SHA256SUMS`
exit    0 done, 2 a file cannot be read, or two have the same name

`make evidence` takes EVIDENCE as FOLDER, and the files APPROVED SNAPSHOTS VERDICTS CHANGES OUTCOMES.

    scripts/evidence.py evidence release.json diff.json verdicts outcomes.json report.html
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from lib.settings import refuse_unknown_names
from lib.streams import Arguments, Unusable, printable, read_bytes, run, write_json

SUMS = "SHA256SUMS"


def files(paths: list[str]) -> Iterator[tuple[str, Path]]:
    """Yield the files at some paths, each with its name in the folder."""
    for path in map(Path, paths):
        below = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in below:
            yield os.path.relpath(file, os.path.dirname(os.path.abspath(path))), file


def main(argv: list[str]) -> int:
    arguments = Arguments(__doc__)
    arguments.add_argument("folder", metavar="FOLDER")
    arguments.add_argument("files", metavar="FILE", nargs="+")
    given = arguments.parse_args(argv)
    refuse_unknown_names()
    sums: dict[str, str] = {}
    for name, path in files(given.files):
        if not name.isprintable():
            raise Unusable(f"{printable(name)}: no line of {SUMS} can hold this name")
        if name in sums or name == SUMS:
            raise Unusable(f"{printable(name)}: two files of the evidence have this name")
        content = read_bytes(str(path))
        target = os.path.join(given.folder, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        Path(target).write_bytes(content)
        sums[name] = hashlib.sha256(content).hexdigest()
    lines = [f"{sums[name]}  {name}\n" for name in sorted(sums)]
    Path(given.folder, SUMS).write_text("".join(lines), "utf-8")
    write_json([{"file": name, "sha256": sums[name]} for name in sorted(sums)])
    return 0


if __name__ == "__main__":
    run(main)
