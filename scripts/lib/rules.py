"""The rules about what runs where: the diff of two snapshots, what is in progress, and what must not be promoted."""

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from heapq import nsmallest
from typing import Any, NamedTuple

from lib.commit_urls import Commit, address, parse, same_host, same_repository
from lib.model import Artifact, Deployment, Diff, DiffDocument, Named, Promotion, Running
from lib.queries import select
from lib.settings import Settings, settings, this_run, variable
from lib.streams import Refused, Unusable, printable, typed

Key = tuple[str, ...]

_digest_in_name = re.compile(
    r"@(?:sha256:[0-9a-f]*|[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-f]{32,})$", re.IGNORECASE | re.ASCII
).search
_schemes = re.compile(r"^(?:[a-z][a-z0-9+.-]*://)+", re.IGNORECASE).sub
_tag_alone = re.compile(r":[^:\s]*").fullmatch
_image_id = re.compile(r"(?:sha256:)?[0-9a-f]{64}", re.IGNORECASE | re.ASCII).fullmatch


class Pair(NamedTuple):
    """An incoming artifact with its commit, and the outgoing one that it replaces; None for what there is not."""

    incoming: Artifact
    commit: Commit | None
    outgoing: Artifact | None
    old_commit: Commit | None


def read_diff(document: Any, source: str = "stdin") -> Diff:
    """Return the diff in a JSON document. Anything else is Unusable, named by its place: snappish1.artifacts[3].flow.

    {"snappish1":   {"snapshot_id": "aws-beta#4754", "artifacts": [A, ...]},    runs in FROM and not in TO
     "snappish2":   {"snapshot_id": "aws-prod#3548", "artifacts": [A, ...]},    runs in TO and not in FROM
     "changed":     {"artifacts": [A, ...]},                                    runs in both, in another number
     "not-changed": {"artifacts": [A, ...]}}                                    runs in both
    """
    diff = typed(document, DiffDocument, f"{source} is not a diff of two snapshots")
    parts: dict[str, Running] = {
        "snappish1": diff.snappish1,
        "snappish2": diff.snappish2,
        "changed": diff.changed,
        "not-changed": diff.not_changed,
    }
    for name, part in parts.items():
        for artifact, fields in zip(part.artifacts, document[name]["artifacts"], strict=True):
            artifact.fields = fields
    lists = {name: {"artifacts": part.artifacts} for name, part in parts.items()}
    return Diff(
        diff.snappish1.snapshot_id,
        diff.snappish2.snapshot_id,
        select("incoming", lists),
        select("outgoing", lists),
        select("running-in-from", lists),
        select("running-in-to", lists),
    )


def environment_of(snapshot_id: str) -> str:
    """Return the environment of a snapshot id or of one of Kosli's expressions for a snapshot.

    aws-beta#4754, aws-beta~1 and aws-beta@{2.hours.ago} are all of aws-beta.
    """
    return re.split(r"[#~@]", snapshot_id, maxsplit=1)[0]


def require_diff_of(diff: Diff, wanted: Iterable[str]) -> None:
    """Raise Refused for a diff of other environments than these two; "" stands for one that nobody named."""
    environments = (environment_of(diff.from_snapshot), environment_of(diff.to_snapshot))
    for name, one, expression in zip(("FROM", "TO"), environments, wanted, strict=True):
        if expression and environment_of(expression) != one:
            raise Refused(
                f"the diff is of {' and '.join(environments)}, and {name} is {printable(environment_of(expression))}"
            )


def require_named_environments(diff: Diff) -> None:
    """Raise Refused for a diff of other environments than those that make, the environment or release.toml names."""
    require_diff_of(diff, (settings().from_, settings().to))


def image_of(name: str) -> str:
    """Return an image's name without tag and digest: registry:5000/saver:6e191a0@sha256:b323 is registry:5000/saver."""
    path, slash, image = name.partition("@")[0].rpartition("/")
    return path + slash + image.partition(":")[0]


def last_part(name: str) -> str:
    """Return the last part of an image's name: saver. It is the same in the registry of every environment."""
    return image_of(name).rpartition("/")[2]


def registry_of(name: str) -> str:
    """Return what stands before the last part of an image's name: the registry, and the path in it."""
    return image_of(name).rpartition("/")[0]


