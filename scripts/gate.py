#!/usr/bin/env python3
"""Ask Kosli for two verdicts on each promotion: in FROM, where its artifact runs, and for TO, where it is going.

With one ENVIRONMENT it asks about that one only: for a new build, before it is deployed anywhere.

stdin   a release (make promotions), or one promotion of it: the keys that jq/matrix.jmespath keeps are enough
stdout  [{"flow", "name", "fingerprint", "environment", "verdict", "policies", "reasons", "html_url"}, ...] in the
        release's order, FROM before TO. verdict is compliant, non-compliant or error; policies is how many were
        evaluated; reasons are sentences
exit    0 every verdict is compliant, 1 some are not, 2 not a release, or one of other environments than FROM and TO,
        3 some are errors and none is non-compliant, or the gate cannot be trusted: dry run is on, a CLI older than
        v2.11.40, none at all, no organisation or token
reads   ALLOW_NO_POLICY GATE_JOBS KOSLI_..., and FROM_ENV TO_ENV where no environment is given

    make promotions | scripts/gate.py aws-beta aws-prod
    scripts/gate.py aws-beta <build.json
"""

from collections.abc import Iterable, Iterator

from lib.kosli import OLDEST_TRUSTED, Answer, ask, cli_version, failure, record_in, redacted, require_settings
from lib.model import AssertAnswer, Candidate, PolicyEvaluation, Resolution, RuleEvaluation, Verdict
from lib.processes import side_by_side, stop_on_signals
from lib.releases import read_release, require_environments
from lib.rules import environment_of
from lib.settings import environment_name, settings
from lib.streams import Arguments, KosliFailed, Stop, Unusable, printable, read_document, run, say, typed, write_json

_SENTENCES = {
    "missing_attestation": "{what} is missing{where}",
    "non_compliant_attestation": "{what} is not compliant{where}",
    "non_compliant_in_trail": "the artifact is not compliant{where}",
    "no_provenance": "the artifact has no provenance",
    "missing_provenance": "the artifact's provenance is missing{where}",
    "legacy_flow": "the artifact's flow is of a kind without trails{where}",
}


def gate(release: Iterable[Candidate], environments: list[str]) -> list[Verdict]:
    """Return one verdict for each promotion and environment, whatever happens to the questions."""
    questions = [(promotion, environment) for promotion in release for environment in environments]
    return list(side_by_side(lambda question: judge(*question), questions, settings().gate.jobs, "verdict"))


def judge(promotion: Candidate, environment: str) -> Verdict:
    """Return the verdict on one promotion's incoming artifact in one environment."""
    fingerprint = promotion.incoming_fingerprint
    verdict = Verdict(promotion.incoming_flow, promotion.incoming_name, fingerprint, environment, "error")
    try:
        question = ("assert", "artifact", "--fingerprint", fingerprint, "--environment", environment)
        answer = ask(*question, "--output=json", "--dry-run=false")
        if answer.code not in (0, 1):
            raise failure(answer)
        read_answer(answer, verdict)
    except Stop as stop:
        verdict.reasons = list(stop.causes)
    return verdict


def read_answer(answer: Answer, verdict: Verdict) -> None:
    """Put into a verdict what Kosli's answer says.

    Raises KosliFailed when it does not answer the question. `compliant` needs all of: exit code 0, compliant: true,
    an evaluated policy (unless waived), and no evaluation that says otherwise.
    """
    assertion = record_in(answer, AssertAnswer)
    if assertion.scope == "flow":
        raise KosliFailed(
            f"kosli assert artifact: it did not look at {verdict.environment}: is there no such environment?"
        )
    asked = {"environment": verdict.environment, "scope": "environment", "fingerprint": verdict.fingerprint}
    for key, wanted in asked.items():
        value = getattr(assertion, key)
        if value != wanted and not (key == "fingerprint" and value is None):
            value = printable(redacted(str(value)))
            raise KosliFailed(f"kosli assert artifact: its answer is about the {key} {value}, not {wanted}")
    evaluations = assertion.policy_evaluations
    verdict.policies, verdict.html_url = len(evaluations), redacted(assertion.html_url or "")
    reasons = list(reasons_in(evaluations))
    if not assertion.compliant:
        verdict.verdict = "non-compliant"
        verdict.reasons = reasons or ["Kosli says that it is not compliant, and not why"]
    elif answer.code != 0:
        said = f": {answer.said}" if answer.said else ""
        verdict.reasons = [f"Kosli says compliant: true, but exits {answer.code}{said}"]
    elif any(evaluation.status != "COMPLIANT" for evaluation in evaluations):
        verdict.reasons = ["Kosli says compliant: true, but not all of its policy evaluations do", *reasons]
    elif not evaluations and not settings().gate.allow_no_policy:
        verdict.reasons = [
            f"no policy is attached to {verdict.environment}: nothing was checked (ALLOW_NO_POLICY=1 waives this)"
        ]
    else:
        verdict.verdict = "compliant"


