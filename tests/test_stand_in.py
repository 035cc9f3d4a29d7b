"""The stand-in Kosli CLI is as strict as the real one: what it refuses, what binds to its flags, how it misbehaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
KOSLI = str(FIXTURES / "bin" / "kosli")
TOKEN = "a-token-of-the-tests"
UNKNOWN = "0" * 64
HOST = "https://app.kosli.com"
OTHER = "https://other.kosli.com"

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_RUN_NUMBER": "7",
    "GITHUB_RUN_ID": "70",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "cyber-dojo/saver",
    "GITHUB_REPOSITORY_OWNER": "cyber-dojo",
    "GITHUB_SHA": "3cb945b7c2a4cbe246cd629b8e5dec31d5278f16",
}

FLOW_TEMPLATE = """\
version: 1
trail:
  attestations:
    - name: release
      type: generic
  artifacts:
    - name: saver
      attestations:
        - {name: promotion, type: "custom:promotion"}
"""

SCHEMA = {
    "type": "object",
    "required": ["incoming_flow"],
    "properties": {
        "incoming_flow": {"type": "string", "pattern": "-ci$"},
        "provider": {"enum": ["github", "gitlab"]},
        "counts": {"type": "array", "items": {"$ref": "#/$defs/count"}},
    },
    "$defs": {"count": {"type": "integer"}},
}


class StandIn:
    """The stand-in with a HOME and a current directory of its own."""

    def __init__(self, home: Path, world: str) -> None:
        self.home = home
        self.state = home / ".kosli-stand-in"
        self.state.mkdir()
        self.cwd = home / "cwd"
        self.cwd.mkdir()
        shutil.copy(FIXTURES / "worlds" / f"{world}.json", self.state / "world.json")

    @property
    def world(self) -> dict[str, Any]:
        """The world as it is now."""
        return json.loads((self.state / "world.json").read_text())

    def change(self, **keys: Any) -> None:
        """Replace keys of the world."""
        (self.state / "world.json").write_text(json.dumps({**self.world, **keys}))

    def environment(self, **variables: str | None) -> dict[str, str]:
        """Variables for a call; None takes one away."""
        path = f"{FIXTURES / 'bin'}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        usual = {"PATH": path, "HOME": str(self.home), "KOSLI_ORG": "cyber-dojo", "KOSLI_API_TOKEN": TOKEN}
        return {name: text for name, text in {**usual, **variables}.items() if text is not None}

    def run(self, *argv: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
        """Run `kosli ARGV`."""
        ran = subprocess.run(
            [KOSLI, *argv],
            env=self.environment(**variables),
            cwd=self.cwd,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert "Traceback" not in ran.stderr, ran.stderr
        return ran

    def done(self, *argv: str, **variables: str | None) -> str:
        """Run what has to succeed without a word on stderr; its stdout."""
        ran = self.run(*argv, **variables)
        assert (ran.returncode, ran.stderr) == (0, "")
        return ran.stdout

    def refused(self, *argv: str, **variables: str | None) -> str:
        """Run what has to be refused with an empty stdout; its stderr."""
        ran = self.run(*argv, **variables)
        assert (ran.returncode, ran.stdout) == (1, ""), ran.stderr
        assert ran.stderr.startswith("Error: [kosli")
        return ran.stderr

    def deploy(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run `stand-in-deploy ARGV`."""
        program = str(FIXTURES / "bin" / "stand-in-deploy")
        return subprocess.run([program, *argv], env=self.environment(), capture_output=True, text=True, check=False)

    def diff(self) -> dict[str, Any]:
        """The diff of beta and prod."""
        return json.loads(self.done("diff", "snapshots", "aws-beta", "aws-prod", "--output=json"))

    def fingerprint(self, flow: str) -> str:
        """The fingerprint of a flow's incoming artifact."""
        return next(row["fingerprint"] for row in self.diff()["snappish1"]["artifacts"] if row["flow"] == flow)

    def calls(self) -> list[dict[str, Any]]:
        """The recorded calls."""
        return [json.loads(line) for line in (self.state / "calls.jsonl").read_text().splitlines()]

    def file(self, name: str, content: str | dict[str, Any]) -> str:
        """Write a file; its path."""
        path = self.cwd / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)


@pytest.fixture
def settled(tmp_path: Path) -> StandIn:
    """Beta is ahead on three services and has one that prod lacks."""
    return StandIn(tmp_path, "settled")


@pytest.fixture(scope="module")
def release_world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The settled world with the release's flow, type and trail, and saver's artifact in the trail."""
    settled = StandIn(tmp_path_factory.mktemp("release"), "settled")
    template = settled.file("template.yml", FLOW_TEMPLATE)
    schema = settled.file("schema.json", SCHEMA)
    settled.done("create", "flow", "production-promotion", "--template-file", template)
    settled.done("create", "attestation-type", "promotion", "--schema", schema, "--jq", '.incoming_flow != "bad-ci"')
    settled.done("begin", "trail", "release-1", "--flow=production-promotion")
    settled.done(*attest("artifact", settled.fingerprint("saver-ci"), "saver"), *URLS)
    return settled.world


@pytest.fixture
def release(settled: StandIn, release_world: dict[str, Any]) -> StandIn:
    """The stand-in with a release's trail."""
    settled.change(**release_world)
    return settled


@pytest.fixture
def non_compliant(tmp_path: Path) -> StandIn:
    """One incoming artifact may not run in prod."""
    return StandIn(tmp_path, "non-compliant")


URLS = ("--build-url=https://ci/1", "--commit-url=https://git/commit/1")
TRAIL = ("--flow=production-promotion", "--trail=release-1")


def attest(kind: str, fingerprint: str, name: str) -> list[str]:
    """An attest command into the release's trail."""
    subject = ["saver:1"] if kind == "artifact" else []
    return ["attest", *kind.split(), *subject, *TRAIL, f"--fingerprint={fingerprint}", f"--name={name}"]


def generic(*more: str, name: str = "release") -> list[str]:
    """A generic attestation of the release's trail."""
    return ["attest", "generic", *TRAIL, f"--name={name}", *more]


def ask(fingerprint: str, *more: str, environment: str = "aws-prod") -> list[str]:
    """The gate's question."""
    return [
        *("assert", "artifact", f"--fingerprint={fingerprint}", f"--environment={environment}", "--output=json"),
        *more,
    ]


DIFF = ["diff", "snapshots", "aws-beta", "aws-prod", "--output=json"]


