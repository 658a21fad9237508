"""An agent that counts: `killed_agent.py HOME NAME plain|hardened`.

Each number goes to stdout first, which its supervisor logs, and then to a file of its own, so
that a number in the file and not in the log was lost. A `plain` one ends when stdout is broken,
as any program does that does not expect it; a `hardened` one goes on without. SIGUSR1: exit 3.

Under agentd every second number is a heartbeat, too, on the raw line and with an id, so that it
is answered. What was sent and what was answered is counted in files, a byte each.
"""

import os
import signal
import socket
import sys
import time
from pathlib import Path

EVERY_S = 0.05
BEAT_EVERY = 2
ANSWER = b'"ok":true'


class Beats:
    """Heartbeats to whichever daemon is there; while none is, none are sent."""

    def __init__(self, home: Path, name: str) -> None:
        self._path = os.environ.get("AGENTD_SOCKET")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._sent = os.open(home / "beats" / f"{name}.sent", flags, 0o644)
        self._answered = os.open(home / "beats" / f"{name}.answered", flags, 0o644)
        self._channel: socket.socket | None = None
        self._begun = b""

    def beat(self, number: int) -> None:
        if self._path is None:
            return
        token = os.environ["AGENTD_TOKEN"]
        # Another figure than the time before, or it would be taken for one that does nothing.
        line = f'{{"id":"{number}","token":"{token}","status":"ok","tokens":{number % 7 + 1}}}\n'
        try:
            if self._channel is None:
                self._channel, self._begun = socket.socket(socket.AF_UNIX), b""
                self._channel.connect(self._path)
            # Before it is sent: of what is sent, more is never counted by agentd.
            os.write(self._sent, b".")
            self._channel.sendall(line.encode())
        except OSError:
            self._leave()

    def hear(self) -> None:
        """Count the answers that have come."""
        if self._channel is None:
            return
        try:
            part = self._channel.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        *lines, self._begun = (self._begun + part).split(b"\n")
        if taken := sum(ANSWER in line for line in lines):
            os.write(self._answered, b"." * taken)
        if not part:
            self._leave()

    def _leave(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def main() -> None:
    home, name, temper = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    signal.signal(signal.SIGUSR1, lambda *_: os._exit(3))
    pid = os.getpid()
    run = f"{pid}.{time.monotonic_ns()}"
    own = os.open(home / "counted" / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    fresh = home / "runs" / f".{name}.{pid}"
    fresh.write_text(f"{pid} {os.environ.get('AGENTD_INCARNATION', '')}")
    fresh.rename(home / "runs" / name)
    beats = Beats(home, name)
    number = 0
    while True:
        number += 1
        line = f"{name} {run} {number}\n".encode()
        try:
            os.write(1, line)
        except OSError:
            if temper == "plain":
                raise
        os.write(own, line)
        beats.hear()
        if number % BEAT_EVERY == 0:
            beats.beat(number)
        time.sleep(EVERY_S)


if __name__ == "__main__":
    main()
