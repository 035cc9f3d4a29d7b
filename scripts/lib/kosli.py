"""The one door to the Kosli CLI. Nothing else runs it.

The CLI reads every KOSLI_ variable as a flag, and five files in HOME. So it gets an environment of the door's own
making, with an empty folder for HOME. It has no time-out, so the door has: KOSLI_TIMEOUT seconds. The token is never an
argument, and what the CLI says is shown without it. What a proxy swallowed reads as success, so what was attested is
read back.
"""

import math
import os
import re
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from lib import ROOT, processes
from lib.model import Attestation, AttestationStatus, Attested, ComplianceStatus, Diff, Trail
from lib.rules import read_diff, require_diff_of
from lib.settings import release_trail, settings, variable
from lib.streams import LONGEST_VALUE, KosliFailed, Refused, Unusable, parse, printable, say, to_json, typed

import msgspec

T = TypeVar("T")

# What the attest commands take from GitHub Actions: the commit and the links to it and to the run.
PASSED_TO_ATTEST = (
    *("CI", "GITHUB_ACTIONS", "GITHUB_ACTOR", "GITHUB_REF", "GITHUB_REF_NAME", "GITHUB_REPOSITORY"),
    *("GITHUB_REPOSITORY_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_RUN_ID", "GITHUB_RUN_NUMBER", "GITHUB_SERVER_URL"),
    *("GITHUB_SHA", "GITHUB_WORKFLOW"),
)
_FALSE = ("", "0", "f", "F", "false", "FALSE", "False")
_KEPT = 1 << 16
OLDEST_TRUSTED = (2, 11, 40)  # some versions before it exit 0 for an artifact that is not compliant
_version = re.compile(r"v?([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})(?:[+-].*)?").fullmatch


class Answer(NamedTuple):
    """What came of a command. code: negative for a signal; said: the line that tells the cause, without the token."""

    command: str
    code: int
    stdout: bytes
    said: str


class Told(NamedTuple):
    """Something to attest: as what the trail holds it, and what the command says beside these facts.

    `data`: what the attestation holds, as JSON.
    """

    facts: Attested
    arguments: tuple[str, ...]
    passing: tuple[str, ...] = ()
    data: Any = None
    repo_root: str = ROOT

    def __str__(self) -> str:
        return f"{self.facts.name} ({self.facts.type})"


def ask(*arguments: str, passing: Sequence[str] = (), within: float = math.inf) -> Answer:
    """Run `kosli ARGUMENTS` and return what came of it, whatever its exit code. It sees the variables `passing` too.

    Raises KosliFailed when there is no CLI, no organisation or token, when dry run is on, or when the time is up:
    KOSLI_TIMEOUT seconds, or `within` if that is less.
    """
    require_settings()
    command = " ".join(("kosli", *arguments[: 1 if arguments[0] == "version" else 2]))
    kosli = settings().kosli
    own = {
        "KOSLI_HOST": kosli.host,
        "KOSLI_ORG": kosli.org,
        "KOSLI_API_TOKEN": os.environ.get("KOSLI_API_TOKEN", ""),
        "KOSLI_HTTP_PROXY": kosli.http_proxy,
        "KOSLI_MAX_API_RETRIES": "" if kosli.max_api_retries is None else str(kosli.max_api_retries),
        "KOSLI_NO_UPDATE_CHECK": "1",
    }
    timeout = min(kosli.timeout, within)
    try:
        # No file of the user's, or of the current folder's, is in it. What cannot be removed is no reason to fail.
        with tempfile.TemporaryDirectory(prefix="kosli-home-", ignore_cleanup_errors=True) as home:
            environment = processes.environment(passing, {**own, "HOME": home})
            ended = processes.run("kosli", *arguments, "--debug=false", env=environment, cwd=home, timeout=timeout)
    except TimeoutError:
        raise KosliFailed(f"{command}: no answer within {timeout:g} seconds (KOSLI_TIMEOUT)") from None
    said = _cause(ended.stderr)
    if not said and not ended.stdout[:_KEPT].lstrip().startswith(b"{"):
        said = _cause(ended.stdout)
    return Answer(command, ended.code, ended.stdout, said)


def ask_for_answer(*arguments: str, within: float = math.inf) -> Answer:
    """Return the answer of a command that must succeed, and print JSON."""
    answer = ask(*arguments, "--output=json", within=within)
    if answer.code:
        raise failure(answer)
    if any(token.encode() in answer.stdout for token in _tokens() if len(token) > 15):
        raise KosliFailed(f"{answer.command}: its answer holds the API token, and is not shown")
    return answer


def ask_for(kind: type[T], *arguments: str) -> T:
    """Return the answer of a command that must succeed, as the record `kind`."""
    return record_in(ask_for_answer(*arguments), kind)


