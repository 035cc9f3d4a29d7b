"""A service's pipeline on the stage of a rehearsal: it calls the release's attest-build.yml, as it would on GitHub.

Its checkout (pipeline/) is another repository's. The workflow that it calls comes from the stage's scratch checkout.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from rehearsal.stage import HERE, LONGEST, REPOSITORY, TOKEN, Run, Stage, program, read_images, read_lines, used_actions

SERVICE = "example/saver"
CLEAN: dict[str, Any] = {"vulnerabilities": []}


def run_pipeline(
    stage: Stage,
    artifact: dict[str, Any],
    *,
    scan: dict[str, Any] | None = CLEAN,
    variables: dict[str, str] | None = None,
    secrets: dict[str, str] | None = None,
    run_id: int = 501,
) -> Run:
    """Run the pipeline that builds this artifact. Without a scan it attests none. Returns what came of it."""
    checkout = build_service(stage.props / "pipeline", scan is not None)
    (stage.props / "snyk.json").write_text(json.dumps(scan or CLEAN))
    commit = artifact["commit_url"].rpartition("/")[2]
    pinned = re.search(rf"{REPOSITORY}/\S+@(\S+)", (checkout / ".github/workflows/pipeline.yml").read_text())
    assert pinned
    command = [program("act"), "workflow_dispatch", "--workflows", ".github/workflows/pipeline.yml"]
    command += ["--platform", "ubuntu-latest=-self-hosted", "--no-cache-server", "--pull=false", "--json"]
    command += ["--action-offline-mode", "--no-skip-checkout", "--defaultbranch", "main"]
    command += ["--local-repository", f"{REPOSITORY}@{pinned[1]}={stage.checkout}"]
    for action in sorted(used_actions(stage.checkout / ".github")):
        folder = HERE / "actions" / action.partition("@")[0].rpartition("/")[2]
        command += ["--local-repository", f"{action}={folder}"]
    for option, values in (
        ("--input", {"fingerprint": artifact["fingerprint"], "commit": commit}),
        ("--var", {"KOSLI_ORG": stage.world["org"]} | (variables or {})),
        ("--env", {"GITHUB_RUN_ID": str(run_id)}),
        ("--secret", {"KOSLI_API_TOKEN": TOKEN, "GITHUB_TOKEN": TOKEN} | (secrets or {})),
    ):
        for name, value in values.items():
            command += [option, f"{name}={value}"]
    calls = len(read_lines(stage.home / ".kosli-stand-in/calls.jsonl"))
    deployments = len(read_images(stage.home))
    done = subprocess.run(
        command,
        cwd=checkout,
        env={"HOME": str(stage.home), "PATH": stage.path(terraform=False), "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LONGEST,
        check=False,
    )
    shutil.rmtree(stage.home / ".cache", ignore_errors=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return Run(done.returncode, events, done.stderr.decode(), stage.home, calls, deployments)


def build_service(target: Path, scanned: bool) -> Path:
    """Make a checkout of the service's repository, with its pipeline."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(HERE / "pipeline", target)
    if not scanned:
        path = target / ".github/workflows/pipeline.yml"
        text = path.read_text("utf-8")
        assert text.count("      snyk: snyk-results\n") == 1
        path.write_text(text.replace("      snyk: snyk-results\n", ""), "utf-8")
    git = ["git", "-c", "user.name=rehearsal", "-c", "user.email=rehearsal@example.com", "-c", "commit.gpgsign=false"]
    for arguments in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "--all"],
        ["commit", "--quiet", "--message", "As it stands"],
        ["remote", "add", "origin", f"https://github.com/{SERVICE}"],
    ):
        subprocess.run([*git, *arguments], cwd=target, check=True)
    return target
