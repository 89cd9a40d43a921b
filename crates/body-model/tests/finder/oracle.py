"""Judges JSON bodies with Python's own parser, as FastAPI servers do.

Reads a file of lines, each a body in base64. Prints one line for each: `refused`, `none` where the body is no object
or has no string as its `model`, or `model` and the model in hexadecimal UTF-8 (surrogates passed).
"""

import base64
import json
import sys

for line in open(sys.argv[1], "rb"):
    try:
        value = json.loads(base64.b64decode(line))
    except (ValueError, RecursionError):
        print("refused")
        continue
    model = value.get("model") if isinstance(value, dict) else None
    if isinstance(model, str):
        print("model", model.encode("utf-8", "surrogatepass").hex())
    else:
        print("none")
