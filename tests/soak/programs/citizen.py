"""An agent over the raw socket line that gets into trouble when it is told to.

Arguments, each `key=value`: `every` seconds between beats, `deeds` a file whose words it does once
and removes (`hang`, `grow MIB`, `flood LINES`, `print BYTES`, `fork COUNT`), `breaker` the name of
a dependency whose state is in the file `down`, `step=same` for a tool that gets nowhere; every
other word becomes a field of each beat, a number where it is one.
"""

import contextlib
import json
import os
import socket
import sys
import time
from pathlib import Path

OWN = {"every", "deeds", "breaker", "down", "step"}
KEPT: list[bytes] = []


class Line:
    """The connection; made again where it breaks, and never waited for."""

    def __init__(self) -> None:
        self.channel = self._connect()

    def _connect(self) -> socket.socket:
        while True:
            channel = socket.socket(socket.AF_UNIX)
            try:
                channel.connect(os.environ["AGENTD_SOCKET"])
            except OSError:
                channel.close()
                time.sleep(0.05)
            else:
                return channel

    def tell(self, **fields: object) -> None:
        raw = json.dumps({"token": os.environ["AGENTD_TOKEN"], **fields}).encode() + b"\n"
        while True:
            try:
                self.channel.sendall(raw)
            except OSError:
                self.channel.close()
                self.channel = self._connect()
            else:
                self._discard()
                return

    def _discard(self) -> None:
        """What the daemon wants of us is not heeded; it must not fill up its buffer either."""
        with contextlib.suppress(OSError):
            while self.channel.recv(65536, socket.MSG_DONTWAIT):
                pass


def do(line: Line, deed: str, figure: int) -> None:
    if deed == "hang":
        ours, theirs = socket.socketpair()
        ours.recv(1)
        theirs.close()
    elif deed == "grow":
        KEPT.extend(os.urandom(1 << 10) * 1024 for _ in range(figure))
    elif deed == "flood":
        for _ in range(figure):
            line.tell(status="ok")
    elif deed == "print":
        part = b"x" * 65535 + b"\n"
        for _ in range(max(1, figure // len(part))):
            os.write(1, part)
    elif deed == "fork":
        fork(figure)


def fork(count: int) -> None:
    """Children that leave session and parent behind, and outlive whoever started them."""
    for _ in range(count):
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            while True:
                time.sleep(60)
        with contextlib.suppress(ChildProcessError):
            os.wait()


def number(word: str) -> object:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(word)
    return word


def main() -> None:
    words = dict(word.split("=", 1) for word in sys.argv[1:])
    fields = {key: number(word) for key, word in words.items() if key not in OWN}
    every_s, deeds = float(words.get("every", "0.3")), Path(words.get("deeds", "/nonexistent"))
    line = Line()
    turn = 0
    while True:
        turn += 1
        line.tell(status="ok", task=f"order-{turn // 50}", **fields)
        if words.get("step") == "same":
            line.tell(type="step", step=turn, tool="search", args_fp="a", out_fp="b", ok=True)
        if "breaker" in words:
            is_ok = not Path(words["down"]).exists()
            line.tell(type="breaker", name=words["breaker"], ok=is_ok, attempt=1)
        with contextlib.suppress(OSError):
            told = deeds.read_text().split()
            deeds.unlink()
            do(line, told[0], int([*told, "0"][1]))
        time.sleep(every_s)


main()
