"""An agent that counts, and commits its count when it is asked to pause.

Arguments: `slow=SECONDS` it takes for that, `deaf=1` to hear nothing of it.
"""

import json
import os
import socket
import sys
import time

WORDS = dict(word.split("=", 1) for word in sys.argv[1:])
TOKEN = os.environ["AGENTD_TOKEN"]


def connect() -> socket.socket:
    while True:
        channel = socket.socket(socket.AF_UNIX)
        try:
            channel.connect(os.environ["AGENTD_SOCKET"])
            channel.sendall(json.dumps({"type": "hello", "token": TOKEN}).encode() + b"\n")
        except OSError:
            channel.close()
            time.sleep(0.05)
        else:
            return channel


def ask(line: dict[str, object]) -> dict[str, object]:
    """Ask on a connection of its own, again and again until there is an answer."""
    while True:
        try:
            with connect() as channel, channel.makefile("rb") as answers:
                channel.sendall(json.dumps({"id": "q", **line}).encode() + b"\n")
                while raw := answers.readline():
                    answer = json.loads(raw)
                    if answer.get("id") == "q":
                        result: dict[str, object] = answer["result"]
                        return result
        except OSError:  # no daemon just now
            time.sleep(0.02)


def main() -> None:
    found = ask({"type": "checkpoint.get"})
    count = (found["state"] or {"count": 0})["count"]  # type: ignore[index]
    channel = connect()
    channel.settimeout(0.05)
    while True:
        count += 1
        try:
            channel.sendall(json.dumps({"task": f"count {count}"}).encode() + b"\n")
            said = channel.recv(4096)
        except TimeoutError:
            continue
        except OSError:
            said = b""
        if not said:
            channel.close()
            channel = connect()
            channel.settimeout(0.05)
        if b'"mode":"checkpoint"' in said and "deaf" not in WORDS:
            time.sleep(float(WORDS.get("slow", "0")))
            ask({"type": "checkpoint.put", "state": {"count": count}})
            sys.stdout.write(f"committed {count}\n")
            sys.exit(0)


main()
