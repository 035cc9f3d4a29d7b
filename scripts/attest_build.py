#!/usr/bin/env python3
"""Record a build in its service's flow: the trail, the artifact by its digest, and its evidence. Safe to run again.

stdout  the build, as scripts/gate.py takes it: {"incoming_flow", "incoming_name", "incoming_fingerprint", "trail",
        "attested": [names]}
exit    0 done, 1 refused: the image's name carries another digest, 2 wrong settings, or no evidence in a file, 3 Kosli
        could not record it: stderr says what was attested, what failed and what was not attested
reads   BUILD_FLOW (such as saver-ci) BUILD_TRAIL (COMMIT_SHA by default) ARTIFACT_NAME (its name in the flow) IMAGE
        FINGERPRINT COMMIT_SHA (GITHUB_SHA by default) REPO_ROOT (a checkout of that commit) GITHUB_... KOSLI_...
        KOSLI_GITHUB_TOKEN   attest the pull request of that commit, which this token may read
        JUNIT_RESULTS        attest the test results in this folder
        SNYK_RESULTS         attest the security scan in this file (SARIF)
        SBOM                 attest the bill of materials in this file

    scripts/attest_build.py | scripts/gate.py aws-beta
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from lib.kosli import Told, attest, begin_trail
from lib.model import Attested
from lib.processes import stop_on_signals
from lib.rules import github
from lib.settings import resource_name, this_run, variable
from lib.streams import Refused, Unusable, no_arguments, parse, printable, read_bytes, run, write_json

SHAPES = {
    "ARTIFACT_NAME": ("[A-Za-z0-9_][A-Za-z0-9_-]*", "a name of letters, digits, - and _"),
    "COMMIT_SHA": ("[0-9a-f]{40}|[0-9a-f]{64}", "a whole commit sha"),
    "FINGERPRINT": ("[0-9a-f]{64}", "64 lower-case hexadecimal digits"),
    "GITHUB_REPOSITORY": (r"[\w.-]+/[\w.-]+", "OWNER/NAME"),
    "GITHUB_RUN_ID": ("[0-9]+", "the number of a run"),
    "IMAGE": (r"[^\s-]\S*", "the name of an image"),
    "BUILD_FLOW": ("[a-zA-Z0-9][a-zA-Z0-9._~-]*", "a name that Kosli takes"),
}
# The evidence that a file or folder holds: its name in the trail, the kosli command and its flag.
EVIDENCE = {
    "JUNIT_RESULTS": ("unit-test", "junit", "--results-dir"),
    "SNYK_RESULTS": ("snyk-scan", "snyk", "--scan-results"),
    "SBOM": ("sbom", "sbom", "--sbom-file"),
}


def read_settings() -> dict[str, str]:
    """Return what the commands need. Raises Unusable with a cause for each wrong setting, Refused for a digest."""
    build = {name: variable(name) for name in (*SHAPES, *EVIDENCE)}
    build["COMMIT_SHA"] = build["COMMIT_SHA"] or variable("GITHUB_SHA")
    build["FINGERPRINT"] = build["FINGERPRINT"].removeprefix("sha256:")  # as the build tools print it
    build["REPO_ROOT"] = this_run().repo_root
    wrong = [
        f"{name}: {printable(build[name])} is not {what}" if build[name] else f"{name} is not set"
        for name, (shape, what) in SHAPES.items()
        if not re.fullmatch(shape, build[name], re.ASCII)
    ]
    if not os.path.exists(os.path.join(build["REPO_ROOT"], ".git")):
        wrong.append(f"REPO_ROOT: {printable(build['REPO_ROOT'])} is not a checkout")
    wrong += wrong_evidence(build)
    if wrong:
        raise Unusable(*wrong)
    digest = build["IMAGE"].rpartition("@sha256:")[2]
    if "@" in build["IMAGE"] and digest != build["FINGERPRINT"]:
        raise Refused(f"IMAGE: {printable(build['IMAGE'])} carries another digest than FINGERPRINT")
    build["BUILD_TRAIL"] = resource_name("BUILD_TRAIL", variable("BUILD_TRAIL") or build["COMMIT_SHA"])
    # The CLI runs in a folder of its own.
    return {**build, **{name: build[name] and os.path.abspath(build[name]) for name in (*EVIDENCE, "REPO_ROOT")}}


def wrong_evidence(build: dict[str, str]) -> Iterator[str]:
    """Yield what is wrong with the evidence that the settings name. The CLI would accept some of it."""
    junit, snyk, sbom = (build[name] for name in EVIDENCE)
    if junit and not os.path.isdir(junit):
        yield f"JUNIT_RESULTS: {printable(junit)} is not a folder"
    elif junit:
        files = sorted(Path(junit).rglob("*.xml"))
        if not files:
            yield f"JUNIT_RESULTS: there is no .xml file in {printable(junit)}"
        for file in files:
            if b"<testcase" not in read_bytes(str(file)):
                yield f"JUNIT_RESULTS: {printable(file)} has no test case: no tests would read as passed"
    if snyk and not os.path.isfile(snyk):
        yield f"SNYK_RESULTS: {printable(snyk)} is not a file"
    elif snyk:
        scan = parse(read_bytes(snyk), f"SNYK_RESULTS: {printable(snyk)}")
        if not isinstance(scan, dict) or "sarif" not in str(scan.get("$schema", "")).lower():
            yield f"SNYK_RESULTS: {printable(snyk)} is not SARIF: write it with --sarif-file-output"
    if sbom and not os.path.isfile(sbom):
        yield f"SBOM: {printable(sbom)} is not a file"


def what_to_attest(build: dict[str, str]) -> tuple[list[Told], list[Told]]:
    """Return the artifact, then its evidence: Kosli must know an artifact before it takes evidence on it."""
    name, fingerprint, commit = build["ARTIFACT_NAME"], build["FINGERPRINT"], build["COMMIT_SHA"]
    repository = f"{github()}/{build['GITHUB_REPOSITORY']}"

    def told(what: str, *arguments: str, passing: tuple[str, ...] = ()) -> Told:
        facts = Attested(build["BUILD_FLOW"], build["BUILD_TRAIL"], what, arguments[0], fingerprint, None)
        return Told(facts, (*arguments, "--commit", commit), passing, repo_root=build["REPO_ROOT"])

    build_url = f"{repository}/actions/runs/{build['GITHUB_RUN_ID']}"
    links = ("--commit-url", f"{repository}/commit/{commit}", "--build-url", build_url)
    evidence = [
        told(f"{name}.{what}", command, flag, build[variable_name])
        for variable_name, (what, command, flag) in EVIDENCE.items()
        if build[variable_name]
    ]
    if variable("KOSLI_GITHUB_TOKEN"):
        owner = build["GITHUB_REPOSITORY"].partition("/")[0]
        where = ["--github-org", owner, "--repository", build["GITHUB_REPOSITORY"]]
        where += ["--github-base-url", github()] if github() != "https://github.com" else []
        what = f"{name}.pull-request"
        evidence.insert(0, told(what, "pullrequest", "github", *where, passing=("KOSLI_GITHUB_TOKEN",)))
    return [told(name, "artifact", build["IMAGE"], *links)], evidence


def main(argv: list[str]) -> int:
    no_arguments(__doc__, argv)
    build = read_settings()
    stop_on_signals()
    phases = what_to_attest(build)
    description = f"A build of {build['ARTIFACT_NAME']}"
    checkout = ("--commit", build["COMMIT_SHA"], "--repo-root", build["REPO_ROOT"])
    begin_trail(build["BUILD_FLOW"], build["BUILD_TRAIL"], description, *checkout)
    attest(*phases)
    write_json(
        {
            "incoming_flow": build["BUILD_FLOW"],
            "incoming_name": build["IMAGE"],
            "incoming_fingerprint": build["FINGERPRINT"],
            "trail": build["BUILD_TRAIL"],
            "attested": [told.facts.name for phase in phases for told in phase],
        }
    )
    return 0


if __name__ == "__main__":
    run(main)
