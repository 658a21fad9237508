"""An agent that talks the raw socket line and needs nothing of agentd's.

Arguments, each optional: `every=SECONDS` between beats, `beats=N` and then silence (alive),
`then=CODE` to exit with after those beats, `ignore=TERM`, `field=value` for the lines.
"""

import json
import os
import signal
import socket
import sys
import time

SPECIAL = {"every", "beats", "then", "ignore", "child"}


def connect() -> socket.socket:
    """Wait for the daemon's socket as a patient client does."""
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
    if words.get("ignore") == "TERM":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    every_s, beats_max = float(words.get("every", "0.1")), int(words.get("beats", "-1"))
    line = {"type": "heartbeat", "token": os.environ["AGENTD_TOKEN"], "status": "ok"}
    line |= {key: value for key, value in words.items() if key not in SPECIAL}
    channel, sent = connect(), 0
    sys.stdout.write(f"beating as {os.environ['AGENTD_AGENT']}\n")
    sys.stdout.flush()
    while sent != beats_max:
        try:
            channel.sendall(json.dumps({**line, "tokens": 10, "seq": sent}).encode() + b"\n")
        except OSError:
            channel.close()
            channel = connect()
            continue
        sent += 1
        time.sleep(every_s)
    if "then" in words:
        sys.exit(int(words["then"]))
    while True:
        signal.pause()


main()
