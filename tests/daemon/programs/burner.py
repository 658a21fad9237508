"""An agent that burns: call lines without end, and never a heartbeat after the first.

Arguments, each optional: `every=SECONDS` between calls, `tokens=N` a call, `cost=USD` a call,
`model=NAME`. It goes on where it was when the daemon comes back.
"""

import json
import os
import socket
import sys
import time
from itertools import count


def connect() -> socket.socket:
    while True:
        channel = socket.socket(socket.AF_UNIX)
        try:
            channel.connect(os.environ["AGENTD_SOCKET"])
        except OSError:
            channel.close()
            time.sleep(0.05)
        else:
            return channel


def main() -> None:
    words = dict(word.split("=", 1) for word in sys.argv[1:])
    token = {"token": os.environ["AGENTD_TOKEN"]}
    call = {**token, "type": "call", "phase": "end", "model": words.get("model", "m")}
    call["usage"] = {"input_tokens": int(words.get("tokens", "100"))}
    if "cost" in words:
        call["cost_usd"] = float(words["cost"])
    channel = connect()
    channel.sendall(json.dumps({**token, "status": "ok"}).encode() + b"\n")
    for number in count():
        line = json.dumps({**call, "call": f"{os.getpid()}-{number}"}).encode() + b"\n"
        while True:
            try:
                channel.sendall(line)
                break
            except OSError:
                channel.close()
                channel = connect()
        time.sleep(float(words.get("every", "0.02")))


main()
