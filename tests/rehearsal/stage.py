"""The stage of a rehearsal: a scratch checkout, a HOME of its own, a world, and act, which runs the very workflow.

act is true to GitHub in shells, outputs, matrices, `if`, `needs` and summaries. What it does not model:

- Approvals, concurrency, permissions, time-outs and limits are ignored: tests/test_workflows.py reads them instead.
- A reusable workflow that fails ends the whole run: `inline_deployment` puts its steps into the calling job, with each
  input replaced by what the caller passes, for the scenarios in which a deployment fails.
- GitHub looks at a job's `if` before its matrix; act fails on a matrix that cannot be read although the job is skipped,
  and the outputs of a skipped job are the text of their expressions: `guard_matrices` has it read `[]` there.
- A job that is skipped leaves no trace: a job without one counts as skipped.
- One leg of a matrix that fails is reported for all of its legs: a leg's result is read from its steps.
- `fail-fast` cancels nothing, `strategy.job-total` is empty, a `max-parallel` that is an expression is ignored.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
JOBS = ("find-promotions", "sdlc-control-gate", "propose", "approve", "recheck", "deploy-to-prod", "verify")
TOKEN = "token-of-the-rehearsal"
REPOSITORY = "example/releases"
VARIABLES = {"AWS_ROLE": "arn:aws:iam::123456789012:role/deploy", "AWS_REGION": "eu-central-1"}
APPROVED = [
    {
        "state": "approved",
        "comment": "Ship it.",
        "environments": [{"id": 1, "name": "production"}],
        "user": {"login": "octocat", "id": 1},
    }
]
LONGEST = 300


@dataclass
class Run:
    """What one run of a workflow did: act's own words, and what stands in the world afterwards."""

    code: int
    events: list[dict[str, Any]]
    stderr: str
    home: Path
    calls_before: int
    deployments_before: int

    @cached_property
    def legs(self) -> dict[str, dict[str, str]]:
        """The result of each leg, by job and by the name that it shows behind the job's."""
        found: dict[str, dict[str, str]] = {}
        for event in self.events:
            if "jobID" not in event:
                continue
            leg = found.setdefault(job_of(event), {})
            name = leg_of(event)
            leg.setdefault(name, "success")
            if event.get("stepResult") == "failure" and len(event.get("stepID", [])) == 1:
                leg[name] = "failure"
        return found

    @property
    def results(self) -> dict[str, str]:
        """The result of every job of the release."""
        return {job: self.result(job) for job in JOBS}

    def result(self, job: str) -> str:
        """Return the result of a job: failure if that of any leg is."""
        results = self.legs.get(job, {}).values()
        return "skipped" if not results else "failure" if "failure" in results else "success"

    def log(self, job: str) -> str:
        """Return what the steps of a job wrote."""
        return "".join(event["msg"] for event in self.events if job_of(event) == job and is_output(event))

    def steps(self, job: str) -> str:
        """Return the names of the steps that a job came to, a line each."""
        return "\n".join(dict.fromkeys(event.get("step", "") for event in self.events if job_of(event) == job))

    @property
    def summary(self) -> str:
        """What the run's page shows: the summaries of its jobs, as a reader sees their characters."""
        marker = "  ⚙  Summary - "
        messages = (event["msg"] for event in self.events)
        text = "".join(message.removeprefix(marker) for message in messages if message.startswith(marker))
        return html.unescape(text)

    @cached_property
    def world(self) -> dict[str, Any]:
        """Kosli's state, and what runs where."""
        return json.loads((self.home / ".kosli-stand-in/world.json").read_bytes())

    @cached_property
    def calls(self) -> list[list[str]]:
        """The command lines that Kosli's CLI was given in this run."""
        lines = read_lines(self.home / ".kosli-stand-in/calls.jsonl")[self.calls_before :]
        return [json.loads(line)["argv"] for line in lines]

    @property
    def trouble(self) -> str:
        """What failed, for a test's own message."""
        return "\n".join(
            f"{event.get('job', '')}: {event['msg']}"
            for event in self.events
            if event.get("stepResult") == "failure" or event["level"] == "error" or re.match(r"\w+\.py: ", event["msg"])
        )

    @property
    def asserted(self) -> list[tuple[str, str]]:
        """The gate's questions, sorted: each fingerprint with its environment."""
        flags = [dict(zip(call, [*call[1:], ""])) for call in self.calls if call[:2] == ["assert", "artifact"]]
        return sorted((each["--fingerprint"], each["--environment"]) for each in flags)

    @property
    def checkouts(self) -> list[str]:
        """The services' repositories that were checked out, with their commits, sorted."""
        lines = read_lines(self.home / "rehearsal/checkouts")
        return sorted(line for line in lines if not line.startswith(f"{REPOSITORY} "))

    @property
    def roles(self) -> list[str]:
        """The cloud roles that were taken, with their regions."""
        return read_lines(self.home / "rehearsal/roles")

    @property
    def deployments(self) -> list[str]:
        """The images that were deployed in this run, sorted: deployments run side by side."""
        return sorted(read_images(self.home)[self.deployments_before :])

    def running(self, environment: str) -> set[str]:
        """Return the fingerprints that really run in an environment."""
        here = self.world.get("runtime", {}).get(environment)
        if here is None:
            here = self.world["environments"][environment]["snapshots"][-1]["artifacts"]
        return {artifact["fingerprint"] for artifact in here}

    def everything(self) -> str:
        """Return all that the run said and wrote, for a look at what must not be in it."""
        places = [self.home / "rehearsal" / name for name in ("artifacts", "checkouts", "deployments", "roles")]
        files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place])]
        written = "".join(file.read_text("utf-8", "replace") for file in files if file.is_file())
        return "".join(event["msg"] for event in self.events) + self.stderr + written


