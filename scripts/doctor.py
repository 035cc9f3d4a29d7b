#!/usr/bin/env python3
"""Say what is still missing before a release can be derived and recorded, and how to get it. It changes nothing.

stdout  [{"check": "cli", "ok": true, "says": "..."}, ...] in the order in which things are set up: settings, cli,
        organisation, environment (FROM, then TO), flow, and sources: one for each flow in FROM whose repository is
        below none of them. Without a CLI, an organisation or a token, which of these are missing
stderr  a line for each that is not ok
exit    0 all is there, 1 something is missing, 2 release.toml or holds.toml is wrong, 3 Kosli cannot be asked
reads   FROM_ENV TO_ENV SOURCES RELEASE_FLOW ALLOW_NO_POLICY HOLDS SETTINGS

    scripts/doctor.py
"""

import shutil
from collections.abc import Iterator

from lib.holds import read_holds
from lib.kosli import OLDEST_TRUSTED, ask, ask_for, ask_for_diff, cli_version, failure
from lib.model import Environment
from lib.processes import stop_on_signals
from lib.rules import cause_in_source, commit_of, environment_of, sources
from lib.settings import nearest, settings, variable
from lib.streams import KosliFailed, Unusable, no_arguments, printable, run, say, write_json

from msgspec import Struct

GUIDE = "docs/set-up.md, step"


class Check(Struct):
    """Something that was looked at, and what was found."""

    check: str
    ok: bool
    says: str


def missing() -> Iterator[Check]:
    """Yield what is needed before Kosli can be asked, and is not there."""
    if not shutil.which("kosli"):
        yield Check("cli", False, f"there is no program kosli on PATH: npm ci --prefix kosli brings one ({GUIDE} 2)")
    if not settings().kosli.org:
        yield Check("organisation", False, f"KOSLI_ORG is not set: name it in release.toml, kosli.org ({GUIDE} 4)")
    if not variable("KOSLI_API_TOKEN"):
        yield Check("organisation", False, f"KOSLI_API_TOKEN is not set: the token of a service account ({GUIDE} 3)")


def checks() -> Iterator[Check]:
    """Yield what was found. KosliFailed and Unusable: Kosli cannot be asked, or its answer cannot be read."""
    yield check_cli()
    names = [environment.name for environment in ask_for(list[Environment], "list", "environments")]
    yield Check("organisation", True, f"the token reads {settings().kosli.org}, environments: {len(names)}")
    findings = [check_environment(environment_of(expression), names) for expression in settings().environments]
    yield from findings
    yield check_flow(settings().release_flow)
    if all(finding.ok for finding in findings):
        yield from check_sources()


def check_cli() -> Check:
    """Say whether the gate trusts the CLI."""
    text, number = cli_version()
    if number >= OLDEST_TRUSTED:
        return Check("cli", True, f"Kosli's CLI is {text}")
    oldest = ".".join(map(str, OLDEST_TRUSTED))
    says = f"Kosli's CLI is {text or 'of no known version'}, and the gate needs v{oldest} or newer"
    return Check("cli", False, f"{says}: npm ci --prefix kosli brings one ({GUIDE} 2)")


def check_environment(name: str, names: list[str]) -> Check:
    """Say whether an environment is there, has a policy, and was recorded."""
    if name not in names:
        says = f"{printable(name)} is not there, {nearest(name, names)}: create it ({GUIDE} 3)"
        return Check("environment", False, f"{says}, or name another one in release.toml")
    environment = ask_for(Environment, "get", "environment", name)
    policies = ", ".join(map(printable, environment.policies or []))
    if not policies and not settings().gate.allow_no_policy:
        says = f"{name} has no policy, so everything is compliant to it"
        return Check("environment", False, f"{says}: kosli attach-policy POLICY --environment {name} ({GUIDE} 3)")
    if not environment.last_reported_at:
        return Check("environment", False, f"{name} was never recorded: kosli snapshot TYPE {name} ({GUIDE} 5)")
    return Check("environment", True, f"{name} has the policies: {policies or 'none'}")


def check_flow(name: str) -> Check:
    """Say whether the flow that records the releases is there."""
    answer = ask("get", "flow", name, "--output=json")
    if answer.code and "does not exist" not in answer.said:
        raise failure(answer)
    if answer.code:
        return Check("flow", False, f"{name}, which records the releases, is not there: make kosli-setup ({GUIDE} 3)")
    return Check("flow", True, f"{name} records the releases")


def check_sources() -> Iterator[Check]:
    """Yield the flows in FROM whose code may not be promoted."""
    running = ask_for_diff(settings().environments)[1].running_in_from
    commits = [(artifact.flow, commit) for artifact in running if artifact.flow and (commit := commit_of(artifact))]
    against = {flow: cause for flow, commit in sorted(commits) if (cause := cause_in_source(commit))}
    for flow, cause in against.items():
        yield Check("sources", False, f"{printable(flow)}: {cause}: add its own to release.toml ({GUIDE} 4)")
    if not against:
        named = ", ".join(map(printable, sources()))
        says = named or "none are named, so the code of every repository may be promoted"
        yield Check("sources", True, f"{says}; flows in FROM: {len(dict(commits))}")


def main(argv: list[str]) -> int:
    no_arguments(__doc__, argv)
    stop_on_signals()
    first = Check("settings", True, f"{' and '.join(settings().environments)}, holds: {len(read_holds())}")
    try:
        findings = [first, *(list(missing()) or checks())]
    except (KosliFailed, Unusable) as error:
        raise KosliFailed(*error.causes, f"how to come by the CLI and by a token: {GUIDE}s 2 and 3") from None
    write_json(findings)
    for finding in findings:
        if not finding.ok:
            say(f"{finding.check}: {finding.says}")
    return 0 if all(finding.ok for finding in findings) else 1


if __name__ == "__main__":
    run(main)
