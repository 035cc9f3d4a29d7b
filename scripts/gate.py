#!/usr/bin/env python3
"""Ask Kosli for two verdicts on each promotion: in FROM, where its artifact runs, and for TO, where it is going.

With one ENVIRONMENT it is one verdict each: may it go there? (A build, before it is deployed for the first time.)

stdin   a release (make promotions), or one promotion; of that no more than jq/matrix.jmespath keeps
stdout  [{"flow", "name", "fingerprint", "environment", "verdict", "policies", "reasons", "html_url"}, ...] in the
        release's order, FROM before TO. verdict is compliant, non-compliant or error; policies is how many were
        evaluated; reasons are sentences
exit    0 every verdict is compliant, 1 some are not, 2 not a release, or one of other environments than FROM and TO,
        3 some are errors and none is non-compliant, or the gate cannot be trusted: dry run is on, a CLI older than
        v2.11.40, none at all, no organisation or token

settings, from the environment:
  ALLOW_NO_POLICY    1: an environment to which no policy is attached does not make an error
  GATE_JOBS          how many questions at once, 8 by default
  KOSLI_...          as for snapshots.py

    make -s promotions | scripts/gate.py aws-beta aws-prod
    scripts/gate.py aws-beta <build.json
"""

from __future__ import annotations

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor

from lib.diffs import environment_of
from lib.filters import (
    KosliFailed,
    Stop,
    Unusable,
    bar,
    printable,
    read_bytes,
    read_document,
    run,
    say,
    setting,
    usage,
    write_json,
)
from lib.kosli import ask, document_in, failure, redacted, require_settings, stop_on_signals
from lib.releases import is_sha256, read_release, require_environments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lib.kosli import Answer
    from lib.releases import Promotion, Release

OLDEST_TRUSTED = (2, 11, 40)
HARMLESS_CONFIGURATION = {"api-token", "debug", "dry-run", "host", "http-proxy", "max-api-retries", "org", "output"}
_configuration_line = re.compile(r"\s*(?:#.*|---|[\"']?([A-Za-z][A-Za-z0-9_-]*)[\"']?\s*:(?:\s.*)?)?").fullmatch
_version = re.compile(r"v?([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})(?:[+-].*)?").fullmatch
_environment_name = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*").fullmatch


def gate(release: Release, environments: list[str], jobs: int) -> list[dict[str, Any]]:
    """Return one verdict for each promotion and environment, whatever happens to the questions."""
    questions = [(promotion, environment) for promotion in release for environment in environments]
    verdicts = []
    pool = ThreadPoolExecutor(max_workers=jobs)
    try:
        for verdict in pool.map(lambda question: judge(*question), questions):
            verdicts.append(verdict)
            _show_progress(len(verdicts), len(questions))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return verdicts


def judge(promotion: Promotion, environment: str) -> dict[str, Any]:
    """Return the verdict on one promotion's incoming artifact in one environment."""
    fingerprint = promotion["incoming_fingerprint"]
    verdict = {
        "flow": promotion["incoming_flow"],
        "name": promotion["incoming_name"],
        "fingerprint": fingerprint,
        "environment": environment,
        "verdict": "error",
        "policies": 0,
        "reasons": [],
        "html_url": "",
    }
    try:
        answer = ask(
            *("assert", "artifact", "--fingerprint", fingerprint, "--environment", environment),
            *("--output", "json", "--dry-run=false", "--debug=false"),
        )
        if answer.code not in (0, 1):
            raise failure(answer)
        return {**verdict, **read_answer(document_in(answer), answer, fingerprint, environment)}
    except Stop as stop:
        return {**verdict, "reasons": list(stop.causes)}


