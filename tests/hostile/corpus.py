"""Hostile input: documents that are not what they should be, and documents that are, with hostile values.

corpus() gives {name: bytes}, the same at each call. Each name says what is wrong, so that a failure can be read.
"""

from __future__ import annotations

import copy
import gzip
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
SEED = 20260801
FIXTURES = (
    *("several-behind", "every-provider", "hostile-names", "unknown-extra-field"),
    *("in-progress-in-prod", "scaled-only"),
)

Entry = tuple[str, bytes]

# Text that is harmless as a value and harmful anywhere else.
TEXTS = {
    "empty": "",
    "a space": " ",
    "white space": "\t \n \r\n",
    "shell: substitution": "$(touch owned)",
    "shell: back ticks": "`touch owned`",
    "shell: end of a quote": "'; touch owned; '",
    "shell: end of a double quote": '"; touch owned; "',
    "shell: a second command": "x; touch owned",
    "shell: a line": "x\ntouch owned\n",
    "shell: or": "|| touch owned",
    "shell: redirection": "> owned",
    "shell: home": "~/$HOME/${IFS}",
    "shell: a flag": "--dry-run",
    "shell: a dash": "-",
    "make: shell": "$(shell touch owned)",
    "make: a recipe": "$$(touch owned)\n\ttouch owned",
    "python: format": "{0.__class__} {sha} %(name)s %s %n",
    "command: error": "::error::owned",
    "command: error in a second line": "x\n::error::owned",
    "command: error after a carriage return": "x\r::error::owned",
    "command: set-output": "\n::set-output name=any::true\n",
    "command: add-mask": "\r\n::add-mask::a",
    "command: stop": "\n::stop-commands::x\n",
    "command: old grammar": "##[error]owned",
    "command: old grammar in a second line": "\n##[group]owned",
    "command: encoded": "%0A::error::owned",
    "output: another key": "x\nany=true\ndigest=0",
    "output: here document": "x<<EOF\n[]\nEOF\nany=true",
    "expression": "${{ secrets.KOSLI_API_TOKEN }}",
    "markdown: link": "[release](javascript:alert(1))",
    "markdown: image": "![x](http://example.invalid/x.png)",
    "markdown: table": "a | b |\n| --- | --- |\n| c",
    "markdown: code": "```\nx\n``` `x` ``",
    "markdown: heading": "\n# Approved\n\n- [x] all is well",
    "markdown: mention": "@octocat #1 GH-1",
    "markdown: rule": "\n\n---\n\n> quoted\n",
    "markdown: emphasis": "**x** __x__ ~~x~~ \\*",
    "html: script": "<script>alert(1)</script>",
    "html: image": "<img src=x onerror=alert(1)>",
    "html: end of details": "</summary></details></table><h1>x</h1>",
    "html: comment": "<!-- x",
    "html: entity": "&lt;b&gt;&#0;&amp;",
    "html: attribute": '" onmouseover="alert(1)',
    "mermaid: link": '"]; click A href "javascript:alert(1)"',
    "mermaid: edge": "end\nA --> B\n",
    "mermaid: directive": "%%{init: {'securityLevel': 'loose'}}%%",
    "control: NUL": "a\0b",
    "control: escape": "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "control: back space": "good\b\b\b\bevil",
    "control: delete": "\x7f",
    "control: CSI in one character": "\x9b31m",
    "control: next line": "a\x85::error::b",
    "control: vertical tab and form feed": "a\x0b::error::b\x0c::error::c",
    "unicode: line separator": "a\u2028::error::b\u2029::error::c",
    "unicode: right to left": "\u202egnp.exe\u2066",
    "unicode: no width": "a\u200b\u200d\ufeffb",
    "unicode: combining": "e" + "\u0301" * 500,
    "unicode: outside of the plane": "\U0001f469\u200d\U0001f680\U0010ffff",
    "unicode: no character": "\uffff\ufffe\ue000",
    "unicode: other letters": "\u017f\u212a\u0130\u0131\uff41\u0661",
    "unicode: another alphabet": "c\u0430rt",
    "path": "../../../../etc/passwd",
    "path: a device": "/dev/zero",
    "path: a file URL": "file:///etc/passwd",
    "path: Windows": "C:\\con\\nul",
    "number: NaN": "NaN",
    "number: infinite": "1e999",
    "number: other digits": "\u0661\u0662\u0663",
    "csv": 'a,b="c"=d==,"e',
    "yaml": "- !!python/object/apply:os.system ['touch owned']",
    "sql": "'; DROP TABLE releases; --",
    "regular expression": "(a+)+$" + "a" * 60 + "!",
    "long": "x" * 100_000,
    "long, many lines": "x\n" * 20_000,
    "long, many commands": "\n::error::x" * 5_000,
}
# Keys that mean something to some language, or nothing to any.
KEYS = (
    *("__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "__class__", "__dict__", "length"),
    *("", " ", ".", "*", "@", "a.b", "[0]", "${{ x }}", "::error::x", "\n::error::x", "\x1b[31m", "\0", "\u2028"),
    *("<script>", "incoming_name", "incoming", "outgoing_fingerprint", "deployment_diff_url", "snapshot_id", "null"),
)
WRONG: dict[str, Any] = {
    "null": None,
    "a boolean": True,
    "a number": 7,
    "a fraction": 0.5,
    "a string": "x",
    "a list": [],
    "a list of a list": [[None]],
    "an object": {},
    "an object of a list": {"a": [1]},
}


def corpus() -> dict[str, bytes]:
    """Return all hostile inputs by name."""
    found: dict[str, bytes] = {}
    for name, content in (
        *hostile_texts(),
        *wrong_types(),
        *missing_keys(),
        *hostile_keys(),
        *mutated(),
        *wrong_encodings(),
        *wrong_syntax(),
        *nested(),
        *large(),
    ):
        assert name not in found, name
        found[name] = content
    return found


def meant_for(name: str) -> str:
    """Return which of DOCUMENTS an input of this name resembles, "" when none: it may resemble any."""
    return next((_DOCUMENT_OF[word] for word in re.split(r"[^a-z]+", name) if word in _DOCUMENT_OF), "")


def artifact(number: int, **fields: Any) -> dict[str, Any]:
    """Return an artifact that nothing is wrong with, but for these fields."""
    fingerprint = f"{number:064x}"
    return {
        "fingerprint": fingerprint,
        "name": f"registry.example/app-{number}:1@sha256:{fingerprint}",
        "flow": f"app-{number}-ci",
        "commit_url": f"https://github.com/acme-shop/app/commit/{number:040x}",
        "most_recent_timestamp": 1740900233,
        "instance_count": 1,
        **fields,
    }


def diff(incoming: Any = (), outgoing: Any = (), changed: Any = (), unchanged: Any = ()) -> dict[str, Any]:
    """Return a diff of these artifacts."""
    return {
        "snappish1": {"snapshot_id": "aws-beta#4754", "artifacts": list(incoming)},
        "snappish2": {"snapshot_id": "aws-prod#3548", "artifacts": list(outgoing)},
        "changed": {"artifacts": list(changed)},
        "not-changed": {"artifacts": list(unchanged)},
    }


def promotion(number: int, first: bool = False, **fields: Any) -> dict[str, Any]:
    """Return a promotion that nothing is wrong with, but for these fields."""
    sides = {}
    for side, of, snapshot in (("incoming", number, "aws-beta#4754"), ("outgoing", number + 500, "aws-prod#3548")):
        one = artifact(of, flow=f"app-{number}-ci")
        sha = f"{of:040x}"
        values = {
            **one,
            "commit_sha": sha,
            "repo_url": "https://github.com/acme-shop/app",
            "repository": "acme-shop/app",
            "repo_name": "app",
            "repo_provider": "github",
            "raw_snyk_policy_url": f"https://raw.githubusercontent.com/acme-shop/app/{sha}/.snyk",
            "snapshot_id": snapshot,
            "snapshot_url": "",
        }
        sides.update({f"{side}_{key}": "" if first and side == "outgoing" else value for key, value in values.items()})
    page = f"commit/{number:040x}" if first else f"compare/{number + 500:040x}...{number:040x}"
    return {**sides, "deployment_diff_url": f"https://github.com/acme-shop/app/{page}", **fields}


def ordinary_diff() -> dict[str, Any]:
    """Return a diff with something in each category, and a key of each kind."""
    return diff(
        [artifact(1, pods=["a", "b"]), artifact(2)],
        [artifact(501, flow="app-1-ci", commit_url=None), artifact(502, flow="app-2-ci")],
        [artifact(3, s1_instance_count=1, s2_instance_count=2)],
        [artifact(4, commit_url=None, instance_count=None)],
    )


def ordinary_release() -> list[dict[str, Any]]:
    """Return a release with an update and a first deployment."""
    return [promotion(1), promotion(2, first=True)]


def ordinary_reviews() -> list[dict[str, Any]]:
    """Return the reviews of a workflow run, as GitHub gives them."""
    environments = [{"id": 1, "name": "production"}]
    return [{"state": "approved", "comment": "", "user": {"login": "octocat"}, "environments": environments}]


def ordinary_run() -> dict[str, Any]:
    """Return a workflow run, as GitHub gives it."""
    path = ".github/workflows/promote.yml@main"
    repository = {"full_name": "acme-shop/releases"}
    facts = {"id": 42, "path": path, "event": "workflow_dispatch"}
    return {**facts, "head_branch": "main", "head_repository": repository}


def ordinary_verdicts() -> list[dict[str, Any]]:
    """Return what the gate says of the ordinary release's first promotion."""
    known = {"flow": "app-1-ci", "name": artifact(1)["name"], "fingerprint": artifact(1)["fingerprint"]}
    rest = {"policies": 1, "html_url": "https://app.kosli.example/acme"}
    return [
        {**known, "environment": "aws-beta", "verdict": "compliant", "reasons": [], **rest},
        {**known, "environment": "aws-prod", "verdict": "non-compliant", "reasons": ["a test is missing"], **rest},
    ]


def ordinary_outcomes() -> list[dict[str, Any]]:
    """Return how the ordinary release's first promotion ended."""
    known = {"flow": "app-1-ci", "fingerprint": artifact(1)["fingerprint"], "snapshot_id": "aws-prod#3549"}
    return [{**known, "outcome": "landed", "running": [artifact(1)["fingerprint"]], "seconds": 31}]


DOCUMENTS: dict[str, Callable[[], Any]] = {
    "diff": ordinary_diff,
    "release": ordinary_release,
    "reviews": ordinary_reviews,
    "run": ordinary_run,
    "verdicts": ordinary_verdicts,
    "outcomes": ordinary_outcomes,
}
# The first of these words in an input's name says which document it resembles.
_DOCUMENT_OF = {
    **{name: name for name in DOCUMENTS},
    **dict.fromkeys(("artifact", "category", "snapshot"), "diff"),
    "promotion": "release",
    "review": "reviews",
}


def to_bytes(document: Any) -> bytes:
    """Return a document as JSON."""
    return json.dumps(document, ensure_ascii=False, indent=1).encode()


def is_free(key: str) -> bool:
    """Say whether any text may stand in this field of a promotion."""
    return not key.endswith(("_fingerprint", "_snapshot_id"))


# All but white space, which is refused for a name. The long ones are for a few tests.
VALUES = [text for text in TEXTS.values() if text.strip()]
SHORT = [text for text in VALUES if len(text) < 1000]


def diff_of_texts(texts: list[str], builds: int = 1) -> dict[str, Any]:
    """Return a diff with each text in every string: a flow to update, in so many builds, and a first deployment."""
    incoming, outgoing, changed = [], [], []
    for number, text in enumerate(texts):
        update = {"name": text, "flow": f"{number}a{text}", "extra": {text: [text]}, "pods": [text]}
        first = {**update, "name": f"{number}{text}", "flow": f"{number}b{text}"}
        incoming += [artifact(number + 1000 * build, **update) for build in range(1, builds + 1)]
        incoming.append(artifact(number + 4000, **first))
        outgoing.append(artifact(number + 5000, **{**update, "commit_url": text}))
        changed.append(artifact(number + 6000, name=text, flow="", commit_url=text))
    return diff(incoming, outgoing, changed)


def verdicts_of_texts() -> list[dict[str, Any]]:
    """Return verdicts with each text as whatever the gate says."""
    known = {"fingerprint": artifact(1)["fingerprint"], "environment": "aws-prod", "verdict": "error", "policies": 1}
    said = [{**known, **dict.fromkeys(("flow", "name", "html_url"), text), "reasons": [text]} for text in VALUES]
    return [*ordinary_verdicts(), *said]


def outcomes_of_texts() -> list[dict[str, Any]]:
    """Return outcomes with each text as what runs instead."""
    known = ordinary_outcomes()[0]
    return [{**known, "outcome": "another landed", "running": [text], "snapshot_id": text} for text in VALUES]


def hostile_texts() -> Iterator[Entry]:
    """Give each text where it makes a document wrong, and in what GitHub says, where it is a value like any other."""
    for number, (name, text) in enumerate(TEXTS.items()):
        refused = diff(
            [artifact(1, name=text, flow=text, commit_url=text), artifact(2, name=f"{text}@sha256:{text}", flow=text)],
            [artifact(501, name=text, flow=text)],
        )
        run = {"id": 42, "path": text, "event": text, "head_branch": text, "head_repository": {"full_name": text}}
        yield (
            (f"text in a diff that is refused: {name}", to_bytes(refused)),
            (f"text in a run: {name}", to_bytes(run)),
        )[number % 2]
        broken = replaced(ordinary_diff(), ("snappish1", "snapshot_id"), text)
        yield (
            (f"text as a snapshot id: {name}", to_bytes(broken)),
            (f"text as a fingerprint of a promotion: {name}", to_bytes([promotion(1, outgoing_fingerprint=text)])),
            (f"text as a key: {name}", to_bytes({text: {text: {"artifacts": []}}, **ordinary_diff()})),
        )[number % 3]
    reviews = [
        {"state": "approved", "comment": text, "user": {"login": text}, "environments": [{"name": text}]}
        for text in TEXTS.values()
    ]
    yield "every text in reviews", to_bytes([*reviews, *ordinary_reviews()])


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the path to each value in a document, of a list only to its first element."""
    yield path
    if isinstance(document, dict):
        for key, value in document.items():
            yield from places(value, (*path, key))
    elif isinstance(document, list) and document:
        yield from places(document[0], (*path, 0))


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of a document with another value at a path."""
    if not path:
        return value
    copied = copy.deepcopy(document)
    part = copied
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return copied


def at(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path)) or "the document"


