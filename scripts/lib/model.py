"""The records: what the scripts read and write, one typed declaration each. The declaration is the validation.

A record that others may extend, such as an artifact or a promotion, keeps its whole JSON object in `fields`.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

# What a text must look like, and how an error says it.
FORMS = {
    r"^[0-9]{1,6}[smhd]\Z": "a whole number and s, m, h or d",
    r"^[0-9a-f]{64}\Z": "64 lower-case hexadecimal digits",
    r"^(?:[0-9a-f]{64})?\Z": "64 lower-case hexadecimal digits, or empty",
    r"^[a-zA-Z0-9][a-zA-Z0-9._-]*#[0-9]{1,18}\Z": "ENVIRONMENT#NUMBER",
    r"^(?:[a-zA-Z0-9][a-zA-Z0-9._-]*#[0-9]{1,18})?\Z": "ENVIRONMENT#NUMBER, or empty",
}
DURATION, _SHA256, _SHA256_OR_NONE, _SNAPSHOT, _SNAPSHOT_OR_NONE = FORMS

Fingerprint = Annotated[str, Meta(pattern=_SHA256)]
OptionalFingerprint = Annotated[str, Meta(pattern=_SHA256_OR_NONE)]
SnapshotId = Annotated[str, Meta(pattern=_SNAPSHOT)]
OptionalSnapshotId = Annotated[str, Meta(pattern=_SNAPSHOT_OR_NONE)]


class Extensible(Struct, dict=True):
    """A record whose JSON object may hold more than its declaration; whoever reads it keeps that object as `fields`."""

    @property
    def fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = self.__dict__["fields"]
        return fields

    @fields.setter
    def fields(self, fields: dict[str, Any]) -> None:
        self.__dict__["fields"] = fields


class Named(Extensible):
    """An artifact as a message or a list names it."""

    name: str
    fingerprint: OptionalFingerprint


class Artifact(Named):
    """What Kosli's diff says of an artifact that runs in an environment."""

    flow: str
    commit_url: str | None = None
    most_recent_timestamp: int | None = None
    instance_count: int | None = None
    s1_instance_count: int | None = None
    s2_instance_count: int | None = None
    pods: list[str] | None = None


class Running(Struct):
    """What runs in both environments."""

    artifacts: list[Artifact]


class Snapshot(Running):
    """What runs in one environment only, and the snapshot that says so."""

    snapshot_id: SnapshotId


class DiffDocument(Struct, forbid_unknown_fields=True):
    """`kosli diff snapshots FROM TO --output=json`: a fifth category of artifacts must not be overlooked."""

    snappish1: Snapshot
    snappish2: Snapshot
    changed: Running
    not_changed: Running = field(name="not-changed")


class Diff(Struct):
    """The same by the names of the two environments; the four lists by the queries of jq/."""

    from_snapshot: str
    to_snapshot: str
    incoming: list[Artifact]
    outgoing: list[Artifact]
    running_in_from: list[Artifact]
    running_in_to: list[Artifact]


class Deployment(Struct):
    """A deployment in progress: one flow that runs several artifacts in one environment."""

    environment: str
    snapshot_id: str
    flow: str
    artifacts: list[Named]


class Promotion(Extensible):
    """An incoming artifact and the outgoing one that it replaces; the latter is "" throughout when there is none."""

    incoming_name: str
    incoming_fingerprint: Fingerprint
    incoming_flow: str
    incoming_commit_url: str
    incoming_commit_sha: str
    incoming_repo_url: str
    incoming_repository: str
    incoming_repo_name: str
    incoming_repo_provider: str
    incoming_raw_snyk_policy_url: str
    incoming_snapshot_id: SnapshotId
    incoming_snapshot_url: str
    outgoing_name: str
    outgoing_fingerprint: OptionalFingerprint
    outgoing_flow: str
    outgoing_commit_url: str
    outgoing_commit_sha: str
    outgoing_repo_url: str
    outgoing_repository: str
    outgoing_repo_name: str
    outgoing_repo_provider: str
    outgoing_raw_snyk_policy_url: str
    outgoing_snapshot_id: OptionalSnapshotId
    outgoing_snapshot_url: str
    deployment_diff_url: str
    incoming_clone_url: str = ""
    outgoing_clone_url: str = ""
    incoming_most_recent_timestamp: int | Literal[""] | None = None

    @property
    def is_first(self) -> bool:
        """Say whether it is a first deployment, which replaces nothing."""
        return not self.outgoing_snapshot_id

    @property
    def incoming(self) -> Artifact:
        return Artifact(self.incoming_name, self.incoming_fingerprint, self.incoming_flow, self.incoming_commit_url)

    @property
    def outgoing(self) -> Artifact:
        return Artifact(self.outgoing_name, self.outgoing_fingerprint, self.outgoing_flow, self.outgoing_commit_url)


class Candidate(Struct):
    """As much of a promotion as the gate needs: a build has no more, and a job of a matrix need not have more."""

    incoming_flow: str
    incoming_name: str
    incoming_fingerprint: Fingerprint
    incoming_snapshot_id: OptionalSnapshotId = ""


