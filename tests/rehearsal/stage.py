"""The stage of a rehearsal: a scratch checkout, a HOME of its own, a world of the Kosli service, and act.

act runs the very workflow, with the real CLI.

It is true to GitHub in shells, outputs, matrices, `if`, `needs` and summaries. What act does not model:

- Approvals, concurrency, permissions, time-outs and limits are ignored: tests/test_workflows.py reads them instead.
- A called workflow that fails ends the whole run: the calling file's job `refused` never starts then. So
  `inline_deployment` puts the steps of deploy.yml into the calling job, for the scenarios in which a deployment fails.
- GitHub looks at a job's `if` before its matrix; act fails on a matrix that cannot be read although the job is skipped,
  and the outputs of a skipped job are the text of their expressions.
- A job that is skipped leaves no trace: a job without one counts as skipped.
- One leg of a matrix that fails is reported for all of its legs: a leg's result is read from its steps.
- `fail-fast` cancels nothing, a `max-parallel` that is an expression is ignored.

EDITS lists where the scratch copy of the workflows differs from the files.
"""

import compileall
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from worlds import set_up

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
JOBS = (
    *("find-promotions", "take-release", "sdlc-control-gate", "propose", "approve"),
    *("recheck", "deploy-to-prod", "verify"),
)
TOKEN = "token-of-the-rehearsal"
REPOSITORY = "example/releases"
APPROVED = [
    {
        "state": "approved",
        "comment": "Ship it.",
        "environments": [{"id": 1, "name": "production"}],
        "user": {"login": "octocat", "id": 1},
    }
]
LONGEST = 150
# Once in a while act itself does not end, though its last program has; or it crashes (its issue 2199) with exit code 2.
STUCK = "act does not end, and nothing runs below it"
CRASHED = "act has crashed"
MEMORY = "/dev/shm"
# (file, what stands there, what the copy has instead, how often): act does not know a lock's queue, nor where a called
# workflow comes from.
EDITS = [
    ("promote.yml", ", queue: max", "", 1),
    ("rollback.yml", ", queue: max", "", 1),
    ("attest-build.yml", "job.workflow_repository", f"'{REPOSITORY}'", 2),
    ("attest-build.yml", "job.workflow_sha", "'c0ffee0123456789c0ffee0123456789c0ffee01'", 2),
]
SETTINGS = """
sources = {sources}
[kosli]
host = "{host}"
org = "{org}"
max_api_retries = 0
[verify]
interval = 0.1
timeout = 1
[deploy]
role = "arn:aws:iam::123456789012:role/deploy-{{repo_name}}"
region = "eu-central-1"
[record.aws-beta]
clusters = ["beta"]
role = "reader"
region = "eu-central-1"
[record.aws-prod]
clusters = ["prod"]
"""