def wrong_types() -> Iterator[Entry]:
    """Give each document with values of wrong kinds at each place: every second kind, and another one at the next."""
    for name, make in DOCUMENTS.items():
        document = make()
        for index, path in enumerate(places(document)):
            for number, (kind, value) in enumerate(WRONG.items()):
                if path and (number + index) % 2:
                    continue
                yield f"type: {name}: {at(path)} is {kind}", to_bytes(replaced(document, path, value))


def missing_keys() -> Iterator[Entry]:
    """Give each document without each of its keys."""
    for name, make in DOCUMENTS.items():
        for path in places(make()):
            if path and isinstance(path[-1], str):
                document = make()
                part = document
                for key in path[:-1]:
                    part = part[key]
                del part[path[-1]]
                yield f"missing: {name}: {at(path)}", to_bytes(document)


def hostile_keys() -> Iterator[Entry]:
    """Give each hostile key in each kind of object."""
    for key in KEYS:
        shown = json.dumps(key)
        yield f"key of an artifact: {shown}", to_bytes(diff([artifact(1, **{key: key}), artifact(2)]))
        yield f"key of a category: {shown}", to_bytes(replaced(ordinary_diff(), ("changed", key), {"artifacts": []}))
        yield f"key of a diff: {shown}", to_bytes({**ordinary_diff(), key: {"artifacts": [artifact(9)]}})
        yield f"key of a promotion: {shown}", to_bytes([promotion(1, **{key: {key: key}})])


