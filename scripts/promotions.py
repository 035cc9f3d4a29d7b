#!/usr/bin/env python3
"""Derive the release: what runs in FROM and not in TO, each artifact with the one of its flow that it replaces.

stdin   the diff of two snapshots (make snapshots)
stdout  a JSON array of promotions, ordered by incoming_flow, then incoming_name; [] when there is nothing to promote.
        A promotion is flat: deployment_diff_url, and for each side S (incoming, outgoing) S_name S_fingerprint S_flow
        S_commit_url S_commit_sha S_repo_url S_repository S_repo_name S_repo_provider S_clone_url
        S_raw_snyk_policy_url S_snapshot_id S_snapshot_url, and every other field of the artifact. The outgoing ones of
        a first deployment are ""
stderr  what stays in TO, what was left out, or a line for each cause of a refusal
exit    0 done, 1 refused, 2 not a diff, or wrong settings
reads   FLOWS MATCH_BY UNPROVEN SOURCES ALLOW_RENAMED RENAMED_FLOWS ALLOW_FIRST RELEASE_FLOW KOSLI_HOST KOSLI_ORG SOAK
        YOUNG HOLDS, and OVERRIDE: why holds and freezes do not count this time

    make snapshots | scripts/promotions.py
"""

import os
from collections.abc import Iterator
from datetime import datetime

from lib.holds import EVERY_FLOW, sentence, that_count, utc_now, why_young
from lib.model import Diff
from lib.releases import build
from lib.rules import (
    Against,
    Pair,
    by_key,
    commit_of,
    environment_of,
    flow_of,
    flows_in,
    in_progress,
    label,
    listed,
    matcher,
    missing_provenance,
    order,
    own_flows,
    place,
    read_diff,
    renamed,
    require_named_environments,
    selected_flows,
    sources,
    why_never_settled,
)
from lib.settings import settings
from lib.streams import Refused, Unusable, no_arguments, printable, read_document, run, say, write_array


def promotions(diff: Diff, now: datetime) -> tuple[list[Pair], list[str]]:
    """Return the pairs of artifacts in the release's order, and notes.

    Raises Refused with every cause, and Unusable when FLOWS names a flow that runs nowhere. A deployment in progress
    of any flow refuses the release, of whatever flows: the join would be ambiguous, and what runs is about to change.
    """
    flows = selected_flows(diff)
    one, other = environment_of(diff.from_snapshot), environment_of(diff.to_snapshot)
    if one == other:
        raise Unusable(f"FROM and TO are one environment, {one}: nothing is promoted within it")
    require_named_environments(diff)
    match = matcher()
    against = Against(diff, match)
    causes = [*causes_of_progress(diff), *causes_of_own_flow(diff)]
    outgoing = by_key(sorted((artifact for artifact in diff.outgoing if artifact.flow), key=order), match)
    in_order = sorted(that_count(now), key=lambda hold: hold.until)
    holds = {renamed(hold.flow): hold for hold in in_order}  # of several on one flow, the longest
    causes += [f"{other}: a freeze {printable(sentence(holds[EVERY_FLOW]))}"] if EVERY_FLOW in holds else []
    pairs, misspelt = [], sorted(holds.keys() - flows_in(diff) - {EVERY_FLOW}) if holds else []
    notes = [f"a hold on {printable(flow)} holds nothing: no such flow runs in {one} or {other}" for flow in misspelt]
    for group in by_key(sorted(diff.incoming, key=order), lambda a: (*match(a), a.fingerprint or a.name)).values():
        artifact = group[0]
        if flows is not None and flow_of(artifact) not in flows:
            continue
        if hold := holds.get(flow_of(artifact)):
            notes += [f"{place(one, member)}: left out, it is held {printable(sentence(hold))}" for member in group]
            continue
        young = why_young(artifact.most_recent_timestamp, now)
        if young and settings().young == "skip":
            notes += [f"{place(one, member)}: left out, {young}" for member in group]
            continue
        if settings().unproven == "skip" and (unproven := missing_provenance(artifact)):
            notes += [f"{place(one, member)}: left out, it has {unproven}" for member in group]
            continue
        old = next(iter(outgoing.get(match(artifact), [])), None) if artifact.flow else None
        pairs.append(Pair(artifact, commit_of(artifact), old, commit_of(old)))
        speaks_against = (*against.causes(pairs[-1]), *filter(None, [young]))
        causes += [f"{place(one, artifact)}: {cause}" for cause in speaks_against]
        notes += [f"{place(one, twin)}: is the same artifact as {label(artifact)}" for twin in group[1:]]
    if causes:
        raise Refused(*causes)
    for artifact in sorted(against.left_in_to, key=order):
        if flows is None or flow_of(artifact) in flows:
            notes.append(f"{place(other, artifact)}: stays as it is, nothing replaces it")
    for flow in sorted((flows or set()).difference(flow_of(pair.incoming) for pair in pairs)):
        notes.append(f"{one}: {printable(flow)}: nothing to promote")
    return pairs, notes


def causes_of_progress(diff: Diff) -> Iterator[str]:
    """Yield a cause for each deployment in progress."""
    for deployment in in_progress(diff):
        yield (
            f"{deployment.environment}: {printable(deployment.flow)}: a deployment is in progress, "
            f"wait until it has settled: {listed(deployment.artifacts)} ({why_never_settled(deployment.artifacts)})"
        )


def causes_of_own_flow(diff: Diff) -> Iterator[str]:
    """Yield a cause for each artifact that Kosli shows under the release's own flow.

    Its service is not known: what replaces it would look like a first deployment, wherever it runs.
    """
    own = own_flows()
    for snapshot_id, running in ((diff.from_snapshot, diff.running_in_from), (diff.to_snapshot, diff.outgoing)):
        for artifact in sorted((artifact for artifact in running if artifact.flow in own), key=order):
            where = place(environment_of(snapshot_id), artifact)
            yield f"{where}: this is the release's own flow: Kosli shows the wrong one"


def main(argv: list[str]) -> int:
    no_arguments(__doc__, argv)
    diff = read_diff(read_document())
    pairs, notes = promotions(diff, utc_now())
    if pairs and not sources() and os.isatty(2):
        notes.append("no sources are set: the code of every repository may be promoted (SOURCES)")
    write_array(build(pairs, diff))
    for note in notes:
        say(note)
    return 0


if __name__ == "__main__":
    run(main)
