#!/usr/bin/env python3
"""Hand a release to the next jobs of a GitHub workflow.

stdin   a release (make promotions)
stdout  nothing, or without GITHUB_OUTPUT what would be appended to that file:
          promotions=[...]   one line, only the keys that jobs use (jq/matrix.jmespath)
          any=true           false when there is nothing to promote
          count=2            so that a list that GitHub dropped is noticed
          digest=...         what the release is known by: a sha256
          max_parallel=10    how many deployments at once (deploy.max_parallel)
exit    0 done, 1 more than a workflow can take, 2 not a release, or the file cannot be written (then it is as before)

    make promotions | scripts/github_output.py
"""

import json
from collections import Counter

from lib.commit_urls import address
from lib.model import Promotion
from lib.outputs import append_outputs
from lib.queries import select
from lib.releases import digest, fields_of, read_release
from lib.settings import settings
from lib.streams import Refused, no_arguments, printable, read_document, run

MOST_JOBS = 256  # in a matrix
MOST_CHARACTERS = 500_000  # in all outputs of a job: 1 MB, counted as UTF-16, with some room


def outputs(release: list[Promotion]) -> dict[str, object]:
    """Return what the next jobs are handed. Raises Refused for more than a workflow can take."""
    keys = select("matrix", fields_of(release))
    matrix = json.dumps(keys, separators=(",", ":")).replace("##[", r"\u0023#[")
    releases = max(-(-len(release) // MOST_JOBS), -(-len(matrix) // MOST_CHARACTERS))
    if releases > 1:
        raise Refused(
            f"{len(release)} promotions of {len(matrix)} characters, and a workflow takes {MOST_JOBS} jobs and "
            f"{MOST_CHARACTERS} characters: promote some flows at a time with FLOWS, in {releases} releases"
        )
    if settings().deploy.one_repository == "one":
        refuse_one_repository(release)
    return {
        "promotions": matrix,
        "any": "true" if release else "false",
        "count": len(release),
        "digest": digest(release),
        "max_parallel": settings().deploy.max_parallel,
    }


def refuse_one_repository(release: list[Promotion]) -> None:
    """Raise Refused for two promotions of one repository: the second deployment would overwrite the first."""
    times = Counter(address(promotion.incoming_repo_url) for promotion in release)
    causes = [
        f"{printable(p.incoming_flow)}: {printable(p.incoming_name)}: another promotion is from {p.incoming_repo_url} "
        'too, and both would deploy its Terraform (deploy.one_repository = "many" allows it)'
        for p in release
        if times[address(p.incoming_repo_url)] > 1
    ]
    if causes:
        raise Refused(*causes)


def main(argv: list[str]) -> int:
    no_arguments(__doc__, argv)
    append_outputs(outputs(read_release(read_document())))
    return 0


if __name__ == "__main__":
    run(main)