@dataclass
class Stage:
    """A scratch checkout and a HOME for the runs of one scenario."""

    folder: Path
    world: dict[str, Any]
    approvals: list[dict[str, Any]] = field(default_factory=lambda: APPROVED)

    def __post_init__(self) -> None:
        self.world = set_up(self.world)
        self.home = self.folder / "home"
        self.props = self.home / "rehearsal"
        self.checkout = self.props / "checkout"
        (self.home / ".kosli-stand-in").mkdir(parents=True)
        (self.home / ".kosli-stand-in/world.json").write_text(json.dumps(self.world))
        shutil.copytree(HERE / "service", self.props / "service")
        (self.props / "approvals.json").write_text(json.dumps(self.approvals))
        (self.props / "org").write_text(self.world["org"])
        build_checkout(self.checkout)
        self.guard_matrices()

    def guard_matrices(self) -> None:
        """Have act read an empty list where GitHub would not look at the matrix: see the top of this file."""
        path = self.checkout / ".github/workflows/promote.yml"
        matrix = r"include: \$\{\{ fromJSON\((\S+)\) \}\}"
        guarded = r"include: ${{ fromJSON(startsWith(\1, '[') && \1 || '[]') }}"
        text, count = re.subn(matrix, guarded, path.read_text("utf-8"))
        assert count == 2
        path.write_text(text, "utf-8")

    def edit(self, old: str, new: str, workflow: str = "promote.yml") -> None:
        """Replace the one place in a workflow of the scratch checkout where `old` stands."""
        path = self.checkout / ".github/workflows" / workflow
        text = path.read_text("utf-8")
        assert text.count(old) == 1, f"{workflow} has {text.count(old)} times: {old}"
        path.write_text(text.replace(old, new), "utf-8")

    def drop_output(self, job: str, output: str) -> None:
        """Have a job's output come out empty, as GitHub does when it holds a secret."""
        path = self.checkout / ".github/workflows/promote.yml"
        workflow = load(path)
        assert workflow["jobs"][job]["outputs"][output]
        workflow["jobs"][job]["outputs"][output] = ""
        path.write_text(yaml.safe_dump(workflow, sort_keys=False), "utf-8")

    def inline_deployment(self) -> None:
        """Put the steps of deploy.yml into deploy-to-prod, as GitHub would run them: see the top of this file."""
        workflows = self.checkout / ".github/workflows"
        promote = load(workflows / "promote.yml")
        deploy = load(workflows / "deploy.yml")
        job = promote["jobs"]["deploy-to-prod"]
        declared = deploy["on"]["workflow_call"]
        inputs = {name: f"'{value.get('default', '')}'" for name, value in declared["inputs"].items()}
        inputs.update({name: inside(value) for name, value in job.pop("with").items()})
        secrets = {name: inside(value) for name, value in job.pop("secrets").items()}
        assert job.pop("uses") == "./.github/workflows/deploy.yml"
        called = json.dumps(deploy["jobs"]["deploy"]["steps"])
        called = re.sub(r"\binputs\.(\w+)", lambda match: json.dumps(f"({inputs[match[1]]})")[1:-1], called)
        called = re.sub(r"\bsecrets\.(\w+)", lambda match: f"({secrets[match[1]]})", called)
        job["steps"] = json.loads(called)
        job["runs-on"] = deploy["jobs"]["deploy"]["runs-on"]
        (workflows / "promote.yml").write_text(yaml.safe_dump(promote, sort_keys=False), "utf-8")

    def while_waiting(self, *commands: str) -> None:
        """Have the world go on, by these commands, between the proposal and the deployment."""
        (self.props / "while-waiting").write_text("\n".join(commands) + "\n")

    def go_on(self, *commands: str) -> None:
        """Have the world go on, by these commands, between two runs."""
        environment = {"HOME": str(self.home), "PATH": self.path(terraform=False)}
        for command in commands:
            subprocess.run(["bash", "-c", command], cwd=self.checkout, env=environment, check=True, capture_output=True)

    def run(
        self,
        workflow: str = "promote.yml",
        *,
        inputs: dict[str, str] | None = None,
        variables: dict[str, str] | None = None,
        environment: dict[str, str] | None = None,
        secrets: dict[str, str] | None = None,
        run_id: int = 1001,
        terraform: bool = True,
    ) -> Run:
        """Dispatch a workflow and wait for its end."""
        variables = (
            {"KOSLI_ORG": self.world["org"], "VERIFY_INTERVAL": "0.1", "VERIFY_TIMEOUT": "5"}
            | VARIABLES
            | (variables or {})
        )
        secrets = {"KOSLI_API_TOKEN": TOKEN, "GITLAB_TOKEN": TOKEN, "GITHUB_TOKEN": TOKEN} | (secrets or {})
        environment = {"GITHUB_RUN_ID": str(run_id)} | (environment or {})
        command = [program("act"), "workflow_dispatch", "--workflows", f".github/workflows/{workflow}"]
        command += ["--platform", "ubuntu-latest=-self-hosted", "--no-cache-server", "--pull=false", "--json"]
        command += ["--action-offline-mode", "--no-skip-checkout", "--defaultbranch", "main"]
        for options, values in (
            ("--input", inputs or {}),
            ("--var", variables),
            ("--env", environment),
            ("--secret", secrets),
        ):
            for name, value in values.items():
                command += [options, f"{name}={value}"]
        for action in sorted(used_actions(self.checkout / ".github")):
            command += [
                "--local-repository",
                f"{action}={HERE / 'actions' / action.partition('@')[0].rpartition('/')[2]}",
            ]
        (self.props / "runs").mkdir(exist_ok=True)
        facts = {"id": run_id, "path": f".github/workflows/{workflow}@main", "event": "workflow_dispatch"}
        facts |= {"head_branch": "main", "head_repository": {"full_name": REPOSITORY}}
        (self.props / f"runs/{run_id}").write_text(json.dumps(facts))
        calls = len(read_lines(self.home / ".kosli-stand-in/calls.jsonl"))
        deployments = len(read_images(self.home))
        done = subprocess.run(
            command,
            cwd=self.checkout,
            env={"HOME": str(self.home), "PATH": self.path(terraform), "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LONGEST,
            check=False,
        )
        shutil.rmtree(self.home / ".cache", ignore_errors=True)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        return Run(done.returncode, events, done.stderr.decode(), self.home, calls, deployments)

    def path(self, terraform: bool) -> str:
        """Return the PATH of the run: stand-ins first. `terraform`: the real one, where it is installed."""
        tools = self.props / "tools"
        tools.mkdir(exist_ok=True)
        (tools / "terraform").unlink(missing_ok=True)
        (tools / "terraform").symlink_to(
            (terraform and shutil.which("terraform")) or HERE / "bin-without-terraform/terraform"
        )
        return ":".join(
            map(str, (HERE / "bin", tools, ROOT / "fixtures/bin", Path(sys.prefix) / "bin", "/usr/bin", "/bin"))
        )


@cache
def kosli_setup() -> str:
    """Return, as JSON, what `scripts/kosli_setup.py` makes of a world with nothing in it."""
    with tempfile.TemporaryDirectory() as home:
        place = Path(home, ".kosli-stand-in/world.json")
        place.parent.mkdir()
        place.write_text(json.dumps({"org": "example", "environments": {}, "flows": {}}))
        environment = {"HOME": home, "PATH": f"{ROOT / 'fixtures/bin'}:{Path(sys.prefix) / 'bin'}:/usr/bin:/bin"}
        environment |= {"KOSLI_ORG": "example", "KOSLI_API_TOKEN": TOKEN}
        subprocess.run(
            [sys.executable, ROOT / "scripts/kosli_setup.py"], env=environment, check=True, capture_output=True
        )
        return place.read_text()


def set_up(world: dict[str, Any]) -> dict[str, Any]:
    """Return the world after `make kosli-setup`, which comes once, before the first release."""
    made = json.loads(kosli_setup())
    return {**world, "flows": {**world["flows"], **made["flows"]}, "attestation_types": made["attestation_types"]}


def job_of(event: dict[str, Any]) -> str:
    """Return the job of the release that an event of act's is about; a deployment is the only job of deploy.yml."""
    job: str = event.get("jobID", "")
    return "deploy-to-prod" if job == "deploy" else job


def leg_of(event: dict[str, Any]) -> str:
    """Return the name of a leg: the promotion's flow; the service's name, which a reusable workflow shows."""
    shown: str = event["job"]
    return event.get("matrix", {}).get("incoming_flow") or shown.rpartition("/")[2].strip()


def is_output(event: dict[str, Any]) -> bool:
    """Say whether an event is a line that a step wrote, a workflow command (`::error::...`) included."""
    return bool(event.get("raw_output") or event.get("command"))


def read_lines(path: Path) -> list[str]:
    """Return the lines of a file, none when there is no file."""
    return path.read_text("utf-8").splitlines() if path.exists() else []


def read_images(home: Path) -> list[str]:
    """Return the images that were deployed; a name can hold a newline."""
    path = home / "rehearsal/deployments"
    return path.read_text("utf-8").split("\0")[:-1] if path.exists() else []


def load(path: Path) -> dict[str, Any]:
    """Return a workflow. YAML 1.1 takes its key `on` for a truth value."""
    workflow = yaml.safe_load(path.read_bytes())
    if True in workflow:
        workflow = {"on" if key is True else key: value for key, value in workflow.items()}
    return workflow


def inside(value: str) -> str:
    """Return the expression in `${{ }}`."""
    match = re.fullmatch(r"\$\{\{ (.*) \}\}", value)
    assert match, f"not one expression: {value}"
    return match[1]


def used_actions(folder: Path) -> set[str]:
    """Return the actions outside this repository that workflows and local actions use, with their pins."""
    text = "".join(path.read_text("utf-8") for path in folder.rglob("*.yml"))
    return set(re.findall(r"uses: ([^.\s]\S+@\S+)", text))


def program(name: str) -> str:
    """Return the path of a program of the test environment. It is a requirement, so a missing one fails."""
    found = shutil.which(name, path=f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}")
    assert found, f"{name} is missing: make .venv/.stamp-dev installs it"
    return found


def build_checkout(target: Path) -> None:
    """Make a checkout of what a release needs, as it stands in this folder, with a virtual environment ready for make.

    Files are old, so that make finds nothing to build.
    """
    for part in (".github", "Makefile", "requirements.txt", "scripts", "jq", "kosli"):
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__", "*_cache"))
        elif source.exists():
            shutil.copy(source, target / part)
    git = ["git", "-c", "user.name=rehearsal", "-c", "user.email=rehearsal@example.com", "-c", "commit.gpgsign=false"]
    for arguments in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "--all"],
        ["commit", "--quiet", "--message", "As it stands"],
        ["remote", "add", "origin", f"https://github.com/{REPOSITORY}"],
    ):
        subprocess.run([*git, *arguments], cwd=target, check=True)
    for path in target.rglob("*"):
        os.utime(path, (0, 0))
    (target / ".venv").symlink_to(sys.prefix)
