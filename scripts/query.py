#!/usr/bin/env python3
"""Put a JSON document through one JMESPath query.

stdin   any JSON document
stdout  what the query selects
exit    0 done, 2 not JSON, no such query, not JMESPath, or a query that gives null

    make -s promotions | scripts/query.py jq/names.jmespath
"""

from __future__ import annotations

from lib.filters import read_document, run, usage, write_json
from lib.queries import search


def main(argv: list[str]) -> int:
    """Read a document, write what the query in the named file selects."""
    (path,) = usage(argv, "FILE")
    write_json(search(path, read_document()))
    return 0


if __name__ == "__main__":
    run(main, __doc__)
