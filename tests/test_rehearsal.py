"""The rehearsal: the very workflows, run by act against a Kosli on this machine, with the real CLI.

A test is a scenario. Each says how the jobs ended, what Kosli was told, and what runs in production afterwards. What
begins alike is run once, and kept: a release that was found, and one that was approved.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from rehearsal.stage import (
    APPROVED,
    CRASHED,
    HERE,
    JOBS,
    STUCK,
    TOKEN,
    Run,
    Stage,
    commit_all,
    leave_only,
    load,
    replace_in,
)
from rehearsal.worlds import FLOW, NGINX, SAVER, SAVER_BEFORE, WEB, WEB_AFTER, WEB_BEFORE, artifact, two_behind, world

import pytest

pytestmark = pytest.mark.flaky(reruns=1, only_rerun=[STUCK, CRASHED])

BOTH = {SAVER["fingerprint"], WEB["fingerprint"], NGINX["fingerprint"]}
BEFORE = {SAVER_BEFORE["fingerprint"], WEB_BEFORE["fingerprint"], NGINX["fingerprint"]}
PROMOTIONS = {"saver.promotion": True, "web.promotion": True}
FREEZE = '[[hold]]\nflow = "*"\nuntil = 2099-01-01T00:00:00Z\nreason = "the shops are full"\n'
# Lines of bash: at the tip of the default branch, among the artifacts of the run.
TIP = 'cp -r "$HOME/rehearsal/checkout" "$HOME/rehearsal/tip"; cd "$HOME/rehearsal/tip"; '
KEPT = 'cd "$HOME/rehearsal/artifacts/1001"; '


def ended(last: str = "verify", end: str = "success", *, first: str = "find-promotions") -> dict[str, str]:
    """Return how the jobs end when these are run, and the last of them ends so. The others are skipped."""
    jobs = JOBS[JOBS.index(first) : JOBS.index(last)]
    return dict.fromkeys(JOBS, "skipped") | dict.fromkeys(jobs, "success") | {last: end}


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
    first = next(each for each in JOBS if run.result(each) != "skipped")
    assert run.results == ended(job, "failure", first=first), run.trouble
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


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    stage = Stage(tmp_path_factory.mktemp("kept"), two_behind())
    for part, name in (("find-promotions", "found"), ("release", "approved")):
        run = stage.run_part(part)
        assert run.code == 0, run.trouble
        stage.keep(name)
    return stage


@pytest.fixture
def found(kept: Stage) -> Stage:
    """A release that was found: run_part("release", "land") goes on with it."""
    return kept.go_back("found")


@pytest.fixture
def approved(kept: Stage) -> Stage:
    """A release that was approved: run_part("land") goes on with it."""
    return kept.go_back("approved")


def test_a_release_lands_and_is_rolled_back_and_its_approval_is_good_once(stage: Stage) -> None:
    run = stage.run(terraform=True)
    assert run.code == 0, run.trouble
    assert run.results == ended()
    assert set(run.legs["sdlc-control-gate"]) == {"saver-ci", "web-ci"}
    assert set(run.legs["deploy-to-prod"]) == {"saver", "web"}
    assert attested(run) == {**PROMOTIONS, "release": True, "approval": True, "outcome": True}
    asked = [(row["fingerprint"], environment) for row in (SAVER, WEB) for environment in ("aws-beta", "aws-prod")]
    assert run.asserted == sorted(asked * 2), "by the gate, and again after the approval"
    assert told(run, "approval")["digest"] == told(run, "outcome")["digest"] == stage.found[1001]["digest"]
    assert "2 of 3 services will change in aws-prod" in run.summary
    assert stage.found[1001]["digest"] in run.summary, "the approver sees what is approved"
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
    assert run.results == ended()
    assert set(run.asserted) == {(row["fingerprint"], "aws-prod") for row in (SAVER_BEFORE, WEB_BEFORE)}, (
        "the older artifacts ran in production, and go there"
    )
    assert attested(run, "run-1002") == {**PROMOTIONS, "release": True, "approval": True, "outcome": True}
    assert run.deployments == sorted([SAVER_BEFORE["name"], WEB_BEFORE["name"]])
    assert run.running("aws-prod") == BEFORE

    run = stage.run("rollback.yml", inputs={"run": "1001"}, run_id=1003)
    refused(run, "find-promotions", "nothing is left to do", "run-1003")

    run = stage.run_part("land", attempt=2)
    assert run.code != 0
    assert run.result("recheck") == "failure"
    assert run.deployments == []
    assert "an approval is good for one attempt" in run.summary
    run = stage.run_part("release", "land", attempt=2)
    assert run.code != 0
    assert run.result("approve") == "failure"
    assert run.deployments == []
    assert "nobody has approved this one" in run.summary


def test_nothing_to_promote(tmp_path: Path) -> None:
    run = Stage(tmp_path, world([NGINX, SAVER], [NGINX, SAVER])).run()
    assert run.code == 0, run.trouble
    assert run.results == ended("find-promotions")
    assert attested(run) == {}
    assert run.deployments == []
    assert "nothing to promote" in run.summary.lower()


def test_every_cause_to_find_no_release_is_named(tmp_path: Path) -> None:
    renamed = {**SAVER, "flow": "keeper-ci"}
    elsewhere = artifact("cart", "new", group="https://github.com./example")
    young = {**artifact("shop", "new"), "most_recent_timestamp": 4_070_908_800}
    beta = [renamed, WEB, WEB_BEFORE, elsewhere, young, NGINX]
    stage = Stage(tmp_path, world(beta, [SAVER_BEFORE, WEB_BEFORE, NGINX]), settings='soak = "4h"\n')
    (stage.checkout / "holds.toml").write_text(FREEZE)
    run = stage.run()
    for reason in (
        "aws-beta: web-ci: a deployment is in progress",
        "host that neither begins nor ends with a dot",
        "it would be a first deployment",
        "it has to run for 4h first, until 2099-01-01 04:00 UTC",
        "a freeze until 2099-01-01 00:00 UTC: the shops are full",
    ):
        refused(run, "find-promotions", reason)
    assert attested(run) == {"release": False}
    assert run.running("aws-prod") == BEFORE
    assert "only in aws-beta" in run.summary, "what was compared is on the page"


def test_kosli_gives_no_answer(tmp_path: Path) -> None:
    run = Stage(tmp_path, two_behind(faults=[{"path": "env-diff", "body": "<html>"}])).run()
    refused(run, "find-promotions", "kosli diff snapshots")
    assert attested(run) == {"release": False}


def of_services(count: int) -> dict[str, Any]:
    """Return a world in which beta is ahead on so many services."""
    beta, prod = ([artifact(f"service-{i}", build) for i in range(count)] for build in ("new", "old"))
    return world(beta, prod)


def test_256_promotions_are_a_matrix(tmp_path: Path) -> None:
    """What the legs are made of, that is: 256 gates and deployments are not run."""
    stage = Stage(tmp_path, of_services(256))
    assert stage.run_part("find-promotions").code == 0
    stage.rewrite("release.yml", lambda jobs: leave_only(jobs, "take-release"))
    run = stage.run_part("release")
    assert run.code == 0, run.trouble
    outputs = run.outputs("take-release")
    assert len(json.loads(outputs["promotions"])) == 256
    assert sum(len(each.encode("utf-16-le")) for each in outputs.values()) < 1_000_000


def test_257_promotions_are_refused(tmp_path: Path) -> None:
    run = Stage(tmp_path, of_services(257)).run()
    refused(run, "find-promotions", "a workflow takes 256 jobs")
    assert "promote some flows at a time with FLOWS, in 2 releases" in run.summary


@pytest.mark.parametrize(
    ("command", "attempt", "reason"),
    [
        # It has settings of its own.
        pytest.param("git switch -q -c mine", "1", "a run counts only on the default branch", id="another branch"),
        # Another release would take the place of what was approved, and must be rolled back.
        pytest.param("true", "2", "a run finds its release only once", id="all jobs run again"),
    ],
)
def test_kosli_is_not_even_asked(stage: Stage, command: str, attempt: str, reason: str) -> None:
    stage.go_on(command)
    run = stage.run(environment={"GITHUB_RUN_ATTEMPT": attempt})
    assert run.code != 0
    assert run.results == ended("find-promotions", "failure")
    assert run.requests == []
    assert reason in run.log("find-promotions")
    assert "keep-reasons" not in run.trouble, "a job that failed without a word keeps that, too"


def set_world(stage: Stage, **keys: Any) -> None:
    """Have something be otherwise in Kosli's world from now on."""
    path = stage.state / "world.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **keys}))


