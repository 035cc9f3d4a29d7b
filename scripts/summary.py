#!/usr/bin/env python3
"""Put a release on one page for the person who says yes or no.

stdin   a release (make promotions); with REFUSED, what was refused: a release, or nothing that can be read
stdout  Markdown, for $GITHUB_STEP_SUMMARY or a pager; always less than 1 MiB
exit    0 done, 2 not a release, a release of other environments, or a file that cannot be read

settings, from the environment; what is not there is left out:
  SNAPSHOTS            the diff that the release comes from: for what stays, is left out, or is retired in FROM
  VERDICTS             the gate's verdicts, a file or a folder of files; a verdict that is missing is said to be
  OUTCOMES             what scripts/verify.py printed: then the page says how the release ended
  REFUSED              why there is no release, a reason a line
  FROM_ENV, TO_ENV     the two environments, where SNAPSHOTS does not say it
  MATCH_BY             as for promotions.py
  KOSLI_HOST, KOSLI_ORG    for the links to the snapshots
  GITHUB_RUN_ID        for how to go on

    make -s promotions | scripts/summary.py
"""

from __future__ import annotations

import os
import re
from collections import Counter, namedtuple

from lib.commit_urls import commit_page, parse
from lib.diffs import read_diff, running_by
from lib.filters import Unusable, printable, read_document, read_file, run, setting, usage, write
from lib.pages import (
    LONGEST_REASON,
    code,
    environments,
    facts,
    is_rollback,
    link,
    names,
    picture,
    service_key,
    snapshot_link,
    text,
    untouched,
    version,
    versioned,
)
from lib.releases import artifact_of, digest, is_first, read_release, require_environments
from promotions import missing_provenance
from rollback import why_not

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lib.diffs import Artifact, Diff
    from lib.pages import Picture
    from lib.releases import Promotion, Release

# What a page is made of. verdicts and outcomes are None where nobody asked for any; refused is "" where nothing was.
Inputs = namedtuple("Inputs", "release diff verdicts outcomes refused")

LARGEST_PAGE = 1_000_000  # bytes; GitHub drops a summary of more than 1 MiB
GOOD, BAD, DOUBTFUL = "✅", "❌", "⚠️"
_SIGNS = {"compliant": GOOD, "non-compliant": BAD, "landed": GOOD, "another landed": BAD}
_name_of_script = re.compile(r"^[a-z_]+\.py: ")


def summary(inputs: Inputs) -> str:
    """Return the page: as much of each list as fits."""
    page = refused_page if inputs.refused else proposal_page if inputs.outcomes is None else outcome_page
    for most in (1000, 300, 100, 30, 10):
        found = "\n\n".join(part for part in page(inputs, most) if part) + "\n"
        if len(found.encode()) <= LARGEST_PAGE:
            break
    return found


def refused_page(inputs: Inputs, most: int) -> list[str]:
    """Return the page of a release that is refused: why, and what runs where."""
    release, diff = inputs.release, inputs.diff
    lines = [_name_of_script.sub("", line.strip()) for line in inputs.refused.splitlines()]
    lines = [line for line in lines if line]
    reasons = [f"- {text(line, LONGEST_REASON)}" for line in lines[:most]]
    return [
        f"## ⛔ Refused: nothing {'more ' if len(left(inputs)) < len(release) else ''}is promoted into "
        f"{text(environments(diff)[1])}",
        cut(reasons, most, len(lines)),
        f"Compared: {snapshots(release, diff)}" if diff else "",
        f"### What would have changed\n\n{table(inputs, most)}" if release else "",
        objections(inputs, most),
        mermaid(drawn(inputs)),
    ]


def proposal_page(inputs: Inputs, most: int) -> list[str]:
    """Return the page of a release that waits for its approval."""
    release, diff = inputs.release, inputs.diff
    to = environments(diff)[1]
    if not release:
        compared = f"Compared: {snapshots(release, diff)}" if diff else ""
        return [f"## Nothing to promote into {text(to)}", compared, *what_is_left(inputs, most), mermaid(drawn(inputs))]
    return [
        headline(inputs),
        "\n".join(f"- {line}" for line in (*facts_to_decide_on(inputs), *answers(inputs))),
        table(inputs, most),
        objections(inputs, most),
        mermaid(drawn(inputs)),
        *what_is_left(inputs, most),
        "" if is_rollback(release, to) else what_the_rollback_is(release, most),
    ]


