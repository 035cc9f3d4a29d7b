"""The settings: each one once, with its key in release.toml, its type, its default, its variable and a line of help.

Who wins: make NAME=value, then the environment, then release.toml, then the default. An empty variable counts as unset.
What belongs to a single run has no key in the file. Tokens are never in it.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin

from lib import ROOT
from lib.model import DURATION
from lib.streams import Unusable, misfit, printable, read_bytes, say

import msgspec
from msgspec import Meta, Struct, field

S = TypeVar("S", bound=Struct)

_LOOPBACK = re.compile(r"http://(127(\.\d{1,3}){3}|localhost|\[::1\])(:\d+)?(/.*)?", re.ASCII).fullmatch
_HTTPS = re.compile(r"https://[A-Za-z0-9][A-Za-z0-9.-]*[A-Za-z0-9](:\d+)?(/[A-Za-z0-9._~%/-]*)?", re.ASCII).fullmatch
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._~-]*").fullmatch


class Kosli(Struct, forbid_unknown_fields=True, frozen=True):
    host: Annotated[str, Meta(description="where Kosli is: https, or this machine")] = "https://app.kosli.com"
    org: Annotated[str, Meta(description="the organisation at Kosli")] = ""
    timeout: Annotated[float, Meta(gt=0, le=86400, description="seconds that one answer may take")] = 120
    max_api_retries: Annotated[int | None, Meta(description="how often the CLI asks again (3)")] = None
    http_proxy: Annotated[str, Meta(description="the proxy between the CLI and Kosli")] = ""


class Gate(Struct, forbid_unknown_fields=True, frozen=True):
    """The questions to Kosli."""

    jobs: Annotated[int, Meta(ge=1, le=64, description="how many calls of Kosli at once")] = 8
    allow_no_policy: Annotated[
        bool, Meta(description="accept an environment without a policy", extra={"variable": "ALLOW_NO_POLICY"})
    ] = False


class Approval(Struct, forbid_unknown_fields=True, frozen=True):
    max_age: Annotated[
        str, Meta(pattern=DURATION, description="how long after its proposal a release may be deployed")
    ] = "7d"
    self_approval: Annotated[bool, Meta(description="may whoever starts a release approve it")] = False
    self_rollback: Annotated[bool, Meta(description="may whoever starts a rollback approve it")] = False


class Deploy(Struct, forbid_unknown_fields=True, frozen=True):
    role: Annotated[str, Meta(description="the cloud role to take; {repo_name} in it is the service's")] = ""
    region: Annotated[str, Meta(description="the cloud region")] = ""
    max_parallel: Annotated[int, Meta(ge=1, le=256, description="how many deployments at once")] = 10
    gitlab_url: Annotated[str, Meta(description="the one GitLab that GITLAB_TOKEN is sent to")] = "https://gitlab.com"
    one_repository: Annotated[
        Literal["one", "many"], Meta(description="many: deploy.yml can deploy several artifacts from one repository")
    ] = "one"
    registry: Annotated[
        Literal["incoming", "outgoing"],
        Meta(description="whose registry to deploy from: FROM's (incoming) or TO's (outgoing)"),
    ] = "incoming"


class Record(Struct, forbid_unknown_fields=True, frozen=True):
    """How an environment is recorded: what scripts/record.py reads, and where the workflow runs it."""

    type: str = "ecs"
    clusters: list[str] = []
    namespaces: list[str] = []
    functions: list[str] = []
    paths: list[str] = []
    bucket: str = ""
    resource_group: str = ""
    project: str = ""
    role: str = ""
    region: str = ""
    runner: str = "ubuntu-latest"


class Changes(Struct, forbid_unknown_fields=True, frozen=True):
    """What came between two commits."""

    required: Annotated[bool, Meta(description="refuse a promotion whose commits cannot be read")] = False
    token_host: Annotated[str, Meta(description="the one host that SOURCES_TOKEN is sent to")] = ""


class Verify(Struct, forbid_unknown_fields=True, frozen=True):
    """How long to wait for what was deployed."""

    interval: Annotated[float, Meta(ge=0, le=86400, description="seconds between two looks at TO")] = 15
    timeout: Annotated[float, Meta(ge=0, le=86400, description="seconds to wait until all has landed")] = 900


class Settings(Struct, forbid_unknown_fields=True, frozen=True):
    """release.toml."""

    from_: Annotated[
        str, Meta(description="the environment that is promoted from (aws-beta)", extra={"variable": "FROM_ENV"})
    ] = field(default="", name="from")
    to: Annotated[
        str, Meta(description="the environment that is promoted into (aws-prod)", extra={"variable": "TO_ENV"})
    ] = ""
    sources: Annotated[
        list[str], Meta(description="whose code may be promoted: the beginnings of repositories' URLs")
    ] = []
    match_by: Annotated[
        Literal["flow", "image"],
        Meta(description="what pairs two artifacts: their flow, or flow and image name (image)"),
    ] = "flow"
    unproven: Annotated[
        Literal["refuse", "skip"], Meta(description="what to do with an incoming artifact without provenance")
    ] = "refuse"
    allow_renamed: Annotated[list[str], Meta(description="flows whose repository may have been renamed")] = []
    renamed_flows: Annotated[dict[str, str], Meta(description="old = new: the old flow counts as the new one")] = {}
    allow_first: Annotated[
        list[str], Meta(description="flows that are new in TO although something there looks like them")
    ] = []
    allow_older: Annotated[list[str], Meta(description="flows that may go back to an older commit")] = []
    soak: Annotated[str, Meta(pattern=DURATION, description="how long an artifact must have run in FROM")] = "0s"
    young: Annotated[
        Literal["refuse", "skip"], Meta(description="what to do with an artifact that has not run for SOAK")
    ] = "refuse"
    release_flow: Annotated[str, Meta(description="the flow that records the releases")] = "production-promotion"
    kosli: Kosli = field(default_factory=Kosli)
    gate: Gate = field(default_factory=Gate)
    approval: Approval = field(default_factory=Approval)
    changes: Changes = field(default_factory=Changes)
    verify: Verify = field(default_factory=Verify)
    deploy: Deploy = field(default_factory=Deploy)
    record: dict[str, Record] = {}

    @property
    def environments(self) -> tuple[str, str]:
        """Return FROM and TO as they are asked for: names, or Kosli's expressions for snapshots (aws-beta#4754)."""
        return (
            self.from_ or variable("KOSLI_AWS_BETA") or "aws-beta",
            self.to or variable("KOSLI_AWS_PROD") or "aws-prod",
        )