NOT_COMPLIANT = {WEB["fingerprint"]: {"aws-prod": {"resolutions": ["missing_attestation"]}}}


def test_one_is_not_compliant(found: Stage) -> None:
    set_world(found, evaluations=NOT_COMPLIANT)
    run = found.run_part("release", "land")
    refused(run, "sdlc-control-gate", "aws-prod: web-ci")
    assert run.legs["sdlc-control-gate"] == {"saver-ci": "success", "web-ci": "failure"}
    assert attested(run) == {"release": False}
    assert "the gate did not find every artifact compliant" in run.summary
    assert run.summary.count("[compliant]") == 3


def test_a_verdict_is_lost(found: Stage) -> None:
    """Nobody is asked to approve what the gate was not asked about."""
    found.edit('name: "verdicts-${{ matrix', 'name: "lost-${{ matrix', "release.yml")
    refused(found.run_part("release", "land"), "propose", "the gate was asked about 0 of 2 promotions")


def test_preview_is_not_rolled_back(found: Stage) -> None:
    run = found.run_part("release", "land", inputs={"preview": "true"})
    assert run.code == 0, run.trouble
    assert run.results == ended("propose", first="take-release")
    assert attested(run) == {**PROMOTIONS, "release": True}
    assert run.deployments == []
    run = found.run("rollback.yml", inputs={"run": "1001"}, run_id=1002)
    refused(run, "find-promotions", "is too old for this release", "run-1002")


