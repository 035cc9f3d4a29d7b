#!/usr/bin/env python3
"""Attest who approved the release, into its trail.

stdin   the reviews of a workflow run: gh api repos/OWNER/NAME/actions/runs/RUN/approvals
stdout  what was attested: {"environment", "digest", "state", "approvers": [{"approver", "comment"}]}
        (GitHub does not say when: the time is that of the attestation)
exit    0 attested, 1 nobody approved that environment, 2 not the reviews, or wrong settings, 3 Kosli could not be told

settings, from the environment:
  ENVIRONMENT                  GitHub's environment (production)
  DIGEST                       what was approved: the digest that the approver saw; needed
  RELEASE_FLOW, RELEASE_TRAIL  where to (as for scripts/attest.py)

    gh api "repos/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID/approvals" | scripts/approval.py
"""

from __future__ import annotations

import tempfile

from lib import ROOT
from lib.filters import Refused, Unusable, printable, read_document, run, setting, to_json, usage, write_json
from lib.kosli import stop_on_signals, tell
from lib.releases import is_sha256
from lib.trails import release_flow, release_trail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def approval(reviews: Any, environment: str, digest: str) -> dict[str, Any]:
    """Return who approved that environment, and what: by its digest.

    An environment without required reviewers lets every run through, and its run has no review: that is Refused.
    A rejection ends the run by itself, so one that is listed is of an earlier attempt.
    """
    if type(reviews) is not list:
        raise Unusable("stdin is not the reviews of a run: not a JSON array")
    approvers = []
    for index, review in enumerate(reviews):
        try:
            state, comment, login = review["state"], review["comment"], review["user"]["login"]
            names = [each["name"] for each in review["environments"]]
        except (KeyError, TypeError):
            raise Unusable(f"[{index}]: not a review of a run") from None
        if state == "approved" and environment in names:
            approvers.append({"approver": str(login), "comment": str(comment or "")})
    if not approvers:
        raise Refused(f"nobody approved {printable(environment)}: does that environment have required reviewers?")
    return {"environment": environment, "digest": digest, "state": "approved", "approvers": approvers}


def attest(data: dict[str, Any]) -> None:
    """Attest the approval in the release's trail. Raises KosliFailed."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(to_json(data))
        file.flush()
        tell(
            *("attest", "generic", "--name", "approval", "--compliant=true"),
            *("--flow", release_flow(), "--trail", release_trail(), "--repo-root", ROOT),
            *("--user-data", file.name, "--annotate", f"digest={data['digest']}"),
        )


def main(argv: list[str]) -> int:
    """Attest the approval that the reviews on stdin hold, and write it down."""
    usage(argv)
    digest = setting("DIGEST")
    if not is_sha256(digest):
        raise Unusable(f"DIGEST: {printable(digest) or 'not set'}: not 64 lower-case hexadecimal digits")
    data = approval(read_document(), setting("ENVIRONMENT", "production"), digest)
    stop_on_signals()
    attest(data)
    write_json(data)
    return 0


if __name__ == "__main__":
    run(main, __doc__)