def headline(inputs: Inputs) -> str:
    """Return how many services will change, of how many."""
    release, diff = inputs.release, inputs.diff
    to, key = environments(diff)[1], service_key()
    running = (*diff.running_in_from, *diff.running_in_to) if diff else ()
    total = len({key(artifact) for artifact in running})
    change = len(left(inputs))
    count = f"{change} of {total}" if total else f"{change}"
    noun = "service" if (total or change) == 1 else "services"
    return f"## {'⏪ Rollback: ' if is_rollback(release, to) else ''}{count} {noun} will change in {text(to)}"


def facts_to_decide_on(inputs: Inputs) -> list[str]:
    """Return, a line each: the evidence, the way back, what was left out, what was compared."""
    release, diff = inputs.release, inputs.diff
    stuck = [artifact_of(promotion, "incoming") for promotion in release if why_not(promotion)]
    way = f"**Way back:** {GOOD} a rollback brings back all that is replaced"
    if is_rollback(release, environments(diff)[1]):
        way = "**Way forward:** a new promotion, from what runs then"
    elif stuck:
        way = f"**Way back:** {DOUBTFUL} a rollback cannot undo {len(stuck)} of {len(release)}: {some(stuck)}"
    waiting = untouched(release, diff)[1] if diff else []
    found = [f"**Evidence:** {evidence(inputs)}", way]
    if waiting:
        found.append(f"**Left out:** {DOUBTFUL} {some(waiting)}")
    return [*found, f"**Compared:** {snapshots(release, diff)}"]


def some(artifacts: list[Artifact], most: int = 3) -> str:
    """Return what people call the first of these artifacts, and how many more there are."""
    more = f" and {len(artifacts) - most} more" if len(artifacts) > most else ""
    return ", ".join(text(name) for name in names(artifacts[:most])) + more


def answers(inputs: Inputs) -> list[str]:
    """Return what a yes and a no would do, and what exactly the yes is for."""
    to, count = text(environments(inputs.diff)[1]), len(left(inputs))
    what = "this artifact" if count == 1 else f"these {count} artifacts, in parallel,"
    return [
        f"**Yes** deploys {what} by digest, unless an environment has moved on by then. **No** leaves {to} as it is."
        if count
        else f"**Yes** deploys nothing: {to} runs all of it already.",
        f"**Digest** of what is approved: `{digest(inputs.release)}`",
    ]


def evidence(inputs: Inputs) -> str:
    """Return what the verdicts come to. One that is missing counts: none is no evidence, not a good one."""
    if inputs.verdicts is None:
        return f"{DOUBTFUL} none: the gate has not been asked"
    found = verdicts_of(inputs)
    words = Counter(word_of(verdict) for row in found for verdict in row.values())
    total, good = sum(words.values()), words.pop("compliant", 0)
    if good == total:
        return f"{GOOD} {'both' if total == 2 else f'all {total}'} verdicts are compliant"
    rest = ", ".join(f"{count} {text(word)}" for word, count in sorted(words.items()))
    return f"{BAD} {good} of {total} verdicts are compliant: {rest}"


def places(inputs: Inputs) -> dict[str, str]:
    """Return the environments that need a verdict, each with its column's title: that the gate was asked there or not.

    What comes back in a rollback ran in TO, and need not run in FROM.
    """
    if inputs.verdicts is None:
        return {}
    one, other = environments(inputs.diff)
    wanted = {} if is_rollback(inputs.release, other) else {one: f"verdict in {text(one)}"}
    return {**wanted, other: f"verdict for {text(other)}"}


def verdicts_of(inputs: Inputs) -> list[dict[str, Any]]:
    """Return for each promotion its verdict by environment, None where there is none. Of several, the worst."""
    found: dict[tuple[str, str], Any] = {}
    for verdict in inputs.verdicts or ():
        key = (facts(verdict, "fingerprint"), facts(verdict, "environment"))
        if key not in found or word_of(found[key]) == "compliant":
            found[key] = verdict
    wanted = places(inputs)
    return [{place: found.get((p["incoming_fingerprint"], place)) for place in wanted} for p in inputs.release]


def word_of(verdict: Any) -> str:
    """Return a verdict in a word or two. Without a policy it is no evidence, though the gate can be told to pass it."""
    word = facts(verdict, "verdict") or "missing"
    policies = verdict.get("policies") if word == "compliant" else 1
    return word if type(policies) is int and policies > 0 else "without a policy"


def verdict_cell(verdict: Any) -> str:
    """Return a verdict as a sign and a word, linked to its evidence."""
    word = word_of(verdict)
    return f"{_SIGNS.get(word, DOUBTFUL)} {link(text(word), facts(verdict, 'html_url'))}"