def real_documents() -> dict[str, bytes]:
    """Return some of the fixtures, and a release."""
    found = {f"diff {name}": (ROOT / "fixtures" / f"{name}.json").read_bytes() for name in FIXTURES}
    return {**found, "release": to_bytes(ordinary_release())}


def mutated() -> Iterator[Entry]:
    """Give documents with some bytes changed, lost, doubled or swapped. Some are still right."""
    rng = random.Random(SEED)
    for name, content in real_documents().items():
        for number in range(12):
            raw = bytearray(content)
            for _ in range(rng.choice((1, 2, 8))):
                here, there = sorted(rng.choices(range(len(raw)), k=2))
                there = min(there, here + 40)
                change = rng.randrange(6)
                if change == 0:
                    raw[here] = rng.randrange(256)
                elif change == 1:
                    raw[here] ^= 1 << rng.randrange(7)
                elif change == 2:
                    del raw[here:there]
                elif change == 3:
                    raw[here:here] = raw[here:there]
                elif change == 4:
                    raw[here:here] = rng.choice((b'"', b"\\", b"{", b"]", b",", b":", b"\0", b"\n", b"null", b"\xff"))
                else:
                    raw[here], raw[there % len(raw)] = raw[there % len(raw)], raw[here]
            yield f"mutated: {name}, number {number}", bytes(raw)


