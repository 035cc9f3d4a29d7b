"""What came between the two commits of each promotion, as scripts/changes.py printed it, and what speaks against it."""

from collections.abc import Iterator

from lib.model import Change, Promotion
from lib.rules import allows, environment_of
from lib.settings import settings, this_run
from lib.streams import Unusable, parse, printable, read_bytes, typed


def read_changes(release: list[Promotion]) -> list[Change] | None:
    """Return the changes of a release in the file CHANGES, None where none is named, or it is empty.

    Raises Unusable when they are of another release: the order says which change belongs to which promotion.
    """
    path = this_run().changes
    raw = read_bytes(path) if path else b""
    if not raw.strip():
        return None
    changes = typed(parse(raw, printable(path)), list[Change], f"{printable(path)} is no list of changes")
    if [(change.flow, change.repository) for change in changes] != [
        (promotion.incoming_flow, promotion.incoming_repo_url) for promotion in release
    ]:
        raise Unusable(f"{printable(path)}: the changes are of another release")
    return changes


def causes(release: list[Promotion], changes: list[Change]) -> Iterator[str]:
    """Yield what speaks against each promotion. Whoever asks knows whether it is a rollback, which is never refused."""
    for promotion, change in zip(release, changes, strict=True):
        where = f"{environment_of(promotion.incoming_snapshot_id)}: {printable(change.flow)}"
        if change.status in ("behind", "diverged") and not allows(settings().allow_older, promotion.incoming_flow):
            count = f"{change.behind} commit{'' if change.behind == 1 else 's'}"
            how = f"lacks {count} of" if change.status == "diverged" else f"is {count} older than"
            way_out = f"(ALLOW_OLDER={printable(change.flow)} allows it)"
            yield f"{where}: the incoming commit {how} the outgoing one {way_out}"
        if change.on_branch is False:
            yield f"{where}: no branch of {change.repository} holds {promotion.incoming_commit_sha}: merge it"
        if change.status == "unknown" and settings().changes.required:
            yield f"{where}: what has changed is not known: {printable(change.why)}"