class ThisRun(Struct, frozen=True):
    """What belongs to a single run: variables without a key in release.toml."""

    snapshots: Annotated[str, Meta(description="a file with a saved diff, to read instead of asking Kosli")] = ""
    flows: Annotated[str, Meta(description="promote only these flows")] = ""
    approved: Annotated[str, Meta(description="the file with the approved release")] = ""
    digest: Annotated[str, Meta(description="the digest of the approved release")] = ""
    nothing_left: Annotated[
        Literal["accept", "refuse"], Meta(description="what to do with a release that has landed as a whole")
    ] = "accept"
    release_trail: Annotated[str, Meta(description="the trail of this release, such as run-42")] = ""
    reasons: Annotated[str, Meta(description="a file that says why the release was refused, one reason a line")] = ""
    proposed: Annotated[str, Meta(description="a file with the time of the proposal, in seconds (date +%s)")] = ""
    override: Annotated[str, Meta(description="why to ignore holds, or an unreadable trail")] = ""
    verdicts: Annotated[str, Meta(description="the gate's verdicts: a file, or a folder of files")] = ""
    outcomes: Annotated[str, Meta(description="what verify.py printed: a file")] = ""
    evidence: Annotated[str, Meta(description="a folder with the evidence of the release (evidence.py)")] = ""
    rollback_of: Annotated[str, Meta(description="the number of the run whose release is rolled back")] = ""
    environment: Annotated[str, Meta(description="GitHub's environment that asks for the approval")] = "production"
    environment_type: Annotated[
        str, Meta(description="the type of the environment to record, instead of the one in [record.NAME]")
    ] = ""
    recorded: Annotated[
        str, Meta(description="what to record, such as clusters, separated by commas, instead of [record.NAME]")
    ] = ""
    build_flow: Annotated[str, Meta(description="the service's flow, such as saver-ci")] = ""
    build_trail: Annotated[str, Meta(description="the build's trail; COMMIT_SHA by default")] = ""
    artifact_name: Annotated[str, Meta(description="the artifact's name in the service's flow")] = ""
    image: Annotated[str, Meta(description="the image as it was pushed")] = ""
    fingerprint: Annotated[str, Meta(description="the image's sha256")] = ""
    commit_sha: Annotated[str, Meta(description="the commit that it was built from; GITHUB_SHA by default")] = ""
    repo_root: Annotated[str, Meta(description="a checkout of that commit")] = "."
    junit_results: Annotated[str, Meta(description="a folder of test results to attest")] = ""
    snyk_results: Annotated[str, Meta(description="a security scan to attest: a SARIF file")] = ""
    sbom: Annotated[str, Meta(description="a bill of materials to attest: a file")] = ""
    clones: Annotated[str, Meta(description="a folder that keeps the clones of scripts/changes.py")] = ""
    changes: Annotated[str, Meta(description="what changes.py printed: a file")] = ""
    holds: Annotated[str, Meta(description="a file to read instead of holds.toml")] = ""
    settings: Annotated[str, Meta(description="a file to read instead of release.toml")] = ""
    demo_yes: Annotated[str, Meta(description="1: the demo approves its release")] = ""


