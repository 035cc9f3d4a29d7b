#!/usr/bin/env python3
"""Check that a workflow run is one whose release may be rolled back: a promotion of this repository.

Any workflow can keep something under the name `release`: one that a pull request has changed, or the one of a branch
that nobody has reviewed. And a release says from which repository the deployment's code comes.

stdin   the run: gh api repos/OWNER/NAME/actions/runs/RUN
stdout  nothing
exit    0 it is, 1 it is not, 2 not a run, or wrong settings

settings, from the environment:
  ROLLBACK_OF          the run's number, which must be that of the run on stdin
  GITHUB_REPOSITORY    OWNER/NAME
  GITHUB_REF_NAME      the branch that this run is of, and that run must be of

    gh api "repos/$GITHUB_REPOSITORY/actions/runs/$ROLLBACK_OF" | scripts/promotion_run.py
"""

from __future__ import annotations

from lib.filters import Refused, Unusable, printable, read_document, run, setting, usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Not a rollback: the way forward from one is a new promotion, with the gate in FROM.
WORKFLOWS = (".github/workflows/promote.yml",)


def check(found: Any, number: str, repository: str, branch: str) -> None:
    """Raise Refused for a run that is not a promotion, dispatched on this branch of this repository."""
    try:
        facts = {
            "number": str(found["id"]),
            "workflow": str(found["path"]).removesuffix(f"@{branch}").removesuffix(f"@refs/heads/{branch}"),
            "event": found["event"],
            "repository": found["head_repository"]["full_name"],
            "branch": found["head_branch"],
        }
    except (KeyError, TypeError):
        raise Unusable("stdin is not a workflow run") from None
    if facts["number"] != number:
        raise Refused(f"run {printable(number)}: GitHub answers with run {printable(facts['number'])}")
    wanted = {
        "workflow": WORKFLOWS,
        "event": ("workflow_dispatch",),
        "repository": (repository,),
        "branch": (branch,),
    }
    wrong = [
        f"run {printable(number)}: its {name} is {printable(facts[name])}, not {' or '.join(values)}"
        for name, values in wanted.items()
        if facts[name] not in values
    ]
    if wrong:
        raise Refused(*wrong)


def main(argv: list[str]) -> int:
    """Check the run on stdin."""
    usage(argv)
    number, repository, branch = setting("ROLLBACK_OF"), setting("GITHUB_REPOSITORY"), setting("GITHUB_REF_NAME")
    if not (number and repository and branch):
        raise Unusable("ROLLBACK_OF, GITHUB_REPOSITORY and GITHUB_REF_NAME are needed")
    check(read_document(), number, repository, branch)
    return 0


if __name__ == "__main__":
    run(main, __doc__)