class TestCommandLine:
    """What the CLI refuses before it asks anybody."""

    @pytest.mark.parametrize(
        ("argv", "message"),
        [
            ([], "[kosli] missing subcommand"),
            (["promote"], "[kosli] unknown command: promote"),
            (["attest"], "[kosli attest] missing subcommand"),
            (["attest", "approval"], "[kosli attest] unknown command: approval"),
            (["attest", "pullrequest", "gitlab"], "[kosli attest pullrequest] unknown command: gitlab"),
            ([*DIFF, "--colour"], "[kosli diff snapshots] unknown flag: --colour"),
            ([*DIFF, "--dry-run"], "[kosli diff snapshots] unknown flag: --dry-run"),
            ([*DIFF, "--flow=x"], "[kosli diff snapshots] unknown flag: --flow"),
            ([*DIFF, "-z"], "[kosli diff snapshots] unknown shorthand flag: 'z' in -z"),
            ([*DIFF, "--output"], "flag needs an argument: --output"),
            ([*DIFF, "-o"], "flag needs an argument: 'o' in -o"),
            ([*DIFF, "--output="], "flag '--output' was given an empty value"),
            ([*DIFF, "--output", ""], "flag '--output' was given an empty value"),
            ([*DIFF, "--host", "--debug"], "flag '--host' was given the value '--debug', which begins with a dash"),
            ([*DIFF, "--output=-json"], "flag '--output' was given the value '-json', which begins with a dash"),
            ([*DIFF, "--output=xml"], "invalid value for --output: xml"),
            ([*DIFF, "--debug=maybe"], 'invalid argument "maybe" for "--debug" flag: strconv.ParseBool'),
            ([*DIFF, "--max-api-retries=many"], 'invalid argument "many" for "--max-api-retries" flag'),
            (["diff", "snapshots", "aws-beta"], "accepts 2 arg(s), received 1 [aws-beta]"),
            (["diff", "snapshots", "aws-beta", ""], "an argument is empty"),
            (["assert", "artifact", "--environment=e"], "either --artifact-type or --fingerprint must be specified"),
            (["assert", "artifact", "--fingerprint=ABC"], "ABC is not a valid SHA256 fingerprint"),
            (["attest", "artifact"], "accepts 1 arg(s), received 0 []"),
            (
                ["attest", "artifact", "x"],
                '[kosli attest artifact] required flag(s) "build-url", "commit-url", "flow", "name", "trail" not set',
            ),
            (["attest", "artifact", "x", *TRAIL, *URLS, "--name=n"], "either --artifact-type or --fingerprint"),
            (
                ["attest", "custom"],
                'required flag(s) "attestation-data", "flow", "name", "trail", "type" not set',
            ),
            (["attest", "generic"], 'required flag(s) "flow", "name", "trail" not set'),
            (["attest", "decision", *TRAIL, "--name=n"], 'required flag(s) "compliant", "control" not set'),
            (["attest", "snyk", *TRAIL, "--name=n"], 'required flag(s) "scan-results" not set'),
            (
                ["attest", "pullrequest", "github", *TRAIL, "--name=n"],
                'required flag(s) "commit", "github-org", "github-token", "repository" not set',
            ),
            (["begin", "trail", "t"], 'required flag(s) "flow" not set'),
            (["create", "flow", "f"], "exactly one of --template-file, --use-empty-template is required"),
            (["create", "flow", "f", "--template-file=no.yml"], "open no.yml: no such file or directory"),
            (["tag", "flow", "saver-ci"], "at least one of --set, --unset is required"),
            (["tag", "trail", "x", "--set=a=b"], "trail is not a valid resource type"),
            (["snapshot", "server", "aws-beta"], 'required flag(s) "paths" not set'),
            (["snapshot", "ecs", "aws-beta", "--namespaces=x"], "unknown flag: --namespaces"),
        ],
    )
    def test_refuses(self, settled: StandIn, argv: list[str], message: str) -> None:
        assert message in settled.refused(*argv)

    @pytest.mark.parametrize(
        ("variables", "message"),
        [
            ({"KOSLI_ORG": None}, "[kosli diff snapshots] --org is not set"),
            ({"KOSLI_API_TOKEN": None}, "[kosli diff snapshots] --api-token is not set"),
            ({"KOSLI_API_TOKEN": ""}, "--api-token is not set"),
            ({"KOSLI_ORG": "another"}, "Organization 'another' does not exist"),
        ],
    )
    def test_needs_an_organization_and_a_token(self, settled: StandIn, variables: Any, message: str) -> None:
        assert message in settled.refused(*DIFF, **variables)

    def test_refuses_a_token_that_the_server_does_not_know(self, settled: StandIn) -> None:
        settled.change(token="the-right-one")
        assert "Unauthorized" in settled.refused(*DIFF)
        assert settled.done(*DIFF, KOSLI_API_TOKEN="the-right-one")

    @pytest.mark.parametrize(
        "argv",
        [
            ["diff", "snapshots", "-o", "json", "aws-beta", "aws-prod"],
            ["diff", "snapshots", "-ojson", "aws-beta", "--", "aws-prod"],
            ["--org", "cyber-dojo", "diff", "snapshots", "aws-beta", "aws-prod", "-uo=json"],
            ["diff", "--debug=false", "snapshots", "aws-beta", "aws-prod", "--output", "json"],
        ],
    )
    def test_takes_the_grammar_of_flags(self, settled: StandIn, argv: list[str]) -> None:
        assert json.loads(settled.done(*argv)) == settled.diff()

    def test_a_boolean_takes_no_value_from_the_next_word(self, release: StandIn) -> None:
        assert "received 2 [one two]" in release.refused(*generic("--compliant", "one", "two"))
        assert "received 1" not in release.run(*generic("--compliant", "false")).stderr

    def test_help_is_no_error(self, settled: StandIn) -> None:
        assert "kosli diff snapshots SNAPPISH_1 SNAPPISH_2 [flags]" in settled.done("diff", "snapshots", "--help")


