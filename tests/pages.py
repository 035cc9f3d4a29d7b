"""What the tests of the two pages share: releases of any size, and the page that a script makes of one."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from functools import cache
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
