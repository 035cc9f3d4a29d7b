#!/usr/bin/env python3
"""Write docs/reference.md: what the Makefile, the scripts, the settings and the queries say of themselves."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from lib.settings import FOR_MAKE, READ_TOO, Record, Setting, Settings, ThisRun, declared
from lib.streams import Stop

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference.md"


def table(*heads: str, rows: Iterator[list[str]]) -> str:
    """Return a table in Markdown. A bar would end a cell."""
    lines = [list(heads), ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def targets() -> Iterator[list[str]]:
    """Yield a row for each target that make help lists."""
    for line in (ROOT / "Makefile").read_text().splitlines():
        if match := re.fullmatch(r"([a-z-]+):.*## (.*)", line):
            yield [f"`make {match[1]}`", match[2]]


def docstring(path: Path) -> str:
    """Return a script's docstring, without running it."""
    return ast.get_docstring(ast.parse(path.read_text())) or ""


def scripts() -> Iterator[str]:
    """Yield a part for each script: the first paragraph as a sentence, the rest as it is laid out."""
    for path in sorted((ROOT / "scripts").glob("*.py")):
        first, _, rest = docstring(path).partition("\n\n")
        rest = rest.strip("\n")
        yield f"### scripts/{path.name}\n\n{' '.join(first.split())}\n\n```text\n{rest}\n```\n"


def value(default: Any) -> str:
    """Return a default as release.toml writes it; nothing for none."""
    if default is None or default in ("", [], {}):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def row(setting: Setting) -> list[str]:
    """Return a setting's row. Of a few words to choose from, the others stand behind the default."""
    key = ".".join(filter(None, (setting.table, setting.key)))
    kind = get_args(setting.kind)[0]
    words = [word for word in get_args(kind) if word != setting.default] if get_origin(kind) is Literal else []
    default = " or ".join((value(setting.default), *map(value, words)))
    return [*([f"`{key}`"] if key else []), f"`{setting.variable}`", default, setting.help]


def exit_codes() -> Iterator[list[str]]:
    """Yield a row for each exit code."""
    yield ["0", "Done. `[]` is an answer."]
    for kind in Stop.__subclasses__():
        yield [str(kind.code), kind.__doc__ or ""]
    yield ["130, 143", "Stopped by Ctrl-C, or by SIGTERM."]
    yield ["141", "The reader of stdout has gone."]


def queries() -> Iterator[list[str]]:
    """Yield a row for each query, from the lines that begin it."""
    for path in sorted((ROOT / "jq").glob("*.jmespath")):
        head = re.match(r"# in +(.*)\n# out +((?:.*\n# +)*.*)\n(?!#)", path.read_text())
        assert head, f"{path.name} begins with # in and # out"
        yield [f"`{path.stem}`", head[1], re.sub(r"\n# +", " ", head[2])]


def reference() -> str:
    """Return the page."""
    record = ([f"`{key}`", value(getattr(Record(), key))] for key in Record.__struct_fields__)
    return f"""\
# Reference

`make reference` writes this page from the Makefile, the scripts, the settings and the queries.

## Targets

{table("target", "what it does", rows=targets())}
## Settings

A setting is a key in `release.toml`, a variable of the environment, or `make NAME=value`. make wins over the
environment, the environment over the file, and the file over the default. An empty variable counts as unset. In a
variable, blanks separate the words of a list. A duration is a whole number and `s`, `m`, `h` or `d`.

{table("key", "variable", "default", "what it is", rows=map(row, declared(Settings)))}
`FROM_ENV` and `TO_ENV` also take one of Kosli's expressions for a snapshot, such as `aws-beta#4754` or `aws-prod~1`.

A table `[record.ENVIRONMENT]` says how an environment is recorded ([scripts/record.py](#scriptsrecordpy)):

{table("key", "default", rows=record)}
For one run, and so in no file:

{table("variable", "default", "what it is", rows=map(row, declared(ThisRun)))}
For make alone:

{table("variable", "what it is", rows=([f"`{name}`", text] for name, text in FOR_MAKE.items()))}
Beside the settings, and never in a file, are read:

{table("variable", "what it is", rows=([f"`{name}`", text] for name, text in READ_TOO.items()))}
## Exit codes

{table("code", "meaning", rows=exit_codes())}
After any code but 0, make itself exits with 2.

## Scripts

Each takes `--help` and `--version`. A refusal prints nothing on stdout, and a line for each cause on stderr.

{chr(10).join(scripts())}
## Queries

`scripts/query.py NAME` runs one.

{table("query", "takes", "gives", rows=queries())}"""


if __name__ == "__main__":
    PAGE.write_text(reference())
