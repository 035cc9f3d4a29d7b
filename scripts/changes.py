#!/usr/bin/env python3
"""Say what came between the two commits of each promotion, and refuse what is older or on no branch.

stdin   a release (make promotions)
stdout  for each promotion {"flow", "repository", "status", "on_branch", "ahead", "behind", "commits", "why"}
          status     ahead, behind, diverged, identical, new (a first deployment) or unknown: `why` says why
          on_branch  whether a branch of the repository holds the incoming commit; null when that is not known
          commits    the newest 250: {"sha", "time", "author", "committer", "subject", "pull_request"}; `ahead` says how
                     many there are
exit    0 done, 1 refused: stderr has a line for each cause; 2 not a release, or wrong settings. In a workflow it also
        refuses a release that is a rollback without ROLLBACK_OF, or the other way round
reads   SOURCES ALLOW_OLDER CHANGES_REQUIRED CHANGES_TOKEN_HOST SOURCES_TOKEN CLONES (a folder that keeps the clones)
        GATE_JOBS ROLLBACK_OF GIT_ALLOW_PROTOCOL (https by default)

No commit refuses a rollback.

    make promotions | scripts/changes.py
"""

import hashlib
import os
import tempfile

from lib.changes import causes
from lib.commit_urls import address, same_repository
from lib.git import Clone, GitFailed
from lib.model import Change, Promotion
from lib.processes import side_by_side, stop_on_signals
from lib.releases import is_rollback, read_release, require_origin
from lib.rules import cause_in_source, commit_of, environment_of
from lib.settings import settings, this_run
from lib.streams import no_arguments, read_document, run, say, write_json


def changes(release: list[Promotion], folder: str) -> list[Change]:
    """Return what came between the commits of each promotion; every repository is cloned once."""
    repositories: dict[str, list[Promotion]] = {}
    for promotion in release:
        repositories.setdefault(address(promotion.incoming_clone_url), []).append(promotion)
    groups, jobs = list(repositories.values()), settings().gate.jobs
    answers = side_by_side(lambda promotions: in_repository(promotions, folder), groups, jobs, "repository")
    change_of = {id(promotion): change for pairs in answers for promotion, change in pairs}
    return [change_of[id(promotion)] for promotion in release]


def in_repository(promotions: list[Promotion], folder: str) -> list[tuple[Promotion, Change]]:
    """Return what came between the commits of the promotions of one repository."""
    first = promotions[0]
    commit = commit_of(first.incoming)
    why = cause_in_source(commit) if commit else "its commit is not known"
    clone = None
    if not why:
        name = hashlib.sha256(address(first.incoming_clone_url).encode()).hexdigest()
        try:
            clone = Clone(os.path.join(folder, name), first.incoming_clone_url)
        except GitFailed as error:
            why = str(error)
    return [(promotion, between(promotion, clone, why)) for promotion in promotions]


def between(promotion: Promotion, clone: Clone | None, why: str) -> Change:
    """Return what came between the commits of one promotion."""
    change = Change(promotion.incoming_flow, promotion.incoming_repo_url, "unknown", why=why)
    if not clone:
        return change
    old, new = commit_of(promotion.outgoing), commit_of(promotion.incoming)
    try:
        assert new, "its repository was cloned"
        change.on_branch = clone.is_on_branch(new.sha)
        if promotion.is_first:
            change.status = "new"
        elif not old:
            change.why = "the commit of what it replaces is not known"
        elif not same_repository(old, new):
            change.why = f"what it replaces comes from another repository: {old.repository.url}"
        elif old.sha == new.sha:
            change.status = "identical"
        else:
            change.ahead, change.behind = clone.counts(old.sha, new.sha)
            change.status = "ahead" if not change.behind else "diverged" if change.ahead else "behind"
            change.commits = clone.commits(old.sha, new.sha)
    except GitFailed as error:
        change.status, change.why = "unknown", str(error)
    return change


def main(argv: list[str]) -> int:
    no_arguments(__doc__, argv)
    release, to = read_release(read_document()), environment_of(settings().environments[1])
    require_origin(release, to)
    stop_on_signals()
    with tempfile.TemporaryDirectory() as temporary:
        folder = os.path.abspath(this_run().clones) if this_run().clones else temporary
        os.makedirs(folder, exist_ok=True)
        all_changes = changes(release, folder)
    write_json(all_changes)
    against = list(causes(release, all_changes))
    for cause in against:
        say(cause)
    return 1 if against and not is_rollback(release, to) else 0


if __name__ == "__main__":
    run(main)
