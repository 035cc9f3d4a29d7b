#!/usr/bin/env python3
"""Record a release in its trail: each artifact with its promotion, and the release as a whole. Safe to run again.

stdin   a release (make promotions); with REFUSED, what was refused: a release, or nothing that can be read
stdout  what was attested: [{"flow", "trail", "name", "type", "fingerprint", "compliant"}, ...]; compliant is null
        where Kosli decides by the rules of kosli/promotion.jq
exit    0 done, 2 not a release, or wrong settings, 3 Kosli could not be told: stderr says what was attested, what
        failed (Kosli may have it all the same, when it was only slow) and what was not attested

settings, from the environment:
  RELEASE_FLOW     the flow that records the releases, production-promotion by default
  RELEASE_TRAIL    the release's trail, begun before (scripts/begin_trail.py)
  REFUSED          why the release was refused: only the release as a whole is attested, as not compliant
  KOSLI_...        as for snapshots.py

    make -s promotions | RELEASE_TRAIL=run-42 scripts/attest.py
"""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter

from lib import ROOT
from lib.filters import Unusable, printable, read_document, run, setting, to_json, usage, write_json
from lib.kosli import require_settings, stop_on_signals, tell_all
from lib.releases import digest, read_release
from lib.trails import release_flow, release_trail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lib.releases import Promotion, Release

    Attestation = tuple[dict[str, Any], list[str]]

LONGEST_DESCRIPTION = 1000


def attestations(release: Release, refused: str, folder: str) -> list[Attestation]:
    """Return (what is attested, the arguments of the kosli command) in order; the data is written to `folder`."""
    place = {"flow": release_flow(), "trail": release_trail()}
    found: list[Attestation] = []
    for promotion, name in zip(() if refused else release, names(release)):
        fingerprint, link = promotion["incoming_fingerprint"], promotion["deployment_diff_url"]
        facts = {**place, "name": name, "type": "artifact", "fingerprint": fingerprint, "compliant": None}
        found.append(
            (
                facts,
                [
                    *("artifact", safe_value(promotion["incoming_name"]), "--name", name),
                    *("--fingerprint", fingerprint, "--commit-url", promotion["incoming_commit_url"]),
                    *("--build-url", build_url(promotion)),
                ],
            )
        )
        found.append(
            (
                {**facts, "name": f"{name}.promotion", "type": "promotion"},
                [
                    *("custom", "--type", "promotion", "--name", f"{name}.promotion", "--fingerprint", fingerprint),
                    *("--attestation-data", _file(folder, f"promotion-{len(found)}.json", promotion)),
                    *annotation("deployment_diff_URL", link),
                ],
            )
        )
    triples = [
        {key: p[key] for key in ("incoming_flow", "incoming_fingerprint", "outgoing_fingerprint")} for p in release
    ]
    data = {"refused": refused, "digest": digest(release), "count": len(release), "promotions": triples}
    what = f"Refused: {refused}" if refused else f"A release of {len(release)} promotions"
    found.append(
        (
            {**place, "name": "release", "type": "generic", "fingerprint": "", "compliant": not refused},
            [
                *("generic", "--name", "release", f"--compliant={'false' if refused else 'true'}"),
                *("--description", printable(what)[:LONGEST_DESCRIPTION]),
                *("--user-data", _file(folder, "release.json", data)),
                *(
                    argument
                    for promotion, key in zip(release, annotation_keys(release))
                    for argument in annotation(key, promotion["deployment_diff_url"])
                ),
            ],
        )
    )
    return found


def names(release: Release) -> list[str]:
    """Return each promotion's name in the trail: its repository's, as Kosli takes it, and unlike all others.

    The CLI takes no value that begins with a dash.
    """
    return _told_apart(
        [re.sub(r"[^a-zA-Z0-9_-]", "-", p["incoming_repo_name"]).lstrip("-") or "artifact" for p in release], release
    )


def annotation_keys(release: Release) -> list[str]:
    """Return each promotion's key among the release's annotations."""
    return [
        name.replace("-", "_")
        for name in _told_apart([re.sub(r"[^a-zA-Z0-9_]", "_", n) for n in names(release)], release)
    ]


def _told_apart(wanted: list[str], release: Release) -> list[str]:
    """Add the beginning of its fingerprint to each name that is not the only one of its kind."""
    times = Counter(wanted)
    found = [
        name if times[name] == 1 else f"{name}-{promotion['incoming_fingerprint'][:12]}"
        for name, promotion in zip(wanted, release)
    ]
    if len(set(found)) != len(found):
        raise Unusable("two promotions of this release have the same repository name and fingerprint")
    return found


def annotation(key: str, value: str) -> list[str]:
    """Return the arguments for one annotation. With a second = the CLI reads it as a CSV record: then it is quoted."""
    pair = f"{key}={value}"
    return ["--annotate", '"{}"'.format(pair.replace('"', '""')) if pair.count("=") > 1 else pair]


def safe_value(text: str) -> str:
    """Return a name that the CLI takes for a value and not for a flag."""
    return f"./{text}" if text.startswith("-") else text or "artifact"


def build_url(promotion: Promotion) -> str:
    """Return the page of the workflow run that records the release, or outside of one the artifact's commit page."""
    run_id = setting("GITHUB_RUN_ID")
    if not run_id:
        return str(promotion["incoming_commit_url"])
    server = setting("GITHUB_SERVER_URL", "https://github.com")
    return f"{server}/{setting('GITHUB_REPOSITORY')}/actions/runs/{run_id}"


def read_refused() -> Release:
    """Return the release that was refused, [] when there is none: whoever refused it may have printed nothing."""
    try:
        return read_release(read_document())
    except Unusable:
        return []


def _file(folder: str, name: str, data: Any) -> str:
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(to_json(data))
    return path


def main(argv: list[str]) -> int:
    """Attest the release on stdin, or that it was refused."""
    usage(argv)
    refused = setting("REFUSED")
    release = read_refused() if refused else read_release(read_document())
    stop_on_signals()
    require_settings()
    with tempfile.TemporaryDirectory() as folder:
        wanted = attestations(release, refused, folder)
        tell_all(
            [
                (
                    f"{facts['name']} ({facts['type']})",
                    ("attest", *arguments, "--flow", facts["flow"], "--trail", facts["trail"], "--repo-root", ROOT),
                    (),
                )
                for facts, arguments in wanted
            ]
        )
    write_json([facts for facts, _ in wanted])
    return 0


if __name__ == "__main__":
    run(main, __doc__)
