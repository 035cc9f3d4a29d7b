"""Diffs as strange as reality, for the property tests; and a naive reading of the rules, from the words of them.

Hypothesis draws a situation for each flow and mixes the artifacts of all. The examples are the same at each run:
nothing fails by chance.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

Artifact = dict[str, Any]
Document = dict[str, Any]

settings.register_profile(
    "ci",
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # to look for a smaller example takes minutes, and is done by hand
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
settings.load_profile("ci")

# What a flow can be up to. In the first ones the release goes on; each of the others refuses it.
GOES_ON = (
    *("level", "scaled", "update", "update", "update", "first", "retired", "rebuilt", "moved", "case"),
    *("old without a page", "old without a URL", "third party", "two third parties", "old without a fingerprint"),
)
REFUSES = (
    *("two come in", "one comes in, one stays", "two in TO", "two in both", "no flow", "no URL", "no fingerprint"),
    *("no page", "renamed", "another digest", "own flow", "own repository", "in TO too", "one fingerprint twice"),
)
KNOWN = {"fingerprint", "name", "flow", "commit_url", "most_recent_timestamp", "instance_count", "pods"}
KNOWN |= {"s1_instance_count", "s2_instance_count"}
OWN_FLOW = "production-promotion"
OWN_REPOSITORY = "acme-shop/releases"


class Repository(NamedTuple):
    """Where a commit page is: `page` has {sha}; host and path are what tells repositories apart."""

    page: str
    host: str
    path: str


# Every commit page that was drawn, with its repository: so the naive reading need not parse URLs.
PAGES: dict[str, Repository] = {}

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
words = st.one_of(
    st.sampled_from(["acme", "shop", "cart", "commit", "commits", "a.b", "x_y-z~", "Saver", "repo.git.io", "0" * 40]),
    st.text("abcXYZ019-_", min_size=1, max_size=8).filter(lambda word: word not in ("-", "_git")),
)
flow_names = st.one_of(
    st.builds("{}-ci".format, words),
    st.sampled_from(["\u017f\u00e9rver-ci", "\U0001f680", "::error::x", "$(x)", "'", "a b", "a\nb", "__proto__"]),
    any_text,
).filter(lambda flow: flow not in ("", OWN_FLOW))


@st.composite
def repositories(draw: st.DrawFn) -> Repository:
    """Draw a repository of any provider."""
    owner, group, name = draw(words), draw(words), draw(words)
    page, host, path = draw(
        st.sampled_from(
            [
                ("https://github.com/{o}/{n}/commit/", "github.com", "{o}/{n}"),
                ("https://ghe.example/{o}/{n}/commit/", "ghe.example", "{o}/{n}"),
                ("https://codeberg.org/{o}/{n}/commit/", "codeberg.org", "{o}/{n}"),
                ("https://gitlab.com/{o}/{n}/-/commit/", "gitlab.com", "{o}/{n}"),
                ("https://gitlab.com/{o}/{g}/{g}/{n}/-/commit/", "gitlab.com", "{o}/{g}/{g}/{n}"),
                ("https://git.example:8080/{o}/{g}/{n}/-/commit/", "git.example:8080", "{o}/{g}/{n}"),
                ("https://bitbucket.org/{o}/{n}/commits/", "bitbucket.org", "{o}/{n}"),
                ("https://bb.example/projects/{o}/repos/{n}/commits/", "bb.example", "{o}/{n}"),
                ("https://bb.example:7990/x/projects/{o}/repos/{n}/commits/", "bb.example:7990", "{o}/{n}"),
                ("https://dev.azure.com/{o}/{g}/_git/{n}/commit/", "dev.azure.com", "{o}/{g}/{n}"),
            ]
        )
    )
    fields = {"o": owner, "g": group, "n": name}
    return Repository(page.format(**fields) + "{sha}", host, path.format(**fields).lower())


@st.composite
def commit_pages(draw: st.DrawFn, repository: Repository, sha: str = "") -> str:
    """Draw the address of a commit page in a repository, in one of the ways in which it can be written."""
    sha = sha or draw(st.text("0123456789abcdef", min_size=40, max_size=40)) + draw(st.sampled_from(["", "", "0" * 24]))
    url = repository.page.format(sha=draw(st.sampled_from([sha, sha, sha.upper()])))
    url += draw(st.sampled_from(["", "", "", "/", "?at=main", "#diff-1", "/?a#b"]))
    if draw(st.integers(0, 5)) == 0:
        url = re.sub("^https?://[^/]+", lambda match: match[0].upper(), url)
    PAGES[url] = repository
    return url


no_pages = st.one_of(
    st.sampled_from(
        ["x", "https://github.com/acme/cart", "ssh://git.example:22/p/r/commit/" + "a" * 40, "git@github.com:a/b.git"]
    ),
    st.builds("https://github.com/acme/cart/commit/{}".format, st.text("0123456789abcdef", max_size=39)),
    any_text.filter(bool).map(lambda text: f"not a page {text}"),
)


@st.composite
def artifacts(draw: st.DrawFn, number: int, flow: str, url: str | None, image: str = "") -> Artifact:
    """Draw an artifact: all that may be said about it is drawn, but for its flow and its commit."""
    fingerprint = hashlib.sha256(str(number).encode()).hexdigest()
    paths = ["registry.example:5000/acme/app", "app", "/opt/app/run.jar", "\u00e4pp/\u540d"]
    path = image or draw(st.sampled_from(paths))
    tag, digest = draw(st.sampled_from(["", ":1.0", ":6e191a0"])), draw(st.sampled_from(["", f"@sha256:{fingerprint}"]))
    found: Artifact = {"fingerprint": fingerprint, "name": f"{path}{tag}{digest}", "flow": flow}
    if url is not None or draw(st.booleans()):
        found["commit_url"] = url
    found["most_recent_timestamp"] = draw(st.integers(0, 2**63 - 1))
    if draw(st.booleans()):
        found["instance_count"] = draw(st.one_of(st.none(), st.integers(0, 2**63 - 1)))
    if draw(st.integers(0, 3)) == 0:
        found["pods"] = draw(st.one_of(st.none(), st.lists(any_text, max_size=3)))
    if draw(st.integers(0, 3)) == 0:
        keys = st.sampled_from(["region", "commit_sha", "snapshot_id", "incoming_name", "__proto__", ""]) | any_text
        keys = keys.filter(lambda key: key not in KNOWN)
        found = {**draw(st.dictionaries(keys, json_values, max_size=3)), **found}
    return dict(draw(st.permutations(list(found.items()))))


json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(-1e9, 1e9), any_text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(any_text, inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def diffs(draw: st.DrawFn, situations: tuple[str, ...] = GOES_ON + REFUSES, images: bool = False) -> Document:
    """Draw a diff in which each flow is in one of these situations; with `images`, each flow builds two images."""
    flows = draw(st.lists(flow_names, unique=True, max_size=7))
    incoming: list[Artifact] = []
    outgoing: list[Artifact] = []
    changed: list[Artifact] = []
    unchanged: list[Artifact] = []
    number = 0
    for flow in flows:
        for image in ("acme/one", "registry:5000/acme/two") if images else ("",):
            number += 10
            situation = draw(st.sampled_from(situations))
            repository = draw(repositories())
            new_url, old_url = draw(commit_pages(repository)), draw(commit_pages(repository))
            new = draw(artifacts(number, flow, new_url, image))
            old = draw(artifacts(number + 1, flow, old_url, image))
            other = draw(artifacts(number + 2, flow, new_url, image))
            in_both = draw(st.sampled_from([changed, unchanged]))
            if situation == "level":
                unchanged.append(new)
            elif situation == "scaled":
                changed.append(new)
            elif situation == "retired":
                outgoing.append(old)
            elif situation == "first":
                incoming.append(new)
            elif situation == "third party":
                in_both.append({**old, "flow": "", "commit_url": None})
            elif situation == "two third parties":
                in_both += [{**old, "flow": ""}, {**other, "flow": ""}]
            elif situation == "two come in":
                incoming += [new, other]
            elif situation == "one comes in, one stays":
                incoming.append(new)
                in_both.append(old)
            elif situation == "two in TO":
                outgoing += [old, other]
            elif situation == "two in both":
                in_both += [old, other]
            else:
                incoming.append(new)
                outgoing.append(old)
                _change(draw, situation, new, old, repository, unchanged)
    if len(incoming) > 1 and "one fingerprint twice" in situations and draw(st.integers(0, 4)) == 0:
        incoming[0]["fingerprint"] = incoming[1]["fingerprint"]
    return {
        "snappish1": {"snapshot_id": "aws-beta#4754", "artifacts": draw(st.permutations(incoming))},
        "snappish2": {"snapshot_id": "aws-prod#3548", "artifacts": draw(st.permutations(outgoing))},
        "changed": {"artifacts": draw(st.permutations(changed))},
        "not-changed": {"artifacts": draw(st.permutations(unchanged))},
    }


def _change(
    draw: st.DrawFn, situation: str, new: Artifact, old: Artifact, repository: Repository, unchanged: list[Artifact]
) -> None:
    """Make of an ordinary update what the situation says."""
    if situation == "rebuilt":
        new["commit_url"] = old["commit_url"]
    elif situation == "moved":
        before = Repository("https://old.example/a/b/-/commit/{sha}", "old.example", "a/b")
        old["commit_url"] = draw(commit_pages(before))
    elif situation == "case":
        one = Repository("https://github.com/Acme/Cart/commit/{sha}", "github.com", "acme/cart")
        other = one._replace(page="https://github.com/acme/CART/commit/{sha}")
        new["commit_url"], old["commit_url"] = draw(commit_pages(one)), draw(commit_pages(other))
    elif situation == "old without a page":
        old["commit_url"] = draw(no_pages)
    elif situation == "old without a URL":
        old["commit_url"] = None
    elif situation == "old without a fingerprint":
        old["fingerprint"] = ""
    elif situation == "no flow":
        new["flow"] = ""
    elif situation == "no URL":
        new["commit_url"] = draw(st.sampled_from([None, ""]))
    elif situation == "no fingerprint":
        new["fingerprint"] = ""
    elif situation == "no page":
        new["commit_url"] = draw(no_pages)
    elif situation == "renamed":
        renamed = Repository("https://ghe.example/acme/new-name/commit/{sha}", "ghe.example", "acme/new-name")
        earlier = Repository("https://ghe.example/acme/old-name/commit/{sha}", "ghe.example", "acme/old-name")
        new["commit_url"], old["commit_url"] = draw(commit_pages(renamed)), draw(commit_pages(earlier))
    elif situation == "another digest":
        new["name"] = f"app:1@sha256:{'f' * 64}"
    elif situation == "own flow":
        new["flow"] = old["flow"] = OWN_FLOW
    elif situation == "own repository":
        mine = Repository(f"https://github.com/{OWN_REPOSITORY}/commit/{{sha}}", "github.com", OWN_REPOSITORY)
        new["commit_url"] = draw(commit_pages(mine))
        old["commit_url"] = draw(commit_pages(mine))
    elif situation == "in TO too":
        unchanged.append({**new, "flow": f"{new['flow']}-too"})


def image(name: str) -> str:
    """Return a name without what is behind the last @, and behind the last : of what is left, if no / follows."""
    return re.sub(":[^:/]*$", "", name.split("@")[0])


def last_part(name: str) -> str:
    """Return what is behind the last / of an image."""
    return image(name).split("/")[-1]


def naive_groups(document: Document, by_image: bool) -> list[tuple[str, str, int]]:
    """Return (snapshot id, flow, number) of each deployment in progress."""
    found = []
    for side in ("snappish1", "snappish2"):
        running = [a for c in (side, "changed", "not-changed") for a in document[c]["artifacts"]]
        groups: dict[tuple[str, str], list[Artifact]] = {}
        for a in running:
            if a["flow"]:
                groups.setdefault((a["flow"], last_part(a["name"]) if by_image else ""), []).append(a)
        found += [
            (document[side]["snapshot_id"], flow, len(group))
            for (flow, _), group in groups.items()
            if len({a["fingerprint"] or a["name"] for a in group}) > 1
        ]
    return sorted(found)


def naive_release(
    document: Document, by_image: bool = False, skip: bool = False
) -> list[tuple[str, str | None]] | None:
    """Return [(incoming fingerprint, name of the outgoing artifact or None)]; None when the release must be refused."""
    if naive_groups(document, by_image):
        return None
    incoming, outgoing = document["snappish1"]["artifacts"], document["snappish2"]["artifacts"]
    in_to = [a["fingerprint"] for c in ("snappish2", "changed", "not-changed") for a in document[c]["artifacts"]]
    found: list[tuple[str, str | None]] = []
    for a in incoming:
        if not (a["flow"] and a.get("commit_url") and a["fingerprint"]):
            if skip:
                continue
            return None
        page = PAGES.get(a["commit_url"])
        if page is None or a["flow"] == OWN_FLOW or (page.host, page.path) == ("github.com", OWN_REPOSITORY):
            return None
        if "@sha256:" in a["name"] and not a["name"].endswith(f"@sha256:{a['fingerprint']}"):
            return None
        flows = {b["flow"] for b in incoming if b["fingerprint"] == a["fingerprint"]}
        if len(flows) > 1 or a["fingerprint"] in in_to:
            return None

        def matches(b: Artifact, a: Artifact = a) -> bool:
            return b["flow"] == a["flow"] and (not by_image or last_part(b["name"]) == last_part(a["name"]))

        same = [b for b in outgoing if matches(b)]
        left = [b for b in outgoing if not b["flow"] or not any(matches(c, b) for c in incoming)]
        if not same and any(looks_like(a, b) for b in left):
            return None
        for b in same:
            old = PAGES.get(b.get("commit_url") or "")
            if old and old.host == page.host and old.path != page.path:
                return None
        found.append((a["fingerprint"], same[0]["name"] if same else None))
    return sorted(set(found))


def looks_like(one: Artifact, other: Artifact) -> bool:
    """Say whether two artifacts share their flow, the last part of their image, or their repository."""
    pages = [PAGES.get(each.get("commit_url") or "") for each in (one, other)]
    return bool(
        (one["flow"] and one["flow"] == other["flow"])
        or (last_part(one["name"]) and last_part(one["name"]).lower() == last_part(other["name"]).lower())
        or (pages[0] and pages[1] and pages[0][1:] == pages[1][1:])
    )
