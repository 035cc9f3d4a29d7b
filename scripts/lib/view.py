"""What a page about a release shows, as values: two templates say the same of it (page.py)."""

import re
from collections import Counter
from typing import NamedTuple

from lib.changes import causes
from lib.decision import holds, what_changes, why_left_out
from lib.inputs import Inputs, has_marks, names, service_key, short, some, word_of
from lib.model import Promotion
from lib.parts import Code, Line, Mark
from lib.releases import digest
from lib.rules import sources, why_no_rollback
from lib.settings import variable
from lib.tables import Table, asked, mark_of, outcomes, promotions, snapshot, version

from msgspec import Struct

MOST_DRAWN = 12
REASONS = {"missing": ["the gate gave no answer"], "without a policy": ["no policy is attached, nothing was checked"]}


class Section(NamedTuple):
    """Lines below a title, and how many more there are."""

    title: str
    lines: list[Line]
    more: int = 0


class Column(NamedTuple):
    """Names to draw, and how many more there are."""

    names: list[str]
    more: int


class Drawing(NamedTuple):
    """What runs where. The first of `arriving` replace those of `replaced`, in their order; the others are new."""

    titles: list[str]
    arriving: Column
    waiting: Column
    both: Column
    replaced: Column
    staying: Column


class Page(Struct):
    """The whole page, from top to bottom. `facts` are lines by their label."""

    title: Mark
    sentence: Line = []
    reasons: Section = Section("", [])
    sections: list[Section] = []
    facts: dict[str, Line] = {}
    table: Table | None = None
    not_ascii: bool = False
    drawing: Drawing | None = None
    folded: list[Section] = []


def page(inputs: Inputs, most: int) -> Page:
    """Return the page, with the first `most` of each list."""
    if inputs.outcomes is not None and not inputs.refused:
        return ended(inputs, most)
    release, diff, to, changing = inputs.release, inputs.diff, inputs.environments[1], inputs.changing()
    facts: dict[str, Line] = {"Compared": snapshots(inputs)} if diff or release else {}
    table = promotions(inputs, most) if release else None
    view = Page(Mark("", f"Nothing to promote into {to}"), facts=facts, table=table, not_ascii=has_marks(inputs))
    view.sections = objections(inputs, most)
    if inputs.refused:
        causes = [re.sub(r"^[a-z_]+\.py: ", "", line) for line in inputs.refused]
        more = "more " if len(changing) < len(release) else ""
        view.title = Mark("refused", f"Refused: nothing {more}is promoted into {to}")
        view.reasons = section("", [[cause] for cause in causes[:most]], len(causes))
        view.drawing = drawing(inputs._replace(release=[]))
        return view
    view.drawing, view.folded = drawing(inputs._replace(release=changing)), what_is_left(inputs, most)
    if release:
        total = len(set(map(service_key(), (*diff.running_in_from, *diff.running_in_to) if diff else ())))
        count = f"{len(changing)} of {total}" if total else f"{len(changing)}"
        title = f"{count} {'service' if (total or len(changing)) == 1 else 'services'} will change in {to}"
        view.title = Mark("rollback", f"Rollback: {title}") if inputs.is_rollback else Mark("", title)
        view.sentence = what_changes(inputs)
        view.facts = {**to_decide_on(inputs), **facts, **answers(inputs, len(changing))}
        view.folded += [] if inputs.is_rollback else the_rollback(release, most)
    return view