class TestBinding:
    """Where a flag's value comes from."""

    def test_a_variable_binds_to_every_flag(self, settled: StandIn) -> None:
        assert json.loads(settled.done("diff", "snapshots", "aws-beta", "aws-prod", KOSLI_OUTPUT="json"))

    def test_a_leaked_flow_makes_the_gate_look_in_the_wrong_flow(self, settled: StandIn) -> None:
        fingerprint = settled.fingerprint("saver-ci")
        assert json.loads(settled.done(*ask(fingerprint), KOSLI_FLOW="saver-ci"))["compliant"] is True
        assert "does not exist in flow 'web-ci'" in settled.refused(*ask(fingerprint), KOSLI_FLOW="web-ci")
        assert "Flow named 'gone' does not exist" in settled.refused(*ask(fingerprint), KOSLI_FLOW="gone")

    def test_an_explicit_flag_wins(self, settled: StandIn) -> None:
        fingerprint = settled.fingerprint("saver-ci")
        assert settled.done(*ask(fingerprint, "--flow=saver-ci"), KOSLI_FLOW="web-ci", KOSLI_FINGERPRINT=UNKNOWN)

    def test_a_leaked_value_is_checked_as_a_flag(self, settled: StandIn) -> None:
        assert 'invalid argument "yes" for "--debug" flag' in settled.refused(*DIFF, KOSLI_DEBUG="yes")
        assert "is not a valid SHA256" in settled.refused("assert", "artifact", KOSLI_FINGERPRINT="short")

    def test_a_leaked_compliance_turns_an_attestation(self, release: StandIn) -> None:
        release.done(*generic(), KOSLI_COMPLIANT="false")
        assert attestations(release)[-1]["compliant"] is False

    def test_an_empty_variable_counts_as_none_but_an_empty_flag_is_refused(self, settled: StandIn) -> None:
        fingerprint = settled.fingerprint("saver-ci")
        assert settled.done(*ask(fingerprint), KOSLI_FLOW="")
        assert "'--flow' was given an empty value" in settled.refused(*ask(fingerprint, "--flow="), KOSLI_FLOW="web-ci")

    def test_debug_as_a_flag_overrides_the_variable(self, settled: StandIn) -> None:
        assert "[debug]" in settled.run(*DIFF, KOSLI_DEBUG="true").stderr
        assert settled.run(*DIFF, "--debug=false", KOSLI_DEBUG="true").stderr == ""

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("kosli.json", '{"org": "from-file", "debug": false}'),
            ("kosli.yml", "# ours\norg: 'from-file' # here\n"),
            ("kosli.toml", 'org = "from-file"\n'),
        ],
    )
    def test_reads_a_configuration_file_right_here(self, settled: StandIn, name: str, text: str) -> None:
        settled.file(name, text)
        assert "Organization 'from-file'" in settled.refused(*DIFF, KOSLI_ORG=None)
        assert settled.done(*DIFF, KOSLI_ORG="cyber-dojo")

    def test_prefers_the_configuration_file_at_home(self, settled: StandIn) -> None:
        settled.file("kosli.yml", "org: from-here\n")
        (settled.home / ".kosli.yml").write_text("org: from-home\n")
        assert "Organization 'from-home'" in settled.refused(*DIFF, KOSLI_ORG=None)
        assert "Organization 'from-here'" in settled.refused(*DIFF, "--config-file=kosli.yml", KOSLI_ORG=None)
        assert "failed to open config file gone.yml" in settled.refused(*DIFF, "-c", "gone.yml")


class TestAsking:
    """Diffs, snapshots and the gate."""

    def test_the_diff_has_its_four_keys_and_no_final_newline(self, settled: StandIn) -> None:
        text = settled.done(*DIFF)
        diff = json.loads(text)
        assert text == json.dumps(diff, indent=2)
        assert list(diff) == ["snappish1", "snappish2", "changed", "not-changed"]
        assert [diff[key].get("snapshot_id") for key in diff] == ["aws-beta#4754", "aws-prod#3548", None, None]
        flows = {key: sorted(row["flow"] for row in diff[key]["artifacts"]) for key in diff}
        assert flows == {
            "snappish1": ["dashboard-ci", "runner-ci", "saver-ci", "web-ci"],
            "snappish2": ["runner-ci", "saver-ci", "web-ci"],
            "changed": [],
            "not-changed": ["creator-ci", "differ-ci", "nginx-ci"],
        }

    def test_another_number_of_instances_is_changed(self, settled: StandIn) -> None:
        environments = settled.world["environments"]
        row = next(row for row in environments["aws-prod"]["snapshots"][-1]["artifacts"] if row["flow"] == "differ-ci")
        row["instance_count"] = 2
        settled.change(environments=environments)
        diff = settled.diff()
        [changed] = diff["changed"]["artifacts"]
        assert (changed["flow"], changed["s1_instance_count"], changed["s2_instance_count"]) == ("differ-ci", 1, 2)
        assert "instance_count" not in changed
        assert len(diff["not-changed"]["artifacts"]) == 2

    def test_a_deployment_in_progress_is_in_two_categories(self, tmp_path: Path) -> None:
        diff = StandIn(tmp_path, "in-progress").diff()
        assert [row["flow"] for row in diff["snappish1"]["artifacts"]].count("web-ci") == 2

    def test_level_environments_differ_in_nothing(self, tmp_path: Path) -> None:
        diff = StandIn(tmp_path, "level").diff()
        assert diff["snappish1"]["artifacts"] == diff["snappish2"]["artifacts"] == []
        assert len(diff["not-changed"]["artifacts"]) == 7

    @pytest.mark.parametrize(
        ("expression", "snapshot_id"),
        [
            ("aws-beta", "aws-beta#4754"),
            ("aws-beta#4753", "aws-beta#4753"),
            ("aws-beta~0", "aws-beta#4754"),
            ("aws-beta~1", "aws-beta#4753"),
            ("aws-beta@{2.hours.ago}", "aws-beta#4754"),
            ("aws-beta@{1.day.ago}", "aws-beta#4753"),
            ("aws-beta@{2026-08-09T12:00:00}", "aws-beta#4753"),
            ("aws-beta@{now}", "aws-beta#4754"),
        ],
    )
    def test_knows_the_expressions_of_snapshots(self, settled: StandIn, expression: str, snapshot_id: str) -> None:
        diff = json.loads(settled.done("diff", "snapshots", expression, "aws-prod", "--output=json"))
        assert diff["snappish1"]["snapshot_id"] == snapshot_id

    @pytest.mark.parametrize(
        ("expression", "message"),
        [
            ("aws-gamma", "Environment named 'aws-gamma' does not exist for organization 'cyber-dojo'"),
            ("aws-beta#1", "No snapshot found for 'aws-beta#1'"),
            ("aws-beta~2", "No snapshot found for 'aws-beta~2'"),
            ("aws-beta@{9.weeks.ago}", "No snapshot found for 'aws-beta@{9.weeks.ago}'"),
            ("aws-beta@{later}", "'later' is not a date that can be read"),
            ("aws-beta#x", "'aws-beta#x' is not a valid snapshot expression"),
        ],
    )
    def test_refuses_what_was_never_recorded(self, settled: StandIn, expression: str, message: str) -> None:
        assert f"Error: [kosli get snapshot] {message}" in settled.refused("get", "snapshot", expression)

    def test_get_snapshot_lists_what_exited(self, settled: StandIn) -> None:
        snapshot = json.loads(settled.done("get", "snapshot", "aws-prod", "--output=json"))
        annotations = {
            (row["flow_name"], row["annotation"]["type"], row["annotation"]["was"], row["annotation"]["now"])
            for row in snapshot["artifacts"]
        }
        assert snapshot["index"] == 3548
        assert {("differ-ci", "exited", 1, 0), ("differ-ci", "started", 0, 1)} < annotations
        assert ("web-ci", "unchanged", 3, 3) in annotations

    def test_compliant_in_both_environments(self, settled: StandIn) -> None:
        for environment, policies in (("aws-beta", 2), ("aws-prod", 3)):
            told = json.loads(settled.done(*ask(settled.fingerprint("web-ci"), environment=environment)))
            assert (told["compliant"], told["scope"], told["environment"]) == (True, "environment", environment)
            assert [each["status"] for each in told["policy_evaluations"]] == ["COMPLIANT"] * policies
            assert [each["flow"] for each in told["flows"]] == ["web-ci"]

    def test_non_compliant_is_json_and_exit_1(self, non_compliant: StandIn) -> None:
        ran = non_compliant.run(*ask(non_compliant.fingerprint("runner-ci")))
        told = json.loads(ran.stdout)
        assert (ran.returncode, told["compliant"]) == (1, False)
        assert ran.stderr == "Error: [kosli assert artifact] Artifact is not compliant\n"
        assert [each["status"] for each in told["policy_evaluations"]] == ["COMPLIANT", "NON-COMPLIANT", "COMPLIANT"]
        broken = told["policy_evaluations"][1]["rule_evaluations"][-1]
        assert broken["rule"] == {"type": "attestation", "definition": {"name": "snyk-scan", "type": "snyk"}}
        assert [each["type"] for each in broken["resolutions"]] == ["missing_attestation"]

    def test_no_policy_attached_is_compliant_without_evaluations(self, non_compliant: StandIn) -> None:
        environments = non_compliant.world["environments"]
        environments["aws-prod"]["policies"] = []
        non_compliant.change(environments=environments)
        told = json.loads(non_compliant.done(*ask(non_compliant.fingerprint("runner-ci"))))
        assert (told["compliant"], told["policy_evaluations"]) == (True, [])

    def test_an_unknown_artifact_is_not_found(self, settled: StandIn) -> None:
        assert f"Artifact with fingerprint '{UNKNOWN}' does not exist" in settled.refused(*ask(UNKNOWN))

    def test_an_attested_failure_counts_in_the_gate(self, release: StandIn) -> None:
        fingerprint = release.fingerprint("saver-ci")
        release.done(*attest("generic", fingerprint, "saver.scan"), "--compliant=false")
        told = json.loads(release.run(*ask(fingerprint)).stdout)
        assert told["compliant"] is False
        release.done(*attest("generic", fingerprint, "saver.scan"))
        assert json.loads(release.done(*ask(fingerprint)))["compliant"] is True

    def test_a_table_is_never_json(self, settled: StandIn) -> None:
        with pytest.raises(ValueError, match="Expecting value"):
            json.loads(settled.done("diff", "snapshots", "aws-beta", "aws-prod"))
        assert settled.done(*ask(settled.fingerprint("web-ci"), "-o", "table")).startswith("COMPLIANT\n")