def deploys_from_other_registry(incoming_snapshot_id: str, to: str) -> bool:
    """Say whether a deployment names the registry of what it replaces. What a rollback brings back has TO's already."""
    return settings().deploy.registry == "outgoing" and environment_of(incoming_snapshot_id) != to


def allows(flows: list[str], flow: str) -> bool:
    """Say whether a list of flows names one, by its old name or by its new one."""
    return not {flow, renamed(flow)}.isdisjoint(flows)


def flow_of(artifact: Artifact) -> str:
    """Return an artifact's flow; one that was renamed counts as the new one."""
    return renamed(artifact.flow)


def renamed(flow: str) -> str:
    """Return the name that a flow counts as (RENAMED_FLOWS)."""
    return settings().renamed_flows.get(flow, flow)


def matcher() -> Callable[[Artifact], Key]:
    """Return what pairs an incoming artifact with an outgoing one: its flow, or with MATCH_BY=image flow and image."""
    new_names = settings().renamed_flows
    if settings().match_by == "flow":
        return lambda artifact: (new_names.get(artifact.flow, artifact.flow),)
    return lambda artifact: (new_names.get(artifact.flow, artifact.flow), last_part(artifact.name))


def by_key(artifacts: Iterable[Artifact], key: Callable[[Artifact], Key]) -> dict[Key, list[Artifact]]:
    """Return artifacts in groups, in their order."""
    groups: dict[Key, list[Artifact]] = defaultdict(list)
    for artifact in artifacts:
        groups[key(artifact)].append(artifact)
    return dict(groups)


def order(artifact: Artifact) -> tuple[str, str, str]:
    """Return what artifacts are sorted by in a release: flow, name, fingerprint."""
    return artifact.flow, artifact.name, artifact.fingerprint


def in_progress(diff: Diff) -> list[Deployment]:
    """Return the deployments in progress, FROM's before TO's, each environment's by flow and name.

    A flow that runs several fingerprints in an environment has not settled. One fingerprint under two names has.
    Artifacts without a flow have nothing in common with each other.
    """
    match = matcher()
    deployments = []
    for snapshot_id, running in (
        (diff.from_snapshot, diff.running_in_from),
        (diff.to_snapshot, diff.running_in_to),
    ):
        groups = by_key((artifact for artifact in running if artifact.flow), match)
        unsettled = [
            Deployment(
                environment_of(snapshot_id),
                snapshot_id,
                group[0].flow,
                [Named(artifact.name, artifact.fingerprint) for artifact in sorted(group, key=order)],
            )
            for group in groups.values()
            if len(group) > 1 and len({artifact.fingerprint or artifact.name for artifact in group}) > 1
        ]
        deployments += sorted(unsettled, key=lambda deployment: (deployment.flow, deployment.artifacts[0].name))
    return deployments


def why_never_settled(artifacts: Sequence[Named]) -> str:
    """Return what a deployment in progress may be instead, by its artifacts' names, and the way out of that."""
    if len({last_part(artifact.name) for artifact in artifacts}) > 1:
        return "or the flow builds several images: MATCH_BY=image tells them apart"
    images = {artifact.name.partition("@")[0] for artifact in artifacts}
    if len(images) > 1 or ":" not in "".join(images).rpartition("/")[2]:
        return "or the old one is an idle colour, an evicted pod or an ended job: stop it"
    return (
        "one tag, two digests: the index of a multi-architecture image and its platform's never settle, "
        "deploy it by one digest everywhere"
    )


def label(artifact: Named) -> str:
    """Return how an artifact is called in a message: its name, and its fingerprint where the name does not hold it."""
    name, fingerprint = artifact.name, artifact.fingerprint
    if fingerprint and name.endswith(fingerprint):
        return printable(name)
    return f"{printable(name)} ({fingerprint or 'no fingerprint'})"


def listed(artifacts: Sequence[Named]) -> str:
    """Return artifacts as words for a message: the first ten by name, and how many more."""
    first = nsmallest(10, artifacts, key=lambda artifact: (artifact.name, artifact.fingerprint))
    more = f", and {len(artifacts) - 10} more" if len(artifacts) > 10 else ""
    return ", ".join(map(label, first)) + more


def place(environment: str, artifact: Artifact) -> str:
    """Return where a message is about: environment, flow, artifact."""
    return f"{environment}: {printable(artifact.flow) or 'no flow'}: {label(artifact)}"