def ask_for_diff(expressions: tuple[str, str], within: float = math.inf) -> tuple[bytes, Diff]:
    """Return the diff of two snapshots, as Kosli prints it and as a record, after a check that it is of these two."""
    answer = ask_for_answer("diff", "snapshots", *expressions, within=within)
    try:
        diff = read_diff(document_in(answer), "its answer")
        require_diff_of(diff, expressions)
    except (Unusable, Refused) as error:
        raise KosliFailed(*(f"{answer.command}: {cause}" for cause in error.causes)) from None
    return answer.stdout, diff


def cli_version() -> tuple[str, tuple[int, ...]]:
    """Return what the CLI says of its version, and the version as numbers, () when they cannot be read."""
    answer = ask("version", "--short")
    if answer.code:
        raise failure(answer)
    text = redacted(answer.stdout.decode("utf-8", "replace"))
    # Some versions put a prefix before it.
    versions = [tuple(map(int, match.groups())) for match in map(_version, text.split()) if match]
    return printable(text.strip()), min(versions, default=())


def tell(*arguments: str, passing: Sequence[str] = ()) -> None:
    """Run a command that changes something in Kosli and must succeed. Dry run, of whatever source, is off."""
    answer = ask(*arguments, "--dry-run=false", passing=(*PASSED_TO_ATTEST, *passing))
    if answer.code:
        raise failure(answer)


def begin_trail(flow: str, trail: str, description: str, *more: str) -> None:
    """Begin a trail, or go on with it, and check that Kosli has it."""
    tell("begin", "trail", trail, "--flow", flow, "--description", description, *(more or ("--repo-root", ROOT)))
    read_trail(flow, trail)


def read_trail(flow: str, trail: str) -> Trail:
    return ask_for(Trail, "get", "trail", trail, "--flow", flow)


def read_attestations(flow: str, trail: str, name: str) -> list[Attestation]:
    """Return the attestations of a name that a trail holds, [] when the trail itself lists none."""
    answer = ask("get", "attestation", name, "--flow", flow, "--trail", trail, "--output=json")
    if not answer.code and (attestations := record_in(answer, list[Attestation])):
        return attestations
    status = read_trail(flow, trail).compliance_status
    if status.attestations_statuses is None:
        raise KosliFailed("kosli get trail: its answer does not say which attestations the trail holds")
    if any(entry.status != "MISSING" for entry in listed_in(status, name)):
        raise failure(answer) if answer.code else KosliFailed(f"kosli get attestation: {name} is missing in its answer")
    return []


def listed_in(status: ComplianceStatus, name: str) -> list[AttestationStatus]:
    """Return what a trail lists under a name: of its own attestations, or of an artifact's, which is ARTIFACT.NAME."""
    artifact, dot, name = name.rpartition(".")
    of = (status.artifacts_statuses or {}).get(artifact) if dot else status
    return [entry for entry in (of and of.attestations_statuses) or () if entry.attestation_name == name]


def attest(*phases: list[Told]) -> None:
    """Attest each phase after the one before, GATE_JOBS at once, and read the trail back.

    Raises KosliFailed when something failed or is not in the trail. Then, and when stopped, it says how far it came.
    """
    states: dict[str, str] = {}

    def attest_one(told: Told) -> str:
        states[str(told)] = "failed"  # until it is known better: Kosli may have it all the same
        try:
            _attest_one(told)
        except KosliFailed as error:
            return error.causes[0]
        states[str(told)] = "attested"
        return ""

    everything = [told for phase in phases for told in phase]
    try:
        for phase in phases:
            if causes := [c for c in processes.side_by_side(attest_one, phase, settings().gate.jobs) if c]:
                raise KosliFailed(*dict.fromkeys(causes))
        if lost := missing_in_trail(everything):
            states.update(dict.fromkeys(map(str, lost), "lost"))
            names = ", ".join(map(str, lost))
            raise KosliFailed(f"the trail does not hold what Kosli was told: {names}: does a proxy answer for Kosli?")
    except (KosliFailed, KeyboardInterrupt):
        for told in everything:
            say(f"{states.get(str(told), 'not attested')}: {printable(told)}")
        raise


def _attest_one(told: Told) -> None:
    facts = told.facts
    arguments = ["attest", *told.arguments, "--name", facts.name, "--flow", facts.flow, "--trail", facts.trail]
    arguments += ["--fingerprint", facts.fingerprint] if facts.fingerprint else []
    arguments += [f"--compliant={str(facts.compliant).lower()}"] if facts.compliant is not None else []
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        if told.data is not None:
            file.write(to_json(told.data))
            file.flush()
            arguments += ["--user-data" if facts.type == "generic" else "--attestation-data", file.name]
        tell(*arguments, "--repo-root", told.repo_root, passing=told.passing)