def attestations(stand_in: StandIn) -> list[dict[str, Any]]:
    """What is attested in the release's trail."""
    return stand_in.world["flows"]["production-promotion"]["trails"]["release-1"]["attestations"]


class TestAttesting:
    """What the server and the CLI refuse to attest, and what is kept."""

    @pytest.mark.parametrize(
        ("argv", "message"),
        [
            (generic(name="a.b.c"), "invalid attestation name format: a.b.c"),
            (generic(name="my repo"), "invalid attestation name: 'my repo' does not match ^[a-zA-Z0-9\\-_,]+$"),
            (generic(name="saver."), "invalid attestation name: '' does not match"),
            (["attest", "artifact", "x", *TRAIL, *URLS, f"-F{UNKNOWN}", "-nmy.repo"], "artifact name 'my.repo'"),
            (generic("--annotate=my-key=v"), "Invalid key: 'my-key'. Key can only contain [A-Za-z0-9_]"),
            (generic("--annotate=key"), 'invalid argument "key" for "--annotate" flag: key must be formatted as'),
            (generic("--annotate=url=u?a=b,c"), "c must be formatted as key=value"),
            (generic('--annotate=a="b"=c'), 'bare " in non-quoted field'),
            (generic(f"--fingerprint={UNKNOWN}"), f"'{UNKNOWN}' does not exist in trail 'release-1' of flow"),
            (generic("--flow=gone"), "Flow named 'gone' does not exist for organization 'cyber-dojo'"),
            (generic("--trail=gone"), "Trail with name 'gone' does not exist"),
            (generic("--attachments=gone.txt"), "open gone.txt: no such file or directory"),
            (generic("--artifact-type=gem"), "gem is not a supported artifact type"),
            (generic("--artifact-type=docker"), "file/dir path is required when --artifact-type is set to docker"),
            (["begin", "trail", "t", "--flow=gone"], "Flow named 'gone' does not exist"),
            (["begin", "trail", "a/b", "--flow=production-promotion"], "trail name 'a/b' does not match"),
            (["tag", "flow", "gone", "--set=a=b"], "Flow named 'gone' does not exist"),
            (["snapshot", "ecs", "gone", "--cluster=c"], "Environment named 'gone' does not exist"),
            (["snapshot", "k8s", "aws-beta"], "Environment 'aws-beta' is of type ECS, the report is of type K8S"),
        ],
    )
    def test_refuses(self, release: StandIn, argv: list[str], message: str) -> None:
        before = release.world
        assert message in release.refused(*argv)
        assert release.world == before

    @pytest.mark.parametrize(
        ("kind", "data", "message"),
        [
            ("unknown", {"incoming_flow": "saver-ci"}, "Custom attestation type 'unknown' does not exist"),
            ("promotion", {}, "$: 'incoming_flow' is a required property"),
            ("promotion", {"incoming_flow": 1}, "$.incoming_flow: 1 is not of type string"),
            ("promotion", {"incoming_flow": "saver"}, '$.incoming_flow: "saver" does not match -ci$'),
            ("promotion", {"incoming_flow": "a-ci", "provider": "x"}, '$.provider: "x" is not one of'),
            ("promotion", {"incoming_flow": "a-ci", "counts": [1, True]}, "$.counts[1]: true is not of type integer"),
        ],
    )
    def test_refuses_data_that_is_not_of_its_type(self, release: StandIn, kind: str, data: Any, message: str) -> None:
        path = release.file("data.json", data)
        argv = ["attest", "custom", *TRAIL, "--name=n", f"--type={kind}", f"--attestation-data={path}"]
        assert message in release.refused(*argv)

    def test_refuses_data_that_is_not_json_or_not_there(self, release: StandIn) -> None:
        argv = ["attest", "custom", *TRAIL, "--name=n", "--type=promotion"]
        assert "no such file" in release.refused(*argv, "--attestation-data=gone.json")
        assert "as JSON" in release.refused(*argv, "--attestation-data", release.file("data.json", "{"))

    @pytest.mark.skipif(not shutil.which("jq"), reason="the rules of a custom type are jq's")
    @pytest.mark.parametrize(("flow", "compliant"), [("saver-ci", True), ("bad-ci", False)])
    def test_the_rules_of_the_type_decide(self, release: StandIn, flow: str, compliant: bool) -> None:
        path = release.file("data.json", {"incoming_flow": flow})
        argv = attest("custom", release.fingerprint("saver-ci"), "saver.promotion")
        release.done(
            *argv, "--type=promotion", f"--attestation-data={path}", "--annotate=deployment_diff_URL=https://x"
        )
        [kept] = attestations(release)
        assert (kept["type"], kept["target"], kept["compliant"]) == ("custom:promotion", "saver", compliant)
        assert kept["data"] == {"incoming_flow": flow}
        assert kept["annotations"] == {"deployment_diff_URL": "https://x"}

    def test_without_jq_the_compliance_is_unknown(self, release: StandIn) -> None:
        only_python = release.home / "bin"
        only_python.mkdir()
        (only_python / "python3").symlink_to(sys.executable)
        path = release.file("data.json", {"incoming_flow": "saver-ci"})
        argv = ["attest", "custom", *TRAIL, "--name=n", "--type=promotion", f"--attestation-data={path}"]
        ran = release.run(*argv, PATH=str(only_python), PYTHONPATH=os.pathsep.join(sys.path))
        assert ran.returncode == 0
        assert ran.stderr.startswith("[warning] the stand-in has no jq on PATH")
        assert attestations(release)[-1]["compliant"] is None

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("url=https://x/a,b", {"url": "https://x/a,b"}),
            ('url="quoted"', {"url": '"quoted'}),
            ("url=https://x?a=b", {"url": "https://x?a=b"}),
            ("url=https://x?a=b,c=d", {"url": "https://x?a=b", "c": "d"}),
            ('"url=https://x?a=b,c=d"', {"url": "https://x?a=b,c=d"}),
            ("url=x=y\nlost=z", {"url": "x=y"}),
        ],
    )
    def test_an_annotation_is_split_as_pflag_splits_it(
        self, release: StandIn, given: str, kept: dict[str, str]
    ) -> None:
        release.done(*generic(f"--annotate={given}", "--annotate=more=1"))
        assert attestations(release)[-1]["annotations"] == {**kept, "more": "1"}

    def test_a_generic_attestation_is_compliant_unless_told_otherwise(self, release: StandIn) -> None:
        release.done(*generic())
        release.done(*generic("--compliant=false"))
        assert [each["compliant"] for each in attestations(release)] == [True, False]

    def test_a_decision_says_what_was_decided(self, release: StandIn) -> None:
        release.done("attest", "decision", *TRAIL, "--name=n", "--control=SDLC-1", "--compliant=false")
        assert (attestations(release)[-1]["data"], attestations(release)[-1]["compliant"]) == (
            {"control": "SDLC-1"},
            False,
        )

    @pytest.mark.parametrize("failures", [0, 1])
    def test_junit_results(self, release: StandIn, failures: int) -> None:
        release.file("junit.xml", f'<testsuites><testsuite tests="3" failures="{failures}" errors="0"/></testsuites>')
        release.done("attest", "junit", *TRAIL, "--name=unit-tests", "--results-dir=.")
        assert attestations(release)[-1]["compliant"] is (failures == 0)

    def test_no_junit_results_are_refused(self, release: StandIn) -> None:
        assert "no JUnit XML results were found" in release.refused("attest", "junit", *TRAIL, "--name=n")

    @pytest.mark.parametrize(
        ("scan", "compliant"),
        [
            ({"runs": [{"results": []}]}, True),
            ({"runs": [{"results": [{"ruleId": "x"}]}]}, False),
            ({"vulnerabilities": []}, True),
        ],
    )
    def test_snyk_results(self, release: StandIn, scan: dict[str, Any], compliant: bool) -> None:
        path = release.file("snyk.json", scan)
        release.done("attest", "snyk", *TRAIL, "--name=snyk-scan", f"--scan-results={path}")
        assert attestations(release)[-1]["compliant"] is compliant

    def test_a_scan_of_another_shape_is_refused(self, release: StandIn) -> None:
        path = release.file("snyk.json", {"error": "no"})
        assert "neither SARIF nor Snyk JSON" in release.refused(
            "attest", "snyk", *TRAIL, "--name=n", f"--scan-results={path}"
        )

    def test_a_commit_without_pull_request_is_kept_and_refused(self, release: StandIn) -> None:
        (release.cwd / ".git").mkdir()
        release.change(pull_requests={GITHUB["GITHUB_SHA"]: []})
        argv = ["attest", "pullrequest", "github", *TRAIL, "--name=pr", "--github-token=t"]
        release.done(*argv, **GITHUB)
        ran = release.run(*argv, "--assert", **GITHUB)
        assert ran.returncode == 1
        assert "assert failed: no pull request found for the given commit" in ran.stderr
        assert [each["compliant"] for each in attestations(release)] == [False, False]
        release.done(*argv, "--assert", **{**GITHUB, "GITHUB_SHA": "1" * 40})

    def test_the_fingerprint_of_a_file_and_of_an_image(self, settled: StandIn) -> None:
        settled.done("create", "flow", "f", "--use-empty-template")
        settled.done("begin", "trail", "t", "--flow=f")
        path = settled.file("empty", "")
        common = ["--flow=f", "--trail=t", *URLS]
        settled.done("attest", "artifact", path, "--artifact-type=file", "--name=file", *common)
        settled.done("attest", "artifact", f"r/saver@sha256:{UNKNOWN}", "--artifact-type=oci", "--name=image", *common)
        artifacts = settled.world["flows"]["f"]["trails"]["t"]["artifacts"]
        assert artifacts["file"]["fingerprint"].startswith("e3b0c44298fc1c14")
        assert artifacts["image"]["fingerprint"] == UNKNOWN
        argv = ["attest", "artifact", "saver:1", "--artifact-type=docker", "--name=n", *common]
        assert "failed to get the fingerprint of saver:1" in settled.refused(*argv)