def to_decide_on(inputs: Inputs) -> dict[str, Line]:
    """Return the evidence, the way back, what is left out, and whether everybody's code may be promoted."""
    words = Counter(word_of(verdict) for row in inputs.evidence() for verdict in row)
    total, good = sum(words.values()), words.pop("compliant", 0)
    evidence = Mark("good", f"{'both' if total == 2 else f'all {total}'} verdicts are compliant")
    if inputs.verdicts is None:
        evidence = Mark("doubtful", "none: the gate has not been asked")
    elif words:
        rest = ", ".join(f"{count} {word}" for word, count in sorted(words.items()))
        evidence = Mark("bad", f"{good} of {total} verdicts are compliant: {rest}")
    facts: dict[str, Line] = {"Evidence": [evidence], **holds(inputs)}
    stuck = [p.incoming for p in inputs.release if why_no_rollback(p)]
    if inputs.is_rollback:
        facts["Way forward"] = ["a new promotion, from what runs then"]
    elif stuck:
        count = f"{len(stuck)} of {len(inputs.release)}"
        facts["Way back"] = [Mark("doubtful", f"a rollback cannot undo {count}: {some(stuck)}")]
    else:
        facts["Way back"] = [Mark("good", "a rollback brings back all that is replaced")]
    if waiting := inputs.untouched()[1]:
        facts["Left out"] = [Mark("doubtful", some(waiting))]
    if not sources():
        facts["Sources"] = [Mark("doubtful", "none are set: the code of every repository may be promoted")]
    return facts


def answers(inputs: Inputs, count: int) -> dict[str, Line]:
    """Return what a yes and a no would do, and what exactly the yes is for."""
    to = inputs.environments[1]
    what = "this artifact" if count == 1 else f"these {count} artifacts, in parallel,"
    yes = f"deploys {what} by digest, unless an environment has moved on by then"
    return {
        "Yes": [yes if count else f"deploys nothing: {to} runs all of it already"],
        "No": [f"leaves {to} as it is"],
        "Digest": [Code(digest(inputs.release)), "is what is approved"],
    }


def objections(inputs: Inputs, most: int) -> list[Section]:
    """Return what speaks against the release: each reason of each verdict that is no good, and what has changed."""
    reasons = [
        (promotion.incoming, f"{asked(place, inputs)}: {word_of(verdict)}", mark_of(verdict).kind, reason)
        for promotion, verdicts in zip(inputs.release, inputs.evidence(), strict=True)
        for place, verdict in zip(inputs.places(), verdicts, strict=True)
        if word_of(verdict) != "compliant"
        for reason in REASONS.get(word_of(verdict)) or (verdict and verdict.reasons) or [""]
    ]
    lines: list[Line] = [
        [Mark(kind, f"{name} {what}"), f"because {reason}" if reason else "(no reason was kept)"]
        for name, (_, what, kind, reason) in zip(names(a for a, *_ in reasons[:most]), reasons, strict=False)
    ]
    against = [] if inputs.is_rollback or not inputs.changes else list(causes(inputs.release, inputs.changes))
    said = " ".join(inputs.refused or [])
    more: list[Line] = [[Mark("bad", short(cause, 500))] for cause in against if cause not in said]
    lines = [*more[:most], *lines]
    return [section("What speaks against it", lines, len(more) + len(reasons))] if lines else []


def ended(inputs: Inputs, most: int) -> Page:
    """Return the page of a release that was deployed: what became of each artifact, and how to go on."""
    release, to, ends = inputs.release, inputs.environments[1], inputs.ends()
    landed = sum(outcome.outcome == "landed" for outcome in ends if outcome)
    title = Mark("good" if landed == len(release) else "bad", f"{to} runs {landed} of {len(release)} as approved")
    if release and not inputs.outcomes:
        title = Mark("bad", f"Not known what {to} runs: Kosli gave no answer")
    seen = dict.fromkeys(outcome.snapshot_id for outcome in inputs.outcomes or () if outcome.snapshot_id)
    facts: dict[str, Line] = {"Seen in": [snapshot(snapshot_id) for snapshot_id in list(seen)[:3]]} if seen else {}
    workflow = "rollback" if inputs.is_rollback else "promote"
    again = f"re-run the job approve, or start the workflow {workflow} anew; both ask again, and leave what has landed"
    number = ", ".join(filter(None, ("the number of this run", variable("GITHUB_RUN_ID"))))
    back = f"Go back: run the workflow rollback with {number}"
    way = "Go forward: start the workflow promote anew" if inputs.is_rollback else back
    how = [Section("How to go on", [[f"Go on: {again}"], [way]])] if landed < len(release) else []
    table = outcomes(inputs, most) if release else None
    return Page(title, facts=facts, table=table, not_ascii=has_marks(inputs), sections=how)