def reasons_in(evaluations: list[PolicyEvaluation]) -> Iterator[str]:
    """Yield a sentence for each rule that is not satisfied: the policy, what is wrong, in which trail."""
    for evaluation in evaluations:
        if evaluation.status == "COMPLIANT":
            continue
        policy = f"policy {word(evaluation.policy_name)}"
        failed = [rule for rule in evaluation.rule_evaluations or () if not (rule.satisfied or rule.ignored)]
        for rule in failed:
            for resolution in rule.resolutions or [Resolution()]:
                yield f"{policy}: {sentence(rule, resolution)}"
        if not failed:
            yield f"{policy}: its status is {word(evaluation.status)}"


def sentence(evaluation: RuleEvaluation, resolution: Resolution) -> str:
    """Return what is wrong with one rule."""
    rule, context = evaluation.rule, resolution.context
    definition = rule.definition if rule else None
    name, kind = (word(definition.name), word(definition.type)) if definition else ("", "")
    what = f"attestation {name} ({kind})" if name and kind else f"attestation {name or kind or 'of any name'}"
    where = ""
    if context:
        if control := word(context.for_control):
            what = f"the decision on control {control}"
        trail, flow = word(context.trail or context.trail_name), word(context.flow or context.flow_name)
        where = (f" in trail {trail}" if trail else "") + (f" of flow {flow}" if flow else "")
    template = _SENTENCES.get(resolution.type or "")
    if template is None:
        kind = word(rule.type) if rule else ""
        return f"{word(resolution.type) or 'not satisfied'} ({kind or 'unknown rule'}){where}"
    return template.format(what=what, where=where)


def word(value: str | None) -> str:
    """Return a text of Kosli's answer for a message, without a token in it."""
    return printable(redacted(value or ""))


def refuse_untrusted_cli() -> None:
    """Raise KosliFailed for a CLI whose gate is known to be broken; name one whose version cannot be read."""
    text, number = cli_version()
    if not number:
        say(f"the version of the kosli CLI cannot be read: {text or 'it says nothing'}")
    elif number < OLDEST_TRUSTED:
        version = ".".join(map(str, number))
        raise KosliFailed(
            f"kosli v{version} cannot be trusted as a gate: some versions before v2.11.40 exit 0 for an artifact "
            "that is not compliant"
        )


def read_candidates(document: object, environments: list[str]) -> list[Candidate]:
    """Return what is to be judged: a release, whose environments are then looked at, or the one promotion of a job."""
    if isinstance(document, list):
        release = read_release(document)
        if len(environments) == 2:
            require_environments(release, *environments)
        return [Candidate(p.incoming_flow, p.incoming_name, p.incoming_fingerprint) for p in release]
    candidate = typed(document, Candidate, "stdin is neither a release nor a promotion")
    origin = environment_of(candidate.incoming_snapshot_id)
    if origin and origin not in environments:
        raise Unusable(f"the promotion comes from {origin}, not from {' or '.join(environments)}")
    return [candidate]


def main(argv: list[str]) -> int:
    arguments = Arguments(__doc__)
    arguments.add_argument("environments", nargs="*", metavar="ENVIRONMENT")
    named = arguments.parse_args(argv).environments
    if len(named) > 2:
        raise Unusable(f"{len(named)} environments, and the gate asks in one or two (--help says more)")
    expressions = named or settings().environments
    environments = [environment_name(environment_of(expression)) for expression in expressions]
    candidates = read_candidates(read_document(), environments)
    stop_on_signals()
    require_settings()
    refuse_untrusted_cli()
    verdicts = gate(candidates, environments)
    write_json(verdicts)
    for verdict in verdicts:
        for reason in verdict.reasons:
            where = f"{verdict.environment}: {printable(verdict.flow)}: {printable(verdict.name)}"
            say(f"{where}: {verdict.verdict}: {reason}")
    kinds = {verdict.verdict for verdict in verdicts}
    return 1 if "non-compliant" in kinds else 3 if "error" in kinds else 0


if __name__ == "__main__":
    run(main)