class TestContinuousIntegration:
    """In a CI the defaults come from there, and a git checkout is needed."""

    def test_the_urls_and_the_commit_come_from_github(self, release: StandIn) -> None:
        (release.cwd / ".git").mkdir()
        release.done(*attest("artifact", UNKNOWN, "other"), **GITHUB)
        record = release.world["flows"]["production-promotion"]["trails"]["release-1"]["artifacts"]["other"]
        assert record["build_url"] == "https://github.com/cyber-dojo/saver/actions/runs/70"
        assert record["commit_url"] == f"https://github.com/cyber-dojo/saver/commit/{GITHUB['GITHUB_SHA']}"
        assert record["commit"] == GITHUB["GITHUB_SHA"]

    @pytest.mark.parametrize("kind", ["artifact", "generic"])
    def test_refuses_without_a_checkout(self, release: StandIn, kind: str) -> None:
        argv = attest(kind, release.fingerprint("saver-ci"), "saver")
        message = "failed to open git repository at .: repository does not exist"
        assert message in release.refused(*argv, **GITHUB)
        (release.home / ".git").mkdir()
        assert release.done(*argv, f"--repo-root={release.home}", **GITHUB)

    def test_an_explicit_commit_needs_a_checkout_too(self, release: StandIn) -> None:
        assert "failed to open git repository" in release.refused(*generic("--commit=HEAD"))

    def test_the_defaults_need_all_of_their_variables(self, release: StandIn) -> None:
        argv = attest("artifact", UNKNOWN, "other")
        assert '"build-url", "commit-url" not set' in release.refused(*argv, GITHUB_ACTIONS="true")


