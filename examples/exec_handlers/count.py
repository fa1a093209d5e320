#!/usr/bin/env python3
"""Counts words. The payload is JSON on standard input, the result is JSON on standard output."""
import json
import sys

task = json.load(sys.stdin)
if not isinstance(task, dict) or "text" not in task:
    print("a task needs a text", file=sys.stderr)
    sys.exit(65)  # no retry can help: archived
json.dump({"words": len(task["text"].split())}, sys.stdout)
