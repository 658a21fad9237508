"""A bystander: beats twenty times a second, waits for each answer, and notes how long it took.

The file named by the first argument gets one line an answer: the moment (monotonic seconds),
the milliseconds until the answer, and how many of them the daemon or this very process had
no core to run on (`starvation.py`). What is left of the difference is the daemon's own doing.
While an answer is overdue, it looks a hundred times a second at what the daemon sleeps in.
"""

import json
import os
import select
import socket
import struct
import sys
import time
from pathlib import Path

from starvation import CoreWatch, Naps

EVERY_S = 0.05
OVERDUE_MS = 20
LOOK_EVERY_MS = 10


def connect() -> tuple[socket.socket, int]:
    while True:
        channel = socket.socket(socket.AF_UNIX)
        try:
            channel.connect(os.environ["AGENTD_SOCKET"])
        except OSError:
            channel.close()
            time.sleep(0.05)
        else:
            raw = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return channel, struct.unpack("iII", raw)[0]


def ask(channel: socket.socket, line: dict[str, object], naps: Naps) -> None:
    channel.sendall(json.dumps(line).encode() + b"\n")
    door = select.poll()
    door.register(channel, select.POLLIN)
    patience_ms, answer = OVERDUE_MS, b""
    while not answer.endswith(b"\n"):
        if not door.poll(patience_ms):
            naps.look()
            patience_ms = LOOK_EVERY_MS
            continue
        part = channel.recv(4096)
        if not part:
            raise ConnectionError
        answer += part


def main() -> None:
    notes = Path(sys.argv[1])
    token = os.environ["AGENTD_TOKEN"]
    channel, daemon = connect()
    sent = 0
    while True:
        sent += 1
        watch = CoreWatch(daemon)
        try:
            beat = {"id": sent, "token": token, "status": "ok", "task": "bystanding"}
            ask(channel, beat, watch.naps)
        except OSError:
            channel.close()
            channel, daemon = connect()
            continue
        took, starved = watch.took_ms()
        with notes.open("a") as file:
            file.write(f"{watch.begun:.6f} {took:.3f} {starved:.3f}\n")
        time.sleep(EVERY_S)


main()