class TestSettingUp:
    """Flows, types and trails, each of which can be made twice."""

    def test_a_second_time_updates_and_keeps(self, release: StandIn) -> None:
        before = release.world["flows"]["production-promotion"]["trails"]
        template = release.file("template.yml", FLOW_TEMPLATE)
        argv = ["create", "flow", "production-promotion", f"--template-file={template}", "--description=again"]
        assert release.done(*argv) == "flow 'production-promotion' was updated\n"
        assert release.done("begin", "trail", "release-1", "--flow=production-promotion").endswith("was updated\n")
        assert release.done("create", "attestation-type", "promotion").endswith("was updated\n")
        assert len(release.world["attestation_types"]["promotion"]["versions"]) == 2
        after = release.world["flows"]["production-promotion"]
        assert after["description"] == "again"
        assert after["trails"]["release-1"]["artifacts"] == before["release-1"]["artifacts"]

    @pytest.mark.parametrize(
        ("template", "message"),
        [
            ("trail: {}\n", "'version' is a required property"),
            ("version: 1\njobs: {}\n", "additional property 'jobs' is not allowed"),
            (FLOW_TEMPLATE.replace("generic", "whatever"), "'whatever' is not a known attestation type"),
            (FLOW_TEMPLATE.replace("custom:promotion", "custom:"), "'custom:' is not a known attestation type"),
            (FLOW_TEMPLATE.replace("name: saver", "name: my.repo"), "name 'my.repo' does not match"),
        ],
    )
    def test_refuses_a_template(self, settled: StandIn, template: str, message: str) -> None:
        path = settled.file("template.yml", template)
        assert message in settled.refused("create", "flow", "f", f"--template-file={path}")

    def test_refuses_a_type_whose_schema_or_rule_cannot_be_read(self, settled: StandIn) -> None:
        argv = ["create", "attestation-type", "t"]
        assert "is not a JSON Schema" in settled.refused(*argv, "--schema", settled.file("schema.json", "[]"))
        assert "as JSON" in settled.refused(*argv, "--schema", settled.file("schema.json", "{"))
        if shutil.which("jq"):
            assert "jq rule '.a ==' is not valid" in settled.refused(*argv, "--jq", ".a ==")

    def test_tags_a_flow(self, settled: StandIn) -> None:
        settled.done("tag", "flow", "saver-ci", "--set=team=a", "--set=kind=b")
        settled.done("tag", "flow", "saver-ci", "--unset=team")
        assert settled.world["tags"] == {"flow saver-ci": {"kind": "b"}}


class TestDryRun:
    """Dry run opens gates."""

    @pytest.mark.parametrize("how", ["variable", "flag", "shorthand"])
    def test_a_non_compliant_artifact_passes(self, non_compliant: StandIn, how: str) -> None:
        more = {"variable": [], "flag": ["--dry-run"], "shorthand": ["-D"]}[how]
        variables = {"KOSLI_DRY_RUN": "true"} if how == "variable" else {}
        ran = non_compliant.run(*ask(non_compliant.fingerprint("runner-ci"), *more), **variables)
        assert ran.returncode == 0
        assert '"compliant": false' in ran.stdout
        assert ran.stdout.endswith("Error: [kosli assert artifact] Artifact is not compliant\n")
        assert "[warning] Encountered an error but --dry-run is enabled" in ran.stderr

    def test_an_artifact_that_is_not_there_passes(self, settled: StandIn) -> None:
        ran = settled.run(*ask(UNKNOWN), KOSLI_DRY_RUN="true")
        assert ran.returncode == 0
        assert ran.stdout.startswith("Error: [kosli assert artifact] Artifact with fingerprint")

    def test_a_false_dry_run_flag_overrides_the_variable(self, settled: StandIn) -> None:
        assert settled.refused(*ask(UNKNOWN, "--dry-run=false"), KOSLI_DRY_RUN="true")

    @pytest.mark.parametrize(
        "argv", [DIFF, ask(UNKNOWN), ["get", "snapshot", "aws-beta"], ["diff", "snapshots"], generic("--name=a.b.c")]
    )
    def test_the_token_turns_every_error_into_an_answer(self, settled: StandIn, argv: list[str]) -> None:
        ran = settled.run(*argv, KOSLI_API_TOKEN="DRY_RUN")
        assert ran.returncode == 0
        assert ran.stdout.startswith("Error: [kosli ")

    def test_the_variable_is_nothing_to_a_command_without_the_flag(self, settled: StandIn) -> None:
        assert settled.refused("diff", "snapshots", "aws-gamma", "aws-prod", KOSLI_DRY_RUN="true")

    def test_nothing_is_sent(self, release: StandIn) -> None:
        before = release.world
        assert "THIS IS A DRY-RUN" in release.done(*generic(), KOSLI_DRY_RUN="true")
        assert "THIS IS A DRY-RUN" in release.done("create", "flow", "f", "--use-empty-template", "--dry-run")
        assert release.world == before


