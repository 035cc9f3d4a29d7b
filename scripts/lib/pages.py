"""What a page about a release shows, and how a name stands in it as nothing but a name."""

from __future__ import annotations

import re
from collections import Counter, namedtuple

from lib.commit_urls import commit_page, parse
from lib.diffs import environment_of, image_of, matcher
from lib.filters import LONGEST_VALUE, printable, setting
from lib.releases import artifact_of, is_first, snapshot_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator
    from typing import Any

    from lib.diffs import Artifact, Diff
    from lib.releases import Release

# What runs where, as one would draw it: the titles of the three columns, then artifacts. pairs: what
# arrives and what it replaces, last those that replace nothing (None). both: what runs in both. waiting: what only FROM
# runs and is not promoted. staying: what only TO runs and is not replaced.
Picture = namedtuple("Picture", "titles pairs both waiting staying")

LONGEST_NAME = 80
LONGEST_TEXT = 320
LONGEST_REASON = 2000
# Characters that mean nothing inside a line, the others coded; and where some of the former do mean something.
_plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ,;?=/%()'\"._:+-"
_coded = {number: f"&#{number};" for number in range(128) if chr(number) not in _plain}
_meaningful = re.compile(
    r"^[ -%'-/:-@\[-`{-~]|^[0-9]+[.)]"  # at the start: a list, an indented code block
    r"|:(?! )|(?i:(?<=www)\.)"  # an address, an emoji's name
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # emphasis
    r"| $"
)
_url = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9._~%+/?&=#:@,;!$*-]*)?").fullmatch
_code = re.compile(r"[A-Za-z0-9._#-]+").fullmatch


def environments(diff: Diff | None) -> tuple[str, str]:
    """Return the names of FROM and TO: the diff's, or those of the settings."""
    names = (diff.from_snapshot, diff.to_snapshot) if diff else ()
    one, other = names or (setting("FROM_ENV", "aws-beta"), setting("TO_ENV", "aws-prod"))
    return environment_of(one), environment_of(other)


def text(value: object, longest: int = LONGEST_TEXT) -> str:
    """Return a value for Markdown, shown as it is: every character that could mean something there is coded."""
    whole = str(value)
    short = whole if len(whole) <= longest else f"{whole[:longest]}..."
    shown = "".join(printable(short[i : i + LONGEST_VALUE]) for i in range(0, len(short), LONGEST_VALUE))
    return _meaningful.sub(lambda found: f"{found[0][:-1]}&#{ord(found[0][-1])};", shown.translate(_coded))


def link(label: str, url: object) -> str:
    """Return a Markdown link, or only the label where the URL is no web page. The label is Markdown already."""
    address = str(url)
    return f"[{label}]({address})" if label and _url(address) else label


def code(value: str) -> str:
    """Return an identifier as code, or as text where it is none."""
    return f"`{value}`" if _code(value) else text(value)


def service(artifact: Artifact) -> str:
    """Return what people call an artifact: the last part of its image's name."""
    return _short(image_of(artifact["name"]).rpartition("/")[2] or artifact["name"] or "(no name)")


def names(artifacts: Iterable[Artifact]) -> Iterator[str]:
    """Yield what people call these artifacts, each with its flow where that is not named after it, or two share a name.

    The flow decides what replaces what; anybody can give an image the name of another service.
    """
    artifacts = list(artifacts)
    times = Counter(name for name, _ in {(service(artifact), artifact["flow"]) for artifact in artifacts})
    for artifact in artifacts:
        name, flow = service(artifact), artifact["flow"]
        known = times[name] == 1 and (flow == name or flow.startswith(f"{name}-"))
        yield f"{name} ({_short(flow)})" if flow and not known else name


def _short(name: str) -> str:
    return printable(name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}...")


def short_version(artifact: Artifact) -> str:
    """Return an artifact's commit as a short sha, or else the beginning of its fingerprint; "" without both."""
    commit = parse(artifact.get("commit_url") or "")
    return str(commit.sha[:7] if commit else artifact["fingerprint"][:12])


def version(artifact: Artifact) -> str:
    """Return an artifact's short version as Markdown, linked where there is a page of its commit."""
    commit = parse(artifact.get("commit_url") or "")
    return link(code(short_version(artifact)) or "unknown", commit_page(commit) if commit else "")


def snapshot_link(snapshot_id: str) -> str:
    """Return a snapshot's id, linked where an organisation is configured."""
    return link(code(snapshot_id), snapshot_url(snapshot_id))


def is_rollback(release: Release, to: str) -> bool:
    """Say whether a release brings back what TO ran before."""
    return bool(release) and environment_of(release[0]["incoming_snapshot_id"]) == to


def service_key() -> Callable[[Artifact], Hashable]:
    """Return what an artifact counts as one service by: as promotions are matched, or its image without a flow."""
    match = matcher()
    return lambda artifact: match(artifact) if artifact["flow"] else ("", image_of(artifact["name"]))


def untouched(release: Release, diff: Diff) -> tuple[list[Artifact], list[Artifact], list[Artifact]]:
    """Return what a release does not touch, by name: what stays in TO beside it, what waits in FROM, what only TO runs.

    In a rollback only TO counts: all else that it runs stays.
    """
    touched = {p[f"{s}_fingerprint"] or p[f"{s}_name"] for p in release for s in ("incoming", "outgoing")}

    def left(artifacts: Iterable[Artifact]) -> list[Artifact]:
        return sorted(
            (a for a in artifacts if (a["fingerprint"] or a["name"]) not in touched),
            key=lambda a: (service(a), a["flow"], a["fingerprint"]),
        )

    if is_rollback(release, environments(diff)[1]):
        return left(diff.running_in_to), [], []
    only_to = {id(artifact) for artifact in diff.outgoing}
    return left(a for a in diff.running_in_to if id(a) not in only_to), left(diff.incoming), left(diff.outgoing)


def picture(release: Release, diff: Diff | None) -> Picture:
    """Return what to draw of a release, and of the diff that it comes from if there is one."""
    one, other = environments(diff)
    incoming = [artifact_of(promotion, "incoming") for promotion in release]
    outgoing = [artifact_of(promotion, "outgoing") for promotion in release]
    pairs = [(new, None if is_first(promotion) else old) for promotion, new, old in zip(release, incoming, outgoing)]
    pairs.sort(key=lambda pair: pair[1] is None)
    both, waiting, staying = untouched(release, diff) if diff else ([], [], [])
    titles = (f"only in {one}", "in both", f"only in {other}")
    if is_rollback(release, other):
        titles = ("comes back", "stays", f"runs in {other}")
    return Picture(titles, pairs, both, waiting, staying)


def versioned(artifacts: Iterable[Artifact]) -> list[str]:
    """Return what people call these artifacts, each with its version."""
    artifacts = list(artifacts)
    return [f"{name} {short_version(artifact)}".strip() for name, artifact in zip(names(artifacts), artifacts)]


def facts(document: Any, key: str) -> str:
    """Return a text in an answer that may have any shape, "" when it is not there."""
    value = document.get(key) if type(document) is dict else None
    return value if type(value) is str else ""
