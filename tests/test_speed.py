"""One guard for speed, generous enough for a busy machine: it grows with the release. `make bench` has the figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import ROOT, environment
from forked import Forked


def seconds(forked: Forked, folder: Path, size: int) -> float:
    """Return the least time of the processor that promotions.py takes for so many promotions."""
    path = folder / f"{size}.json"
    with open(path, "wb") as file:
        generate = [sys.executable, ROOT / "bench" / "generate_diff.py", str(size), str(size // 10)]
        subprocess.run(generate, env=environment(folder), stdout=file, check=True)
    ran = [forked.run("promotions.py", stdin=path) for _ in range(3)]
    assert all(each.code == 0 for each in ran)
    return min(each.seconds for each in ran)


def test_ten_times_the_promotions_take_less_than_twenty_times_as_long(forked: Forked, tmp_path: Path) -> None:
    assert seconds(forked, tmp_path, 10_000) < 20 * seconds(forked, tmp_path, 1_000)
