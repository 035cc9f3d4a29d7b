#!/usr/bin/env python3
"""Put a JSON document through one JMESPath query.

stdin   any JSON document
stdout  what the query selects
exit    0 done, 2 not JSON, no such query, not JMESPath, or a query that gives null

QUERY is a file, or the name of one of the project's own in jq/.

    make promotions | scripts/query.py flows
"""

import os

from lib.queries import path_of, search
from lib.streams import Unusable, one_file, printable, read_document, run, write_json


def main(argv: list[str]) -> int:
    query = one_file(__doc__, argv, "QUERY")
    named = os.sep not in query and not os.path.exists(query)
    answer = search(path_of(query) if named else query, read_document())
    try:
        write_json(answer)
    except TypeError:
        raise Unusable(f"{printable(query)}: the query gives an expression and no value") from None
    return 0


if __name__ == "__main__":
    run(main)
