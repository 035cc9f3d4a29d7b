"""Small worlds for the rehearsals: what runs where, by service and build."""

import hashlib
from typing import Any

World = dict[str, Any]
ORG = "example"
NOW = 1_786_352_400
FLOW = "production-promotion"


def artifact(service: str, build: str, *, group: str = "https://github.com/example", name: str = "") -> dict[str, Any]:
    """Return a build of a service, as a row of a diff. Everything follows from the two names."""
    fingerprint = hashlib.sha256(f"{service}:{build}".encode()).hexdigest()
    commit = hashlib.sha1(f"{service}:{build}".encode(), usedforsecurity=False).hexdigest()
    page = "-/commit" if "gitlab" in group else "commit"
    return {
        "fingerprint": fingerprint,
        "name": name or f"registry.example.com/{service}:{commit[:7]}@sha256:{fingerprint}",
        "flow": f"{service}-ci",
        "commit_url": f"{group}/{service}/{page}/{commit}",
        "most_recent_timestamp": NOW - 1000,
        "instance_count": 1,
    }


def world(beta: list[dict[str, Any]], prod: list[dict[str, Any]], **more: Any) -> World:
    """Return a world in which these artifacts run, and in which Kosli recorded that."""
    kinds = {"aws-beta": beta, "aws-prod": prod}
    environments = {
        name: {
            "type": "ECS",
            "policies": ["provenance"],
            "snapshots": [{"number": 7, "timestamp": NOW - 900, "artifacts": rows}],
        }
        for name, rows in kinds.items()
    }
    flows = {row["flow"]: {"description": "", "trails": {}} for row in [*beta, *prod]}
    return {"org": ORG, "now": NOW, "environments": environments, "flows": flows, "attestation_types": {}, **more}


def built(world: World, row: dict[str, Any]) -> dict[str, Any]:
    """Have Kosli know an artifact that runs nowhere yet. Returns it."""
    flow = world["flows"].setdefault(row["flow"], {"description": "", "trails": {}})
    known = {
        "fingerprint": row["fingerprint"],
        "filename": row["name"],
        "commit_url": row["commit_url"],
        "at": NOW - 100,
    }
    flow["trails"]["build"] = {"artifacts": {"image": known}, "attestations": []}
    return row


SAVER, SAVER_BEFORE, SAVER_AFTER = (artifact("saver", build) for build in ("new", "old", "newer"))
WEB, WEB_BEFORE, WEB_AFTER = (artifact("web", build) for build in ("new", "old", "newer"))
NGINX = artifact("nginx", "same")


def two_behind(**more: Any) -> World:
    """Return the usual world: beta is ahead on saver and web, level on nginx; a newer build of each exists."""
    found = world([SAVER, WEB, NGINX], [SAVER_BEFORE, WEB_BEFORE, NGINX], **more)
    built(found, SAVER_AFTER)
    built(found, WEB_AFTER)
    return found
