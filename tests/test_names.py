"""Names are data: one table of hostile ones, through links, both pages, annotations, the matrix and stderr."""

from __future__ import annotations

import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

from conftest import ROOT
from forked import Forked
from lib.commit_urls import commit_page, compare_page, parse
from test_hostile import problems, wrong_lines
from worlds import World

import pytest

# A name, and how stderr and the pages show it where that is not as it is.
NAMES = {
    "letters beyond ASCII": "Straße-日本",
    "a homoglyph": "c\u0430rt",  # the second letter is Cyrillic
    "accents in a pile": "e" + "\u0301" * 50,
    "right to left": "cart\u202etxt",
    "a mark without a width": "\u200fca\u200brt",
    "a line separator": "cart\u2028::error::owned",
    "1,000 characters": "x" * 1000,
    "Markdown": "[cart](https://evil.example) | **b** # ~~c~~ <!-- x",
    "HTML": "<img src=x onerror=alert(1)>",
    "Mermaid": 'cart"] --> b["x',
    "a workflow command": "cart\n::error::owned",
    "an older command": "##[error]owned",
    "an expression": "${{ secrets.KOSLI_API_TOKEN }}",
    "quotes": "a'b\"c`d",
    "a shell's": "$(touch owned);`touch owned`",
    "commas and equals signs": 'a="b",c=d==',
    "an escape": "\x1b[31mcart\x07",
    "blanks": "my web (new) & old",
}
# What a project of Azure DevOps can be called: the others make a commit URL that is none.
PROJECTS = {"letters beyond ASCII", "a homoglyph", "accents in a pile", "1,000 characters", "blanks"}


def hashed(kind: str, text: str) -> str:
    return hashlib.new(kind, text.encode()).hexdigest()


def page_of(why: str, build: int) -> str:
    """Return a commit page whose project and repository have the name, where they can; else one on GitHub."""
    name, sha = NAMES[why], hashed("sha1", f"{why} {build}")
    if why in PROJECTS:
        return f"https://dev.azure.com/acme/{name}/_git/{name[:500]}/commit/{sha}"
    return f"https://github.com/acme-shop/{re.sub('[^a-z]', '-', why)}/commit/{sha}"


def artifact(why: str, build: int) -> dict[str, Any]:
    name = f"registry.acme.example/{NAMES[why]}:{build}"
    fingerprint = hashed("sha256", f"{why} {build}")
    return {"name": name, "fingerprint": fingerprint, "flow": f"{NAMES[why]}-ci", "commit_url": page_of(why, build)}


def diff(*builds: int) -> bytes:
    """Return a diff in which every name comes in, in so many builds."""
    incoming = [artifact(why, build) for why in NAMES for build in builds]
    document = {
        "snappish1": {"snapshot_id": "aws-beta#2", "artifacts": incoming},
        "snappish2": {"snapshot_id": "aws-prod#1", "artifacts": [artifact(why, 1) for why in NAMES]},
        "changed": {"artifacts": []},
        "not-changed": {"artifacts": []},
    }
    return json.dumps(document).encode()


@pytest.fixture
def release(forked: Forked) -> bytes:
    """One promotion a name."""
    ran = forked.run("promotions.py", stdin=diff(2))
    assert (ran.code, ran.err) == (0, b"")
    names = {promotion["incoming_flow"].removesuffix("-ci") for promotion in json.loads(ran.out)}
    assert names == set(NAMES.values())
    return ran.out


@pytest.mark.parametrize("why", NAMES)
def test_links(why: str) -> None:
    """A project's name is encoded in every link, and decoded in the repository's path."""
    name, sha, old = NAMES[why], hashed("sha1", why), hashed("sha1", "old")
    found = parse(f"https://dev.azure.com/acme/{name}/_git/cart/commit/{sha}")
    assert bool(found) is (why in PROJECTS)
    if found:
        before = parse(f"https://dev.azure.com/acme/{name}/_git/cart/commit/{old}")
        assert found.repository.path == f"acme/{name}/cart"
        for link in (commit_page(found), compare_page(before, found), found.repository.clone):
            assert re.fullmatch(r"https://dev\.azure\.com/acme/[A-Za-z0-9._~%-]+/_git/cart[A-Za-z0-9/?=&]*", link)
        again = parse(commit_page(found))
        assert again == found, "a link leads to where it came from"


