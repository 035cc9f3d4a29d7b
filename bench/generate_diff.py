#!/usr/bin/env python3
"""Print a diff of two snapshots of any size, the same one for the same seed.

usage   bench/generate_diff.py PROMOTIONS [UNCHANGED [SEED]]      as many unchanged artifacts, seed 1
stdout  the diff, with the spaces that the Kosli CLI prints; about 470 bytes an artifact. Nothing in it is refused.
        Every 50th promotion is a first deployment, and every provider hosts some of the repositories.
"""

from __future__ import annotations

import json
import sys
from random import Random

Artifact = dict[str, object]

# How often a provider hosts a repository, and its commit pages.
HOSTS = (
    (12, "https://github.com/acme/{repo}/commit/{sha}"),
    (5, "https://gitlab.com/acme/platform/{repo}/-/commit/{sha}"),
    (1, "https://bitbucket.org/acme/{repo}/commits/{sha}"),
    (1, "https://git.example.com/projects/ACME/repos/{repo}/commits/{sha}"),
    (1, "https://dev.azure.com/acme/platform/_git/{repo}/commit/{sha}"),
)
REGISTRY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
FIRST_DEPLOYMENT_EVERY = 50


def generate(promotions: int, unchanged: int, seed: int = 1) -> dict[str, object]:
    """Return a diff with as many promotions and unchanged artifacts, in no order."""
    random = Random(seed)
    pages = random.choices([page for _, page in HOSTS], [times for times, _ in HOSTS], k=promotions + unchanged)
    services = [(f"service-{number:06}", page) for number, page in enumerate(pages)]
    random.shuffle(services)
    incoming = [_artifact(random, *service) for service in services[:promotions]]
    outgoing = [
        _artifact(random, *service)
        for number, service in enumerate(services[:promotions], start=1)
        if number % FIRST_DEPLOYMENT_EVERY
    ]
    random.shuffle(outgoing)
    return {
        "snappish1": {"snapshot_id": "aws-beta#4754", "artifacts": incoming},
        "snappish2": {"snapshot_id": "aws-prod#3548", "artifacts": outgoing},
        "changed": {"artifacts": []},
        "not-changed": {"artifacts": [_artifact(random, *service) for service in services[promotions:]]},
    }


def _artifact(random: Random, repo: str, page: str) -> Artifact:
    fingerprint, sha = random.randbytes(32).hex(), random.randbytes(20).hex()
    return {
        "fingerprint": fingerprint,
        "name": f"{REGISTRY}/{repo}:{sha[:7]}@sha256:{fingerprint}",
        "most_recent_timestamp": random.randrange(1_700_000_000, 1_800_000_000),
        "flow": f"{repo}-ci",
        "commit_url": page.format(repo=repo, sha=sha),
        "instance_count": random.randrange(1, 5),
    }


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    json.dump(generate(numbers[0], *(numbers[1:] or numbers)), sys.stdout, indent=2)
