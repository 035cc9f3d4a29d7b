"""The thin client beside the real CLI: each command that the project issues, in success and in every fault.

Same exit code, same JSON on stdout, same requests at the service. What they say on stderr is theirs.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import subprocess
from pathlib import Path
from typing import Any

from conftest import REAL_CLI, ROOT
from worlds import TOKEN, World

import pytest

THIN = runpy.run_path(str(ROOT / "fixtures" / "thin" / "kosli"))
SAVER = "510fbd91425926e9794bb2167124c526984d29fe75c151c05097ba52ea7b0dcd"
RUNNER = "80aadace22b76b2d61ed0d1453401b79b032ae87919c9110ea500db35a30b9f7"
OF_SAVER = ["--fingerprint", SAVER, "--flow", "rel", "--trail", "t1", "--repo-root", "repo"]
OF_TRAIL = ["--name", "x", "--flow", "rel", "--trail", "t1"]
QUIET = ["--dry-run=false", "--debug=false"]
COMMANDS: dict[str, list[str]] = {
    "version": ["version", "--short", "--debug=false"],
    "diff": ["diff", "snapshots", "aws-beta#4753", "aws-prod", "--output=json", "--debug=false"],
    "diff of what is not there": ["diff", "snapshots", "aws-beta", "aws-nowhere", "--output=json"],
    "assert": ["assert", "artifact", "--fingerprint", SAVER, "--environment", "aws-prod", "--output", "json", *QUIET],
    "assert, not compliant": ["assert", "artifact", "--fingerprint", RUNNER, "--environment", "aws-prod", "-o", "json"],
    "assert, no environment": ["assert", "artifact", "--fingerprint", SAVER, "--environment", "nowhere", "-o", "json"],
    "create flow": ["create", "flow", "rel2", "--template-file", "template.yml", "--description", "Releases", *QUIET],
    "create type": [
        "create",
        "attestation-type",
        "pro",
        "--schema",
        "schema.json",
        "--description",
        "It",
        "--jq",
        ".a",
    ],
    "begin trail": ["begin", "trail", "t2", "--flow", "rel", "--repo-root", "repo", "--description", "One", *QUIET],
    "begin trail of a commit": ["begin", "trail", "t2", "--flow", "rel", "--commit", "HEAD", "--repo-root", "repo"],
    "begin trail, no flow": ["begin", "trail", "t2", "--flow", "gone", "--repo-root", "repo"],
    "artifact": [
        *("attest", "artifact", "r/saver:1", "--name", "saver", "--commit-url", "https://git/c/1"),
        *("--build-url", "https://ci/1", *OF_SAVER, *QUIET),
    ],
    "custom": [
        *("attest", "custom", "--type", "promotion", "--name", "saver.promotion", "--attestation-data", "data.json"),
        *("--annotate", "diff=https://x", "--annotate", '"link=https://x?a=b,c"', *OF_SAVER, *QUIET),
    ],
    "generic": [
        *("attest", "generic", "--name", "release", "--compliant=false", "--flow", "rel", "--trail", "t1"),
        *("--repo-root", "repo", "--user-data", "data.json", "--description", "Refused: x", "--annotate", "digest=1"),
    ],
    "generic, a folder": ["attest", "generic", *OF_TRAIL, "--attachments", "junit"],
    "generic, a file": ["attest", "generic", *OF_TRAIL, "--attachments", "data.json"],
    "generic, no trail": ["attest", "generic", "--name", "x", "--flow", "rel", "--trail", "gone", "--compliant=true"],
    "junit": ["attest", "junit", "--name", "saver.test", "--results-dir", "junit", "--commit", "HEAD", *OF_SAVER],
    "junit, no results": ["attest", "junit", "--name", "saver.test", "--results-dir", "repo", *OF_SAVER],
    "snyk": ["attest", "snyk", "--name", "saver.scan", "--scan-results", "sarif.json", *OF_SAVER],
    "snyk, no sarif": ["attest", "snyk", "--name", "saver.scan", "--scan-results", "data.json", *OF_SAVER],
    "sbom": ["attest", "sbom", "--name", "saver.sbom", "--sbom-file", "sbom.json", *OF_SAVER],
    "decision": ["attest", "decision", "--name", "saver.ok", "--control", "C-1", "--compliant=true", *OF_SAVER],
    "pull request": [
        *("attest", "pullrequest", "github", "--name", "saver.pull-request", "--github-org", "o"),
        *("--repository", "o/r", "--github-base-url", "HOST", "--commit", "HEAD", *OF_SAVER),
    ],
    "get trail": ["get", "trail", "t1", "--flow", "rel", "--output", "json"],
    "get trail, none": ["get", "trail", "t9", "--flow", "rel", "--output", "json"],
    "get attestation": ["get", "attestation", "scan", "--flow", "rel", "--trail", "t1", "--output", "json"],
    "get snapshot": ["get", "snapshot", "aws-beta", "--output", "json"],
    "get one snapshot": ["get", "snapshot", "aws-beta#4753", "--output", "json"],
    "get attestation-type": ["get", "attestation-type", "promotion", "--output", "json"],
    "get environment": ["get", "environment", "aws-prod", "--output", "json"],
    "get flow": ["get", "flow", "rel", "--output=json", "--debug=false"],
    "get flow, none": ["get", "flow", "gone", "--output=json", "--debug=false"],
    "list environments": ["list", "environments", "--output", "json"],
    "snapshot ecs": ["snapshot", "ecs", "aws-beta", "--clusters", "beta", *QUIET],
    "snapshot k8s": ["snapshot", "k8s", "kube", "--kubeconfig", "KUBE", *QUIET],
    "snapshot lambda": ["snapshot", "lambda", "functions", *QUIET],
    "snapshot docker": ["snapshot", "docker", "machine", *QUIET],
    "snapshot paths": ["snapshot", "paths", "server", "--paths-file", "paths.json", *QUIET],
    "snapshot paths, a dot": ["snapshot", "paths", "server", "--paths-file", "dot.json", *QUIET],
    "snapshot of another type": ["snapshot", "paths", "aws-beta", "--paths-file", "paths.json", *QUIET],
    "an unknown flag": ["begin", "trail", "t2", "--flow", "rel", "--no-such-flag"],
    "no value": ["begin", "trail", "t2", "--flow"],
}
# Their command is there in another form too: the faults are tried with that one.
VARIANTS = (
    *("diff of what is not there", "assert, not compliant", "assert, no environment", "begin trail of a commit"),
    *("begin trail, no flow", "generic, no trail", "generic, a folder", "generic, a file", "junit, no results"),
    *("snyk, no sarif", "get trail, none", "get one snapshot", "get flow, none", "snapshot of another type"),
    "snapshot paths, a dot",
)
# What goes wrong on the way to Kosli or back.
FAULTS: dict[str, dict[str, Any]] = {
    "none": {},
    "slow": {"delay": 0.02},
    **{f"{status}": {"status": status, "message": "no"} for status in (400, 401, 404, 409, 422, 429, 500)},
    "202": {"status": 202, "body": "{}"},
    "errors": {"status": 422, "body": '{"message": "no", "errors": {"x": "y"}}'},
    "html": {"body": "<html>Log in</html>", "headers": {"Content-Type": "text/html"}},
    "404 html": {"status": 404, "body": "<html>nothing</html>"},
    "login": {"login": True},
    "drop": {"drop": True},
    "cut": {"cut": True},
    "nothing": {"body": ""},
    "null": {"body": "null"},
    "list": {"body": "[]"},
    "object": {"body": "{}"},
    "text": {"body": '"OK"'},
    "garbage": {"body": "}{"},
    "of another artifact": {"merge": {"fingerprint": RUNNER}},
    "of nothing": {"merge": {"compliant": None}},
    "ignored": {"without": ["environment_name"]},
}
IN_CI = {"GITHUB_ACTIONS": "true", "GITHUB_RUN_NUMBER": "1", "GITHUB_REPOSITORY": "o/r", "GITHUB_REPOSITORY_ID": "7"}
IN_CI |= {"CI": "true", "GITHUB_SERVER_URL": "https://github.com"}
ROW = {"fingerprint": SAVER, "name": "r/saver:1", "most_recent_timestamp": 1785542400, "flow": "", "instance_count": 1}
FILES = {
    "data.json": '{"a": true}',
    "schema.json": '{"type": "object"}',
    "template.yml": "version: 1\n",
    "app": "a program",
    "junit/a.xml": '<testsuites><testsuite name="s" tests="9" timestamp="2026-01-01T00:00:00"><testcase name="a"'
    ' time="1"/><testcase name="b"><failure message="x">no</failure></testcase><testcase name="c"><skipped/></testcase>'
    "</testsuite></testsuites>",
    "sarif.json": json.dumps(
        {
            "$schema": "https://raw.githubusercontent.com/oasis-tcs/sarif-spec/master/Schemata/sarif-schema-2.1.0.json",
            "version": "2.1.0",
            "runs": [
                {
                    "tool": {"driver": {"name": "Snyk", "rules": []}},
                    "results": [
                        {"ruleId": f"R-{level}", "level": level, "message": {"text": "bad"}}
                        for level in ("error", "warning", "note")
                    ],
                }
            ],
        }
    ),
    "sbom.json": '{"bomFormat": "CycloneDX", "specVersion": "1.5", "metadata": {"timestamp": "2026-01-01T00:00:00Z"},'
    '"components": [{"type": "library", "name": "a", "version": "1"}]}',
    "paths.json": '{"version": 1, "artifacts": {"/srv/App": {"path": "app"}}}',
    "dot.json": '{"version": 1, "artifacts": {"/srv/app.jar": {"path": "app"}}}',
}


@pytest.fixture(scope="module")
def real() -> Path:
    """Return the real CLI; without it there is nothing to compare with."""
    if not REAL_CLI.exists():
        assert not os.environ.get("CI"), "CI must have the real CLI: npm ci --prefix kosli"
        pytest.skip("the real CLI is not installed: npm ci --prefix kosli")
    return REAL_CLI


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the commands read: evidence, and a checkout."""
    home = tmp_path_factory.mktemp("home")
    (home / "repo").mkdir()
    (home / "junit").mkdir()
    for name, text in FILES.items():
        (home / name).write_text(text)
    git = ["git", "-C", str(home / "repo"), "-c", "user.name=A", "-c", "user.email=a@example.com"]
    for line in ("init -q -b main", "commit -q --allow-empty -m One", "remote add origin https://github.com/o/r.git"):
        subprocess.run([*git, *line.split()], check=True)
    return home


