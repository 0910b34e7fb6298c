"""A program that advises, well or not, for ``test_advised.py``: reads JSON, writes JSON, needs nothing but Python."""

import json
import sys
import time

how = sys.argv[1]
if how == "deaf":
    print('{"architecture": [3, 2, 4, 1, 2]}')
    raise SystemExit
state = json.load(sys.stdin)
if how == "late":
    time.sleep(60)
if how == "fails":
    raise ValueError("no idea")
if how == "talks":
    print("I think: {")
else:
    completed = state["trials"]["completed"]
    print(json.dumps({"architecture": [completed // 2 % 4, 2, 4, 1, 2], "why": f"after {completed}"}))
