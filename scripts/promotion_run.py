#!/usr/bin/env python3
"""Check that a workflow run is one whose release may be rolled back: a promotion from this repository's main branch.

Any workflow can store an artifact called `release`, even one that a pull request has changed, or one on a branch that
nobody has reviewed. A tag can have the branch's name, so the run's commit must also be an ancestor of the branch.

COMPARISON is the file with GitHub's answer on HEAD_SHA...BRANCH: gh api repos/OWNER/NAME/compare/HEAD_SHA...BRANCH

stdin   the run: gh api repos/OWNER/NAME/actions/runs/RUN
stdout  nothing
exit    0 it is, 1 it is not, 2 not a run, or wrong settings
reads   ROLLBACK_OF (the run's number, which must be that of the run on stdin) GITHUB_REPOSITORY (OWNER/NAME)
        GITHUB_REF_NAME (this run's branch, which must be the other run's too)

    gh api "repos/$GITHUB_REPOSITORY/actions/runs/$ROLLBACK_OF" | scripts/promotion_run.py comparison.json
"""

from lib.model import Comparison, WorkflowRun
from lib.settings import this_run, variable
from lib.streams import Refused, Unusable, one_file, printable, read_document, read_file, run, typed

# Not a rollback: the way forward from one is a new promotion, with the gate in FROM.
WORKFLOW = ".github/workflows/promote.yml"


def check(workflow_run: WorkflowRun, number: str, repository: str, branch: str) -> None:
    """Raise Refused for a run that is not a promotion, dispatched on this branch of this repository."""
    if str(workflow_run.id) != number:
        raise Refused(f"run {printable(number)}: GitHub answers with run {workflow_run.id}")
    path = workflow_run.path.removesuffix(f"@{branch}").removesuffix(f"@refs/heads/{branch}")
    facts = {
        "workflow": (path, WORKFLOW),
        "event": (workflow_run.event, "workflow_dispatch"),
        "repository": (workflow_run.head_repository.full_name if workflow_run.head_repository else None, repository),
        "branch": (workflow_run.head_branch, branch),
    }
    wrong = [
        f"run {number}: its {name} is {printable(value or 'not known')}, not {printable(wanted)}"
        for name, (value, wanted) in facts.items()
        if value != wanted
    ]
    if wrong:
        raise Refused(*wrong)


def main(argv: list[str]) -> int:
    path = one_file(__doc__, argv, "COMPARISON")
    comparison = typed(read_file(path), Comparison, f"{printable(path)} is no comparison of commits")
    number, repository, branch = this_run().rollback_of, variable("GITHUB_REPOSITORY"), variable("GITHUB_REF_NAME")
    if not (number and repository and branch):
        raise Unusable("ROLLBACK_OF, GITHUB_REPOSITORY and GITHUB_REF_NAME are needed")
    check(typed(read_document(), WorkflowRun, "stdin is not a workflow run"), number, repository, branch)
    if comparison.status not in ("ahead", "identical"):
        raise Refused(f"run {number}: its commit is not in the history of {printable(branch)}")
    return 0


if __name__ == "__main__":
    run(main)