def read_answer(document: Any, answer: Answer, fingerprint: str, environment: str) -> dict[str, Any]:
    """Return what Kosli's answer about a fingerprint in an environment says: verdict, policies, reasons, html_url.

    Raises KosliFailed when it does not answer that question. `compliant` needs all of: exit code 0, compliant: true,
    an evaluated policy (unless waived), and no evaluation that says otherwise.
    """
    if type(document) is not dict:
        raise KosliFailed("kosli assert artifact: its answer is not a JSON object")
    for key, wanted in (("fingerprint", fingerprint), ("environment", environment), ("scope", "environment")):
        if document.get(key) != wanted:
            found = redacted(str(document.get(key)))
            raise KosliFailed(f"kosli assert artifact: its answer is about the {key} {printable(found)}, not {wanted}")
    evaluations = document.get("policy_evaluations")
    if type(document.get("compliant")) is not bool or type(evaluations) is not list:
        raise KosliFailed("kosli assert artifact: its answer says neither compliant nor not")
    if not all(type(evaluation) is dict for evaluation in evaluations):
        raise KosliFailed("kosli assert artifact: its answer has policy evaluations that cannot be read")
    url = document.get("html_url")
    facts = {"policies": len(evaluations), "html_url": redacted(url) if type(url) is str else ""}
    if document["compliant"] is False:
        reasons = _reasons(evaluations) or ["Kosli says that it is not compliant, and not why"]
        return {**facts, "verdict": "non-compliant", "reasons": reasons}
    if answer.code != 0:
        said = f": {answer.said}" if answer.said else ""
        reasons = [f"Kosli says compliant: true, but exits {answer.code}{said}"]
    elif any(evaluation.get("status") != "COMPLIANT" for evaluation in evaluations):
        reasons = ["Kosli says compliant: true, but not all of its policy evaluations do", *_reasons(evaluations)]
    elif not evaluations and setting("ALLOW_NO_POLICY") != "1":
        reasons = [f"no policy is attached to {environment}: nothing was checked (ALLOW_NO_POLICY=1 waives this)"]
    else:
        return {**facts, "verdict": "compliant", "reasons": []}
    return {**facts, "verdict": "error", "reasons": reasons}


def _reasons(evaluations: list[dict[str, Any]]) -> list[str]:
    """Return a sentence for each rule that is not satisfied: the policy, what is wrong, in which trail."""
    reasons = []
    for evaluation in evaluations:
        if evaluation.get("status") == "COMPLIANT":
            continue
        policy = f"policy {_word(evaluation, 'policy_name')}"
        rules = [r for r in _list(evaluation, "rule_evaluations") if not (r.get("satisfied") or r.get("ignored"))]
        wrong = [_sentence(rule, resolution) for rule in rules for resolution in _list(rule, "resolutions") or [{}]]
        status = _word(evaluation, "status") or "missing"
        reasons += [f"{policy}: {sentence}" for sentence in wrong or [f"its status is {status}"]]
    return reasons


_SENTENCES = {
    "missing_attestation": "{what} is missing{where}",
    "non_compliant_attestation": "{what} is not compliant{where}",
    "non_compliant_in_trail": "the artifact is not compliant{where}",
    "no_provenance": "the artifact has no provenance",
    "missing_provenance": "the artifact's provenance is missing{where}",
    "legacy_flow": "the artifact's flow is of a kind without trails{where}",
}


def _sentence(rule: dict[str, Any], resolution: dict[str, Any]) -> str:
    body = _dict(rule, "rule")
    definition, context = _dict(body, "definition"), _dict(resolution, "context")
    name, kind = _word(definition, "name"), _word(definition, "type")
    what = f"attestation {name} ({kind})" if name and kind else f"attestation {name or kind or 'of any name'}"
    flow, trail = _word(context, "flow", "flow_name"), _word(context, "trail", "trail_name")
    where = f" in trail {trail}" if trail else ""
    where += f" of flow {flow}" if flow else ""
    template = _SENTENCES.get(_word(resolution, "type"))
    if template is None:
        return f"{_word(resolution, 'type') or 'not satisfied'} ({_word(body, 'type') or 'unknown rule'}){where}"
    return template.format(what=what, where=where)


