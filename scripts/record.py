#!/usr/bin/env python3
"""Tell Kosli what runs in ENVIRONMENT now: one more snapshot, if that has changed.

stdout  {"environment", "type"}
exit    0 done, 2 wrong usage or settings, 3 Kosli could not be told, or what runs could not be seen

settings, from the environment:
  ENVIRONMENT_TYPE   ecs (the default), k8s, lambda, docker or server: of that type it is in Kosli too
  RECORDED           what belongs to the environment; commas separate several
                       ecs      the cluster; needed
                       k8s      the namespaces; all by default
                       lambda   the functions' names; all by default
                       docker   nothing: all containers of this machine
                       server   the paths of the artifacts on this machine; needed
  KUBECONFIG         k8s: the cluster's configuration, ~/.kube/config by default
  AWS_...            ecs, lambda: the cloud role that was taken, and its region
  KOSLI_...          as for snapshots.py

    RECORDED=beta scripts/record.py aws-beta
"""

from __future__ import annotations

import re

from lib.filters import Unusable, choice, printable, run, setting, usage, write_json
from lib.kosli import PASSED_TO_RECORD, require_settings, stop_on_signals, tell

# The flag that takes what is recorded, and whether it must be given: without it an ecs environment would be every
# cluster of the account, and two environments in one account would be the same.
TYPES = {
    "ecs": ("--cluster", True),
    "k8s": ("--namespaces", False),
    "lambda": ("--function-names", False),
    "docker": ("", False),
    "server": ("--paths", True),
}


def command(environment: str, kind: str, recorded: str) -> list[str]:
    """Return the arguments of the kosli command. Raises Unusable for what does not belong together."""
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9._-]*", environment):
        raise Unusable(f"{printable(environment)} is no name of an environment")
    flag, needed = TYPES[kind]
    if needed and not recorded:
        raise Unusable(f"RECORDED is not set: an environment of type {kind} needs it")
    if recorded and not flag:
        raise Unusable(f"RECORDED: an environment of type {kind} takes none")
    if recorded.startswith("-") or (kind == "ecs" and "," in recorded):
        raise Unusable(f"RECORDED: {printable(recorded)} cannot be recorded")
    arguments = ["snapshot", kind, environment]
    if recorded:
        arguments += [flag, recorded]
    if kind == "k8s" and setting("KUBECONFIG"):
        arguments += ["--kubeconfig", setting("KUBECONFIG")]
    return arguments


def main(argv: list[str]) -> int:
    """Record the environment that the argument names."""
    (environment,) = usage(argv, "ENVIRONMENT")
    kind = choice("ENVIRONMENT_TYPE", tuple(TYPES))
    arguments = command(environment, kind, setting("RECORDED"))
    stop_on_signals()
    require_settings()
    tell(*arguments, passing=PASSED_TO_RECORD)
    write_json({"environment": environment, "type": kind})
    return 0


if __name__ == "__main__":
    run(main, __doc__)