class TestVersions:
    """The versions that cannot be trusted as a gate."""

    def test_says_its_version_without_org_token_or_world(self, settled: StandIn) -> None:
        (settled.state / "world.json").unlink()
        assert settled.done("version", "--short", KOSLI_ORG=None, KOSLI_API_TOKEN=None) == "v2.38.0\n"
        assert 'Version:"v2.38.0"' in settled.done("version")
        assert "the stand-in has no world" in settled.refused(*DIFF)

    @pytest.mark.parametrize(
        ("version", "output", "code"),
        [
            ("v2.11.23", "json", 1),
            ("v2.11.24", "json", 0),
            ("v2.11.24", "table", 0),
            ("v2.11.29", "json", 0),
            ("v2.11.30", "json", 0),
            ("v2.11.30", "table", 1),
            ("v2.11.31", "json", 1),
            ("v2.11.40", "json", 1),
        ],
    )
    def test_the_gate_of(self, non_compliant: StandIn, version: str, output: str, code: int) -> None:
        fingerprint = non_compliant.fingerprint("runner-ci")
        non_compliant.change(mood={"version": version})
        assert non_compliant.done("version", "--short") == f"{version}\n"
        ran = non_compliant.run(*ask(fingerprint, f"--output={output}"))
        assert ran.returncode == code
        assert ("false" if output == "json" else "NON-COMPLIANT") in ran.stdout

    def test_one_version_always_prints_a_prefix(self, settled: StandIn) -> None:
        settled.change(mood={"version": "v2.11.39"})
        assert settled.done(*DIFF).startswith(f"[debug] [{HOST}]\n{{")
        assert settled.done("version", "--short") == f"[debug] [{HOST}]\nv2.11.39\n"


class TestSeveralHosts:
    """Comma lists of hosts and tokens."""

    BOTH: ClassVar[dict[str, str | None]] = {"KOSLI_HOST": f"{HOST},{OTHER}", "KOSLI_API_TOKEN": "one,two"}

    def test_stdout_is_the_first_hosts(self, settled: StandIn) -> None:
        assert json.loads(settled.done(*DIFF, **self.BOTH)) == settled.diff()

    def test_warnings_are_mixed_into_stdout(self, settled: StandIn) -> None:
        settled.change(mood={"warning": "an upgrade is there"})
        ran = settled.run(*DIFF, **self.BOTH)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.startswith("[warning] an upgrade is there\n{")
        alone = settled.run(*DIFF)
        assert alone.stderr == "[warning] an upgrade is there\n"
        assert json.loads(alone.stdout)

    def test_debug_destroys_the_json(self, settled: StandIn) -> None:
        text = settled.done(*DIFF, **self.BOTH, KOSLI_DEBUG="true")
        assert text.startswith(f"[debug] [{HOST}]\n")
        assert f"[debug] [{OTHER}]\n" in text
        assert json.loads(settled.done(*DIFF, "--debug=false", **self.BOTH, KOSLI_DEBUG="true"))

    def test_a_second_host_that_fails_is_exit_1_with_good_json(self, settled: StandIn) -> None:
        settled.change(mood={"hosts": [OTHER]})
        ran = settled.run(*DIFF, **self.BOTH)
        assert ran.returncode == 1
        assert list(json.loads(ran.stdout)) == ["snappish1", "snappish2", "changed", "not-changed"]
        assert f'{OTHER}: Get "{OTHER}/api/v2/": dial tcp: connect: connection refused' in ran.stderr

    def test_a_first_host_that_fails_is_exit_1_without_an_answer(self, settled: StandIn) -> None:
        settled.change(mood={"hosts": [HOST]})
        assert "connection refused" in settled.refused(*DIFF, **self.BOTH)
        assert "connection refused" in settled.refused(*DIFF)

    def test_the_lists_have_to_be_of_equal_length(self, settled: StandIn) -> None:
        assert "2 hosts but 1 api-tokens" in settled.refused(*DIFF, KOSLI_HOST=f"{HOST},{OTHER}")

    def test_an_attestation_is_kept_once(self, release: StandIn) -> None:
        release.done(*generic(), **self.BOTH)
        assert len(attestations(release)) == 1