# What is read beside the settings, and may stand on make's command line. None of it is in a file.
READ_TOO = {
    "KOSLI_API_TOKEN": "Kosli's API token: every script that asks Kosli",
    "SOURCES_TOKEN": "reads the repositories on the host `changes.token_host`: scripts/changes.py, deploy.yml",
    "KOSLI_GITHUB_TOKEN": "reads the pull request of a build: scripts/attest_build.py",
    "KOSLI_AWS_BETA": "FROM, where neither FROM_ENV nor release.toml names it",
    "KOSLI_AWS_PROD": "TO, where neither TO_ENV nor release.toml names it",
    "KOSLI_FLOW": "another name of the release's own flow",
    "KOSLI_DRY_RUN": "refused when it is on",
    "KOSLI_AZURE_CLIENT_ID": "what Azure asks for: scripts/record.py",
    "KOSLI_AZURE_CLIENT_SECRET": "the same",
    "KOSLI_AZURE_SUBSCRIPTION_ID": "the same",
    "KOSLI_AZURE_TENANT_ID": "the same",
}
# What make alone reads.
FOR_MAKE = {
    "K": "make test: only the tests whose names match",
    "CASE": "make goldens: only this case, such as promotions/level",
    "SAMPLE": "make mutants: try only so many",
    "MUTATE": "make mutants: only files whose names hold one of these words",
    "BENCH": 'make bench: how many promotions, such as "10 1000"',
    "BASE_PYTHON": "the Python that the virtual environment is built with",
}


class Setting(NamedTuple):
    """One setting. `key` is "" for what belongs to a single run; `table` is "" for a key at the top of the file."""

    table: str
    key: str
    variable: str
    kind: Any
    default: Any
    help: str


def variable(name: str) -> str:
    """Return an environment variable, "" when it is unset. Its bytes are UTF-8, whatever the locale."""
    value = os.environ.get(name, "")
    return value if value.isascii() else os.fsencode(value).decode("utf-8", "replace")


@cache
def declared(kind: type[Struct], table: str = "") -> tuple[Setting, ...]:
    """Return the settings that a record declares, those of its tables behind its own."""
    own: list[Setting] = []
    tables: list[Setting] = []
    for member in msgspec.structs.fields(kind):
        if isinstance(member.type, type) and issubclass(member.type, Struct):
            tables += declared(member.type, member.encode_name)
            continue
        if get_origin(member.type) is not Annotated:
            continue  # the tables of [record.NAME], which have no variables
        meta = get_args(member.type)[1]
        key = "" if kind is ThisRun else member.encode_name
        name = (meta.extra or {}).get("variable") or "_".join(filter(None, (table, member.encode_name))).upper()
        default = member.default if member.default is not msgspec.NODEFAULT else member.default_factory()
        own.append(Setting(table, key, name, member.type, default, meta.description))
    return (*own, *tables)