def _list(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = document.get(key)
    return [each for each in value if type(each) is dict] if type(value) is list else []


def _dict(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key)
    return value if type(value) is dict else {}


def _word(document: dict[str, Any], *keys: str) -> str:
    return next((printable(redacted(value)) for value in map(document.get, keys) if type(value) is str and value), "")


def refuse_untrusted_cli() -> None:
    """Raise KosliFailed for a CLI whose gate is known to be broken; name one whose version cannot be read."""
    answer = ask("version", "--short", "--debug=false")
    if answer.code:
        raise failure(answer)
    text = redacted(answer.stdout.decode("utf-8", "replace"))
    # Some versions put a prefix before it.
    versions = [tuple(map(int, found.groups())) for found in map(_version, text.split()) if found]
    if not versions:
        say(f"the version of the kosli CLI cannot be read: {printable(text.strip()) or 'it says nothing'}")
    elif min(versions) < OLDEST_TRUSTED:
        version = ".".join(map(str, min(versions)))
        raise KosliFailed(
            f"kosli v{version} cannot be trusted as a gate: some versions before v2.11.40 exit 0 for an artifact "
            "that is not compliant"
        )


def refuse_configuration() -> None:
    """Raise KosliFailed when ~/.kosli.yml sets what would change the gate's question, such as the flow to look in.

    The CLI reads that file, an explicit flag wins over it, but no flag can say "in no flow".
    """
    path = os.path.join(setting("HOME"), ".kosli.yml")
    if not os.path.exists(path):
        return
    lines = read_bytes(path).decode("utf-8", "replace").splitlines()
    found = [_configuration_line(line) for line in lines]
    if None in found:
        raise KosliFailed(
            f"~/.kosli.yml: line {found.index(None) + 1} is not `key: value`, it might change what the gate asks"
        )
    leaking = sorted({match[1].lower() for match in found if match and match[1]} - HARMLESS_CONFIGURATION)
    if leaking:
        raise KosliFailed(f"~/.kosli.yml sets {', '.join(leaking)}, which would change what the gate asks")


def _show_progress(done: int, total: int) -> None:
    if sys.stderr and sys.stderr.isatty():
        os.write(2, f"{bar(done, total)}{chr(10) if done == total else ''}".encode())


def read_promotion(document: Promotion) -> Promotion:
    """Return the promotion that a job of a matrix has in its hand: it need not have more than the gate uses."""
    for key in ("incoming_flow", "incoming_name", "incoming_fingerprint"):
        value = document.get(key)
        if type(value) is not str:
            what = "missing" if value is None else "not a string"
            raise Unusable(f"stdin is neither a release nor a promotion: {key}: {what}")
    if not is_sha256(document["incoming_fingerprint"]):
        raise Unusable("incoming_fingerprint: not 64 lower-case hexadecimal digits")
    return document


def jobs_at_once() -> int:
    """Return GATE_JOBS."""
    jobs = setting("GATE_JOBS", "8")
    if not re.fullmatch("[0-9]{1,2}", jobs) or not 1 <= int(jobs) <= 64:
        raise Unusable(f"GATE_JOBS: {printable(jobs)} is no number from 1 to 64")
    return int(jobs)


def main(argv: list[str]) -> int:
    """Read a release or one promotion, write the verdicts."""
    named = usage(argv, "ENVIRONMENT") if len(argv) == 1 else usage(argv, "FROM", "TO")
    environments = [environment_of(expression) for expression in named]
    for environment in environments:
        if not _environment_name(environment):
            raise Unusable(f"{printable(environment)} is no name of an environment")
    document = read_document()
    release = [read_promotion(document)] if type(document) is dict else read_release(document)
    if type(document) is list and len(environments) == 2:
        require_environments(release, *environments)
    jobs = jobs_at_once()
    stop_on_signals()
    require_settings()
    refuse_configuration()
    refuse_untrusted_cli()
    verdicts = gate(release, environments, jobs)
    write_json(verdicts)
    for verdict in verdicts:
        for reason in verdict["reasons"]:
            flow, environment = printable(verdict["flow"]), verdict["environment"]
            say(f"{environment}: {flow}: {printable(verdict['name'])}: {verdict['verdict']}: {reason}")
    found = {verdict["verdict"] for verdict in verdicts}
    return 1 if "non-compliant" in found else 3 if "error" in found else 0


if __name__ == "__main__":
    run(main, __doc__)