def running_now(inputs: Inputs) -> list[list[Artifact]]:
    """Return what TO runs of each promotion's service now: as the diff has it, or without one as the release has it."""
    if not inputs.diff:
        return [[] if is_first(promotion) else [artifact_of(promotion, "outgoing")] for promotion in inputs.release]
    key = service_key()
    running = running_by(key, inputs.diff.running_in_to)
    return [running.get(key(artifact_of(promotion, "incoming")), []) for promotion in inputs.release]


def is_there(promotion: Promotion, running: list[Artifact]) -> bool:
    """Say whether TO runs a promotion's incoming artifact already, and no other of its service."""
    return [artifact["fingerprint"] for artifact in running] == [promotion["incoming_fingerprint"]]


def left(inputs: Inputs) -> list[Promotion]:
    """Return the promotions that change anything: of a rollback, or a refusal after a deployment, some may be there."""
    pairs = zip(inputs.release, running_now(inputs))
    return [promotion for promotion, running in pairs if not is_there(promotion, running)]


def running_cell(promotion: Promotion, running: list[Artifact]) -> str:
    """Return what TO runs of a promotion's service in a few words."""
    if is_there(promotion, running):
        return f"{GOOD} as it will"
    return ", ".join(map(version, running[:3])) or ("🆕 first deployment" if is_first(promotion) else "nothing of it")


def table(inputs: Inputs, most: int) -> str:
    """Return one row a promotion: what runs, what will run, the difference, where it comes from, the verdicts."""
    release = inputs.release
    heads = ["service", "runs now", "will run", "difference", "provider", *places(inputs).values()]
    called = names(artifact_of(promotion, "incoming") for promotion in release)
    rows = [
        [
            text(name),
            running_cell(promotion, running),
            version(artifact_of(promotion, "incoming")),
            difference(promotion),
            text(promotion["incoming_repo_provider"]),
            *map(verdict_cell, verdicts.values()),
        ]
        for name, promotion, running, verdicts in zip(called, release[:most], running_now(inputs), verdicts_of(inputs))
    ]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}", cut(lines, most, len(release))])


def difference(promotion: Promotion) -> str:
    """Return the link to what changes, and where there is no such page, why: then it is the commit's page."""
    url, new = promotion["deployment_diff_url"], parse(promotion["incoming_commit_url"])
    if is_first(promotion):
        return link("all of it is new", url)
    if not new or url != commit_page(new):
        return link("diff", url)
    same = promotion["incoming_commit_sha"] == promotion["outgoing_commit_sha"]
    return link("same commit, built again" if same else "commit, not comparable", url)


def objections(inputs: Inputs, most: int) -> str:
    """Return what speaks against the release: each reason of each verdict that is not compliant, or is missing."""
    found = [
        (promotion, place, word_of(verdict), reason)
        for promotion, verdicts in zip(inputs.release, verdicts_of(inputs))
        for place, verdict in verdicts.items()
        for reason in reasons_of(verdict)
    ]
    called = names(artifact_of(promotion, "incoming") for promotion, *_ in found[:most])
    lines = [
        f"- {text(name)}, {text(place)}: {_SIGNS.get(word, DOUBTFUL)} {text(word)}: {text(reason, LONGEST_REASON)}"
        for name, (_, place, word, reason) in zip(called, found)
    ]
    return f"### What speaks against it\n\n{cut(lines, most, len(found))}" if lines else ""


def reasons_of(verdict: Any) -> list[Any]:
    """Return why a verdict is not compliant, [] when it is."""
    word = word_of(verdict)
    if word == "compliant":
        return []
    if word == "missing":
        return ["the gate gave no answer"]
    if word == "without a policy":
        return ["no policy is attached: nothing was checked"]
    given = verdict.get("reasons")
    return given if type(given) is list and given else ["no reason was kept"]