def flows_in(diff: Diff) -> set[str]:
    """Return the flows that run in FROM or in TO, by their new names; "" among them for artifacts without one."""
    return {flow_of(artifact) for artifact in (*diff.running_in_from, *diff.running_in_to)}


def selected_flows(diff: Diff) -> frozenset[str] | None:
    """Return the flows that FLOWS names, None when it names none. One that runs nowhere is wrong usage."""
    if not this_run().flows:
        return None
    named = frozenset(this_run().flows.split())
    if not named:
        raise Unusable("FLOWS names no flow: empty is all of them, a blank is none")
    running = flows_in(diff)
    environments = f"{environment_of(diff.from_snapshot)} or {environment_of(diff.to_snapshot)}"
    causes = [
        f"FLOWS: no flow {printable(flow)} runs in {environments}; "
        f"nearest: {', '.join(map(printable, difflib.get_close_matches(flow, running - {''}, 3, 0.4))) or 'none'}"
        for flow in sorted(named)
        if renamed(flow) not in running
    ]
    if causes:
        raise Unusable(*causes)
    return frozenset(map(renamed, named))


def missing_provenance(artifact: Artifact) -> str:
    """Return what is missing in an artifact's provenance: "no flow, no commit URL"; "" when it has all."""
    facts = {"flow": artifact.flow, "commit URL": artifact.commit_url, "fingerprint": artifact.fingerprint}
    return ", ".join(f"no {what}" for what, value in facts.items() if not value)


def commit_of(artifact: Artifact | None) -> Commit | None:
    """Return the commit that an artifact was built from, None when it is not known."""
    return parse(artifact.commit_url or "") if artifact else None


def cause_in_name(artifact: Artifact) -> str:
    """Return why an artifact's name cannot be deployed by its fingerprint, "" when it can."""
    name = artifact.name
    digest = _digest_in_name(name)
    image = _schemes("", name[: digest.start()] if digest else name).strip()
    last = image.rpartition("/")[2]
    if _image_id(image.partition("@")[0]):
        return "its name is an image's id and says no repository to deploy it from: run it by its name"
    if not image or _tag_alone(last) or (not last and not name.endswith("/")):
        return "its name says no image that could be deployed: run it by its name"
    if digest and name[digest.start() :].lower() != f"@sha256:{artifact.fingerprint}":
        return (
            f"the digest in its name is not its fingerprint, {artifact.fingerprint or 'which is missing'} (a multi-"
            "architecture image has a digest of its index and one of each platform: attest all, or deploy by one)"
        )
    return ""


def why_no_rollback(promotion: Promotion) -> str:
    """Return why a promotion cannot be rolled back, "" when it can."""
    outgoing = promotion.outgoing
    if promotion.is_first:
        return "it is a first deployment, there is nothing to go back to"
    if not outgoing.fingerprint:
        return "what it replaces has no fingerprint"
    if cause := cause_in_name(outgoing):
        return f"what it replaces: {cause}"
    if not commit_of(outgoing):
        return "the commit of what it replaces is not known"
    return ""


@cache
def sources() -> list[str]:
    """Return whose code may be promoted, [] for everybody's: SOURCES, or the owner of the repository that runs this."""
    owner = variable("GITHUB_REPOSITORY").partition("/")[0]
    return settings().sources or ([f"{github()}/{owner}/"] if owner else [])


def github() -> str:
    """Return the address of the GitHub that runs this."""
    return (variable("GITHUB_SERVER_URL") or "https://github.com").rstrip("/")


def cause_in_source(commit: Commit) -> str:
    """Return why no code of a commit's repository may be deployed, "" when it may."""
    url = commit.repository.url
    host = url.partition("://")[2].partition("/")[0].partition(":")[0]
    if not url.startswith("https://") or host.startswith(".") or host.endswith("."):
        return "its commit URL must be https, with a host that neither begins nor ends with a dot"
    allowed = sources()
    if allowed and not any(is_below(url, source) for source in allowed):
        return f"its repository {url} is below none of the sources: {', '.join(map(printable, allowed))}"
    return ""


def is_below(url: str, source: str) -> bool:
    """Say whether a repository's URL begins with a source, by whole path segments and without case."""
    return f"{address(url)}/".startswith(f"{address(source.rstrip('/'))}/")