@cache
def settings() -> Settings:
    """Return the settings in force. Raises Unusable with every cause: a key or a name that is none, a wrong value."""
    refuse_unknown_names()
    path = variable("SETTINGS") or os.path.join(ROOT, "release.toml")
    document = read_toml(path)
    if causes := [*unknown_keys(document, os.path.basename(path))]:
        raise Unusable(*causes)
    for setting in declared(Settings):
        if value := variable(setting.variable):
            table = document.setdefault(setting.table, {}) if setting.table else document
            if isinstance(table, dict):
                table[setting.key] = read_value(setting, value)
    try:
        values = msgspec.convert(document, Settings)
    except msgspec.ValidationError as error:
        raise Unusable(f"{os.path.basename(path)}: {misfit(error)}") from None
    if causes := [*wrong_values(values)]:
        raise Unusable(*causes)
    return values


@cache
def this_run() -> ThisRun:
    """Return what this run was given. Raises Unusable for a wrong value."""
    refuse_unknown_names()
    if variable("OVERRIDE") and not variable("OVERRIDE").strip():
        raise Unusable("OVERRIDE: a blank is no reason")
    values = {s.variable.lower(): read_value(s, v) for s in declared(ThisRun) if (v := variable(s.variable))}
    return msgspec.convert(values, ThisRun)


def read_value(setting: Setting, text: str) -> Any:
    """Return the value of a setting that a variable holds."""
    kind = get_args(setting.kind)[0]
    value: Any = text
    if get_origin(kind) is list:
        value = text.split()
        if not value:
            raise Unusable(f"{setting.variable}: empty is what release.toml says, a blank is nothing")
    elif get_origin(kind) is dict:
        pairs = [word.partition("=") for word in text.split()]
        if not all(old and new for old, _, new in pairs):
            raise Unusable(f"{setting.variable}: {printable(text)} is not a list of old=new")
        value = {old: new for old, _, new in pairs}
    try:
        return msgspec.convert(value, setting.kind, strict=False)
    except msgspec.ValidationError as error:
        choices = f" (one of: {', '.join(get_args(kind))})" if get_origin(kind) is Literal else ""
        raise Unusable(f"{setting.variable}: {printable(text)}: {misfit(error)}{choices}") from None


