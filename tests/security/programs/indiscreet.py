"""An agent that tells its secrets wherever it is listened to, and dies of a failure.

Arguments: names of variables whose values it tells, and a --secret=that it tells, too.
"""

import json
import os
import socket
import sys
import time

NAMES = [word for word in sys.argv[1:] if not word.startswith("-")]
# The values of those, and what else it was told.
SECRETS = [os.environ[name] for name in NAMES] + [
    word.partition("=")[2] for word in sys.argv[1:] if word.startswith("-")
]


def main() -> None:
    told = " and ".join(SECRETS)
    sys.stdout.write(f"starting with {told}\n")
    sys.stdout.write(told[:7])  # in two writes: redaction must not mind
    sys.stdout.flush()
    sys.stdout.write(told[7:] + "\n")
    sys.stdout.flush()
    daemon = socket.socket(socket.AF_UNIX)
    daemon.connect(os.environ["AGENTD_SOCKET"])
    answers = daemon.makefile()
    fields = dict.fromkeys(("task", "step", "tool", "goal", "model", "provider"), told)
    lines = [
        {"id": 1, "status": "ok", "tokens": 5, **fields},
        {"id": 2, "type": "call", "phase": "start", "call": told, "op": "chat", "model": told},
        {"id": 3, "type": "step", "step": 1, "note": told, "tool": told, "error": told},
        {"id": 4, "type": "breaker", "name": "openai", "ok": False, "error": told},
        {"id": 5, "type": "intent", "key": "k", "action": "pay", "detail": {"with": told}},
        {"id": 6, "type": "checkpoint.put", "state": {"kept": told}},
        {"id": 7, "cmd": "kill", "args": {"select": [told[:200]], "reason": told}},
        {"id": 8, "agent": told, "status": "error"},
        {"id": 9, "type": told},
    ]
    for line in lines:
        daemon.sendall(json.dumps(line).encode() + b"\n")
        answers.readline()
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.sendto(f"STATUS={told}".encode(), os.environ["NOTIFY_SOCKET"])
    time.sleep(float(os.environ.get("LIVES_S", "0.2")))
    raise RuntimeError(told)


main()
