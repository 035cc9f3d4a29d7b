"""What the approver decides on beside the verdicts: what has changed, by whom, how old it is, and what is held."""

from datetime import datetime

from lib.commit_urls import commit_page
from lib.holds import EVERY_FLOW, in_force, sentence, start_of, that_count, utc, why_young
from lib.inputs import Inputs, short
from lib.model import Artifact, Change, LoggedCommit, Promotion
from lib.parts import Code, Fold, Line, Mark, web_page
from lib.rules import allows, commit_of, flow_of, missing_provenance, renamed
from lib.settings import settings, this_run

MOST_COMMITS = 20  # of one promotion; and of all of them:
MOST_ON_THE_PAGE = 2000
PULL_REQUESTS = {"github": "pull", "gitlab": "-/merge_requests"}


def counted(number: int, one: str, several: str = "") -> str:
    """Return a number with its noun."""
    return f"{number} {one if number == 1 else several or one + 's'}"


def what_changes(inputs: Inputs) -> Line:
    """Return the sentence that the page begins with: how many commits by how many people, and how old they are."""
    if inputs.is_rollback:
        return []
    line = [] if inputs.changes is None else commits_and_people(inputs.changes)
    starts = sorted(start for p in inputs.release if (start := started(p)) is not None)
    if starts:
        ages = dict.fromkeys(age(starts[index], inputs.now) for index in (-1, 0))
        how_old = f"has run in {inputs.environments[0]} for {' to '.join(ages)} (at {utc(inputs.now)})"
        line.append(f"What comes in {how_old}.")
    return line


def commits_and_people(changes: list[Change]) -> Line:
    """Return how many commits by how many people come in. Two services of one repository share theirs.

    Of a long history only the newest commits are listed, with their authors.
    """
    listed = {(change.repository, commit.sha): commit.author for change in changes for commit in change.commits}
    rest: dict[str, int] = {}
    for change in changes:
        rest[change.repository] = max(rest.get(change.repository, 0), change.ahead - len(change.commits))
    commits, people = len(listed) + sum(rest.values()), len(set(listed.values()))
    unknown = sum(change.status == "unknown" for change in changes)
    by = by_people(people, any(rest.values())) if people else ""
    line: Line = [f"{counted(commits, 'commit')}{by}."] if commits or not unknown else []
    if unknown:
        line.append(Mark("doubtful", f"What has changed is not known for {unknown} of {len(changes)}."))
    return line


def by_people(number: int, at_least: bool) -> str:
    return f" by {'at least ' if at_least else ''}{counted(number, 'person', 'people')}"


def started(promotion: Promotion) -> int | None:
    """Return when the newest instance of the incoming artifact started, in seconds since 1970."""
    return start_of(promotion.incoming_most_recent_timestamp)


def age(start: int | None, now: datetime) -> str:
    """Return how long something has run: 3 d 4 h, 4 h, 5 min."""
    if start is None:
        return "not known"
    hours, minutes = divmod(max(int(now.timestamp()) - start, 0) // 60, 60)
    if hours >= 24:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours} h" if hours else f"{minutes} min"


def changed(promotion: Promotion, change: Change, inputs: Inputs) -> Line:
    """Return what came between the commits of one promotion: the commits are folded.

    The link beside it says whether all of it is new, or the commit is the same.
    """
    back = counted(change.behind, "commit")
    allowed = "doubtful" if allows(settings().allow_older, promotion.incoming_flow) else "bad"
    line: Line = [Mark("bad", "on no branch")] if change.on_branch is False and not inputs.is_rollback else []
    if change.status == "unknown":
        line.append(Mark("doubtful", f"not known: {short(change.why, 200)}"))
    elif change.status == "behind":
        line.append(Mark("", f"goes back {back}") if inputs.is_rollback else Mark(allowed, f"{back} older"))
    elif change.status == "diverged":
        line.append(Mark("" if inputs.is_rollback else allowed, f"lacks {back}"))
    if change.commits:
        most = max(1, min(MOST_COMMITS, MOST_ON_THE_PAGE // len(inputs.release)))
        shown = [logged(commit, promotion) for commit in change.commits[:most]]
        people = len({commit.author for commit in change.commits})
        by = by_people(people, change.ahead > len(change.commits))
        line.append(Fold(f"{counted(change.ahead, 'commit')}{by}", shown, change.ahead - len(shown)))
    return line


def logged(commit: LoggedCommit, promotion: Promotion) -> Line:
    """Return a commit as one line: its page, its subject, its pull request and its author."""
    new = commit_of(promotion.incoming)
    url = web_page(commit_page(new._replace(sha=commit.sha))) if new else ""
    # Most hosts write the pull request into the subject.
    line: Line = [Code(commit.sha[:7], url), short(commit.subject.removesuffix(f" ({commit.pull_request})"), 100)]
    if commit.pull_request:
        path = PULL_REQUESTS.get(promotion.incoming_repo_provider)
        page = f"{promotion.incoming_repo_url}/{path}/{commit.pull_request[1:]}" if path else ""
        line.append(Mark("", f"pull request {commit.pull_request}", web_page(page)))
    # What is merged on its site, GitHub commits itself.
    others = "" if commit.committer in (commit.author, "GitHub") else f", committed by {short(commit.committer)}"
    return [*line, f"by {short(commit.author)}{others}"]


def why_left_out(artifact: Artifact, now: datetime) -> str:
    """Return why an artifact that runs in FROM is not in the release."""
    for hold in that_count(now):
        if renamed(hold.flow) == flow_of(artifact):
            return f"it is held {sentence(hold)}"
    if settings().young == "skip" and (young := why_young(artifact.most_recent_timestamp, now)):
        return young
    lacks = missing_provenance(artifact)
    return f"it has {lacks}" if lacks else "it is not selected for this release"


def holds(inputs: Inputs) -> dict[str, Line]:
    """Return the holds in force that this release meets, and the reason that passes them. A rollback meets none."""
    if inputs.is_rollback:
        return {"Override": [Mark("doubtful", short(this_run().override, 500))]} if this_run().override else {}
    flows = {flow_of(promotion.incoming) for promotion in inputs.release}
    flows |= {flow_of(artifact) for artifact in (inputs.diff.incoming if inputs.diff else ())}
    met = [hold for hold in in_force(inputs.now) if hold.flow == EVERY_FLOW or renamed(hold.flow) in flows]
    facts: dict[str, Line] = {}
    if met:
        facts["Held"] = [Mark("doubtful", "; ".join(named(hold.flow, sentence(hold)) for hold in met))]
    if this_run().override:
        facts["Override"] = [Mark("doubtful", f"holds and freezes are passed: {short(this_run().override, 500)}")]
    return facts


def named(flow: str, what: str) -> str:
    """Return what is held, and what a hold says of it."""
    return f"{'everything' if flow == EVERY_FLOW else short(flow)} {short(what, 500)}"
