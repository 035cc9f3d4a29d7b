#!/usr/bin/env python3
"""Record a build in its service's flow: the trail, the artifact by its digest, and its evidence. Safe to run again.

stdout  the build, as scripts/gate.py takes it: {"incoming_flow", "incoming_name", "incoming_fingerprint", "trail",
        "attested": [names]}
exit    0 done, 1 refused: the image's name carries another digest, 2 wrong settings, 3 Kosli could not be told: stderr
        says what was attested, what failed and what was not attested

settings, from the environment:
  BUILD_FLOW           the service's flow, such as saver-ci
  BUILD_TRAIL          the build's trail, COMMIT_SHA by default
  ARTIFACT_NAME        the artifact's name in the flow, such as saver
  IMAGE, FINGERPRINT   the image as it was pushed, and its sha256
  COMMIT_SHA           the commit that it was built from, GITHUB_SHA by default
  REPO_ROOT            a checkout of that commit, the current directory by default
  KOSLI_GITHUB_TOKEN   attest the pull request of that commit, which this token may read
  JUNIT_RESULTS        attest the test results in this folder
  SNYK_RESULTS         attest the security scan in this file
  GITHUB_...           as GitHub Actions sets them: where the commit and the build can be seen
  KOSLI_...            as for snapshots.py

    scripts/attest_build.py | scripts/gate.py aws-beta
"""

from __future__ import annotations

import os
import re

from lib.filters import Refused, Unusable, printable, run, setting, usage, write_json
from lib.kosli import PASSED_TO_FIND_PULL_REQUESTS, require_settings, stop_on_signals, tell, tell_all
from lib.trails import resource_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

GITHUB = "https://github.com"
SHAPES = {
    "ARTIFACT_NAME": ("[A-Za-z0-9_][A-Za-z0-9_-]*", "a name of letters, digits, - and _"),
    "COMMIT_SHA": ("[0-9a-f]{40}|[0-9a-f]{64}", "a whole commit sha"),
    "FINGERPRINT": ("[0-9a-f]{64}", "64 lower-case hexadecimal digits"),
    "GITHUB_REPOSITORY": (r"[\w.-]+/[\w.-]+", "OWNER/NAME"),
    "GITHUB_RUN_ID": ("[0-9]+", "the number of a run"),
    "IMAGE": (r"[^\s-]\S*", "the name of an image"),
}


def read_settings() -> dict[str, str]:
    """Return what the commands need. Raises Unusable with a cause for each wrong setting, Refused for a digest."""
    found = {name: setting(name) for name in SHAPES}
    found["COMMIT_SHA"] = found["COMMIT_SHA"] or setting("GITHUB_SHA")
    found["FINGERPRINT"] = found["FINGERPRINT"].removeprefix("sha256:")  # as the build tools print it
    wrong = [
        f"{name}: {printable(found[name])} is not {what}" if found[name] else f"{name} is not set"
        for name, (shape, what) in SHAPES.items()
        if not re.fullmatch(shape, found[name])
    ]
    root, junit, snyk = setting("REPO_ROOT", "."), setting("JUNIT_RESULTS"), setting("SNYK_RESULTS")
    if not os.path.exists(os.path.join(root, ".git")):
        wrong.append(f"REPO_ROOT: {printable(root)} is not a checkout")
    if junit and not os.path.isdir(junit):
        wrong.append(f"JUNIT_RESULTS: {printable(junit)} is not a folder")
    if snyk and not os.path.isfile(snyk):
        wrong.append(f"SNYK_RESULTS: {printable(snyk)} is not a file")
    if wrong:
        raise Unusable(*wrong)
    digest = found["IMAGE"].rpartition("@sha256:")[2]
    if "@" in found["IMAGE"] and digest != found["FINGERPRINT"]:
        raise Refused(f"IMAGE: {printable(found['IMAGE'])} carries another digest than FINGERPRINT")
    found["BUILD_FLOW"] = resource_name("BUILD_FLOW", setting("BUILD_FLOW"))
    found["BUILD_TRAIL"] = resource_name("BUILD_TRAIL", setting("BUILD_TRAIL", found["COMMIT_SHA"]))
    # The CLI runs in a folder of its own.
    paths = {"REPO_ROOT": root, "JUNIT_RESULTS": junit, "SNYK_RESULTS": snyk}
    return {**found, **{name: path and os.path.abspath(path) for name, path in paths.items()}}


def commands(found: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Yield (an attestation's name, the arguments of its kosli command), the artifact first: the others are of it."""
    name, fingerprint, commit = found["ARTIFACT_NAME"], found["FINGERPRINT"], found["COMMIT_SHA"]
    server = setting("GITHUB_SERVER_URL", GITHUB)
    repository = f"{server}/{found['GITHUB_REPOSITORY']}"
    common = ["--fingerprint", fingerprint, "--commit", commit, "--repo-root", found["REPO_ROOT"]]
    common += ["--flow", found["BUILD_FLOW"], "--trail", found["BUILD_TRAIL"]]
    links = ["--commit-url", f"{repository}/commit/{commit}"]
    links += ["--build-url", f"{repository}/actions/runs/{found['GITHUB_RUN_ID']}"]
    yield name, ["attest", "artifact", found["IMAGE"], "--name", name, *links, *common]
    if setting("KOSLI_GITHUB_TOKEN"):
        owner = found["GITHUB_REPOSITORY"].partition("/")[0]
        where = ["--github-org", owner, "--repository", found["GITHUB_REPOSITORY"]]
        where += ["--github-base-url", server] if server != GITHUB else []
        yield (
            f"{name}.pull-request",
            ["attest", "pullrequest", "github", "--name", f"{name}.pull-request", *where, *common],
        )
    if found["JUNIT_RESULTS"]:
        results = ["--results-dir", found["JUNIT_RESULTS"]]
        yield f"{name}.unit-test", ["attest", "junit", "--name", f"{name}.unit-test", *results, *common]
    if found["SNYK_RESULTS"]:
        results = ["--scan-results", found["SNYK_RESULTS"]]
        yield f"{name}.snyk-scan", ["attest", "snyk", "--name", f"{name}.snyk-scan", *results, *common]


def begin_trail(found: dict[str, str]) -> None:
    """Begin the build's trail, or go on with it."""
    tell(
        *("begin", "trail", found["BUILD_TRAIL"], "--flow", found["BUILD_FLOW"], "--commit", found["COMMIT_SHA"]),
        *("--repo-root", found["REPO_ROOT"], "--description", f"A build of {found['ARTIFACT_NAME']}"),
    )


def main(argv: list[str]) -> int:
    """Attest the build that the settings name, and write it down for the gate."""
    usage(argv)
    found = read_settings()
    stop_on_signals()
    require_settings()
    wanted = list(commands(found))
    begin_trail(found)
    tell_all(
        [
            (
                f"{name} ({arguments[1]})",
                tuple(arguments),
                PASSED_TO_FIND_PULL_REQUESTS if "pullrequest" in arguments else (),
            )
            for name, arguments in wanted
        ]
    )
    write_json(
        {
            "incoming_flow": found["BUILD_FLOW"],
            "incoming_name": found["IMAGE"],
            "incoming_fingerprint": found["FINGERPRINT"],
            "trail": found["BUILD_TRAIL"],
            "attested": [name for name, _ in wanted],
        }
    )
    return 0


if __name__ == "__main__":
    run(main, __doc__)