def test_only_who_started_it_approved_it(found: Stage) -> None:
    run = found.run_part("release", "land", actor="octocat")
    refused(run, "approve", "who started this run")
    assert "nobody approved it, or the approval does not count" in run.summary
    assert attested(run) == {**PROMOTIONS, "release": False}
    assert run.running("aws-prod") == BEFORE


MOVED = f"stand-in-deploy aws-prod {WEB_AFTER['fingerprint']}; record-in-rehearsal aws-prod"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        pytest.param(MOVED, WEB_AFTER["fingerprint"][:7], id="production moved on"),
        pytest.param(KEPT + "echo 1 >proposal/proposed.txt", "days ago", id="too late"),
        pytest.param(KEPT + "rm -r release", "is gone, or cannot be taken", id="it expired"),
        pytest.param(
            KEPT + "sed -i s,example.com/web,example.com/evil,g release/release.json",
            "the release was replaced",
            id="replaced",
        ),
        pytest.param(
            TIP + "sed -i 's,github.com/example/,github.com/nobody/,' release.toml",
            "is below none of the sources: https://github.com/nobody/",
            id="the sources were narrowed on the default branch",
        ),
        pytest.param(TIP + f"printf '%s' '{FREEZE}' >holds.toml", "the shops are full", id="a freeze since then"),
    ],
)
def test_what_was_approved_is_not_deployed(approved: Stage, command: str, reason: str) -> None:
    """While somebody was asked, the world went on."""
    approved.go_on(command)
    run = approved.run_part("land")
    refused(run, "recheck", reason)
    assert attested(run) == {**PROMOTIONS, "release": False, "approval": True}


def test_a_verdict_changed_while_somebody_was_asked(approved: Stage) -> None:
    set_world(approved, evaluations=NOT_COMPLIANT)
    refused(approved.run_part("land"), "recheck", "web-ci: registry.example.com/web")


def test_all_of_it_has_landed_before_the_approval(approved: Stage) -> None:
    for row in (SAVER, WEB):
        approved.go_on(f"stand-in-deploy aws-prod {row['fingerprint']}; record-in-rehearsal aws-prod")
    run = approved.run_part("land")
    assert run.code == 0, run.trouble
    assert run.results == ended(first="recheck") | {"deploy-to-prod": "skipped"}
    assert run.deployments == []
    assert attested(run)["outcome"] is True