def missing_in_trail(wanted: list[Told]) -> list[Told]:
    """Return what was attested and is not in its trail. An earlier attestation of the same name is not it."""
    facts = wanted[0].facts
    status = read_trail(facts.flow, facts.trail).compliance_status
    artifacts = status.artifacts_statuses or {}

    def is_there(told: Told) -> bool:
        facts = told.facts
        artifact = facts.name if facts.type == "artifact" else facts.name.rpartition(".")[0]
        if artifact and (artifact not in artifacts or artifacts[artifact].artifact_fingerprint != facts.fingerprint):
            return False
        if facts.type == "artifact":
            return True
        held = [entry for entry in listed_in(status, facts.name) if entry.status == "COMPLETE"]
        if not any(facts.compliant in (None, entry.is_compliant) for entry in held):
            return False
        if facts.type != "generic":
            return True
        attestations = read_attestations(facts.flow, facts.trail, facts.name)
        return msgspec.to_builtins(told.data) in [attestation.user_data for attestation in attestations]

    return [told for told in wanted if not is_there(told)]


def attested(name: str, kind: str, fingerprint: str = "", compliant: bool | None = None) -> Attested:
    """Return the facts of something that is attested in the release's trail."""
    return Attested(settings().release_flow, release_trail(), name, kind, fingerprint, compliant)


def record_in(answer: Answer, kind: type[T]) -> T:
    """Return a command's answer as the record `kind`; KosliFailed says where it does not fit."""
    try:
        return typed(document_in(answer), kind, f"{answer.command}: its answer cannot be read")
    except Unusable as error:
        raise KosliFailed(*map(redacted, error.causes)) from None


def document_in(answer: Answer) -> Any:
    """Return the JSON document that a command printed; KosliFailed says what it printed instead."""
    if not answer.stdout.strip():
        raise failure(answer)
    try:
        return parse(answer.stdout, "its answer")
    except Unusable as error:
        # Redacted before it is cut: a piece of the token must not show either.
        begins = printable(redacted(answer.stdout.lstrip()[:_KEPT].decode("utf-8", "replace"))[:80].strip())
        how = f"exit {answer.code}: {answer.said}; " if answer.code and answer.said != begins else ""
        raise KosliFailed(
            f"{answer.command}: {how}{error.causes[0]}; it begins with: {begins} "
            "(several hosts in KOSLI_HOST, debug mode or dry run do that)"
        ) from None


def failure(answer: Answer) -> KosliFailed:
    """Return the error for a command that failed: which one, how, and what it said."""
    how = f"exit {answer.code}" if answer.code >= 0 else f"ended by signal {-answer.code}"
    nothing = "it gave no reason" if answer.stdout.strip() else "it said nothing"
    return KosliFailed(f"{answer.command}: {how}: {answer.said or nothing}")


def require_settings() -> None:
    """Refuse what would make every answer worthless: no organisation, no token, dry run."""
    for name, value in (("KOSLI_ORG", settings().kosli.org), ("KOSLI_API_TOKEN", variable("KOSLI_API_TOKEN"))):
        if not value:
            raise KosliFailed(f"{name} is not set: Kosli cannot be asked")
    if os.environ.get("KOSLI_DRY_RUN", "") not in _FALSE:
        raise KosliFailed("KOSLI_DRY_RUN is on: the CLI would report each failure as a success")
    if "DRY_RUN" in _tokens():
        raise KosliFailed("KOSLI_API_TOKEN is DRY_RUN: the CLI would report each failure as a success")


def _tokens() -> list[str]:
    tokens = (*variable("KOSLI_API_TOKEN").split(","), variable("KOSLI_GITHUB_TOKEN"))
    return [token.strip() for token in tokens if token.strip()]


def redacted(text: str) -> str:
    """Return a text without a token in it: Kosli's, or that of the workflow."""
    for token in sorted(_tokens(), key=len, reverse=True):
        text = text.replace(token, "[token]")
    return text


def _cause(said: bytes) -> str:
    """Return the line that tells the cause: a panic's first, otherwise the last. A long one loses its middle.

    The cause of a network error stands at the end of its line, that of a template error at the beginning.
    """
    lines = [line.strip() for line in redacted(said.decode("utf-8", "replace")).splitlines() if line.strip()]
    line = next((line for line in lines if line.startswith("panic:")), lines[-1] if lines else "")
    if len(line) > LONGEST_VALUE:
        line = f"{line[: LONGEST_VALUE // 3]} ... {line[-LONGEST_VALUE // 2 :]}"
    return printable(line)