@dataclass
class Run:
    """What one run of a workflow did: act's own words, and what stands in the world afterwards."""

    code: int
    events: list[dict[str, Any]]
    stderr: str
    home: Path
    before: dict[str, int]
    said: dict[str, list[str]]  # by the job's name in its file: what its steps wrote

    @cached_property
    def legs(self) -> dict[str, dict[str, str]]:
        """The result of each leg, by job and by the flow or service that it is about."""
        found: dict[str, dict[str, str]] = {}
        for event in self.events:
            if "jobID" not in event or event["jobID"] in CALLS:
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
        return "".join(text for name, texts in self.said.items() if JOB_NAMES.get(name, name) == job for text in texts)

    def outputs(self, job: str) -> dict[str, str]:
        """Return what the steps of a job wrote into their outputs."""
        written = [event for event in self.events if event.get("command") == "set-output" and job_of(event) == job]
        return {event["name"]: event["arg"] for event in written}

    def steps(self, job: str) -> str:
        """Return the names of the steps that a job came to, a line each."""
        return "\n".join(dict.fromkeys(event.get("step", "") for event in self.events if job_of(event) == job))

    @property
    def summary(self) -> str:
        """What the run's page shows: the summaries of its jobs, as a reader sees their characters."""
        marker = "  ⚙  Summary - "
        messages = (event["msg"] for event in self.events)
        text = "".join(message.removeprefix(marker) for message in messages if message.startswith(marker))
        return html.unescape(text).replace("\\", "")

    @cached_property
    def world(self) -> dict[str, Any]:
        """Kosli's state, and what runs where."""
        return json.loads((self.home / ".kosli-service/world.json").read_bytes())

    @cached_property
    def requests(self) -> list[dict[str, Any]]:
        """What Kosli was asked and told in this run."""
        lines = read_lines(self.home / ".kosli-service/requests.jsonl")[self.before["requests"] :]
        return [each for each in map(json.loads, lines) if each["path"].startswith("/api/v2/")]

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
        asked = [each for each in self.requests if each["path"].startswith("/api/v2/asserts/")]
        return sorted((each["path"].rpartition("/")[2], each["query"]["environment_name"]) for each in asked)

    @property
    def checkouts(self) -> list[str]:
        """The services' repositories that were checked out, with their commits, sorted."""
        lines = read_lines(self.home / "rehearsal/checkouts")[self.before["checkouts"] :]
        return sorted(line for line in lines if not line.startswith(f"{REPOSITORY} "))

    @property
    def roles(self) -> list[str]:
        """The cloud roles that were taken, with their regions, sorted."""
        return sorted(read_lines(self.home / "rehearsal/roles")[self.before["roles"] :])

    @property
    def deployments(self) -> list[str]:
        """The images that were deployed in this run, sorted: deployments run side by side."""
        return sorted(read_images(self.home)[self.before["deployments"] :])

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
        said = "".join(text for texts in self.said.values() for text in texts)
        return "".join(event["msg"] for event in self.events) + self.stderr + said + written


# The jobs that call another file.
CALLS = ("release", "land")
# What finds a release is called alike, whichever file it is in; a deployment is the only job of deploy.yml.
JOB_NAMES = {"deploy": "deploy-to-prod", "find-rollback": "find-promotions"}