def test_half_of_it_lands_and_the_job_approve_runs_again(approved: Stage) -> None:
    set_world(approved, deployments={"fail": ["web-ci"]})
    approved.inline_deployment()
    path = approved.checkout / "release.toml"
    path.write_text(f'changes.token_host = "github.com"\n{path.read_text()}')
    run = approved.run_part("land")
    assert run.code != 0
    assert [line.split()[2:] for line in run.checkouts] == [["SOURCES_TOKEN"], ["SOURCES_TOKEN"]]
    assert run.results == ended(first="recheck") | {"deploy-to-prod": "failure", "verify": "failure"}
    assert run.legs["deploy-to-prod"] == {"saver-ci": "success", "web-ci": "failure"}
    assert run.result("land: refused") == "skipped", "verify has told how it ended"
    assert attested(run) == {**PROMOTIONS, "release": True, "approval": True, "outcome": False}
    assert told(run, "outcome")["landed"] == 1
    assert "not landed" in run.summary

    set_world(approved, deployments={})
    approved.approve([*APPROVED, {**APPROVED[0], "comment": "Once more."}])
    run = approved.run_part("release", "land", attempt=2)
    assert run.code == 0, run.trouble
    assert run.deployments == [WEB["name"]]
    assert attested(run) == {**PROMOTIONS, "release": True, "approval": True, "outcome": True}
    assert run.running("aws-prod") == BOTH
    assert len(told(run, "release")["changes"]) == 2, "also when it is attested again"


def test_only_the_failed_jobs_run_again(approved: Stage) -> None:
    """What a re-run of the failed jobs does: the outputs of `recheck` are those of the first attempt."""
    approved.edit("attempt: ${{ github.run_attempt }}", 'attempt: "1"', "land.yml")
    run = approved.run_part("land", attempt=2, approved="2")
    assert run.code != 0
    assert run.results == ended("verify", "failure", first="recheck") | {"deploy-to-prod": "skipped"}
    assert run.deployments == []
    assert "re-run the job approve" in run.log("verify")
    assert "Does production run" not in run.steps("verify"), "what nobody deployed is not waited for"
    assert attested(run)["outcome"] is False


def test_the_service_names_another_image(approved: Stage) -> None:
    """Its Terraform declares the variable, and uses something else."""
    path = approved.props / "service/deployment/terraform/main.tf"
    replace_in(path, "  input = var.TAGGED_IMAGE", '  input = "registry.example.com/web:latest"')
    run = approved.run_part("land", terraform=True)
    assert run.code != 0
    assert run.results == ended("deploy-to-prod", "failure", first="recheck")
    assert "must deploy the image" in run.log("deploy-to-prod")
    assert run.deployments == []
    assert run.running("aws-prod") == BEFORE


def test_code_from_elsewhere_is_not_deployed(approved: Stage) -> None:
    """Whoever calls deploy.yml: it looks again whose code it is."""
    evil = {"incoming_flow": "web-ci", "incoming_name": WEB["name"], "incoming_fingerprint": WEB["fingerprint"]}
    evil |= {"incoming_commit_url": WEB["commit_url"].replace("example", "evil"), "outgoing_name": ""}
    evil |= {"incoming_repo_name": "web", "incoming_repo_url": "https://github.com/evil/web"}
    given = f"promotion: '{json.dumps(evil)}'"
    approved.edit("promotion: ${{ toJSON(matrix) }}", given, "land.yml")
    run = approved.run_part("land")
    assert run.results == ended("deploy-to-prod", "failure", first="recheck"), run.trouble
    assert "https://github.com/evil/web is below none of the sources" in run.log("deploy-to-prod")
    assert run.checkouts == []
    assert run.roles == []


HOSTILE = (
    "registry.example.com/$(touch pwned)`touch pwned`'\";touch pwned ::error::pwned ${{ secrets.KOSLI_API_TOKEN }}"
)