def read_toml(path: str) -> dict[str, Any]:
    """Return what is in a TOML file; one that cannot be read is wrong usage."""
    try:
        return tomllib.loads(read_bytes(path).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Unusable(f"{printable(path)} is not TOML: {printable(error)}") from None


def unknown_keys(document: dict[str, Any], file: str) -> Iterator[str]:
    """Yield a line for each key that is no setting, with the nearest one."""
    keys = [f"{table}.{key}" if table else key for table, key, *_ in declared(Settings)]
    tables: dict[str, Any] = {table: document.get(table) for table, *_ in declared(Settings) if table}
    written = [key for key in document if key not in (*tables, "record")]
    records: Any = document.get("record")
    for name in records if isinstance(records, dict) else ():
        tables[f"record.{name}"] = records[name]
        keys += [f"record.{name}.{key}" for key in Record.__struct_fields__]
    written += [f"{name}.{key}" for name, table in tables.items() if isinstance(table, dict) for key in table]
    for key in (key for key in written if key not in keys):
        if re.search(r"token|secret|password", key, re.IGNORECASE):
            yield f"{file}: {printable(key)}: a secret is never kept in this file: take it out, and replace it"
        else:
            yield f"{file}: {printable(key)} is no setting; {nearest(key, keys)}"


@cache
def refuse_unknown_names() -> None:
    """Refuse a name on make's command line that nothing reads; note a variable that is one letter away from a setting.

    `make promotions FLOW=search-ci` must not promote everything.
    """
    names = {setting.variable: setting.help for setting in (*declared(Settings), *declared(ThisRun))}
    names |= FOR_MAKE | READ_TOO
    causes = [
        f"make {printable(name)}=...: no target reads it; {nearest(name, list(names))}"
        for name in variable("NAMES_GIVEN_TO_MAKE").split()
        if name not in names and not name.startswith("GITHUB_")
    ]
    if causes:
        raise Unusable(*causes)
    for name in sorted(set(os.environ).difference(names)):
        for setting in names:
            if len(setting) > 3 and abs(len(name) - len(setting)) < 2 and _one_letter_away(name, setting):
                say(f"the variable {printable(name)} is no setting; is {setting} meant?")


def _one_letter_away(name: str, setting: str) -> bool:
    same = next(
        (i for i, (a, b) in enumerate(zip(name, setting, strict=False)) if a != b), min(len(name), len(setting))
    )
    name, setting = name[same:], setting[same:]
    return name[1:] == setting[1:] or name[1:] == setting or name == setting[1:]


def seconds(duration: str) -> int:
    """Return a duration such as 4h in seconds."""
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[duration[-1]]


def nearest(name: str, names: list[str]) -> str:
    """Return what a misspelt name may have meant, for a message."""
    by_lower = {spelling.lower(): spelling for spelling in names}
    close = difflib.get_close_matches(name.lower(), by_lower, 3, 0.5)
    return f"nearest: {', '.join(printable(by_lower[lower]) for lower in close) or 'none'}"


def wrong_values(values: Settings) -> Iterator[str]:
    """Yield a line for each value that is wrong in a way that no type can tell."""
    if not all(_HTTPS(host) or _LOOPBACK(host) for host in hosts(values)):
        shown = "it holds a user or a password" if "@" in values.kosli.host else printable(values.kosli.host)
        yield f"kosli.host: {shown}: the API token is sent to https, or to this machine, and nowhere else"
    if not re.fullmatch(r"[A-Za-z0-9._, -]*", values.kosli.org):
        yield f"kosli.org: {printable(values.kosli.org)} is no name of an organisation"
    if not _NAME(values.release_flow):
        yield f"release_flow: {printable(values.release_flow)} is no name that Kosli takes"
    flows = values.renamed_flows
    for old, new in flows.items():
        if new in flows or "*" in (old, new):
            yield f"renamed_flows: {printable(old)} = {printable(new)}: give the newest name of each flow; * is no flow"
    for key, name in zip(("from", "to"), values.environments, strict=True):
        if name.startswith("-"):
            yield f"{key}: {printable(name)} is no environment: the CLI would take it for a flag"
    for source in values.sources:
        if not _HTTPS(source):
            yield f"sources: {printable(source)} is not the beginning of a repository's https URL"


def hosts(values: Settings) -> list[str]:
    """Return Kosli's hosts: the CLI takes several, separated by commas, and answers from the first."""
    return [host.strip().rstrip("/") for host in values.kosli.host.split(",")]


def resource_name(name: str, value: str) -> str:
    """Return the value of the variable `name`, if Kosli takes it for the name of a flow or a trail."""
    if not _NAME(value):
        raise Unusable(f"{name}: {printable(value)} is no name that Kosli takes" if value else f"{name} is not set")
    return value


def environment_name(text: str) -> str:
    """Return a text, if it can be the name of an environment in Kosli."""
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9._-]*", text):
        raise Unusable(f"{printable(text) or 'an empty text'} is no name of an environment")
    return text


def sha256(name: str, value: str) -> str:
    """Return the value of the variable `name`, if it is a sha256."""
    if not re.fullmatch("[0-9a-f]{64}", value):
        raise Unusable(f"{name}: {printable(value) or 'not set'}: not 64 lower-case hexadecimal digits")
    return value


def release_trail() -> str:
    """Return RELEASE_TRAIL, which has no default: two releases never share a trail by accident."""
    return resource_name("RELEASE_TRAIL", this_run().release_trail)