def what_is_left(inputs: Inputs, most: int) -> list[Section]:
    """Return what does not change: what waits in FROM and why, what only TO runs, what stays as it is."""
    (one, to), key = inputs.environments, service_key()
    both, waiting, staying = inputs.untouched()
    coming = set(map(key, inputs.diff.running_in_from if inputs.diff else ()))
    kept = {key(artifact): artifact for artifact in staying}
    out: list[Line] = []
    for name, artifact in zip(names(waiting[:most]), waiting, strict=False):
        instead: Line = [f"while {to} keeps", version(kept[key(artifact)])] if key(artifact) in kept else []
        out.append([name, version(artifact), f"waits because {why_left_out(artifact, inputs.now)}", *instead])
    retired = [artifact for artifact in staying if key(artifact) not in coming]
    sections = [section("Left out", out, len(waiting))]
    for title, artifacts in ((f"Retired in {one}, still in {to}", retired), ("Stays as it is", both)):
        lines: list[Line] = [[n, version(a)] for n, a in zip(names(artifacts[:most]), artifacts, strict=False)]
        sections.append(section(title, lines, len(artifacts)))
    return [part for part in sections if part.lines]


def the_rollback(release: list[Promotion], most: int) -> list[Section]:
    """Return what a rollback of this release would do, before anybody approves it: first what it cannot undo."""
    shown = sorted(release, key=lambda p: not why_no_rollback(p))[:most]
    lines: list[Line] = []
    for name, promotion in zip(names(p.incoming for p in shown), shown, strict=True):
        reason = why_no_rollback(promotion)
        way: Line = ["from", version(promotion.incoming), "back to", version(promotion.outgoing)]
        lines.append([name, f"cannot be rolled back: {reason}"] if reason else [name, *way])
    return [section("The rollback, if it goes wrong", lines, len(release))]


def drawing(inputs: Inputs) -> Drawing | None:
    """Return what to draw, None when nothing runs."""
    one, other = inputs.environments
    both, waiting, staying = inputs.untouched()
    pairs = sorted(inputs.release, key=lambda promotion: promotion.is_first)
    arriving, replaced = [p.incoming for p in pairs], [p.outgoing for p in pairs if not p.is_first]
    titles = [f"only in {one}", "in both", f"only in {other}"]
    if inputs.is_rollback:
        titles = ["comes back", "stays", f"runs in {other}"]
    counts = len(arriving) + len(waiting), len(both), len(replaced) + len(staying)
    columns = [
        Column(
            [
                name if artifacts is both else f"{name} {version(artifact).code}"
                for name, artifact in zip(names(artifacts[:MOST_DRAWN]), artifacts, strict=False)
            ],
            max(len(artifacts) - MOST_DRAWN, 0),
        )
        for artifacts in (arriving, waiting, both, replaced, staying)
    ]
    return Drawing([f"{t}: {n}" for t, n in zip(titles, counts, strict=True)], *columns) if any(counts) else None


def section(title: str, lines: list[Line], total: int) -> Section:
    """Return lines below a title that says how many there are."""
    return Section(f"{title}: {total}", lines, total - len(lines))


def snapshots(inputs: Inputs) -> Line:
    """Return which snapshots were compared: the diff's, or those that the release names."""
    named = (s for p in inputs.release for s in (p.incoming_snapshot_id, p.outgoing_snapshot_id) if s)
    ids = [inputs.diff.from_snapshot, inputs.diff.to_snapshot] if inputs.diff else list(dict.fromkeys(named))[:2]
    parts: Line = [part for snapshot_id in ids for part in ("with", snapshot(snapshot_id))]
    return parts[1:]
