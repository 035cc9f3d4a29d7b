"""The floor: parse a JSON document and write it again, with orjson. No filter that does so can be faster."""

import sys

import orjson

sys.stdout.buffer.write(orjson.dumps(orjson.loads(sys.stdin.buffer.read()), option=orjson.OPT_INDENT_2))
