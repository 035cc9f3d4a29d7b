"""What the tests of the two pages share: releases of any size, and the page that a script makes of one."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from conftest import run

SERVICES = (
    *("accounts", "basket", "catalog", "checkout", "dashboard", "images"),
    *("mailer", "notifications", "orders", "payments", "recommendations", "refunds"),
)


def artifact(name: str, build: int) -> dict[str, Any]:
    sha = hashlib.sha1(f"{name} {build}".encode()).hexdigest()
    return {
        "fingerprint": hashlib.sha256(f"{name} {build}".encode()).hexdigest(),
        "name": f"registry.example.com/acme-shop/{name}:{sha[:7]}",
        "flow": f"{name}-ci",
        "commit_url": f"https://github.com/acme-shop/{name}/commit/{sha}",
    }


def diff(count: int, first: int = 0) -> dict[str, Any]:
    """Return a diff of so many flows behind, the last of them first deployments; one is retired, nine are level."""
    services = [SERVICES[i % 12] + (f"-{i // 12}" if i > 11 else "") for i in range(count)]
    old = [*services[: count - first], "retired"]
    return {
        "snappish1": {"snapshot_id": "aws-beta#8232", "artifacts": [artifact(name, 2) for name in services]},
        "snappish2": {"snapshot_id": "aws-prod#5474", "artifacts": [artifact(name, 1) for name in old]},
        "changed": {"artifacts": []},
        "not-changed": {"artifacts": [artifact(f"{name}-level", 1) for name in SERVICES[:9]]},
    }


@cache
def release_in(diff_document: str) -> str:
    return run("promotions.py", stdin=diff_document.encode()).out.decode()


def release_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    return list(json.loads(release_in(json.dumps(document))))


def inverse(release: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a release as a rollback has it; what is derived is derived again."""
    sides = {"incoming": "outgoing", "outgoing": "incoming"}
    return [
        {f"{sides[key[:8]]}{key[8:]}": value for key, value in promotion.items() if key[:8] in sides}
        for promotion in release
    ]


def verdicts(release: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return two compliant verdicts for each promotion."""
    return [
        {
            "flow": promotion["incoming_flow"],
            "name": promotion["incoming_name"],
            "fingerprint": promotion["incoming_fingerprint"],
            "environment": place,
            "verdict": "compliant",
            "policies": 2,
            "reasons": [],
            "html_url": f"https://app.kosli.com/{place}/{promotion['incoming_fingerprint']}",
        }
        for promotion in release
        for place in ("aws-beta", "aws-prod")
    ]


def changes(release: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what came between the commits of each promotion: forward, older, on no branch, not known, and again."""
    words = ("ahead", "behind", "ahead", "unknown")
    return [
        {
            "flow": promotion["incoming_flow"],
            "repository": promotion["incoming_repo_url"],
            "status": words[number % 4],
            "on_branch": number % 4 != 2,
            "ahead": 300 if number % 4 == 2 else 1,
            "behind": 2 if number % 4 == 1 else 0,
            "commits": [commit(promotion, number)] if words[number % 4] == "ahead" else [],
            "why": "git fetch: no answer within 120 seconds" if words[number % 4] == "unknown" else "",
        }
        for number, promotion in enumerate(release)
    ]


def commit(promotion: dict[str, Any], number: int) -> dict[str, Any]:
    who = {"author": f"Ada {number}", "committer": "GitHub"}
    what = {"subject": f"Mend <b>the total</b> | and the tax (#{number})", "pull_request": f"#{number}"}
    return {"sha": promotion["incoming_commit_sha"], "time": 1_790_000_000, **who, **what}


def outcomes(release: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return an outcome for each promotion: landed, not landed, another landed, and again."""
    words = ("landed", "not landed", "another landed")
    return [
        {
            "flow": promotion["incoming_flow"],
            "fingerprint": promotion["incoming_fingerprint"],
            "outcome": words[number % 3],
            "running": ["f" * 64],
            "snapshot_id": "aws-prod#5480",
        }
        for number, promotion in enumerate(release)
    ]


def page(script: str, release: Any, refused: str = "", **documents: Any) -> str:
    """Return the page that a script makes of a release, with SNAPSHOTS, VERDICTS and OUTCOMES as documents."""
    with tempfile.TemporaryDirectory() as folder:
        variables = {}
        if refused:
            variables["REASONS"] = os.path.join(folder, "reasons")
            Path(variables["REASONS"]).write_text(refused)
        for name, document in documents.items():
            path = os.path.join(folder, f"{name}.json")
            Path(path).write_text(json.dumps(document))
            variables[name.upper()] = path
        done = run(f"{script}.py", stdin=json.dumps(release).encode(), **variables)
    assert (done.code, done.err) == (0, b"")
    return done.out.decode()


class Tags(HTMLParser):
    """Reads an HTML page: the elements that it is made of, with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.comments: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> in the wrong place"

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


ELEMENTS = {
    *("html", "head", "meta", "link", "title", "style", "body", "header", "main", "footer", "h1", "h2", "p"),
    *("ul", "li", "strong", "code", "a", "span", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"),
    *("figure", "figcaption", "div"),
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "rel", "href", "class", "role", "scope", "data-title"),
}


def wrong_html(page: str) -> Iterator[str]:
    """Give what a page has besides what a report is made of: a value has become markup then."""
    tags = Tags(page)
    yield from (f"<{tag}> is never closed" for tag in tags.open)
    yield from (f"a comment: {comment[:40]}" for comment in tags.comments)
    for tag, attributes in tags.found:
        if tag not in ELEMENTS or not set(attributes) <= ATTRIBUTES:
            yield f"<{tag}> with {attributes}"
        if not (attributes.get("href") or "https://").startswith(("https://", "data:,")):
            yield f"a link to {attributes['href']}"
