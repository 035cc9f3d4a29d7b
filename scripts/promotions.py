#!/usr/bin/env python3
"""Derive the release: what runs in FROM and not in TO, each artifact with the one of its flow that it replaces.

stdin   the diff of two snapshots (make snapshots)
stdout  a JSON array of promotions, ordered by incoming_flow, then incoming_name; [] when there is nothing to promote.
        A promotion is flat. For each side S of incoming, outgoing ("" throughout for a first deployment):
        S_name S_fingerprint S_flow S_commit_url S_commit_sha S_repo_url S_repository S_repo_name S_repo_provider
        S_raw_snyk_policy_url, every other field of the artifact, S_snapshot_id S_snapshot_url; and deployment_diff_url
stderr  what stays in TO, what was left out, or a line for each cause of a refusal
exit    0 done, 1 refused, 2 not a diff, or wrong settings

settings, from the environment:
  FLOWS           promote only these flows (space-separated)
  MATCH_BY        flow (default), or image: flow and image name, for a flow that builds several images
  UNPROVEN        refuse (default), or skip: what becomes of an incoming artifact without provenance
  ALLOW_RENAMED   flows whose repository may have been renamed on its host
  KOSLI_HOST, KOSLI_ORG                            for the links to the snapshots
  KOSLI_FLOW, RELEASE_FLOW                         the release's own flow, which is never promoted
  GITHUB_SERVER_URL, GITHUB_REPOSITORY             the repository that runs the release, never promoted either

    make -s snapshots | scripts/promotions.py
"""

from __future__ import annotations

from collections import Counter, namedtuple
from operator import itemgetter

from lib.commit_urls import address, parse, same_host, same_repository
from lib.diffs import digest_differs, environment_of, in_progress, label, listed, matcher, read_diff, selected_flows
from lib.filters import Refused, Unusable, choice, printable, read_document, run, say, setting, usage, write_array
from lib.releases import Pair, build

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from lib.commit_urls import Commit
    from lib.diffs import Artifact, Diff

# What the rules about one artifact look up: how often each fingerprint comes in, which ones run in TO, the settings.
Context = namedtuple("Context", "to times running_in_to own_repository renamed")

_order = itemgetter("flow", "name", "fingerprint")


def promotions(diff: Diff) -> tuple[list[Pair], list[str]]:
    """Return the pairs of artifacts in the release's order, and notes.

    Raises Refused with every cause, and Unusable when FLOWS names a flow that runs nowhere. A deployment in progress
    of any flow refuses the release, of whatever flows: the join would be ambiguous, and what runs is about to change.
    """
    match = matcher()
    flows = selected_flows(diff)
    skip_unproven = choice("UNPROVEN", ("refuse", "skip")) == "skip"
    from_environment, to_environment = environment_of(diff.from_snapshot), environment_of(diff.to_snapshot)
    if from_environment == to_environment:
        raise Unusable(f"FROM and TO are one environment, {from_environment}: nothing is promoted within it")
    context = Context(
        to_environment,
        Counter(map(itemgetter("fingerprint"), diff.incoming)),
        set(map(itemgetter("fingerprint"), diff.running_in_to)),
        own_repository(),
        setting("ALLOW_RENAMED").split(),
    )
    causes = [
        f"{d['environment']}: {printable(d['flow'])}: a deployment is in progress, wait until it has settled: "
        f"{listed(d['artifacts'])}"
        for d in in_progress(diff, match)
    ]
    # Of which service such an artifact is cannot be known, wherever it runs: what replaces it would read as a first
    # deployment, and a deployment in progress as settled.
    own_flows = {setting("KOSLI_FLOW"), setting("RELEASE_FLOW", "production-promotion")} - {""}
    causes += [
        f"{_place(environment, artifact)}: this is the release's own flow: Kosli surfaced the wrong one"
        for environment, running in ((from_environment, diff.running_in_from), (to_environment, diff.outgoing))
        for artifact in sorted((artifact for artifact in running if artifact["flow"] in own_flows), key=_order)
    ]
    notes = []
    pairs: list[Pair] = []
    incoming = sorted(diff.incoming, key=_order)
    # Of a flow in progress several go out: the order in the diff must not decide which one counts.
    outgoing = sorted(diff.outgoing, key=_order) if causes else diff.outgoing
    replaced = {match(artifact): artifact for artifact in outgoing if artifact["flow"]}
    for artifact in incoming:
        if flows is not None and artifact["flow"] not in flows:
            continue
        unproven = missing_provenance(artifact)
        if unproven and skip_unproven:
            notes.append(f"{_place(from_environment, artifact)}: left out, it has {unproven}")
            continue
        old = replaced.get(match(artifact))
        pair = Pair(artifact, commit_of(artifact), old, commit_of(old) if old else None)
        against = causes_against(pair, unproven, context)
        causes += [f"{_place(from_environment, artifact)}: {cause}" for cause in against]
        pairs.append(pair)
    if causes:
        raise Refused(*causes)
    matched = set(map(match, incoming))
    unmatched = [artifact for artifact in diff.outgoing if match(artifact) not in matched or not artifact["flow"]]
    for artifact in sorted(unmatched, key=_order):
        if flows is None or artifact["flow"] in flows:
            notes.append(f"{_place(to_environment, artifact)}: stays as it is, nothing replaces it")
    for flow in sorted((flows or set()).difference(pair.incoming["flow"] for pair in pairs)):
        notes.append(f"{from_environment}: {printable(flow)}: nothing to promote")
    return pairs, notes


