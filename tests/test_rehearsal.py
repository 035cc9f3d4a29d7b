"""The rehearsal: the very workflows, run by act against a Kosli on this machine, with the real CLI.

A test is a scenario. Each says how the jobs ended, what Kosli was told, and what runs in production afterwards.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from rehearsal.stage import APPROVED, EDITS, HERE, JOBS, TOKEN, Run, Stage, commit_all, load
from rehearsal.worlds import (
    FLOW,
    LEVEL,
    NGINX,
    SAVER,
    SAVER_BEFORE,
    WEB,
    WEB_AFTER,
    WEB_BEFORE,
    artifact,
    two_behind,
    world,
)

import pytest

BOTH = {SAVER["fingerprint"], WEB["fingerprint"], NGINX["fingerprint"]}
BEFORE = {SAVER_BEFORE["fingerprint"], WEB_BEFORE["fingerprint"], NGINX["fingerprint"]}
ALL_WELL = dict.fromkeys(JOBS, "success")
PROMOTIONS = {"saver.promotion": True, "web.promotion": True}
AGAIN = [*APPROVED, {**APPROVED[0], "comment": "Once more."}]
TIP = 'cp -r "$HOME/rehearsal/checkout" "$HOME/rehearsal/tip"; cd "$HOME/rehearsal/tip"; '
KEPT = 'cd "$HOME/rehearsal/artifacts/1001"; '


def stopped_at(job: str) -> dict[str, str]:
    """Return how the jobs end when this one fails, and the run with it."""
    at = JOBS.index(job)
    ends = ["success"] * at + ["failure"] + ["skipped"] * (len(JOBS) - at - 1)
    return dict(zip(JOBS, ends, strict=True))


def stopped_before(job: str) -> dict[str, str]:
    """Return how the jobs end when this one is the first that is not wanted."""
    at = JOBS.index(job)
    return dict(zip(JOBS, ["success"] * at + ["skipped"] * (len(JOBS) - at), strict=True))


def attested(run: Run, trail: str = "run-1001") -> dict[str, bool | None]:
    """Return what is attested in the trail of a release: each name with whether it is compliant."""
    trails = run.world["flows"][FLOW]["trails"]
    return {each["name"]: each["compliant"] for each in trails.get(trail, {"attestations": []})["attestations"]}


def told(run: Run, name: str, trail: str = "run-1001") -> dict[str, Any]:
    """Return the data of an attestation of the release as a whole, as it was last told."""
    attestations = run.world["flows"][FLOW]["trails"][trail]["attestations"]
    return [each["user_data"] for each in attestations if each["name"] == name][-1]


def refused(run: Run, job: str, reason: str, trail: str = "run-1001") -> None:
    """Say that a run was refused at a job: the page and Kosli say why, and nobody deployed anything."""
    assert run.code != 0
    assert run.results == stopped_at(job), run.trouble
    call = "find" if job == "find-promotions" else "land" if job == "recheck" else "release"
    assert [name for name in run.legs if name.endswith("refused")] == [f"{call}: refused"]
    assert run.result(f"{call}: refused") == "success", run.trouble
    assert attested(run, trail)["release"] is False
    assert reason in told(run, "release", trail)["refused"]
    assert reason in run.summary
    assert "make: ***" not in run.summary
    assert run.deployments == []


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, two_behind())


def test_the_scratch_copy_differs_where_it_must() -> None:
    """act does not know them."""
    assert {(file, old.strip(" ,")) for file, old, _, _ in EDITS} == {
        ("promote.yml", "queue: max"),
        ("rollback.yml", "queue: max"),
        ("attest-build.yml", "job.workflow_repository"),
        ("attest-build.yml", "job.workflow_sha"),
    }


def test_a_release_lands_and_is_rolled_back_and_its_approval_is_good_once(stage: Stage) -> None:
    run = stage.run(terraform=True)
    assert run.code == 0, run.trouble
    assert run.results == ALL_WELL
    assert set(run.legs["sdlc-control-gate"]) == {"saver-ci", "web-ci"}
    assert set(run.legs["deploy-to-prod"]) == {"saver", "web"}
    assert attested(run) == {**PROMOTIONS, "release": True, "approval": True, "outcome": True}
    asked = [(row["fingerprint"], environment) for row in (SAVER, WEB) for environment in ("aws-beta", "aws-prod")]
    assert run.asserted == sorted(asked * 2), "by the gate, and again after the approval"
    assert told(run, "approval")["digest"] == told(run, "outcome")["digest"] == stage.digest()
    assert "2 of 3 services will change in aws-prod" in run.summary
    assert stage.digest() in run.summary, "the approver sees what is approved"
    assert run.summary.count("✅ landed") == 2
    assert run.deployments == sorted([SAVER["name"], WEB["name"]]), "whatever terraform.tfvars says"
    assert run.running("aws-prod") == BOTH
    assert run.checkouts == sorted(
        f"example/{service} {row['commit_url'].rpartition('/')[2]}" for service, row in (("saver", SAVER), ("web", WEB))
    )
    assert run.roles == [f"arn:aws:iam::123456789012:role/deploy-{name} eu-central-1" for name in ("saver", "web")]
    assert TOKEN not in run.everything()

    run = stage.run("rollback.yml", inputs={"run": "1001"}, run_id=1002)
    assert run.code == 0, run.trouble
    assert run.results == ALL_WELL
    assert set(run.asserted) == {(row["fingerprint"], "aws-prod") for row in (SAVER_BEFORE, WEB_BEFORE)}, (
        "the older artifacts ran in production, and go there"
    )
    assert attested(run, "run-1002") == {**PROMOTIONS, "release": True, "approval": True, "outcome": True}
    assert run.deployments == sorted([SAVER_BEFORE["name"], WEB_BEFORE["name"]])
    assert run.running("aws-prod") == BEFORE

    run = stage.run("rollback.yml", inputs={"run": "1001"}, run_id=1003)
    refused(run, "find-promotions", "nothing is left to do", "run-1003")

    run = stage.rerun()
    assert run.code != 0
    assert run.result("recheck") == "failure"
    assert run.deployments == []
    assert "an approval is good for one attempt" in run.summary
    run = stage.rerun("release")
    assert run.code != 0
    assert run.result("approve") == "failure"
    assert run.deployments == []
    assert "nobody has approved this one" in run.summary


def test_nothing_to_promote(tmp_path: Path) -> None:
    run = Stage(tmp_path, world([*LEVEL, SAVER], [*LEVEL, SAVER])).run()
    assert run.code == 0, run.trouble
    assert run.results == stopped_before("take-release")
    assert attested(run) == {}
    assert run.deployments == []
    assert "nothing to promote" in run.summary.lower()


RENAMED = {**SAVER, "flow": "keeper-ci"}
ELSEWHERE = artifact("web", "new", group="https://github.com./example")
SECOND = {**artifact("web", "worker"), "flow": "worker-ci", "commit_url": WEB["commit_url"]}
OTHER_ENVIRONMENT = [
    {"path": "env-diff", "merge": {"snappish1": {"snapshot_id": "aws-dev#7", "artifacts": [SAVER]}}},
]


@pytest.mark.parametrize(
    ("beta", "more", "reason"),
    [
        pytest.param([SAVER, WEB, WEB_BEFORE, NGINX], {}, "aws-beta: web-ci: a deployment is in progress", id="moving"),
        pytest.param([SAVER, ELSEWHERE, NGINX], {}, "host that neither begins nor ends with a dot", id="another host"),
        pytest.param([RENAMED, WEB, NGINX], {}, "it would be a first deployment", id="runs already"),
        pytest.param([SAVER, WEB, SECOND, NGINX], {}, "deploy.one_repository", id="one repository"),
        pytest.param([SAVER, WEB], {"faults": OTHER_ENVIRONMENT}, "aws-dev", id="other environments"),
        pytest.param(
            [SAVER, WEB], {"faults": [{"path": "env-diff", "body": "<html>"}]}, "kosli diff snapshots", id="no answer"
        ),
    ],
)
def test_no_release_is_found(tmp_path: Path, beta: list[dict[str, Any]], more: dict[str, Any], reason: str) -> None:
    run = Stage(tmp_path, world(beta, [SAVER_BEFORE, WEB_BEFORE, NGINX], **more)).run()
    refused(run, "find-promotions", reason)
    assert attested(run) == {"release": False}
    assert run.running("aws-prod") == BEFORE


def test_another_branch(stage: Stage) -> None:
    """It has settings of its own: Kosli is not even asked."""
    stage.go_on("git switch -q -c mine")
    run = stage.run()
    assert run.code != 0
    assert run.results == stopped_at("find-promotions")
    assert run.requests == []
    assert "a run counts only on the default branch" in run.log("find-promotions")


def test_one_is_not_compliant(tmp_path: Path) -> None:
    missing = {WEB["fingerprint"]: {"aws-prod": {"resolutions": ["missing_attestation"]}}}
    run = Stage(tmp_path, two_behind(evaluations=missing)).run()
    refused(run, "sdlc-control-gate", "aws-prod: web-ci")
    assert run.legs["sdlc-control-gate"] == {"saver-ci": "success", "web-ci": "failure"}
    assert attested(run) == {"release": False}
    assert "the gate did not find every artifact compliant" in run.summary
    assert run.summary.count("[compliant]") == 3


def test_a_verdict_is_lost(stage: Stage) -> None:
    """Nobody is asked to approve what the gate was not asked about."""
    stage.edit('name: "verdicts-${{ matrix', 'name: "lost-${{ matrix', ".github/workflows/release.yml")
    run = stage.run(inputs={"flows": "web-ci"})
    refused(run, "propose", "the gate was asked about 0 of 1 promotions")


def test_preview_is_not_rolled_back(stage: Stage) -> None:
    run = stage.run(inputs={"preview": "true", "flows": "web-ci"})
    assert run.code == 0, run.trouble
    assert run.results == stopped_before("approve")
    assert attested(run) == {"web.promotion": True, "release": True}
    assert run.deployments == []
    run = stage.run("rollback.yml", inputs={"run": "1001"}, run_id=1002)
    refused(run, "find-promotions", "is too old for this release", "run-1002")


@pytest.mark.parametrize(
    ("approvals", "actor", "reason"),
    [
        pytest.param([{**APPROVED[0], "state": "rejected"}], "starter", "nobody approved production", id="declined"),
        pytest.param(APPROVED, "octocat", "who started this run", id="by who started it"),
    ],
)
def test_nobody_approved(tmp_path: Path, approvals: list[dict[str, Any]], actor: str, reason: str) -> None:
    run = Stage(tmp_path, two_behind(), approvals=approvals).run(inputs={"flows": "web-ci"}, actor=actor)
    refused(run, "approve", reason)
    assert "nobody approved it, or the approval does not count" in run.summary
    assert attested(run) == {"web.promotion": True, "release": False}
    assert run.running("aws-prod") == BEFORE


MOVED = [f"stand-in-deploy aws-prod {WEB_AFTER['fingerprint']}", "record-in-rehearsal aws-prod"]
NOT_COMPLIANT = json.dumps({WEB["fingerprint"]: {"aws-prod": {"resolutions": ["missing_attestation"]}}})
EVALUATIONS = (
    'python3 -c \'import json, sys, pathlib; path = pathlib.Path.home() / ".kosli-service/world.json"; '
    'path.write_text(json.dumps({**json.loads(path.read_text()), "evaluations": json.loads(sys.argv[1])}))\' '
    f"'{NOT_COMPLIANT}'"
)


@pytest.mark.parametrize(
    ("commands", "reason"),
    [
        pytest.param(MOVED, WEB_AFTER["fingerprint"][:7], id="production moved on"),
        pytest.param([EVALUATIONS], "web-ci: registry.example.com/web", id="a verdict changed"),
        pytest.param([KEPT + "echo 1 >proposal/proposed.txt"], "days ago", id="too late"),
        pytest.param([KEPT + "rm -r release"], "is gone, or cannot be taken", id="it expired"),
        pytest.param(
            [KEPT + "sed -i s,example.com/web,example.com/evil,g release/release.json"],
            "the release was replaced",
            id="replaced",
        ),
        pytest.param(
            [TIP + "sed -i 's,github.com/example/,github.com/nobody/,' release.toml"],
            "is below none of the sources: https://github.com/nobody/",
            id="the sources were narrowed on the default branch",
        ),
    ],
)
def test_what_was_approved_is_not_deployed(stage: Stage, commands: list[str], reason: str) -> None:
    stage.while_waiting(*commands)
    run = stage.run(inputs={"flows": "web-ci"})
    refused(run, "recheck", reason)
    assert attested(run) == {"web.promotion": True, "release": False, "approval": True}


def test_a_freeze_while_somebody_is_asked(stage: Stage) -> None:
    """It counts, unless the dispatch passes it for a reason."""
    freeze = '[[hold]]\nflow = "*"\nuntil = 2099-01-01T00:00:00Z\nreason = "the shops are full"\n'
    stage.while_waiting(TIP + f"printf '%s' '{freeze}' >holds.toml")
    run = stage.run(inputs={"flows": "web-ci"})
    refused(run, "recheck", "the shops are full")
    run = stage.run(inputs={"flows": "web-ci", "override": "a leak is mended"}, run_id=1002)
    assert run.results == ALL_WELL, run.trouble
    assert run.deployments == [WEB["name"]]


def test_a_pinned_from(tmp_path: Path) -> None:
    """It never changes, so nothing would be noticed."""
    run = Stage(tmp_path, two_behind(), settings='from = "aws-beta#7"\n').run(inputs={"flows": "web-ci"})
    refused(run, "recheck", "aws-beta#7 is one snapshot")


def test_all_of_it_has_landed_before_the_approval(stage: Stage) -> None:
    stage.while_waiting(f"stand-in-deploy aws-prod {WEB['fingerprint']}", "record-in-rehearsal aws-prod")
    run = stage.run(inputs={"flows": "web-ci"})
    assert run.code == 0, run.trouble
    assert run.results == {**ALL_WELL, "deploy-to-prod": "skipped"}
    assert run.deployments == []
    assert attested(run)["outcome"] is True


def test_half_of_it_lands_and_the_job_approve_runs_again(tmp_path: Path) -> None:
    stage = Stage(tmp_path, two_behind(deployments={"fail": ["web-ci"]}))
    stage.inline_deployment()
    run = stage.run()
    assert run.code != 0
    assert run.results == {**ALL_WELL, "deploy-to-prod": "failure", "verify": "failure"}
    assert run.legs["deploy-to-prod"] == {"saver-ci": "success", "web-ci": "failure"}
    assert run.result("land: refused") == "skipped", "verify has told how it ended"
    assert attested(run) == {**PROMOTIONS, "release": True, "approval": True, "outcome": False}
    assert told(run, "outcome")["landed"] == 1
    assert "not landed" in run.summary

    world = json.loads((stage.state / "world.json").read_bytes())
    (stage.state / "world.json").write_text(json.dumps({**world, "deployments": {}}))
    stage.approve(AGAIN)
    run = stage.rerun("release")
    assert run.code == 0, run.trouble
    assert run.deployments == [WEB["name"]]
    assert attested(run) == {**PROMOTIONS, "release": True, "approval": True, "outcome": True}
    assert run.running("aws-prod") == BOTH
    assert len(told(run, "release")["changes"]) == 2, "also when it is attested again"


def test_only_the_failed_jobs_run_again(stage: Stage) -> None:
    """What a re-run of the failed jobs does: the outputs of `recheck` are those of the first attempt."""
    stage.edit('[ "$ATTEMPT" != 1 ]', '[ "$ATTEMPT" != 2 ]', ".github/workflows/promote.yml")
    stage.edit("attempt: ${{ github.run_attempt }}", 'attempt: "1"', ".github/workflows/land.yml")
    run = stage.run(environment={"GITHUB_RUN_ATTEMPT": "2"}, inputs={"flows": "web-ci"})
    assert run.code != 0
    assert run.results == {**ALL_WELL, "deploy-to-prod": "skipped", "verify": "failure"}
    assert run.deployments == []
    assert "re-run the job approve" in run.log("verify")
    assert "Does production run" not in run.steps("verify"), "what nobody deployed is not waited for"
    assert attested(run)["outcome"] is False


def test_all_jobs_run_again(stage: Stage) -> None:
    """Another release would take the place of what was approved, and must be rolled back."""
    run = stage.run(environment={"GITHUB_RUN_ATTEMPT": "2"})
    assert run.code != 0
    assert run.results == stopped_at("find-promotions")
    assert run.requests == []
    assert "a run finds its release only once" in run.log("find-promotions")


def test_the_service_names_another_image(stage: Stage) -> None:
    """Its Terraform declares the variable, and uses something else."""
    path = stage.props / "service/deployment/terraform/main.tf"
    text = path.read_text()
    assert text.count("  input = var.TAGGED_IMAGE") == 1
    path.write_text(text.replace("var.TAGGED_IMAGE", '"registry.example.com/web:latest"'))
    run = stage.run(inputs={"flows": "web-ci"}, terraform=True)
    assert run.code != 0
    assert run.results == stopped_at("deploy-to-prod")
    assert "must deploy the image" in run.log("deploy-to-prod")
    assert run.deployments == []
    assert run.running("aws-prod") == BEFORE


def test_code_from_elsewhere_is_not_deployed(stage: Stage) -> None:
    """Whoever calls deploy.yml: it looks again whose code it is."""
    stage.edit("promotion: ${{ toJSON(matrix) }}", "promotion: ${{ vars.PROMOTION }}", ".github/workflows/land.yml")
    evil = {"incoming_flow": "web-ci", "incoming_name": WEB["name"], "incoming_fingerprint": WEB["fingerprint"]}
    evil |= {"incoming_commit_url": WEB["commit_url"].replace("example", "evil"), "outgoing_name": ""}
    evil |= {"incoming_repo_name": "web", "incoming_repo_url": "https://github.com/evil/web"}
    stage.edit("${{ vars.PROMOTION }}", f"'{json.dumps(evil)}'", ".github/workflows/land.yml")
    run = stage.run(inputs={"flows": "web-ci"})
    assert run.results == stopped_at("deploy-to-prod"), run.trouble
    assert "https://github.com/evil/web is below none of the sources" in run.log("deploy-to-prod")
    assert run.checkouts == []
    assert run.roles == []


def test_the_token_goes_to_the_one_gitlab(tmp_path: Path) -> None:
    """It is cloned with the token for that host, and over https only."""
    hosts = {"web": "https://gitlab.com/a/b", "saver": "https://git.example.org/a"}
    new, old = ([artifact(name, build, group=group) for name, group in hosts.items()] for build in ("new", "old"))
    run = Stage(tmp_path, world([*new, NGINX], [*old, NGINX]), sources=list(hosts.values())).run()
    assert run.code == 0, run.trouble
    web, saver = (row["commit_url"].rpartition("/")[2] for row in new)
    assert run.checkouts == [
        f"https://git.example.org/a/saver {saver} protocols=https token=",
        f"https://gitlab.com/a/b/web {web} protocols=https token=yes",
    ]
    assert run.running("aws-prod") == {new[0]["fingerprint"], new[1]["fingerprint"], NGINX["fingerprint"]}


HOSTILE = (
    "registry.example.com/$(touch pwned)`touch pwned`'\";touch pwned ::error::pwned ${{ secrets.KOSLI_API_TOKEN }}"
)


def test_hostile_names(tmp_path: Path) -> None:
    row = artifact("web", "new", name=HOSTILE)
    stage = Stage(tmp_path, world([row, NGINX], [WEB_BEFORE, NGINX]))
    run = stage.run()
    assert run.code == 0, run.trouble
    (image,) = run.deployments
    assert image == f"{HOSTILE}@sha256:{row['fingerprint']}", "whatever it holds"
    assert not [path for path in stage.home.rglob("pwned") if path]
    assert not [event for event in run.events if event.get("command") == "error"]


def test_the_derivation_alone_in_a_workflow_of_another_repository(stage: Stage) -> None:
    checkout = stage.props / "derivation"
    shutil.copytree(HERE / "derivation", checkout)
    commit_all(checkout, "example/delivery")
    used = load(checkout / ".github/workflows/derive.yml")["jobs"]["derive"]["steps"][1]["uses"]
    settings = stage.props / "settings.toml"

    def derive(text: str, flows: str = "") -> Run:
        settings.write_text(text + f'[kosli]\nhost = "{stage.host}"\n')
        inputs = {"flows": flows, "organisation": stage.world["org"]}
        return stage.run("derive.yml", inputs=inputs, checkout=checkout, repositories={used: stage.checkout})

    run = derive("")
    assert run.code == 0, run.trouble
    for row in (SAVER, WEB):
        assert re.search(rf"^of 2 [0-9a-f]{{64}}: {row['fingerprint']}$", run.log("deploy-to-prod"), re.MULTILINE)
    assert TOKEN not in run.everything()
    assert {each["method"] for each in run.requests} == {"GET"}, "it only reads"

    run = derive("", flows="web-ci")
    assert f": {WEB['fingerprint']}\n" in run.log("deploy-to-prod")
    assert SAVER["fingerprint"] not in run.log("deploy-to-prod")

    run = derive('allow_nothing = ["web-ci"]\n')
    assert run.code != 0
    assert "release.toml: allow_nothing is no setting" in run.log("derive")
    assert run.log("deploy-to-prod") == ""


@pytest.mark.parametrize(
    ("file", "job", "output", "stops"),
    [
        ("promote.yml", "find-promotions", "digest", "take-release"),
        ("release.yml", "take-release", "promotions", "sdlc-control-gate"),
        ("release.yml", "approve", "attempt", "recheck"),
        ("land.yml", "recheck", "any", "verify"),
    ],
)
def test_an_output_is_dropped(stage: Stage, file: str, job: str, output: str, stops: str) -> None:
    stage.drop_output(file, job, output)
    run = stage.run(inputs={"flows": "web-ci"})
    assert run.code != 0
    assert run.results == stopped_at(stops) | ({"deploy-to-prod": "skipped"} if stops == "verify" else {}), run.trouble
    assert run.deployments == []
    assert attested(run).get("outcome", False) is False
    assert stops == "verify" or attested(run)["release"] is False


def test_what_is_not_rolled_back(stage: Stage) -> None:
    assert stage.run(inputs={"flows": "web-ci"}).results == ALL_WELL

    def refuse(run_id: int, reason: str) -> None:
        run = stage.run("rollback.yml", inputs={"run": "1001"}, run_id=run_id)
        refused(run, "find-promotions", reason, f"run-{run_id}")

    facts = stage.props / "runs/1001"
    before = facts.read_text()
    facts.write_text(before.replace("c0ffee", "badbad"))  # a tag that is called main
    refuse(1002, "its commit is not in the history of main")
    facts.write_text(before)
    release = stage.props / "artifacts/1001/release"
    shutil.copytree(release, stage.props / "kept")
    text = (release / "release.json").read_text()
    (release / "release.json").write_text(text.replace("registry.example.com/web", "registry.example.com/evil"))
    refuse(1003, "holds no release with its digest")
    shutil.rmtree(release)
    refuse(1004, "has kept no release")
    facts.unlink()
    refuse(1005, "Not Found")


def commits(tmp_path: Path, service: str, count: int) -> list[str]:
    """Make the repository of a service with so many commits, and return them, the oldest first."""
    folder = tmp_path / "home/rehearsal/repositories/example" / service
    folder.mkdir(parents=True)
    people = "-c user.name=Ada -c user.email=ada@example.com -c commit.gpgsign=false"
    made = [f"git {people} commit --quiet --allow-empty --message 'Change {i} (#{i})'" for i in range(count)]
    lines = ["git init --quiet --initial-branch=main --template=", *made, "git log --reverse --format=%H"]
    done = subprocess.run(["bash", "-ec", "\n".join(lines)], cwd=folder, check=True, capture_output=True, text=True)
    subprocess.run(["git", "config", "uploadpack.allowFilter", "true"], cwd=folder, check=True)
    return done.stdout.split()


def of_commit(row: dict[str, Any], sha: str) -> dict[str, Any]:
    return {**row, "commit_url": f"{row['commit_url'].rpartition('/')[0]}/{sha}"}


def test_the_changes_are_shown_and_attested_and_the_evidence_is_whole(tmp_path: Path) -> None:
    old, _, new = commits(tmp_path, "web", 3)
    stage = Stage(tmp_path, world([of_commit(WEB, new), NGINX], [of_commit(WEB_BEFORE, old), NGINX]))
    run = stage.run()
    assert run.results == ALL_WELL, run.trouble
    assert "2 commits by 1 person." in run.summary
    assert "Change 2" in run.summary
    assert told(run, "release")["changes"] == [
        {"flow": "web-ci", "status": "ahead", "on_branch": True, "ahead": 2, "behind": 0}
    ]
    evidence = stage.props / "artifacts/1001/evidence/evidence"
    sums = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=evidence, capture_output=True, text=True)
    assert sums.returncode == 0, sums.stderr
    listed = {line.split(maxsplit=1)[1] for line in (evidence / "SHA256SUMS").read_text().splitlines()}
    assert listed == {
        *("run/release/release.json", "run/release/diff.json", "run/changes/changes.json", "outcomes.json"),
        *("run/approval/approval.json", "run/proposal/proposed.txt", "report.html"),
        f"run/verdicts-{WEB['fingerprint']}/verdicts.json",
    }
    attestations = run.world["flows"][FLOW]["trails"]["run-1001"]["attestations"]
    assert [each["name"] for each in attestations if each["attachments"]] == ["outcome"], (
        "the evidence is in Kosli, too"
    )


def test_an_older_commit_is_refused(tmp_path: Path) -> None:
    """By the job beside the gate, and Kosli is told."""
    old, new = commits(tmp_path, "web", 2)
    stage = Stage(tmp_path, world([of_commit(WEB, old), NGINX], [of_commit(WEB_BEFORE, new), NGINX]))
    run = stage.run()
    assert run.code != 0
    assert run.result("changes") == "failure"
    assert run.results == stopped_before("propose"), run.trouble
    assert attested(run) == {"release": False}
    assert "web-ci: the incoming commit is 1 commit older" in told(run, "release")["refused"]
    assert told(run, "release")["changes"][0]["status"] == "behind"
    assert run.summary.count("older than the outgoing one") == 1, "nothing is said twice"
    assert run.deployments == []


FREEZE = '[[hold]]\nflow = "*"\nuntil = 2099-01-01T00:00:00Z\nreason = "the shops are full"\n'


def test_a_freeze_refuses_and_a_reason_passes_it(stage: Stage) -> None:
    (stage.checkout / "holds.toml").write_text(FREEZE)
    stage.go_on("git -c user.name=a -c user.email=a@example.com commit --quiet --all --message Freeze")
    run = stage.run(inputs={"flows": "web-ci"})
    refused(run, "find-promotions", "a freeze until 2099-01-01 00:00 UTC: the shops are full")
    run = stage.run(inputs={"flows": "web-ci", "override": "a leak is mended"}, run_id=1002)
    assert run.results == ALL_WELL, run.trouble
    assert told(run, "release", "run-1002")["override"] == "a leak is mended"
    assert "holds and freezes are passed: a leak is mended" in run.summary


def test_an_artifact_that_is_too_young(tmp_path: Path) -> None:
    young = {**WEB, "most_recent_timestamp": 4_070_908_800}
    stage = Stage(tmp_path, world([young, NGINX], [WEB_BEFORE, NGINX]), settings='soak = "4h"\n')
    refused(stage.run(), "find-promotions", "it has to run for 4h first, until 2099-01-01 04:00 UTC")