@pytest.fixture(scope="module")
def world(home: Path) -> World:
    """Return a world with something of everything."""
    return World(home, "non-compliant")


@pytest.fixture(scope="module")
def start(world: World) -> dict[str, Any]:
    """Return the world's beginning: a trail with an artifact and a scan, and an environment of each type."""
    artifact = {
        "fingerprint": SAVER,
        "filename": "r/saver:1",
        "commit_url": "https://git/c/1",
        "build_url": "",
        "at": 1,
    }
    scan = {"name": "saver.scan", "target": "saver", "type": "snyk", "fingerprint": SAVER, "annotations": {}, "at": 2}
    scan |= {"commit": None, "description": "", "data": None, "user_data": {}, "attachments": [], "compliant": True}
    keys = world.read()
    for name, kind in {"kube": "K8S", "functions": "lambda", "machine": "docker", "server": "server"}.items():
        snapshot = {"number": 1, "timestamp": 1, "artifacts": [ROW]}
        keys["environments"][name] = {"type": kind, "policies": [], "snapshots": [snapshot]}
    keys["flows"]["rel"] = {
        "template": "",
        "trails": {"t1": {"artifacts": {"saver": artifact}, "attestations": [scan]}},
    }
    keys["attestation_types"] = {"promotion": {"versions": [{"description": "", "schema": {}, "jq": [".a"]}]}}
    return keys