def outcome_page(inputs: Inputs, most: int) -> list[str]:
    """Return the page of a release that was deployed: what became of each artifact, and how to go on."""
    release, outcomes = inputs.release, inputs.outcomes
    to = text(environments(inputs.diff)[1])
    by_fingerprint = {facts(each, "fingerprint"): each for each in outcomes}
    found = [by_fingerprint.get(promotion["incoming_fingerprint"], {}) for promotion in release]
    landed = sum(facts(each, "outcome") == "landed" for each in found)
    called = names(artifact_of(promotion, "incoming") for promotion in release)
    rows = [
        f"| {text(name)} | {version(artifact_of(p, 'incoming'))} | {outcome_of(each)} | {running_of(p, each)} |"
        for name, p, each in zip(called, release[:most], found)
    ]
    head = ["| service | approved | outcome | what runs now |", "| --- | --- | --- | --- |"]
    number = text(setting("GITHUB_RUN_ID", "the number of this run"))
    how = (
        "### How to go on\n\n"
        "- **Go on:** re-run the job *recheck*, which runs what follows it too. What has landed is left alone, and it "
        "is refused if an environment has moved on.\n"
        + (
            "- **Go forward:** start the workflow *promote* anew."
            if is_rollback(release, environments(inputs.diff)[1])
            else f"- **Go back:** run the workflow *rollback* with the run number {number}."
        )
    )
    seen = list(dict.fromkeys(facts(each, "snapshot_id") for each in outcomes if facts(each, "snapshot_id")))
    ended = f"{GOOD if landed == len(release) else BAD} {to} runs {landed} of {len(release)} as approved"
    return [
        f"## {ended}" if outcomes or not release else f"## {BAD} Not known what {to} runs: Kosli gave no answer",
        f"Seen in {', '.join(map(snapshot_link, seen[:3]))}" if seen else "",
        "\n".join(head) + "\n" + cut(rows, most, len(release)),
        how if landed < len(release) else "",
    ]


def outcome_of(outcome: Any) -> str:
    """Return an outcome in words."""
    word = facts(outcome, "outcome")
    return f"{_SIGNS.get(word, DOUBTFUL)} {text(word or 'not known')}"


def running_of(promotion: Promotion, outcome: Any) -> str:
    """Return what runs instead of an approved artifact, by commit where the release knows it."""
    if facts(outcome, "outcome") == "landed":
        return "as approved"
    known = {promotion[f"{s}_fingerprint"]: version(artifact_of(promotion, s)) for s in ("incoming", "outgoing")}
    running = outcome.get("running") if type(outcome) is dict else None
    if type(running) is not list:
        return "not known"
    return ", ".join(known.get(each) or code(str(each)[:12]) for each in running[:10]) or "nothing of it"


def snapshots(release: Release, diff: Diff | None) -> str:
    """Return which snapshots were compared: the diff's, or those that the release names."""
    if diff:
        return f"{snapshot_link(diff.from_snapshot)} with {snapshot_link(diff.to_snapshot)}"
    ids = dict.fromkeys(p[f"{s}_snapshot_id"] for p in release for s in ("incoming", "outgoing"))
    return " with ".join(snapshot_link(each) for each in list(ids)[:2] if each)


def what_is_left(inputs: Inputs, most: int) -> list[str]:
    """Return what does not change: what waits in FROM and why, what only TO runs, what stays as it is."""
    release, diff = inputs.release, inputs.diff
    if not diff:
        return []
    one, to = map(text, environments(diff))
    key = service_key()
    both, waiting, staying = untouched(release, diff)
    coming = set(map(key, diff.running_in_from))
    kept = {key(artifact): artifact for artifact in staying}
    out = []
    for name, artifact in zip(names(waiting[:most]), waiting):
        instead = f", {to} keeps {version(kept[key(artifact)])}" if key(artifact) in kept else ""
        lacks = missing_provenance(artifact)
        why = f"it has {lacks}" if lacks else "not selected for this release"
        out.append(f"- {text(name)} {version(artifact)}{instead}: {text(why)}")
    retired = [artifact for artifact in staying if key(artifact) not in coming]
    return [
        section("Left out", out, most, len(waiting)),
        section(f"Retired in {one}, still in {to}", listed(retired[:most]), most, len(retired)),
        section("Stays as it is", listed(both[:most]), most, len(both)),
    ]


def listed(artifacts: list[Artifact]) -> list[str]:
    """Return a line an artifact: name and version."""
    return [f"- {text(name)} {version(artifact)}" for name, artifact in zip(names(artifacts), artifacts)]


def what_the_rollback_is(release: Release, most: int) -> str:
    """Return what a rollback of this release would do, before anybody approves it: first what it cannot undo."""
    found = sorted(release, key=lambda promotion: not why_not(promotion))[:most]
    called = names(artifact_of(promotion, "incoming") for promotion in found)
    lines = []
    for name, promotion in zip(called, found):
        new, old = (version(artifact_of(promotion, side)) for side in ("incoming", "outgoing"))
        reason = why_not(promotion)
        end = f"cannot be rolled back: {text(reason)}" if reason else f"{new} back to {old}"
        lines.append(f"- {text(name)}: {end}")
    return section("The rollback, if it goes wrong", lines, most, len(release))


