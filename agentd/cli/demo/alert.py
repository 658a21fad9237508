"""Receives an alert on its stdin, and adds it to alerts.txt as a person would read it."""

import json
import sys
from pathlib import Path

alert = json.load(sys.stdin)
event = alert["event"]
lines = [
    f"{alert['kind']}, {alert['severity']}: {alert['agent'] or alert['host']}",
    *(f"  {one.get('event')}: {one.get('message')}" for one in [event, *alert.get("folded", ())]),
]
if alert["next"]:
    lines.append(f"  next: {alert['next']}")
text = "\n".join(lines)
with (Path(__file__).parent / "alerts.txt").open("a", encoding="utf-8", errors="replace") as kept:
    # A message holds whatever an agent has said: it must not steer the terminal.
    kept.write("".join(c if c.isprintable() or c == "\n" else "?" for c in text) + "\n\n")
