"""A document that is broken in one place is refused: exit 2, an empty stdout, and a line that names the place.

Each row of a table is a good document with one change. `GONE` takes the key away.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from conftest import ROOT, run

import pytest

GONE = object()
DIFF = json.loads((ROOT / "fixtures" / "several-behind.json").read_text())
GOOD = DIFF["snappish1"]["artifacts"][0]
FINGERPRINT = GOOD["fingerprint"]

# What reads a diff on stdin. All go through the same reader: the whole table is for the first one.
DIFF_PLACES: list[tuple[str, Any, str]] = [
    ("snappish1", GONE, "snappish1"),
    ("snappish3", {"snapshot_id": "aws-beta#1", "artifacts": [GOOD]}, "snappish3"),
    ("changed", [], "changed"),
    ("snappish1.artifacts", None, "snappish1.artifacts"),
    ("snappish1.artifacts", {}, "snappish1.artifacts"),
    ("snappish1.artifacts.1", FINGERPRINT, "snappish1.artifacts[1]"),
    ("snappish2.snapshot_id", GONE, "snappish2.snapshot_id"),
    ("snappish1.snapshot_id", "aws-beta", "snappish1.snapshot_id"),
    ("snappish1.snapshot_id", "aws-beta#1\n", "snappish1.snapshot_id"),
    ("snappish1.artifacts.3.fingerprint", 4096, "snappish1.artifacts[3].fingerprint"),
    ("snappish1.artifacts.0.fingerprint", FINGERPRINT[:-1], "snappish1.artifacts[0].fingerprint"),
    ("snappish1.artifacts.0.fingerprint", FINGERPRINT + "0", "snappish1.artifacts[0].fingerprint"),
    ("snappish1.artifacts.0.fingerprint", FINGERPRINT + "\n", "snappish1.artifacts[0].fingerprint"),
    ("snappish1.artifacts.0.fingerprint", "A" * 64, "snappish1.artifacts[0].fingerprint"),
    ("snappish1.artifacts.0.name", GONE, "snappish1.artifacts[0].name"),
    ("snappish2.artifacts.0.name", None, "snappish2.artifacts[0].name"),
    ("snappish1.artifacts.0.flow", None, "snappish1.artifacts[0].flow"),
    ("snappish1.artifacts.0.commit_url", ["https://github.com"], "snappish1.artifacts[0].commit_url"),
    ("snappish1.artifacts.0.most_recent_timestamp", "1790332335", "snappish1.artifacts[0].most_recent_timestamp"),
    ("not-changed.artifacts.0.instance_count", True, "not-changed.artifacts[0].instance_count"),
    ("snappish1.artifacts.0.pods", "catalog-5d8f7c9b64", "snappish1.artifacts[0].pods"),
    ("snappish1.artifacts.0.pods", ["catalog-5d8f7c9b64", 7], "snappish1.artifacts[0].pods[1]"),
]
# What reads a release on stdin, and what it needs to come to it.
RELEASE_READERS = {
    "rollback.py": [],
    "github_output.py": [],
    "gate.py": ["aws-beta", "aws-prod"],
    "attest.py": [],
    "summary.py": [],
    "report.py": [],
}
RELEASE_PLACES: list[tuple[str, Any, str]] = [
    ("0", 7, "[0]"),
    ("1.incoming_fingerprint", GONE, "[1].incoming_fingerprint"),
    ("1.incoming_fingerprint", "abc", "[1].incoming_fingerprint"),
    ("0.outgoing_fingerprint", "abc", "[0].outgoing_fingerprint"),
    ("0.incoming_flow", 7, "[0].incoming_flow"),
    ("0.incoming_commit_url", GONE, "[0].incoming_commit_url"),
    ("0.incoming_snapshot_id", "aws-beta", "[0].incoming_snapshot_id"),
]
REVIEWS = [{"state": "approved", "comment": "", "environments": [{"name": "production"}], "user": {"login": "octocat"}}]
# What is no JSON at all, and what it must say.
TEXT = json.dumps(DIFF)
BYTES = {
    "nothing": (b"", "stdin is empty"),
    "white space": (b" \n\t\n", "stdin is empty"),
    "an error message": (b"Error: failed to get environment", "not JSON"),
    "half a document": (TEXT[: len(TEXT) // 2].encode(), "not JSON"),
    "a name in Latin-1": (TEXT.replace("acme-shop", "acm\xe9-shop", 1).encode("latin-1"), "not UTF-8"),
    "half a surrogate pair": (TEXT.replace("acme-shop", "\\ud83d", 1).encode(), "surrogate"),
    "NaN": (TEXT.replace('"instance_count": 1', '"instance_count": NaN', 1).encode(), "NaN"),
    "a category twice": (f'{TEXT[:-1]}, "snappish1": {{"snapshot_id": "a#1", "artifacts": []}}}}'.encode(), "twice"),
    "a category twice, once escaped": (f'{TEXT[:-1]}, "\\u0073nappish1": {{}}}}'.encode(), "twice"),
    "a million lists": (b"[" * 1_000_000 + b"]" * 1_000_000, "stdin is not"),
}


def changed(document: Any, path: str, value: Any) -> bytes:
    """Return a document with one place changed; a path is keys and indexes with dots between."""
    document = copy.deepcopy(document)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    part = document
    for key in parents:
        part = part[key]
    if value is GONE:
        del part[last]
    else:
        part[last] = value
    return json.dumps(document).encode()


def refusal(script: str, *arguments: str | Path, stdin: bytes = b"", **variables: str) -> str:
    """Return the one line with which a script refuses."""
    settings = {"KOSLI_ORG": "acme", "KOSLI_API_TOKEN": "a-token-that-nobody-has", "RELEASE_TRAIL": "run-42"}
    ran = run(script, *arguments, stdin=stdin, **settings, **variables)
    stderr = ran.err.decode()
    assert (ran.code, ran.out, stderr.count("\n")) == (2, b"", 1), stderr
    assert stderr.startswith(f"{script}: ")
    return stderr


@pytest.fixture(scope="module")
def release() -> list[dict[str, Any]]:
    return json.loads(run("promotions.py", stdin=TEXT.encode()).out)


@pytest.mark.parametrize(("path", "value", "place"), DIFF_PLACES)
def test_a_diff(path: str, value: Any, place: str) -> None:
    stderr = refusal("promotions.py", stdin=changed(DIFF, path, value))
    assert f" {place}: " in stderr


def test_the_first_of_several_places() -> None:
    broken = changed(DIFF, "snappish1.artifacts.0.flow", None)
    broken = changed(json.loads(broken), "snappish2.artifacts.0.name", 7)
    assert " snappish1.artifacts[0].flow: " in refusal("promotions.py", stdin=broken)


@pytest.mark.parametrize("script", ["in_progress.py", "recheck.py"])
def test_a_diff_for_another_reader(script: str, release: Any, tmp_path: Path) -> None:
    path, value, place = DIFF_PLACES[9]
    (tmp_path / "release.json").write_text(json.dumps(release))
    arguments = [tmp_path / "release.json"] if script == "recheck.py" else []
    assert f" {place}: " in refusal(script, *arguments, stdin=changed(DIFF, path, value))
    refusal(script, *arguments, stdin=json.dumps(release).encode())


@pytest.mark.parametrize(("script", "arguments"), RELEASE_READERS.items(), ids=RELEASE_READERS)
def test_a_release(script: str, arguments: list[str], release: Any) -> None:
    for path, value, place in RELEASE_PLACES if script == "rollback.py" else RELEASE_PLACES[:2]:
        assert f" {place}: " in refusal(script, *arguments, stdin=changed(release, path, value))
    refusal(script, *arguments, stdin=TEXT.encode())


@pytest.mark.parametrize("script", ["recheck.py", "verify.py"])
def test_an_approved_release(script: str, release: Any, tmp_path: Path) -> None:
    file = tmp_path / "release.json"
    for content, said in {
        changed(release, *RELEASE_PLACES[1][:2]): f" {RELEASE_PLACES[1][2]}: ",
        TEXT.encode(): "release.json",
        b"": "release.json",
        b"[": "release.json",
    }.items():
        file.write_bytes(content)
        assert said in refusal(script, file, stdin=TEXT.encode())
    refusal(script, tmp_path / "absent.json", stdin=TEXT.encode())


@pytest.mark.parametrize("script", ["summary.py", "report.py"])
@pytest.mark.parametrize("name", ["SNAPSHOTS", "VERDICTS", "OUTCOMES"])
def test_what_a_page_is_made_of(script: str, name: str, release: Any, tmp_path: Path) -> None:
    stdin = json.dumps(release).encode()
    (tmp_path / "wrong.json").write_text('{"message": "Not Found"}')
    for file in ("wrong.json", "absent.json"):
        assert file in refusal(script, stdin=stdin, **{name: str(tmp_path / file)}) or file == "wrong.json"


@pytest.mark.parametrize("path", ["0.user", "0.environments"])
def test_reviews(path: str) -> None:
    assert "[0]" in refusal("approval.py", stdin=changed(REVIEWS, path, GONE), DIGEST="0" * 64)


@pytest.mark.parametrize("document", [b'{"message": "Not Found"}', b"[]", b"null"])
def test_a_workflow_run(document: bytes, tmp_path: Path) -> None:
    settings = {"ROLLBACK_OF": "42", "GITHUB_REPOSITORY": "acme-shop/releases", "GITHUB_REF_NAME": "main"}
    (tmp_path / "comparison.json").write_text('{"status": "ahead"}')
    said = refusal("promotion_run.py", tmp_path / "comparison.json", stdin=document, **settings)
    assert "stdin is not a workflow run" in said


@pytest.mark.parametrize(("content", "said"), BYTES.values(), ids=BYTES)
def test_what_is_no_json(content: bytes, said: str) -> None:
    assert said in refusal("promotions.py", stdin=content)


def test_one_reader_for_every_size() -> None:
    """What a small document is refused for, a large one is refused for too."""
    large = copy.deepcopy(DIFF)
    large["not-changed"]["artifacts"][0]["note"] = "x" * 300_000
    text = json.dumps(large)
    twice = text.replace('"fingerprint": "', f'"fingerprint": "{"0" * 64}", "fingerprint": "', 1)
    assert "twice" in refusal("promotions.py", stdin=twice.encode())
    nan = text.replace('"instance_count": 1', '"x": NaN', 1)
    assert "NaN" in refusal("promotions.py", stdin=nan.encode())