def wrong_encodings() -> Iterator[Entry]:
    """Give right documents in other bytes."""
    text = json.dumps(ordinary_diff())
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "cp037"):
        yield f"encoding: {encoding}", text.encode(encoding)
    yield "encoding: gzip", gzip.compress(text.encode(), mtime=0)
    for kind, raw in {
        "Latin-1": b"caf\xe9",
        "a surrogate": b"\xed\xa0\x80",
        "too many bytes for a slash": b"\xc0\xaf",
        "beyond Unicode": b"\xf4\x90\x80\x80",
        "a lone continuation": b"\x80",
        "a cut character": b"\xe2\x82",
        "a raw NUL": b"\0",
        "a raw line feed": b"\n",
        "a raw escape": b"\x1b",
    }.items():
        yield f"encoding: {kind} in a name", text.encode().replace(b"registry.example", raw)
    yield "encoding: a zip archive", b"PK\x03\x04" + bytes(range(256))
    yield "encoding: NUL bytes", b"\0" * 4096
    yield "encoding: NUL bytes behind", text.encode() + b"\0"
    yield "encoding: 0xFF bytes", b"\xff" * 4096
    yield "encoding: carriage returns", json.dumps(ordinary_diff(), indent=1).replace("\n", "\r\n").encode()
    yield "encoding: a form feed behind", text.encode() + b"\f"
    yield "encoding: random bytes", random.Random(SEED).randbytes(10_000)