def run_real(argv: list[str], cwd: Path, variables: dict[str, str]) -> tuple[int, str]:
    """Run the real CLI; return its exit code and its stdout. It ends before its garbage is worth collecting."""
    variables = {**variables, "GOGC": "off"}
    done = subprocess.run([REAL_CLI, *argv], cwd=cwd, env=variables, capture_output=True, timeout=20, check=False)
    return done.returncode, done.stdout.decode()


def run_thin(argv: list[str], cwd: Path, variables: dict[str, str]) -> tuple[int, str]:
    """Run the thin client inside of this process: that is ten times as fast."""
    before = dict(os.environ)
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()),
    ):
        os.environ.clear()
        os.environ.update(variables)
        try:
            return THIN["main"](argv), out.getvalue()
        finally:
            os.environ.clear()
            os.environ.update(before)


def outcome(world: World, run: Any, argv: list[str], more: dict[str, str]) -> tuple[int, Any, list[Any]]:
    """Run a command from the beginning; return its exit code, the JSON that it printed, and what it asked Kosli."""
    (world.state / "requests.jsonl").unlink(missing_ok=True)
    keep = ("PATH", "HOME", "KOSLI_HOST", "KOSLI_ORG", "KOSLI_MAX_API_RETRIES", "KOSLI_NO_UPDATE_CHECK")
    keep += ("AWS_CONFIG_FILE", "DOCKER_HOST")
    settings = {name: world.variables[name] for name in keep}
    replaced = {"HOST": world.variables["KOSLI_HOST"], "KUBE": world.variables["KUBECONFIG"]}
    variables = {**settings, "KOSLI_API_TOKEN": TOKEN, "KOSLI_GITHUB_TOKEN": TOKEN, **more}
    code, text = run([replaced.get(word, word) for word in argv], world.home, variables)
    asked = [[each["method"], each["path"], each["query"], comparable(each["body"])] for each in world.requests()]
    answers = argv[0] in ("diff", "assert", "get", "list")
    return code, json.loads(text) if answers and text else "", asked