class Against:
    """What speaks against a promotion, with what the rules look up of the whole diff."""

    def __init__(self, diff: Diff, match: Callable[[Artifact], Key]) -> None:
        self.settings: Settings = settings()
        self.to = environment_of(diff.to_snapshot)
        flows_of: dict[str, set[str]] = {}
        for artifact in diff.incoming:
            flows_of.setdefault(artifact.fingerprint, set()).add(flow_of(artifact))
        self.several_flows = {key: nsmallest(4, flows) for key, flows in flows_of.items() if len(flows) > 1}
        self.running_in_to = {artifact.fingerprint for artifact in diff.running_in_to}
        own = variable("GITHUB_REPOSITORY")
        self.own_repository = address(f"{github()}/{own}") if own else ""
        arriving = {match(artifact) for artifact in diff.incoming if artifact.flow}
        self.left_in_to = [a for a in diff.outgoing if not a.flow or match(a) not in arriving]
        self.left_alike: dict[tuple[str, str], Artifact] = {}
        for artifact in self.left_in_to:
            for trait in self._traits(artifact, commit_of(artifact)):
                self.left_alike.setdefault(trait, artifact)

    def causes(self, pair: Pair) -> Iterator[str]:
        """Yield why an incoming artifact must not be promoted."""
        artifact, commit, outgoing, old = pair
        flow, fingerprint, url = artifact.flow, artifact.fingerprint, artifact.commit_url
        if unproven := missing_provenance(artifact):
            yield f"it has {unproven} (UNPROVEN=skip leaves it out)"
        if url and not commit:
            yield f"its commit URL is no commit page: {printable(url)}"
        if commit and (cause := cause_in_source(commit)):
            yield f"{cause}: {printable(url)}"
        if cause := cause_in_name(artifact):
            yield cause
        if fingerprint and fingerprint in self.several_flows:
            others = [printable(other) for other in self.several_flows[fingerprint] if other != flow_of(artifact)]
            yield f"another flow brings in the same fingerprint: {', '.join(others[:3])}"
        if fingerprint and fingerprint in self.running_in_to:
            yield f"it is said to run in {self.to} too: the diff contradicts itself"
        if commit and self.own_repository and address(commit.repository.url) == self.own_repository:
            yield f"its commit is in the repository that runs the release: Kosli shows the wrong flow: {printable(url)}"
        moved = bool(commit and old and not same_repository(old, commit) and same_host(old, commit))
        if commit and old and outgoing and moved and not allows(self.settings.allow_renamed, flow):
            yield (
                f"its repository is {commit.repository.url}, that of {label(outgoing)} is {old.repository.url} "
                f"(ALLOW_RENAMED={printable(flow)} allows it)"
            )
        if not outgoing and flow and not allows(self.settings.allow_first, flow):
            alike = [self.left_alike[trait] for trait in self._traits(artifact, commit) if trait in self.left_alike]
            if alike:
                old_flow = printable(alike[0].flow)
                renamed_to = f"say that it was renamed (RENAMED_FLOWS={old_flow}={printable(flow)})"
                way = renamed_to if old_flow not in ("", printable(flow)) else "retire it"
                yield (
                    f"it would be a first deployment, and {label(alike[0])} ({old_flow or 'no flow'}), which nothing "
                    f"replaces in {self.to}, looks like it: {way}, or say that this one is new "
                    f"(ALLOW_FIRST={printable(flow)})"
                )

    @staticmethod
    def _traits(artifact: Artifact, commit: Commit | None) -> list[tuple[str, str]]:
        """Return what an artifact can look like another one by: its flow, its image's last part, its repository."""
        traits = [("flow", flow_of(artifact)), ("image", last_part(artifact.name).lower())]
        if commit:
            traits.append(("repository", address(commit.repository.url)))
        return [trait for trait in traits if trait[1]]


def own_flows() -> set[str]:
    """Return the release's own flow, under each of its names."""
    own = {variable("KOSLI_FLOW"), settings().release_flow}
    own |= set(map(renamed, own))
    return {*own, *(old for old, new in settings().renamed_flows.items() if new in own)} - {""}


def same_artifacts(running: Iterable[Artifact], wanted: Iterable[Artifact]) -> bool:
    """Say whether these artifacts run and no other: known by fingerprint, or by name where there is none."""
    return {a.fingerprint or a.name for a in running} == {a.fingerprint or a.name for a in wanted}