def wrong_syntax() -> Iterator[Entry]:
    """Give what is nearly JSON, and JSON that readers disagree about."""
    text = json.dumps(ordinary_diff())
    for number, (name, value) in enumerate(
        {
            "NaN": "NaN",
            "infinity": "Infinity",
            "minus infinity": "-Infinity",
            "1e400": "1e400",
            "a large exponent": "1e1000000000",
            "a small exponent": "1e-1000000000",
            "2**63": str(2**63),
            "2**64 - 1": str(2**64 - 1),
            "2**64": str(2**64),
            "-2**63 - 1": str(-(2**63) - 1),
            "a thousand digits": "1" * 1000,
            "a million digits": "1" * 1_000_000,
            "a fraction of a million digits": "0." + "1" * 1_000_000,
            "minus zero": "-0",
            "minus nought point nought": "-0.0",
            "a leading zero": "01",
            "a leading plus": "+1",
            "a leading point": ".5",
            "a trailing point": "5.",
            "hexadecimal": "0x10",
            "an integer as a fraction": "1.0",
            "an integer with an exponent": "1E2",
            "a small fraction": "0.00000001",
            "undefined": "undefined",
            "True": "True",
            "a single-quoted string": "'x'",
            "half of a surrogate pair": '"\\ud800"',
            "the other half": '"\\udc00"',
            "halves the wrong way round": '"\\udc00\\ud800"',
            "a surrogate pair": '"\\ud83d\\ude00"',
            "an escaped NUL": '"\\u0000"',
            "an unknown escape": '"\\x41"',
            "a cut escape": '"\\u12"',
        }.items()
    ):
        for place in ("extra", ("instance_count", "name")[number % 2]):
            right = json.dumps(ordinary_diff()) if place != "extra" else json.dumps(diff([artifact(1, extra=1)]))
            start = right.index(f'"{place}": ') + len(place) + 4
            end = right.index("}" if place == "extra" else ",", start)
            yield f"syntax: {name} as {place}", (right[:start] + value + right[end:]).encode()
    for name, content in {
        "a comma too many": text[:-1] + ",}",
        "a comment": "/* a diff */" + text,
        "a comment behind": text + " // a diff",
        "two documents": text + text,
        "two documents in lines": text + "\n" + text,
        "something behind": text + " x",
        "a bracket behind": text + "]",
        "XML": "<diff/>",
        "YAML": "snappish1:\n  artifacts: []\n",
        "a table of the CLI": "Only present in aws-beta#4754\n\n  Name: saver\n",
        "an error of the CLI": "Error: [kosli diff snapshots] ::error::not found\n",
        "a debug line before": "[debug] [https://app.kosli.com] " + text,
        "a warning behind": text + "\n[warning] failed to reach a host\n",
        "HTML": "<!doctype html><title>502</title>",
        "brackets": "[]",
        "braces": "{}",
        "a list of nothing": "[null]",
        "a list of lists": "[[]]",
        "a list of an object": "[{}]",
        "a key that is a number": "{1: 2}",
        "no value": '{"snappish1":}',
        "no key": "{:1}",
        "a lone quote": '"',
        "a lone back slash": "\\",
        "a lone minus": "-",
        "a key twice": text.replace(
            '{"snappish1"', '{"snappish1": {"snapshot_id": "a#1", "artifacts": []}, "snappish1"', 1
        ),
        "a key twice, the empty one last": text[:-1] + ', "snappish1": {"snapshot_id": "a#1", "artifacts": []}}',
        "a key twice in a category": text.replace('"artifacts": [', '"artifacts": [], "artifacts": [', 1),
        "a key twice in an artifact": text.replace('"flow": ', '"flow": "other-ci", "flow": ', 1),
        "a key twice, once escaped": text.replace('"flow": ', '"fl\\u006fw": "other-ci", "flow": ', 1),
        "a key twice in a promotion": json.dumps([promotion(1)]).replace(
            '"incoming_flow": ', '"incoming_flow": "other-ci", "incoming_flow": ', 1
        ),
    }.items():
        yield f"syntax: {name}", content.encode()


