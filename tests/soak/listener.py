"""A follower of all events over hours and restarts of the daemon: INV6 as seen from outside."""

import contextlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.daemon.harness import Document

AGAIN_S = 0.1


class Listener(threading.Thread):
    """Follows from a cursor; wherever it is cut, it goes on behind what it has seen."""

    def __init__(self, path: Path, broke: Callable[[str], None]) -> None:
        super().__init__(daemon=True)
        self._path = path
        self._broke = broke
        self._over = threading.Event()
        self._channel: socket.socket | None = None
        self.cursor = 0
        self.cuts = 0
        self.told: Counter[str] = Counter()
        self.ends: dict[tuple[str, str], Document] = {}
        """How each incarnation ended."""
        self._begun: set[tuple[str, str]] = set()

    def run(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError, ValueError):
                self._follow()
            self.cuts += 1
            self._over.wait(AGAIN_S)

    def _follow(self) -> None:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(str(self._path))
            self._channel = channel
            args = {"after": self.cursor, "limit": 1_000_000}
            line = {"id": "listener", "cmd": "events", "args": args, "follow": True}
            channel.sendall(json.dumps(line).encode() + b"\n")
            with channel.makefile("rb") as lines:
                for raw in lines:
                    document = json.loads(raw)
                    if "event" in document:
                        self._take(document["event"])

    def _take(self, event: Document) -> None:
        if event["id"] != self.cursor + 1:
            self._broke(f"INV6: event {event['id']} was sent after event {self.cursor}")
        self.cursor = event["id"]
        self.told[event["event"]] += 1
        self._take_run(event, (event["agent"], event["incarnation"]))
        if event["event"] == "daemon.fault":
            self._broke(f"daemon.fault: {event['message']} {event['data']}")

    def _take_run(self, event: Document, run: tuple[str, str]) -> None:
        """INV7: no end without a start before it.

        A run that a shortage of the host put off begins with `agent.started`, one that could not
        be executed has only `agent.starting`. One that began on a full disk is on record from its
        adoption on, which says so.
        """
        begins = event["event"] in ("agent.starting", "agent.started")
        if begins or (event["event"] == "agent.adopted" and event["data"].get("unrecorded")):
            self._begun.add(run)
        elif event["event"] == "agent.exited":
            self.ends[run] = event
            if run not in self._begun:
                told = f"{event['agent']} ended ({event['id']}) without a start: {event['message']}"
                self._broke(f"INV7: {told}")

    def cut(self) -> None:
        """Break its connection, as a network or a person does."""
        if self._channel is not None:
            with contextlib.suppress(OSError):
                self._channel.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        self._over.set()
        self.cut()
        self.join(10)