class Deployable(Candidate, kw_only=True):
    """As much of a promotion as its deployment needs."""

    incoming_commit_url: str
    outgoing_name: str = ""

    @property
    def incoming(self) -> Artifact:
        return Artifact(self.incoming_name, self.incoming_fingerprint, self.incoming_flow, self.incoming_commit_url)


# A Terraform plan, from the inside out.


class PlannedResource(Struct):
    mode: str  # managed, or data: what a plan only reads
    values: Any = None


class PlannedModule(Struct):
    resources: list[PlannedResource] = []
    child_modules: list["PlannedModule"] = []


class PlannedValues(Struct):
    root_module: PlannedModule = field(default_factory=PlannedModule)


class Plan(Struct):
    """`terraform show -json PLAN`."""

    planned_values: PlannedValues


class Verdict(Struct):
    """The gate's answer on one artifact in one environment."""

    flow: str
    name: str
    fingerprint: str
    environment: str
    verdict: Literal["compliant", "non-compliant", "error"]
    policies: int = 0
    reasons: list[str] = []
    html_url: str = ""


# Kosli's answer to the gate, from the inside out.


class Definition(Struct):
    """The attestation that a policy's rule asks for."""

    name: str | None = None
    type: str | None = None


class Rule(Struct):
    type: str | None = None
    definition: Definition | None = None


class Context(Struct):
    """Where a rule was not satisfied."""

    flow: str | None = None
    flow_name: str | None = None
    trail: str | None = None
    trail_name: str | None = None
    for_control: str | None = None


class Resolution(Struct):
    type: str | None = None
    context: Context | None = None


class RuleEvaluation(Struct):
    """What one rule of a policy says. `satisfied` may be null where the rule is ignored."""

    rule: Rule | None = None
    satisfied: bool | None = None
    ignored: bool | None = None
    resolutions: list[Resolution] | None = None


class PolicyEvaluation(Struct):
    status: str
    policy_name: str | None = None
    rule_evaluations: list[RuleEvaluation] | None = None


class AssertAnswer(Struct):
    """`kosli assert artifact --output json`."""

    compliant: bool
    scope: str
    policy_evaluations: list[PolicyEvaluation]
    environment: str | None = None
    fingerprint: str | None = None
    html_url: str | None = None


# A trail, from the inside out.


class AttestationStatus(Struct):
    attestation_name: str
    status: str
    is_compliant: bool | None = None


class ArtifactStatus(Struct):
    artifact_fingerprint: str | None = None
    attestations_statuses: list[AttestationStatus] | None = None


class ComplianceStatus(Struct):
    attestations_statuses: list[AttestationStatus] | None = None
    artifacts_statuses: dict[str, ArtifactStatus] | None = None


class Trail(Struct):
    """`kosli get trail --output json`."""

    compliance_status: ComplianceStatus


class Environment(Struct):
    """`kosli get environment --output json`, and each of `kosli list environments --output json`."""

    name: str
    policies: list[str] | None = None
    last_reported_at: float | None = None


class LoggedCommit(Struct):
    """A commit as git's log has it; `time` in seconds since 1970, `pull_request` such as #12, "" for none."""

    sha: str
    time: int
    author: str
    committer: str
    subject: str
    pull_request: str


class Change(Struct):
    """What came between the two commits of a promotion."""

    flow: str
    repository: str
    status: Literal["ahead", "behind", "diverged", "identical", "new", "unknown"]
    on_branch: bool | None = None
    ahead: int = 0
    behind: int = 0
    commits: list[LoggedCommit] = []
    why: str = ""


class Hold(Struct, forbid_unknown_fields=True):
    """A flow that is held for a time, or every flow: a freeze."""

    flow: Annotated[str, Meta(min_length=1)]
    until: datetime
    reason: str
    from_: datetime | None = field(default=None, name="from")
    by: str = ""


class HoldsDocument(Struct, forbid_unknown_fields=True):
    """holds.toml."""

    hold: list[Hold] = []


class Attestation(Struct):
    """One of the answers of `kosli get attestation --output json`."""

    attestation_name: str
    is_compliant: bool | None = None
    user_data: Any = None


class Attested(Struct):
    """What was attested; `compliant` is null where Kosli decides by the rules of kosli/promotion.jq."""

    flow: str
    trail: str
    name: str
    type: str
    fingerprint: str
    compliant: bool | None


Ending = Literal["landed", "another landed", "not landed"]


class Outcome(Struct):
    """What became of one approved promotion. `seconds`: when that was first seen, from the start."""

    flow: str
    fingerprint: str
    outcome: Ending
    running: list[str]
    snapshot_id: str
    seconds: float = 0.0


# GitHub's answers, from the inside out.


class User(Struct):
    login: str


class ReviewedEnvironment(Struct):
    name: str


class Review(Struct):
    """A review of a workflow run: GitHub says who and what, but not when."""

    state: str
    user: User
    environments: list[ReviewedEnvironment]
    comment: str | None = None


class Repository(Struct):
    full_name: str  # OWNER/NAME


class Comparison(Struct):
    """How GitHub compares two commits; of `A...B`, ahead: A is an ancestor of B."""

    status: str


class WorkflowRun(Struct):
    id: int
    path: str
    event: str
    head_branch: str | None = None
    head_repository: Repository | None = None