def nested() -> Iterator[Entry]:
    """Give what is nested deeply: whole, cut in the middle, and in a field that nobody asked for."""
    for depth in (100, 250, 300, 900, 1100, 10_000, 100_000, 1_000_000):
        lists, objects = "[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth
        for kind, value in {"lists": lists, "objects": objects}.items():
            yield f"nested: {depth} {kind}", value.encode()
            if depth <= 10_000:
                yield f"nested: {depth} {kind} in an artifact", _with_extra(diff([artifact(1, extra="@")]), value)
                yield f"nested: {depth} {kind} in a promotion", _with_extra([promotion(1, extra="@")], value)
                review = {**ordinary_reviews()[0], "comment": "@"}
                yield f"nested: {depth} {kind} in a review", _with_extra([review], value)
        yield f"nested: {depth} open lists", b"[" * depth


def _with_extra(document: Any, value: str) -> bytes:
    return json.dumps(document).replace('"@"', value).encode()


def large() -> Iterator[Entry]:
    """Give what is large: names, keys, and many of them."""
    name = "n" * 1_000_000
    yield "large: a name of 1 MB", to_bytes(diff([artifact(1, name=name)]))
    yield (
        "large: ten names of 1 MB that are refused",
        to_bytes(diff([artifact(n, name=f"{n}{name}", commit_url="x") for n in range(10)])),
    )
    yield "large: a flow of 1 MB in progress", to_bytes(diff([artifact(n, flow=name) for n in range(2)]))
    yield "large: a commit URL of 1 MB", to_bytes(diff([artifact(1, commit_url=f"https://github.com/{name}")]))
    slashes = "https://a" + "/" * 1_000_000
    yield "large: a commit URL of slashes", to_bytes(diff([artifact(1, commit_url=slashes)]))
    yield "large: a key of 1 MB", to_bytes(diff([artifact(1, **{name: 1})]))
    yield (
        "large: a snapshot number of 1 MB",
        to_bytes(replaced(ordinary_diff(), ("snappish1", "snapshot_id"), "a#" + "1" * 1_000_000)),
    )
    yield "large: 10,000 keys in an artifact", to_bytes(diff([artifact(1, **{f"k{n}": n for n in range(10_000)})]))
    own_keys = [artifact(500 + n, flow=f"app-{n}-ci", commit_url=None, **{f"k{n}": n}) for n in range(300)]
    yield "large: each artifact with a key of its own", to_bytes(diff([artifact(n) for n in range(300)], own_keys))
    yield "large: 10,000 promotions", to_bytes(diff([artifact(n) for n in range(10_000)]))
    yield "large: a release of 300", to_bytes([promotion(n) for n in range(300)])
    yield "large: 10,000 of one flow", to_bytes(diff([artifact(n, flow="f") for n in range(10_000)]))
    yield "large: 10,000 times one fingerprint", to_bytes(diff([artifact(1, flow=f"f{n}") for n in range(10_000)]))
    yield "large: 10,000 artifacts that are wrong", to_bytes(diff([{}] * 10_000))
    yield (
        "large: 10,000 categories",
        to_bytes({**ordinary_diff(), **{f"c{n}": {"artifacts": []} for n in range(10_000)}}),
    )
    yield "large: an answer in white space", to_bytes(ordinary_diff()) + b" " * 2_000_000
    yield "large: nothing but white space", b" \n" * 1_000_000
    yield "large: a release in white space", b"\n" * 2_000_000 + to_bytes(ordinary_release())
