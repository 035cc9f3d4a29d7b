#!/usr/bin/env python3
"""Record a release in its trail: each artifact with its promotion, and the release as a whole. Safe to run again.

stdin   a release (make promotions); with REASONS, what was refused: a release, or nothing that can be read
stdout  what was attested: [{"flow", "trail", "name", "type", "fingerprint", "compliant"}, ...]; compliant is null
        where Kosli decides by the rules of kosli/promotion.jq
exit    0 done, 2 not a release, or wrong settings, 3 not all is recorded in Kosli: stderr lists what was attested, what
        failed, what was not attested, and what was lost: Kosli said yes, and the trail does not hold it. If only its
        answer came too late, Kosli holds what is listed as failed
reads   RELEASE_FLOW RELEASE_TRAIL (begun before, scripts/begin_trail.py) GATE_JOBS KOSLI_... and REASONS: the file that
        says why the release was refused; then only the release as a whole is attested, as not compliant. CHANGES (what
        changes.py printed: the counts are attested with the release) OVERRIDE (the reason that passed holds)

    make promotions | RELEASE_TRAIL=run-42 scripts/attest.py
"""

import re
from collections import Counter
from contextlib import nullcontext, suppress

from lib.changes import read_changes
from lib.kosli import Told, attest, attested, require_settings
from lib.model import Change, Promotion
from lib.processes import stop_on_signals
from lib.releases import digest, fields_of, read_reasons, read_release
from lib.rules import github
from lib.settings import this_run, variable
from lib.streams import Unusable, no_arguments, printable, read_document, run, write_json

MOST_CHANGES = 1000
LONGEST_DESCRIPTION = 1000
LONGEST_NAME = 100  # of a promotion in the trail; it is a file's name too
CHANGE = ("flow", "status", "on_branch", "ahead", "behind")
TRIPLE = ("incoming_flow", "incoming_fingerprint", "outgoing_fingerprint")


def artifacts(release: list[Promotion]) -> list[Told]:
    """Return how to attest each incoming artifact. Kosli binds an attestation only to an artifact of the same trail."""
    told = []
    for promotion, name in zip(release, names(release), strict=True):
        facts = attested(name, "artifact", promotion.incoming_fingerprint)
        links = ("--commit-url", promotion.incoming_commit_url, "--build-url", build_url(promotion))
        told.append(Told(facts, ("artifact", safe_value(promotion.incoming_name), *links)))
    return told


def promotions(release: list[Promotion]) -> list[Told]:
    """Return how to attest each promotion."""
    told = []
    for promotion, name in zip(release, names(release), strict=True):
        facts = attested(f"{name}.promotion", "promotion", promotion.incoming_fingerprint)
        link = annotation("deployment_diff_URL", promotion.deployment_diff_url)
        told.append(Told(facts, ("custom", "--type", "promotion", *link), data=promotion.fields))
    return told


def whole_release(release: list[Promotion], changes: list[Change] | None, refused: str) -> Told:
    """Return how to attest the release as a whole, with how many commits come in, and why holds were passed."""
    triples = [{key: fields[key] for key in TRIPLE} for fields in fields_of(release)]
    data = {"refused": refused, "digest": digest(release), "count": len(release), "promotions": triples}
    if changes is not None:
        data["changes"] = [{key: getattr(change, key) for key in CHANGE} for change in changes[:MOST_CHANGES]]
    if this_run().override:
        data["override"] = printable(this_run().override)
    what = f"Refused: {refused}" if refused else f"A release of {len(release)} promotions"
    keys = told_apart([re.sub(r"[^a-zA-Z0-9_]", "_", name) for name in names(release)], release)
    arguments = ["generic", "--description", printable(what)[:LONGEST_DESCRIPTION]]
    for promotion, key in zip(release, keys, strict=True):
        arguments += annotation(key.replace("-", "_"), promotion.deployment_diff_url)
    return Told(attested("release", "generic", compliant=not refused), tuple(arguments), data=data)


def names(release: list[Promotion]) -> list[str]:
    """Return each promotion's name in the trail: its repository's, in characters that Kosli takes, each one once.

    The CLI takes no value that begins with a dash.
    """
    cleaned = [re.sub(r"[^a-zA-Z0-9_-]", "-", p.incoming_repo_name).lstrip("-") or "artifact" for p in release]
    return told_apart([name[:LONGEST_NAME] for name in cleaned], release)


def told_apart(wanted: list[str], release: list[Promotion]) -> list[str]:
    """Add the beginning of its fingerprint to each name that is not the only one of its kind."""
    times = Counter(wanted)
    full_names = [
        name if times[name] == 1 else f"{name}-{promotion.incoming_fingerprint[:12]}"
        for name, promotion in zip(wanted, release, strict=True)
    ]
    if len(set(full_names)) != len(full_names):
        raise Unusable("two promotions of this release have the same repository name and fingerprint")
    return full_names


def annotation(key: str, value: str) -> list[str]:
    """Return the arguments for one annotation. The CLI reads one with a second = as a CSV record, so it is quoted."""
    pair = f"{key}={value}"
    return ["--annotate", '"{}"'.format(pair.replace('"', '""')) if pair.count("=") > 1 else pair]


def safe_value(text: str) -> str:
    """Return a name that the CLI takes for a value and not for a flag."""
    return f"./{text}" if text.startswith("-") else text or "artifact"


def build_url(promotion: Promotion) -> str:
    """Return the page of the workflow run that records the release, or outside of one the artifact's commit page."""
    run_id = variable("GITHUB_RUN_ID")
    repository = f"{github()}/{variable('GITHUB_REPOSITORY')}"
    return f"{repository}/actions/runs/{run_id}" if run_id else promotion.incoming_commit_url


def main(argv: list[str]) -> int:
    no_arguments(__doc__, argv)
    refused = "\n".join(read_reasons() or ())
    # What was refused is attested without what cannot be read: whoever refused it may have printed nothing.
    unreadable = suppress(Unusable) if refused else nullcontext()
    release: list[Promotion] = []
    changes = None
    with unreadable:
        release = read_release(read_document())
    stop_on_signals()
    require_settings()
    with unreadable:
        changes = read_changes(release)
    of_release = whole_release(release, changes, refused)
    phases = [[of_release]] if refused else [artifacts(release), promotions(release), [of_release]]
    attest(*phases)
    write_json([told.facts for phase in phases for told in phase])
    return 0


if __name__ == "__main__":
    run(main)