@pytest.mark.parametrize("script", ["summary.py", "report.py"])
def test_pages(script: str, release: bytes, forked: Forked) -> None:
    ran = forked.run(script, stdin=release)
    assert (ran.code, ran.err) == (0, b"")
    assert list(problems(script, ran)) == []
    page = ran.out.decode()
    text = html.unescape(page)
    for why in ("Markdown", "HTML", "Mermaid", "an expression", "quotes", "blanks"):
        assert NAMES[why] in text, f"{why} is shown as it is"
    assert "dev.azure.com/acme/my web (new) & old/_git/my web (new) & old]" in text or script == "report.py"
    assert f"{NAMES['a homoglyph']} ‡" in text, "letters that may look like others have a sign"
    assert "x" * 200 not in re.sub(r"https://[^\s)\"]*", "", text), "a long name is cut, where it is no link"
    assert set(text).isdisjoint("\u202e\u200f\u200b\u2028\x1b\x07"), "what cannot be seen is named"
    assert script == "report.py" or not re.search(r"\]\(https://evil", page)


def test_matrix(release: bytes, forked: Forked) -> None:
    ran = forked.run("github_output.py", stdin=release)
    assert list(problems("github_output.py", ran)) == []
    outputs = dict(line.split("=", 1) for line in ran.out.decode().splitlines())
    assert list(outputs) == ["promotions", "any", "count", "digest", "max_parallel"]
    rows, whole = json.loads(outputs["promotions"]), json.loads(release)
    assert [{key: promotion[key] for key in rows[0]} for promotion in whole] == rows
    assert "##[" not in outputs["promotions"]


def test_lines(release: bytes, forked: Forked) -> None:
    """A refusal names each; so does a digest that is not the release's, and a verdict that Kosli cannot give."""
    for script, stdin, variables in (
        ("promotions.py", diff(2, 3), {}),
        ("promotions.py", diff(2), {"SOURCES": "https://github.com/nobody/"}),
        ("promotions.py", diff(2), {"FLOWS": "no-such-flow"}),
        ("github_output.py", release.replace(b"github.com/acme-shop/", b"github.com/acme-shops/"), {}),
    ):
        ran = forked.run(script, stdin=stdin, **variables)
        assert ran.code in (1, 2)
        assert ran.out == b""
        assert list(wrong_lines(script, ran.err.decode())) == []
    assert not (ROOT / "owned").exists()


def test_annotations(release: bytes, tmp_path: Path) -> None:
    """What Kosli keeps of a release has each link whole, under keys and names that Kosli takes."""
    world = World(tmp_path, "settled set-up")
    world.done("attest.py", stdin=release)
    promotions = json.loads(release)
    trail = world.read()["flows"]["production-promotion"]["trails"]["run-42"]
    attestations = {attestation["name"]: attestation for attestation in trail["attestations"]}
    assert len(trail["artifacts"]) == len(promotions)
    for name, artifact in trail["artifacts"].items():
        assert re.fullmatch(r"[A-Za-z0-9_-]+", name)
        [promotion] = [each for each in promotions if each["incoming_fingerprint"] == artifact["fingerprint"]]
        attested = attestations[f"{name}.promotion"]
        assert attested["data"] == promotion
        assert attested["annotations"] == {"deployment_diff_URL": promotion["deployment_diff_url"]}
    annotations = attestations["release"]["annotations"]
    assert all(re.fullmatch(r"[A-Za-z0-9_]+", key) for key in annotations)
    assert sorted(annotations.values()) == sorted(each["deployment_diff_url"] for each in promotions)
    assert not (tmp_path / "cwd" / "owned").exists()
