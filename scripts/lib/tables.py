"""The tables of a page about a release, one row a promotion, and what stands in their cells."""

from typing import NamedTuple

from lib.commit_urls import commit_page, same_host
from lib.decision import age, changed, started
from lib.inputs import Inputs, is_there, names, registry, repository, service, short, word_of
from lib.model import Artifact, Promotion, Verdict
from lib.parts import Code, Line, Mark, web_page
from lib.releases import snapshot_url
from lib.rules import commit_of, deploys_from_other_registry, environment_of, registry_of

KINDS = {"compliant": "good", "non-compliant": "bad", "landed": "good", "another landed": "bad"}


class Table(NamedTuple):
    """One row for each promotion, with lines in each cell."""

    title: str
    heads: list[str]
    rows: list[list[Line]]
    more: int


def promotions(inputs: Inputs, most: int) -> Table:
    """Return the table of what runs, what will run, the difference, where it comes from, and the verdicts."""
    rows: list[list[Line]] = []
    shown = inputs.release[:most]
    called = names(promotion.incoming for promotion in shown)
    for promotion, running, verdicts in zip(shown, inputs.running(), inputs.evidence(), strict=False):
        new, index = promotion.incoming, len(rows)
        what = changed(promotion, inputs.changes[index], inputs) if inputs.changes is not None else []
        runs: list[Line] = [[called[index]], runs_now(promotion, running), [version(new)]]
        how_old: list[Line] = [] if inputs.is_rollback else [[age(started(promotion), inputs.now)]]
        judged: list[Line] = [[mark_of(verdict)] for verdict in verdicts]
        comes: list[Line] = [source(promotion, inputs.environments[1]), [short(new.flow)]]
        rows.append([*runs, [*what, difference(promotion)], *how_old, *judged, *comes])
    heads = ["service", "runs now", "will run", "difference" if inputs.changes is None else "commits"]
    heads += [] if inputs.is_rollback else [f"age in {inputs.environments[0]}"]
    heads += [f"verdict {asked(place, inputs)}" for place in inputs.places()] + ["source", "flow"]
    title = "What would have changed" if inputs.refused else ""
    return Table(title, heads, rows, len(inputs.release) - len(rows))


def outcomes(inputs: Inputs, most: int) -> Table:
    """Return the table of what became of each artifact."""
    rows: list[list[Line]] = []
    for promotion, outcome in zip(inputs.release[:most], inputs.ends(), strict=False):
        new, word = promotion.incoming, outcome.outcome if outcome else "not known"
        codes = {a.fingerprint: version(a) for a in (new, promotion.outgoing)}
        running: Line = [codes.get(digest) or Code(digest[:12]) for digest in outcome.running[:10]] if outcome else []
        now: Line = ["as approved"] if word == "landed" else running or ["nothing of it" if outcome else "not known"]
        rows.append([[service(new)], [short(new.flow)], [version(new)], [Mark(KINDS.get(word, "doubtful"), word)], now])
    heads = ["service", "flow", "approved", "outcome", "what runs now"]
    return Table("", heads, rows, len(inputs.release) - len(rows))


def runs_now(promotion: Promotion, running: list[Artifact]) -> Line:
    """Return what TO runs of a promotion's service."""
    if is_there(promotion, running):
        return [Mark("good", "as it will")]
    if not running:
        return [Mark("new", "first deployment") if promotion.is_first else "nothing of it"]
    return [version(artifact) for artifact in running[:3]]


def source(promotion: Promotion, to: str) -> Line:
    """Return the repository, and the registry that the deployment names; and whose, where each environment has one."""
    new, old = promotion.incoming, promotion.outgoing
    code = Mark("", repository(promotion), web_page(promotion.incoming_repo_url))
    other = deploys_from_other_registry(promotion.incoming_snapshot_id, to)
    if (not other and promotion.is_first) or registry_of(new.name) == registry_of(old.name):
        return [code, registry(new)]
    if other and not promotion.is_first:
        return [code, f"{registry(old)} (of {environment_of(promotion.outgoing_snapshot_id)})"]
    return [code, f"{registry(new)} (of {environment_of(promotion.incoming_snapshot_id)})"]


def difference(promotion: Promotion) -> Mark:
    """Return the link to what changes, and where there is no such page, why: then it is the commit's page."""
    new, old = commit_of(promotion.incoming), commit_of(promotion.outgoing)
    url = web_page(promotion.deployment_diff_url)
    if promotion.is_first:
        return Mark("", "all of it is new", url)
    if not new or url != commit_page(new):
        return Mark("", "diff", url)
    if old and not same_host(old, new):
        return Mark("doubtful", f"moved here from {old.repository.host}", url)
    return Mark("", "same commit, built again" if old and old.sha == new.sha else "commit, not comparable", url)


def asked(place: str, inputs: Inputs) -> str:
    """Return that the gate was asked in FROM, where the artifact runs, or for TO."""
    return f"for {place}" if place == inputs.environments[1] else f"in {place}"


def mark_of(verdict: Verdict | None) -> Mark:
    """Return a verdict as a sign and a word, linked to its evidence."""
    word = word_of(verdict)
    return Mark(KINDS.get(word, "doubtful"), word, web_page(verdict.html_url) if verdict else "")


def snapshot(snapshot_id: str) -> Code:
    """Return a snapshot, linked where an organisation is configured."""
    return Code(snapshot_id, web_page(snapshot_url(snapshot_id)))


def version(artifact: Artifact) -> Code:
    """Return an artifact's commit as a short sha with its page, or else the beginning of its fingerprint."""
    commit = commit_of(artifact)
    if not commit:
        return Code(artifact.fingerprint[:12] or "unknown")
    return Code(commit.sha[:7], web_page(commit_page(commit)))
