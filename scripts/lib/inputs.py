"""What a page about a release is made of, and what follows from it: changes, evidence, names."""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar
from urllib.parse import unquote

from lib.changes import read_changes
from lib.model import Artifact, Change, Diff, Outcome, Promotion, Verdict
from lib.releases import is_rollback, proposed, read_reasons, read_release, require_environments
from lib.rules import by_key, environment_of, image_of, last_part, matcher, order, read_diff, registry_of
from lib.settings import settings, this_run
from lib.streams import Unusable, parse, printable, read_bytes, read_document, read_file, typed

T = TypeVar("T")

LONGEST_NAME = 80
NOT_ASCII = "‡"


class Inputs(NamedTuple):
    """The documents. Verdicts, outcomes and changes are None where nobody asked for any."""

    release: list[Promotion]
    diff: Diff | None
    verdicts: list[Verdict] | None
    outcomes: list[Outcome] | None
    refused: list[str] | None
    changes: list[Change] | None
    now: datetime  # or when the release was proposed

    @property
    def environments(self) -> tuple[str, str]:
        """Return the names of FROM and TO: the diff's, or those of the settings."""
        one, other = (self.diff.from_snapshot, self.diff.to_snapshot) if self.diff else settings().environments
        return environment_of(one), environment_of(other)

    @property
    def is_rollback(self) -> bool:
        """Say whether the release brings back what TO ran before."""
        return is_rollback(self.release, self.environments[1])

    def places(self) -> list[str]:
        """Return the environments that need a verdict. What comes back in a rollback need not run in FROM."""
        return [] if self.verdicts is None else list(self.environments[self.is_rollback :])

    def evidence(self) -> list[list[Verdict | None]]:
        """Return for each promotion its verdict in each place, None where there is none. Of several, the worst."""
        worst: dict[tuple[str, str], Verdict] = {}
        for verdict in self.verdicts or ():
            key = verdict.fingerprint, verdict.environment
            if key not in worst or word_of(worst[key]) == "compliant":
                worst[key] = verdict
        return [[worst.get((p.incoming_fingerprint, place)) for place in self.places()] for p in self.release]

    def ends(self) -> list[Outcome | None]:
        """Return for each promotion its outcome, None where there is none."""
        outcomes = {outcome.fingerprint: outcome for outcome in self.outcomes or ()}
        return [outcomes.get(promotion.incoming_fingerprint) for promotion in self.release]

    def running(self) -> list[list[Artifact]]:
        """Return what TO runs of each promotion's service: as the diff has it, or without one as the release has it."""
        if not self.diff:
            return [[] if promotion.is_first else [promotion.outgoing] for promotion in self.release]
        key = service_key()
        running = by_key(self.diff.running_in_to, key)
        return [running.get(key(promotion.incoming), []) for promotion in self.release]

    def changing(self) -> list[Promotion]:
        """Return the promotions that change anything: of a rollback, or after a deployment, some may be there."""
        pairs = zip(self.release, self.running(), strict=True)
        return [promotion for promotion, running in pairs if not is_there(promotion, running)]

    def untouched(self) -> tuple[list[Artifact], list[Artifact], list[Artifact]]:
        """Return what the release leaves alone: what stays in TO beside it, what waits in FROM, what only TO runs.

        In a rollback only TO counts: all else that it runs stays.
        """
        if not self.diff:
            return [], [], []
        touched = {a.fingerprint or a.name for p in self.release for a in (p.incoming, p.outgoing)}

        def rest(artifacts: Iterable[Artifact]) -> list[Artifact]:
            free = (artifact for artifact in artifacts if (artifact.fingerprint or artifact.name) not in touched)
            return sorted(free, key=order)

        if self.is_rollback:
            return rest(self.diff.running_in_to), [], []
        only_to = {id(artifact) for artifact in self.diff.outgoing}
        both = (artifact for artifact in self.diff.running_in_to if id(artifact) not in only_to)
        return rest(both), rest(self.diff.incoming), rest(self.diff.outgoing)


def service_key() -> Callable[[Artifact], tuple[str, ...]]:
    """Return the key of an artifact's service: what promotions are matched by, or its image when it has no flow."""
    match = matcher()
    return lambda artifact: match(artifact) if artifact.flow else ("", image_of(artifact.name))