def section(title: str, lines: list[str], most: int, total: int) -> str:
    """Return lines that unfold below a title with their number, nothing for none."""
    return f"<details><summary>{title}: {total}</summary>\n\n{cut(lines, most, total)}\n\n</details>" if lines else ""


def cut(lines: list[str], most: int, total: int) -> str:
    """Return the first lines of so many in total, and how many more there are."""
    return "\n".join([*lines, *([f"\n... and {total - most} more"] if total > most else [])])


def drawn(inputs: Inputs) -> Picture:
    """Return the picture that belongs on the page. Of what is refused, or there already, nothing arrives."""
    return picture([] if inputs.refused else left(inputs), inputs.diff)


def mermaid(shown: Picture, most: int = 12) -> str:
    """Return the three categories as a Mermaid diagram, the replacements as arrows; long lists are cut with a count."""
    olds = [old for _, old in shown.pairs if old]
    columns = [
        [("a", [new for new, _ in shown.pairs]), ("w", shown.waiting)],
        [("b", shown.both)],
        [("o", olds), ("s", shown.staying)],
    ]
    lines, last = [], []
    for key, title, lists in zip("FBT", shown.titles, columns):
        nodes = []
        for kind, artifacts in lists:
            for i, name in enumerate((names if kind == "b" else versioned)(artifacts[:most])):
                new = " (new)" if kind == "a" and i >= len(olds) else ""
                nodes.append(f'{kind}{i}["{label(name + new)}"]')
            nodes += [f'{kind}more["and {len(artifacts) - most} more"]'] if len(artifacts) > most else []
        if nodes:
            last.append(("b0" if key == "B" else nodes[-1]).partition("[")[0])
            count = sum(len(artifacts) for _, artifacts in lists)
            lines += [f'  subgraph {key}["{label(title)}: {count}"]', "    direction LR"]
            lines += [*(f"    {node}" for node in nodes), "  end"]
    lines += [f"  a{i} -->|replaces| o{i}" for i in range(min(len(olds), most))]
    if len(last) == 3:  # Invisible links keep what runs in both between the others, and below the arrows.
        lines.append(f"  {' ~~~ '.join(last)}")
    return "\n".join(["```mermaid", "flowchart LR", *lines, "```"]) if lines else ""


def label(value: str) -> str:
    """Return a text for a quoted Mermaid label, coded where Mermaid could read more into it: it knows lists, too."""
    short = printable(value if len(value) <= 40 else f"{value[:40]}...") or " "
    start = len(short) - len(short.lstrip("0123456789"))
    return "".join(
        c if ord(c) > 127 or c.isalnum() or (c in " -./" and i > start) else f"#{ord(c)};" for i, c in enumerate(short)
    )


def read_inputs() -> Inputs:
    """Return all that a page is made of: the release on stdin, and what the settings name."""
    refused, path = setting("REFUSED"), setting("SNAPSHOTS")
    try:
        release = read_release(read_document())
    except Unusable:
        if not refused:
            raise
        release = []
    # Only now: in the pipe of make, the diff is whole when stdin has ended.
    try:
        diff = read_diff(read_file(path), printable(path)) if path else None
    except Unusable:
        if not refused:
            raise
        diff = None
    if not refused:
        require_environments(release, *environments(diff))
    verdicts = read_verdicts(setting("VERDICTS")) if setting("VERDICTS") else None
    outcomes = read_answers(setting("OUTCOMES"), "outcomes") if setting("OUTCOMES") else None
    return Inputs(release, diff, verdicts, outcomes, refused)


def read_verdicts(path: str) -> list[Any]:
    """Return the verdicts in a file, or in all .json files of a folder, by name."""
    files = [path]
    if os.path.isdir(path):
        found = (os.path.join(folder, name) for folder, _, below in os.walk(path) for name in below)
        files = sorted(name for name in found if name.endswith(".json"))
    return [verdict for file in files for verdict in read_answers(file, "verdicts")]


def read_answers(path: str, what: str) -> list[Any]:
    """Return the verdicts or the outcomes in a file; an empty one says that Kosli gave no answer."""
    document = read_file(path, empty=[])
    if type(document) is not list:
        raise Unusable(f"{printable(path)}: not a list of {what}")
    return document


def main(argv: list[str]) -> int:
    """Read a release and what goes with it, write the page."""
    usage(argv)
    write(summary(read_inputs()).encode())
    return 0


if __name__ == "__main__":
    run(main, __doc__)