def missing_provenance(artifact: Artifact) -> str:
    """Return what an artifact lacks to be known: "no flow, no commit URL"; "" when it has all."""
    facts = (artifact["flow"], artifact.get("commit_url"), artifact["fingerprint"])
    if all(facts):
        return ""
    return ", ".join(f"no {what}" for what, fact in zip(("flow", "commit URL", "fingerprint"), facts) if not fact)


def commit_of(artifact: Artifact) -> Commit | None:
    """Return the commit that an artifact was built from, None when it is not known."""
    return parse(artifact.get("commit_url") or "")


def causes_against(pair: Pair, unproven: str, context: Context) -> Iterator[str]:
    """Yield why an incoming artifact must not be promoted."""
    artifact, commit, outgoing, old = pair
    flow, fingerprint, url = artifact["flow"], artifact["fingerprint"], artifact.get("commit_url")
    if unproven:
        yield f"it has {unproven} (UNPROVEN=skip leaves it out)"
    if url and not commit:
        yield f"its commit URL is no commit page: {printable(url)}"
    if digest_differs(artifact):
        yield f"the digest in its name is not its fingerprint, {fingerprint or 'of which it has none'}"
    if fingerprint and context.times[fingerprint] > 1:
        yield "its fingerprint comes in twice"
    if fingerprint and fingerprint in context.running_in_to:
        yield f"it is said to run in {context.to} too: the diff contradicts itself"
    if commit and address(commit.repository.url) == context.own_repository:
        yield f"its commit is in the repository that runs the release: Kosli surfaced the wrong flow: {printable(url)}"
    if commit and old and not same_repository(old, commit) and same_host(old, commit) and flow not in context.renamed:
        yield (
            f"its repository is {commit.repository.url}, that of {label(outgoing)} is {old.repository.url} "
            f"(ALLOW_RENAMED={printable(flow)} allows it)"
        )


def own_repository() -> str:
    """Return the address of the repository that runs the release."""
    server = setting("GITHUB_SERVER_URL", "https://github.com").rstrip("/")
    return address(f"{server}/{setting('GITHUB_REPOSITORY')}")


def _place(environment: str, artifact: Artifact) -> str:
    return f"{environment}: {printable(artifact['flow']) or 'no flow'}: {label(artifact)}"


def main(argv: list[str]) -> int:
    """Read the diff, write the release."""
    usage(argv)
    diff = read_diff(read_document())
    pairs, notes = promotions(diff)
    write_array(build(pairs, diff.from_snapshot, diff.to_snapshot))
    for note in notes:
        say(note)
    return 0


if __name__ == "__main__":
    run(main, __doc__)