def is_there(promotion: Promotion, running: list[Artifact]) -> bool:
    """Say whether TO runs a promotion's incoming artifact already, and no other of its service."""
    return {artifact.fingerprint for artifact in running} == {promotion.incoming_fingerprint}


def word_of(verdict: Verdict | None) -> str:
    """Return a verdict in a word or two. Without a policy it is no evidence, though the gate can be told to pass it."""
    if not verdict:
        return "missing"
    return "without a policy" if verdict.verdict == "compliant" and verdict.policies < 1 else verdict.verdict


def short(name: str, longest: int = LONGEST_NAME) -> str:
    """Return a name as it is shown: cut when it is long, with a sign when it has letters that may look like others."""
    shown = printable(name if len(name) <= longest else f"{name[:longest]}...")
    return shown if shown.isascii() else f"{shown} {NOT_ASCII}"


def service(artifact: Artifact) -> str:
    """Return what people call an artifact: the last part of its image's name."""
    return short(last_part(artifact.name) or artifact.name or "(no name)")


def registry(artifact: Artifact) -> str:
    """Return an image's registry, and the path in it, as it is shown."""
    named = short(registry_of(artifact.name), 2 * LONGEST_NAME)
    return f"image from {named}" if named else "no registry is named"


def repository(promotion: Promotion) -> str:
    """Return where the code of a promotion is, as it is shown: decoded."""
    return short(unquote(promotion.incoming_repo_url.partition("://")[2]), 2 * LONGEST_NAME) or "not known"


def names(artifacts: Iterable[Artifact]) -> list[str]:
    """Return what people call these artifacts; with the flow too where it has another name, or two share a name.

    The flow decides what replaces what; anybody can give an image the name of another service.
    """
    services = [(service(artifact), artifact.flow) for artifact in artifacts]
    times = Counter(name for name, _ in set(services))
    clear = [times[name] == 1 and (flow == name or flow.startswith(f"{name}-")) for name, flow in services]
    return [f"{n} ({short(f)})" if f and not c else n for (n, f), c in zip(services, clear, strict=True)]


def some(artifacts: list[Artifact], most: int = 3) -> str:
    """Return what people call the first of these artifacts, and how many more there are."""
    more = f" and {len(artifacts) - most} more" if len(artifacts) > most else ""
    return ", ".join(names(artifacts[:most])) + more


def has_marks(inputs: Inputs) -> bool:
    """Say whether a name on the page has that sign."""
    artifacts = [promotion.incoming for promotion in inputs.release]
    if inputs.diff:
        artifacts += [*inputs.diff.running_in_from, *inputs.diff.running_in_to]
    shown = [service(a) + short(a.flow) + registry(a) for a in artifacts] + list(map(repository, inputs.release))
    return any(NOT_ASCII in text for text in shown)


def read_inputs() -> Inputs:
    """Return what is on stdin and what the settings name. What was refused may be no release, and have no diff."""
    run, refused = this_run(), read_reasons()
    unreadable = suppress(Unusable) if refused else nullcontext()
    release: list[Promotion] = []
    diff = changes = None
    with unreadable:
        release = read_release(read_document())
    # Only now: make writes the diff beside the pipe, and it is whole when stdin has ended.
    with unreadable:
        diff = read_diff(read_file(run.snapshots), printable(run.snapshots)) if run.snapshots else None
    with unreadable:
        changes = read_changes(release) if release else None
    verdicts = [v for file in files(run.verdicts) for v in read_list(file, list[Verdict], "verdicts")]
    outcomes = read_list(run.outcomes, list[Outcome], "outcomes") if run.outcomes else None
    now = datetime.fromtimestamp(proposed(), UTC) if run.proposed else datetime.now(UTC)
    inputs = Inputs(release, diff, verdicts if run.verdicts else None, outcomes, refused, changes, now)
    if not refused:
        require_environments(release, *inputs.environments)
    return inputs


def files(path: str) -> list[str]:
    """Return a file, or all .json files of a folder, by name."""
    if not os.path.isdir(path):
        return [path] if path else []
    below = (os.path.join(folder, name) for folder, _, filenames in os.walk(path) for name in filenames)
    return sorted(name for name in below if name.endswith(".json"))


def read_list(path: str, kind: type[list[T]], what: str) -> list[T]:
    """Return the records in a file; an empty one says that Kosli gave no answer."""
    raw = read_bytes(path)
    return typed(parse(raw, printable(path)) if raw.strip() else [], kind, f"{printable(path)} is no list of {what}")