@dataclass
class Stage:
    """A scratch checkout and a HOME for the runs of one scenario."""

    folder: Path
    world: dict[str, Any]
    sources: list[str] = field(default_factory=lambda: ["https://github.com/example/"])
    settings: str = ""  # more lines at the top of release.toml

    def __post_init__(self) -> None:
        self.found: dict[int, dict[str, str]] = {}  # by run: the outputs of the job that found its release
        self.home = self.folder / "home"
        self.props = self.home / "rehearsal"
        self.checkout = self.props / "checkout"
        self.state = self.home / ".kosli-service"
        self.state.mkdir(parents=True)
        made = set_up()
        flows = {name: flow for name, flow in made["flows"].items() if name == "production-promotion"}
        self.world = {**self.world, "flows": {**self.world["flows"], **flows}}
        self.world["attestation_types"] = made["attestation_types"]
        (self.state / "world.json").write_text(json.dumps(self.world))
        worlds = Path(os.environ["WORLDS_SERVICE"])
        name = f"rehearsal-{os.getpid()}-{len(list(worlds.iterdir()))}"
        (worlds / name).symlink_to(self.state)
        self.host = f"{(worlds / 'address').read_text()}/w/{name}"
        shutil.copytree(HERE / "service", self.props / "service")
        self.approve(APPROVED)
        shutil.copytree(prepared_checkout(), self.checkout, symlinks=True)
        settings = SETTINGS.format(sources=json.dumps(self.sources), org=self.world["org"], host=self.host)
        (self.checkout / "release.toml").write_text(self.settings + settings)

    def approve(self, approvals: list[dict[str, Any]]) -> None:
        """Have GitHub list these reviews."""
        (self.props / "approvals.json").write_text(json.dumps(approvals))

    def edit(self, old: str, new: str, file: str) -> None:
        """Replace the one place in a workflow of the scratch checkout where `old` stands."""
        replace_in(self.checkout / ".github/workflows" / file, old, new)

    def rewrite(self, file: str, change: Callable[[dict[str, Any]], Any]) -> None:
        """Change the jobs of a workflow of the scratch checkout."""
        path = self.checkout / ".github/workflows" / file
        workflow = load(path)
        change(workflow["jobs"])
        path.write_text(yaml.safe_dump(workflow, sort_keys=False), "utf-8")

    def drop_output(self, file: str, job: str, output: str) -> None:
        """Have a job's output come out empty, as GitHub does when it holds a secret."""

        def drop(jobs: dict[str, Any]) -> None:
            assert jobs[job]["outputs"][output]
            jobs[job]["outputs"][output] = ""

        self.rewrite(file, drop)

    def inline_deployment(self) -> None:
        """Put the steps of deploy.yml into deploy-to-prod, as GitHub would run them: see the top of this file."""

        def inline(jobs: dict[str, Any]) -> None:
            job, called = jobs["deploy-to-prod"], load(ROOT / ".github/workflows/deploy.yml")["jobs"]["deploy"]
            inputs = {name: inside(value) for name, value in job.pop("with").items()}
            secrets = {name: inside(value) for name, value in job.pop("secrets").items()}
            assert job.pop("uses") == "./.github/workflows/deploy.yml"
            steps = re.sub(r"\binputs\.(\w+)", lambda match: f"({inputs[match[1]]})", json.dumps(called["steps"]))
            steps = re.sub(r"\bsecrets\.(\w+)", lambda match: f"({secrets[match[1]]})", steps)
            job |= {"steps": json.loads(steps), "runs-on": called["runs-on"]}

        self.rewrite("land.yml", inline)

    def go_on(self, *commands: str) -> None:
        """Have the world go on, by these commands, between two runs."""
        environment = {"HOME": str(self.home), "PATH": self.path(terraform=False), "KOSLI_HOST": self.host}
        environment["KOSLI_ORG"] = self.world["org"]
        for command in commands:
            words = ["/bin/bash", "-c", command]
            subprocess.run(words, cwd=self.checkout, env=environment, check=True, capture_output=True)

    def run(
        self,
        workflow: str = "promote.yml",
        *,
        inputs: dict[str, str] | None = None,
        environment: dict[str, str] | None = None,
        run_id: int = 1001,
        terraform: bool = False,
        actor: str = "starter",
        checkout: Path | None = None,
        repositories: dict[str, Path] | None = None,
    ) -> Run:
        """Dispatch a workflow and wait for its end. `terraform`: the real one, where it is installed."""
        checkout = checkout or self.checkout
        (self.props / "runs").mkdir(exist_ok=True)
        facts = {"id": run_id, "path": f".github/workflows/{workflow}@main", "event": "workflow_dispatch"}
        facts |= {"head_branch": "main", "head_sha": "c0ffee", "head_repository": {"full_name": REPOSITORY}}
        (self.props / f"runs/{run_id}").write_text(json.dumps(facts))
        command = [program("act"), "workflow_dispatch", "--workflows", f".github/workflows/{workflow}"]
        command += ["--platform", "ubuntu-latest=-self-hosted", "--no-cache-server", "--pull=false", "--json"]
        command += ["--action-offline-mode", "--no-skip-checkout", "--actor", actor]
        # What anyone who may push can set counts for nothing.
        for name in ("KOSLI_HOST", "KOSLI_AWS_PROD", "DEPLOY_ROLE", "GITLAB_URL"):
            command += ["--var", f"{name}=http://127.0.0.1:9"]
        secrets = dict.fromkeys(("KOSLI_API_TOKEN", "KOSLI_RECORDER_TOKEN", "GITLAB_TOKEN", "GITHUB_TOKEN"), TOKEN)
        secrets["SOURCES_TOKEN"] = f"{TOKEN}-for-sources"
        git = checkout / ".git"
        ref = (git / "HEAD").read_text().split()[1]
        (repository,) = re.findall("github.com/(.*)", (git / "config").read_text())
        event = {"inputs": inputs or {}, "ref": ref, "repository": {"default_branch": "main"}}
        (self.props / "event.json").write_text(json.dumps(event))
        command += ["--eventpath", str(self.props / "event.json")]
        # What act is not told, it looks up in .git a thousand times.
        told = {"GITHUB_REF": ref, "SHA_REF": (git / ref).read_text().strip()}
        told |= {"GITHUB_REPOSITORY": repository, "GITHUB_RUN_ID": str(run_id), "GITHUB_RUN_ATTEMPT": "1"}
        for option, values in (("--env", told | (environment or {})), ("--secret", secrets)):
            for name, value in values.items():
                command += [option, f"{name}={value}"]
        actions = {each: HERE / "actions" / each.partition("@")[0].rpartition("/")[2] for each in used_actions()}
        for action, folder in sorted((actions | (repositories or {})).items()):
            command += ["--local-repository", f"{action}={folder}"]
        before = {
            "requests": len(read_lines(self.state / "requests.jsonl")),
            "checkouts": len(read_lines(self.props / "checkouts")),
            "roles": len(read_lines(self.props / "roles")),
            "deployments": len(read_images(self.home)),
        }
        outside = {"HOME": str(self.home), "PATH": self.path(terraform), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        said = self.props / "said"
        shutil.rmtree(said, ignore_errors=True)
        said.mkdir()
        # Each job has its files there: in memory, a run takes half of the time.
        with tempfile.TemporaryDirectory(dir=MEMORY if os.path.isdir(MEMORY) else None) as cache:
            pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
            # The recorder beside the cloud tells Kosli too, with a token of its own.
            outside |= {"XDG_CACHE_HOME": cache, "RECORDED_AT": self.host, "RECORDED_ORG": self.world["org"]}
            act = subprocess.Popen(command, cwd=checkout, env=outside, stdin=nothing, stdout=pipe, stderr=pipe)
            try:
                stdout, stderr = act.communicate(timeout=LONGEST)
            except subprocess.TimeoutExpired:
                running = subprocess.run(
                    ["ps", "-eo", "ppid,pid,stat,wchan:20,etimes,args"], capture_output=True, text=True
                )
                act.kill()
                below = re.search(rf"^ *{act.pid} +[0-9]+ [^Z]", running.stdout, re.MULTILINE)
                raise AssertionError(f"{STUCK if not below else 'a program does not end'}\n{running.stdout}") from None
        assert act.returncode != 2, f"{CRASHED}\n{stderr.decode('utf-8', 'replace')[-5000:]}"
        events = [json.loads(line) for line in stdout.splitlines()]
        spoken: dict[str, list[str]] = {}
        for path in said.iterdir():
            spoken.setdefault(path.stem, []).append(path.read_text("utf-8", "replace"))
        run = Run(act.returncode, events, stderr.decode(), self.home, before, spoken)
        self.found.setdefault(run_id, run.outputs("find-promotions"))
        return run

    def run_part(self, *parts: str, attempt: int = 1, approved: str = "1", **more: Any) -> Run:
        """Run only these jobs of promote.yml, as a re-run does: they get what the others once put into their outputs.

        `approved` is the attempt that was approved. Of the jobs `refused`, only those of the called files run.
        """
        kept = {} if "release" in parts else {"${{ needs.release.outputs.attempt }}": approved}
        if "find-promotions" not in parts:
            outputs = self.found[1001].items()
            kept |= {f"${{{{ needs.find-promotions.outputs.{name} }}}}": value for name, value in outputs}

        def go_on_with(jobs: dict[str, Any]) -> None:
            leave_only(jobs, *parts)
            for job in jobs.values():
                job["needs"] = [name for name in job.get("needs", []) if name in parts]
                if "with" in job:
                    job["with"] = {name: kept.get(value, value) for name, value in job["with"].items()}

        path = self.checkout / ".github/workflows/promote.yml"
        whole = path.read_bytes()
        self.rewrite("promote.yml", go_on_with)
        try:
            return self.run(environment={"GITHUB_RUN_ATTEMPT": str(attempt)}, **more)
        finally:
            path.write_bytes(whole)

    def keep(self, name: str) -> None:
        """Keep how everything stands."""
        shutil.copytree(self.home, self.folder / name, symlinks=True)

    def go_back(self, name: str) -> "Stage":
        """Have everything stand as it was kept."""
        shutil.rmtree(self.home)
        shutil.copytree(self.folder / name, self.home, symlinks=True)
        return self

    def path(self, terraform: bool) -> str:
        """Return the PATH of the run: stand-ins first. `terraform`: the real one, where it is installed."""
        tools = self.props / "tools"
        tools.mkdir(exist_ok=True)
        (tools / "terraform").unlink(missing_ok=True)
        (tools / "terraform").symlink_to(
            (terraform and shutil.which("terraform")) or HERE / "bin-without-terraform/terraform"
        )
        return ":".join(map(str, (HERE / "bin", tools, Path(sys.prefix) / "bin", "/usr/bin", "/bin")))


def job_of(event: dict[str, Any]) -> str:
    """Return the job of the release that an event of act's is about; `refused` is called by its file."""
    job: str = event.get("jobID", "")
    shown = str(event.get("job", ""))
    caller = next((call for call in CALLS if f"/{call}/" in shown), "")
    return f"{caller or 'find'}: refused" if job == "refused" else JOB_NAMES.get(job, job)


def leg_of(event: dict[str, Any]) -> str:
    """Return the name of a leg: the promotion's flow; the service's name, which a reusable workflow shows."""
    shown: str = event["job"]
    return event.get("matrix", {}).get("incoming_flow") or shown.rpartition("/")[2].strip()


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


def replace_in(path: Path, old: str, new: str, times: int = 1) -> None:
    """Replace what stands so many times in a file."""
    text = path.read_text("utf-8")
    assert text.count(old) == times, f"{path.name} has {text.count(old)} times: {old}"
    path.write_text(text.replace(old, new), "utf-8")


def leave_only(jobs: dict[str, Any], *names: str) -> None:
    """Take all other jobs out of those of a workflow."""
    for name in set(jobs) - set(names):
        del jobs[name]


def inside(value: str) -> str:
    """Return the expression in `${{ }}`."""
    text = value.strip()
    assert (text[:3], text[-2:], text.count("${{")) == ("${{", "}}", 1), f"not one expression: {value}"
    return " ".join(text[3:-2].split())


def used_actions() -> set[str]:
    """Return the actions outside this repository that workflows and local actions use, with their pins."""
    files = [ROOT / "action.yml", *(ROOT / ".github").rglob("*.yml")]
    text = "".join(path.read_text("utf-8") for path in files)
    return set(re.findall(r"uses: ([^.\s]\S+@\S+)", text))


def program(name: str) -> str:
    """Return the path of a program of the test environment. It is a requirement, so a missing one fails."""
    found = shutil.which(name, path=f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}")
    assert found, f"{name} is missing: make .venv/.stamp-act installs it"
    return found


@cache
def prepared_checkout() -> Path:
    """Return a checkout of what a release needs, as it stands in this folder, with a virtual environment."""
    target = Path(os.environ["WORLDS_SERVICE"]) / "checkout"
    target.mkdir()
    for part in (".github", "action.yml", "Makefile", "requirements.txt", "scripts", "jq", "kosli"):
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("*_cache", "node_modules"))
        else:
            shutil.copy(source, target / part)
    (target / "holds.toml").write_text("")
    for file, old, new, times in EDITS:
        replace_in(target / ".github/workflows" / file, old, new, times)
    commit_all(target, REPOSITORY)
    compileall.compile_dir(target / "scripts/lib", quiet=1)  # else each job would do that
    (target / ".venv").symlink_to(sys.prefix)
    return target


def commit_all(target: Path, repository: str) -> None:
    """Make a folder a git checkout of a repository's main branch."""
    git = ["git", "-c", "user.name=rehearsal", "-c", "user.email=rehearsal@example.com", "-c", "commit.gpgsign=false"]
    for arguments in (
        ["init", "--quiet", "--initial-branch=main", "--template="],
        ["add", "--all"],
        ["commit", "--quiet", "--message", "As it stands"],
        ["repack", "-adq"],  # in few files: each job makes a copy
        ["remote", "add", "origin", f"https://github.com/{repository}"],
    ):
        subprocess.run([*git, *arguments], cwd=target, check=True)
