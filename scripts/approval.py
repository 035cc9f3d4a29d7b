#!/usr/bin/env python3
"""Attest who approved the release, into its trail.

stdin   the reviews of a workflow run: gh api repos/OWNER/NAME/actions/runs/RUN/approvals
stdout  what was attested: {"environment", "digest", "state", "approvers": [{"approver", "comment"}]}: all who
        approved it, in any attempt of the run. GitHub does not say when: the time in Kosli is that of the attestation
exit    0 attested, 1 not approved: nobody has approved, or only who started the run, or nobody since the last attempt;
        2 not the reviews, or wrong settings, 3 Kosli could not record it
reads   ENVIRONMENT (GitHub's, production by default) DIGEST (what was approved; needed) RELEASE_FLOW RELEASE_TRAIL
        GITHUB_ACTOR GITHUB_TRIGGERING_ACTOR APPROVAL_SELF_APPROVAL, and for a rollback ROLLBACK_OF
        APPROVAL_SELF_ROLLBACK

    gh api "repos/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID/approvals" | scripts/approval.py
"""

from collections import Counter
from typing import Any

from lib.kosli import Told, attest, attested, read_attestations
from lib.model import Review
from lib.processes import stop_on_signals
from lib.settings import release_trail, settings, sha256, this_run, variable
from lib.streams import KosliFailed, Refused, no_arguments, printable, read_document, run, typed, write_json

import jmespath


def approvals(document: Any, environment: str) -> list[Review]:
    """Return the reviews that approved that environment; names have no case on GitHub.

    An environment without required reviewers lets every run through, and its run has no review: that is Refused.
    A review of another environment may lack fields. An administrator's bypass is no approval.
    """
    reviews = []
    for index, fields in enumerate(typed(document, list[dict[str, Any]], "stdin is not the reviews of a run")):
        if fields.get("state") != "approved":
            continue
        names: list[Any] | None = jmespath.search("environments[].name", fields)
        if names is None or environment.lower() in [str(name).lower() for name in names]:
            reviews.append(typed(fields, Review, f"stdin is not the reviews of a run: [{index}]"))
    if not reviews:
        raise Refused(
            f"nobody approved {printable(environment)}: does that environment have required reviewers? "
            "(an administrator's bypass is no approval)"
        )
    return reviews


def new_approvers(reviews: list[Review]) -> list[str]:
    """Return who has approved since the last approval that the trail holds: an approval is good for one attempt.

    GitHub lists the reviews of all attempts of a run, and does not name the attempt. So they are counted.
    """
    before: Counter[str] = Counter()
    for attestation in read_attestations(settings().release_flow, release_trail(), "approval"):
        data = attestation.user_data
        listed = data.get("approvers") if isinstance(data, dict) else None
        if not isinstance(listed, list) or not all(isinstance(approver, dict) for approver in listed):
            raise KosliFailed("the trail holds an approval that does not say who gave it")
        before |= Counter(str(approver.get("approver")).lower() for approver in listed)
    new = sorted((Counter(review.user.login.lower() for review in reviews) - before).elements())
    if not new:
        raise Refused("an approval is good for one attempt, and nobody has approved this one: re-run the job approve")
    return new


def refuse_own(approvers: list[str]) -> None:
    """Raise Refused when only who started, or re-ran, the run has approved it, unless the settings allow that."""
    approval = settings().approval
    if approval.self_approval or (approval.self_rollback and this_run().rollback_of):
        return
    started = {variable(name).lower() for name in ("GITHUB_ACTOR", "GITHUB_TRIGGERING_ACTOR")}
    if started.issuperset(approvers):
        who = ", ".join(map(printable, dict.fromkeys(approvers)))
        raise Refused(f"only {who} approved it, who started this run: somebody else must (approval.self_approval)")


def main(argv: list[str]) -> int:
    no_arguments(__doc__, argv)
    environment, digest = this_run().environment, sha256("DIGEST", this_run().digest)
    reviews = approvals(read_document(), environment)
    refuse_own([review.user.login.lower() for review in reviews])
    stop_on_signals()
    refuse_own(new_approvers(reviews))
    data = {
        "environment": environment,
        "digest": digest,
        "state": "approved",
        "approvers": [{"approver": review.user.login, "comment": review.comment or ""} for review in reviews],
    }
    facts = attested("approval", "generic", compliant=True)
    attest([Told(facts, ("generic", "--annotate", f"digest={digest}"), data=data)])
    write_json(data)
    return 0


if __name__ == "__main__":
    run(main)