class TestMoods:
    """How it misbehaves on demand."""

    def test_fails(self, settled: StandIn) -> None:
        settled.change(mood={"fail": "Internal Server Error"})
        assert settled.refused(*DIFF) == "Error: [kosli diff snapshots] Internal Server Error\n"
        assert settled.done("version", "--short") == "v2.38.0\n"

    def test_echoes_the_token(self, settled: StandIn) -> None:
        settled.change(mood={"echo_token": True})
        assert TOKEN in settled.refused(*DIFF)

    def test_any_exit_code_with_any_answer(self, non_compliant: StandIn) -> None:
        fingerprint = non_compliant.fingerprint("runner-ci")
        non_compliant.change(mood={"exit": 0})
        ran = non_compliant.run(*ask(fingerprint))
        assert (ran.returncode, json.loads(ran.stdout)["compliant"]) == (0, False)
        non_compliant.change(mood={"exit": 2, "fail": "panic"})
        assert non_compliant.run(*ask(fingerprint)).returncode == 2

    def test_garbage_and_half_a_document(self, settled: StandIn) -> None:
        whole = settled.done(*DIFF)
        settled.change(mood={"half": True})
        assert settled.done(*DIFF) == whole[: len(whole) // 2]
        settled.change(mood={"garbage": "<html>"})
        assert settled.done(*DIFF) == "<html>"

    def test_other_keys_in_the_answer_and_the_exit_code_of_its_own(self, non_compliant: StandIn) -> None:
        fingerprint = non_compliant.fingerprint("runner-ci")
        non_compliant.change(mood={"answer": {"compliant": True, "scope": "flow"}})
        ran = non_compliant.run(*ask(fingerprint))
        answer = json.loads(ran.stdout)
        assert (ran.returncode, answer["compliant"], answer["scope"]) == (1, True, "flow")
        assert answer["fingerprint"] == fingerprint

    def test_version_fails_only_when_the_mood_is_about_it(self, settled: StandIn) -> None:
        settled.change(mood={"fail": "cannot execute"})
        assert settled.done("version", "--short") == "v2.38.0\n"
        settled.change(mood={"only": ["version"], "fail": "cannot execute"})
        assert settled.refused("version", "--short") == "Error: [kosli version] cannot execute\n"
        assert settled.done(*DIFF)

    def test_only_some_commands_some_arguments_some_calls(self, settled: StandIn) -> None:
        settled.change(
            mood=[
                {"only": ["diff snapshots"], "skip": 1, "times": 2, "fail": "busy"},
                {"having": "aws-prod#3547", "garbage": "no"},
            ]
        )
        assert [settled.run(*DIFF).returncode for _ in range(4)] == [0, 1, 1, 0]
        assert settled.done("get", "snapshot", "aws-beta")
        assert settled.done("get", "snapshot", "aws-prod#3547") == "no"

    def test_hangs_until_it_is_killed(self, settled: StandIn) -> None:
        settled.change(mood={"hang": True, "ignore_sigterm": True, "spawn_child": True})
        with subprocess.Popen([KOSLI, *DIFF], env=settled.environment(), stdout=subprocess.PIPE) as process:
            children = settled.state / "children"
            wait_for(lambda: (settled.state / "calls.jsonl").exists())
            child = int(children.read_text())
            process.send_signal(signal.SIGTERM)
            time.sleep(0.1)
            assert process.poll() is None
            assert os.path.exists(f"/proc/{child}")
            os.kill(child, signal.SIGKILL)
            process.kill()
        assert settled.calls()[-1]["exit_code"] is None

    def test_takes_its_time(self, settled: StandIn) -> None:
        settled.change(mood={"delay": 0.3})
        settled.done(*DIFF)
        call = settled.calls()[-1]
        assert call["ended"] - call["started"] >= 0.3

    def test_dies_by_a_signal_floods_and_lingers(self, settled: StandIn) -> None:
        settled.change(mood={"signal": "SIGKILL", "half": True})
        assert settled.run(*DIFF).returncode == -signal.SIGKILL
        settled.change(mood={"flood": True, "linger": 0.1})
        ran = settled.run(*DIFF)
        assert (ran.returncode, len(ran.stderr) > 4_000_000) == (0, True)
        assert json.loads(ran.stdout)


class TestRecord:
    """What is written down, also when calls run side by side."""

    def test_every_call_is_recorded(self, settled: StandIn) -> None:
        settled.done(*DIFF, KOSLI_FLOW="leaked")
        settled.refused("promote")
        first, second = settled.calls()
        assert (first["argv"], first["exit_code"], first["cwd"]) == (DIFF, 0, str(settled.cwd))
        assert first["environment"]["KOSLI_FLOW"] == "leaked"
        assert (second["argv"], second["exit_code"]) == (["promote"], 1)

    def test_attestations_side_by_side_are_all_kept(self, release: StandIn) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: release.done(*generic(name=f"n{number}")), range(16)))
        assert {each["name"] for each in attestations(release)} == {f"n{number}" for number in range(16)}
        assert sum(call["argv"][:2] == ["attest", "generic"] for call in release.calls()) == 16


class TestDeployment:
    """From build evidence to production: what runs, and what Kosli knows of it."""

    def test_kosli_knows_of_a_deployment_when_it_is_recorded(self, settled: StandIn) -> None:
        fingerprint = settled.fingerprint("saver-ci")
        before = settled.diff()
        assert settled.deploy("aws-prod", fingerprint).returncode == 0
        assert settled.diff() == before
        settled.done("snapshot", "ecs", "aws-prod", "--cluster=production")
        after = settled.diff()
        assert after["snappish2"]["snapshot_id"] == "aws-prod#3549"
        assert "saver-ci" in [row["flow"] for row in after["not-changed"]["artifacts"]]
        assert "saver-ci" not in [row["flow"] for row in after["snappish2"]["artifacts"]]
        settled.done("snapshot", "ecs", "aws-prod", "--cluster=production")
        assert settled.diff() == after

    def test_an_older_artifact_can_come_back(self, settled: StandIn) -> None:
        [old] = [row for row in settled.diff()["snappish2"]["artifacts"] if row["flow"] == "saver-ci"]
        for fingerprint in (settled.fingerprint("saver-ci"), old["fingerprint"]):
            assert settled.deploy("aws-prod", fingerprint).returncode == 0
            settled.done("snapshot", "ecs", "aws-prod")
        assert old["fingerprint"] in [row["fingerprint"] for row in settled.diff()["snappish2"]["artifacts"]]

    def test_a_new_build_is_deployed_from_its_evidence(self, settled: StandIn) -> None:
        (settled.cwd / ".git").mkdir()
        settled.done("begin", "trail", "build-1", "--flow=saver-ci", **GITHUB)
        argv = ["attest", "artifact", "saver:3cb945b", "--flow=saver-ci", "--trail=build-1", "--name=saver"]
        settled.done(*argv, f"--fingerprint={UNKNOWN}", **GITHUB)
        told = json.loads(settled.done(*ask(UNKNOWN, environment="aws-beta")))
        assert [(each["flow"], each["trail"]) for each in told["flows"]] == [("saver-ci", "build-1")]
        assert settled.deploy("aws-beta", UNKNOWN).returncode == 0
        settled.done("snapshot", "ecs", "aws-beta")
        [row] = [row for row in settled.diff()["snappish1"]["artifacts"] if row["flow"] == "saver-ci"]
        assert (row["fingerprint"], row["name"]) == (UNKNOWN, "saver:3cb945b")
        assert row["commit_url"].startswith("https://github.com/cyber-dojo/saver/commit/")

    def test_refuses_what_it_does_not_know(self, settled: StandIn) -> None:
        assert "does not exist" in settled.deploy("aws-prod", UNKNOWN).stderr
        assert "Environment named 'aws-gamma'" in settled.deploy("aws-gamma", UNKNOWN).stderr
        assert settled.deploy("aws-prod").returncode == 1

    def test_fails_does_nothing_or_lands_another_on_demand(self, settled: StandIn) -> None:
        fingerprints = {flow: settled.fingerprint(flow) for flow in ("saver-ci", "web-ci", "runner-ci")}
        [old] = [row["fingerprint"] for row in settled.diff()["snappish2"]["artifacts"] if row["flow"] == "web-ci"]
        mood = {"deploy_fails": ["saver-ci"], "deploy_ignored": ["runner-ci"], "deploy_instead": {"web-ci": old}}
        settled.change(mood=mood)
        codes = [settled.deploy("aws-prod", fingerprint).returncode for fingerprint in fingerprints.values()]
        assert codes == [1, 0, 0]
        running = [row["fingerprint"] for row in settled.world["runtime"]["aws-prod"]]
        assert old in running
        assert not set(fingerprints.values()) & set(running)


def wait_for(condition: Any) -> None:
    """Wait until something is so, ten seconds at most."""
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