def test_hosts_and_hostile_names(tmp_path: Path) -> None:
    """A service on GitLab is cloned with its own token, over https only. A name is data, whatever it holds."""
    web, web_before = (artifact("web", build, group="https://gitlab.com/a/b") for build in ("new", "old"))
    saver, saver_before = (artifact("saver", build, group="https://git.example.org/a") for build in ("new", "old"))
    saver["name"] = HOSTILE
    sources = ["https://gitlab.com/a/b", "https://git.example.org/a"]
    stage = Stage(tmp_path, world([web, saver, NGINX], [web_before, saver_before, NGINX]), sources=sources)
    run = stage.run()
    assert run.code == 0, run.trouble
    assert run.checkouts == [
        f"https://git.example.org/a/saver {saver['commit_url'].rpartition('/')[2]} protocols=https token=",
        f"https://gitlab.com/a/b/web {web['commit_url'].rpartition('/')[2]} protocols=https token=yes",
    ]
    assert run.deployments == [f"{HOSTILE}@sha256:{saver['fingerprint']}", web["name"]]
    assert run.running("aws-prod") == {web["fingerprint"], saver["fingerprint"], NGINX["fingerprint"]}
    assert not list(stage.home.rglob("pwned"))
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


def test_an_output_is_dropped_on_the_way_to_the_gate(stage: Stage) -> None:
    stage.drop_output("promote.yml", "find-promotions", "digest")
    refused(stage.run(), "take-release", "an output was dropped")


def test_the_matrix_is_dropped(found: Stage) -> None:
    found.drop_output("release.yml", "take-release", "promotions")
    run = found.run_part("release", "land")
    assert run.code != 0
    assert run.results == ended("sdlc-control-gate", "failure", first="take-release")
    assert attested(run) == {"release": False}


def test_the_approval_is_dropped(approved: Stage) -> None:
    refused(approved.run_part("land", approved=""), "recheck", "an approval is good for one attempt")


def test_whether_anything_is_left_is_dropped(approved: Stage) -> None:
    approved.drop_output("land.yml", "recheck", "any")
    run = approved.run_part("land")
    assert run.results == ended("verify", "failure", first="recheck") | {"deploy-to-prod": "skipped"}, run.trouble
    assert run.deployments == []
    assert attested(run)["outcome"] is False


def test_what_is_not_rolled_back(approved: Stage) -> None:
    def refuse(run_id: int, reason: str) -> None:
        run = approved.run("rollback.yml", inputs={"run": "1001"}, run_id=run_id)
        refused(run, "find-promotions", reason, f"run-{run_id}")

    facts = approved.props / "runs/1001"
    replace_in(facts, "c0ffee", "badbad")  # a tag that is called main
    refuse(1002, "its commit is not in the history of main")
    replace_in(facts, "badbad", "c0ffee")
    release = approved.props / "artifacts/1001/release"
    text = (release / "release.json").read_text()
    (release / "release.json").write_text(text.replace("registry.example.com/web", "registry.example.com/evil"))
    refuse(1003, "holds no proposed release with its digest")
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


def test_a_reason_passes_a_freeze_the_changes_are_shown_and_the_evidence_is_whole(tmp_path: Path) -> None:
    old, _, new = commits(tmp_path, "web", 3)
    beta, prod = [SAVER, of_commit(WEB, new), NGINX], [SAVER_BEFORE, of_commit(WEB_BEFORE, old), NGINX]
    stage = Stage(tmp_path, world(beta, prod))
    (stage.checkout / "holds.toml").write_text(FREEZE)
    run = stage.run(inputs={"flows": "web-ci", "override": "a leak is mended"})
    assert run.results == ended(), run.trouble
    assert run.deployments == [WEB["name"]], "only what was asked for"
    assert told(run, "release")["override"] == "a leak is mended"
    assert "holds and freezes are passed: a leak is mended" in run.summary
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
    assert run.results == ended("sdlc-control-gate"), run.trouble
    assert attested(run) == {"release": False}
    assert "web-ci: the incoming commit is 1 commit older" in told(run, "release")["refused"]
    assert told(run, "release")["changes"][0]["status"] == "behind"
    assert run.summary.count("older than the outgoing one") == 1, "nothing is said twice"
    assert run.deployments == []
