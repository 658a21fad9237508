"""An agent on the SDK that keeps a count in its checkpoints and writes down what it was promised.

The file named by the first argument gets a line a promise, each written after the daemon's word
and before anything is built on it: `began COUNT|none|unanswered KEYS...`, `kept COUNT`,
`intent KEY`, `done KEY` (before the daemon is told).
"""

import json
import os
import sys
import time
from pathlib import Path

import agentd

NOTES = Path(sys.argv[1])
EVERY_S = float(sys.argv[2])


def note(*words: object) -> None:
    fd = os.open(NOTES, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(fd, " ".join(map(str, words)).encode() + b"\n")
    os.close(fd)


def main() -> None:
    unanswered = {"count": "unanswered"}
    unfinished = agentd.unfinished(unanswered=[{"key": "unanswered"}])
    state = agentd.restored(unanswered=unanswered)
    found = state["count"] if state else "none"
    note("began", found, *(action["key"] for action in unfinished))
    count = found if isinstance(found, int) else 0
    while not agentd.should_stop():
        count += 1
        with agentd.call("chat", provider="local", model="none", deadline_s=30) as call:
            time.sleep(EVERY_S)
            call.usage(input_tokens=900, output_tokens=80)
        with agentd.step("search", tool="web", args={"page": count}) as step:
            step.output(json.dumps({"found": [count, os.getpid(), time.monotonic()]}))
        if count % 4 == 0 and agentd.checkpoint({"count": count}):
            note("kept", count)
        if count % 6 == 0:
            deed(count)
        agentd.report(success=True, latency_ms=230, cost_usd=0.001)
        agentd.heartbeat(tokens=980, task=f"ticket-{count // 20}")
    agentd.checkpoint({"count": count})


def deed(count: int) -> None:
    key = f"refund-{os.environ['AGENTD_INCARNATION']}-{count}"
    with agentd.action("refund", key=key, idempotent=True) as action:
        if action.acknowledged:
            note("intent", key)
        time.sleep(EVERY_S / 2)
        note("done", key)


main()
