"""Stand-ins for the daemon: one in a thread that remembers, one in a process that can be stopped.

python -m tests.sdk.daemons SOCKET      accepts, reads, answers every question with ok
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

WAIT_S = 15.0
Line = dict[str, Any]
Answer = Callable[[Line], Line | None]


def granted(line: Line) -> Line | None:
    """Answer as a daemon does that has nothing saved and lets everything pass."""
    results: dict[str, Line] = {
        "checkpoint.get": {"state": None, "unfinished": []},
        "breaker.ask": {
            "state": "closed",
            "allow": True,
            "retry_allowed": True,
            "retry_in_s": 0,
        },
    }
    return {"id": line["id"], "ok": True, "result": results.get(line.get("type", ""), {})}


class FakeDaemon:
    """Listens in a thread; `lines` is all that came, over all connections, in order."""

    def __init__(self, path: Path, answer: Answer = granted) -> None:
        self.path = path
        self.answer = answer
        self.lines: list[Line] = []
        self.connections = 0
        self._peers: list[socket.socket] = []
        self._news = threading.Condition()
        self._listener: socket.socket | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Listen; at the same path again after `close`."""
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Go away as a daemon that is killed: every connection ends."""
        self.path.unlink(missing_ok=True)
        with self._news:
            ended, self._peers = [*self._peers, self._listener], []
        for peer in ended:
            if peer is not None:
                peer.shutdown(socket.SHUT_RDWR)
                peer.close()

    def of(self, kind: str | None) -> list[Line]:
        """Return the lines of a type; None: heartbeats."""
        with self._news:
            return [line for line in self.lines if line.get("type") == kind]

    def wait(self, kind: str | None = None, count: int = 1) -> list[Line]:
        """Wait until so many lines of a type have come, and return them."""
        with self._news:
            found = self._news.wait_for(
                lambda: sum(line.get("type") == kind for line in self.lines) >= count, WAIT_S
            )
            assert found, f"no {count} lines of {kind}: {self.lines}"
        return self.of(kind)

    def say(self, **control: object) -> None:
        """Send a control line on every connection."""
        with self._news:
            assert self._news.wait_for(lambda: bool(self._peers), WAIT_S)
            for peer in self._peers:
                peer.sendall(json.dumps({"type": "control", **control}).encode() + b"\n")

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with self._news:
                self.connections += 1
                self._peers.append(peer)
                self._news.notify_all()
            threading.Thread(target=self._read, args=(peer,), daemon=True).start()

    def _read(self, peer: socket.socket) -> None:
        rest = b""
        while True:
            try:
                data = peer.recv(1 << 16)
            except OSError:
                return
            if not data:
                return
            *raws, rest = (rest + data).split(b"\n")
            for raw in raws:
                self._take(peer, json.loads(raw))

    def _take(self, peer: socket.socket, line: Line) -> None:
        reply = self.answer(line) if "id" in line else None
        with self._news:
            self.lines.append(line)
            self._news.notify_all()
        if reply is not None:
            try:
                peer.sendall(json.dumps(reply).encode() + b"\n")
            except OSError:
                return


class DaemonProcess:
    """A daemon of its own process: it can be stopped, let go on, and killed."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.sdk.daemons", str(path)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def stop(self) -> None:
        """Stop it, and return once it stands still."""
        os.kill(self.process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(WAIT_S)
        if self.process.stdout is not None:
            self.process.stdout.close()


def until(met: Callable[[], bool], what: str = "") -> None:
    """Wait until something is so, looking often."""
    end = time.monotonic() + WAIT_S
    while not met():
        assert time.monotonic() < end, what or "it did not come true"
        time.sleep(0.002)


def main() -> None:
    path = Path(sys.argv[1])
    with FakeDaemon(path):
        print("ready", flush=True)  # noqa: T201 - its user waits for it
        signal.pause()


if __name__ == "__main__":
    main()
