"""Parse a JSON document and write it again, with the standard library: a filter that holds a document needs as much."""

import json
import sys

sys.stdout.write(json.dumps(json.load(sys.stdin), indent=2) + "\n")