def comparable(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a request, without what depends on how a cloud is looked at."""
    data = body["data"]
    body["files"] = {
        key: [name, "" if name.endswith(".tgz") else text] for key, (name, text) in body.get("files", {}).items()
    }
    if "pull_requests" in data:
        data["pull_requests"] = [each["url"] for each in data["pull_requests"]]
    if "artifacts" in data:
        data["artifacts"] = sorted([each["digests"] for each in data["artifacts"]], key=str)
    return body


@pytest.mark.parametrize("command", COMMANDS)
def test_both_do_the_same(command: str, real: Path, world: World, start: dict[str, Any], record_property: Any) -> None:
    faults = {"none": {}} if command in VARIANTS else FAULTS
    cases = [(fault, what, {}) for fault, what in faults.items()] + [("none, in CI", {}, IN_CI)]
    compared = 0
    for name, fault, more in cases:
        found = []
        for run in (run_real, run_thin):
            world.write({**start, "faults": [{"path": "/api/v2/", **fault}]})
            found.append(outcome(world, run, COMMANDS[command], more))
        assert found[0] == found[1], f"fault: {name}"
        compared += 1
        if not found[0][2]:
            break  # it did not come to a request: no fault changes that
    record_property("comparisons", compared)


@pytest.mark.parametrize("command", ["diff", "assert", "generic"])
def test_both_wait_for_a_service_that_says_nothing(
    command: str, real: Path, world: World, start: dict[str, Any]
) -> None:
    for cli in (real, ROOT / "fixtures" / "thin" / "kosli"):
        world.write({**start, "faults": [{"hang": True}]})
        variables = {**world.variables, "KOSLI_API_TOKEN": TOKEN}
        with pytest.raises(subprocess.TimeoutExpired):
            subprocess.run([cli, *COMMANDS[command]], cwd=world.home, env=variables, timeout=0.5, capture_output=True)
