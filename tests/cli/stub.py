"""A daemon's socket without a daemon: answers from a table, and remembers what it was asked."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

Document = dict[str, Any]
Answer = Document | Exception | Callable[[Document, Callable[[Document], None]], Any]


def agent(name: str, **known: object) -> Document:
    """One entry of the status document of CONTRACT 6.1, with a field no version knows."""
    return {
        "name": name,
        "intent": "up",
        "state": "running",
        "health": "healthy",
        "pid": 4242,
        "incarnation": "inc-1",
        "execution": "exe-1",
        "uptime_s": 812.4,
        "restarts": 1,
        "failures": 1,
        "cooldown_s": None,
        "reason": None,
        "evidence": None,
        "last_exit": {
            "code": None,
            "signal": 9,
            "reason": "OOM_KILLED",
            "evidence": "memory.events oom_kill 0 -> 1",
            "time": "2026-11-21T08:00:00.123Z",
        },
        "silence_s": 3.2,
        "expected_silence_s": None,
        "heartbeats": 27,
        "status": "working",
        "task": "ticket-918",
        "step": "17",
        "tool": "web_search",
        "goal": None,
        "progress": 0.3,
        "rss_bytes": 104857600,
        "memory_limit_bytes": 536870912,
        "memory_forecast_s": None,
        "cpu_percent": 1.2,
        "tokens": {"total": 88000, "last_cycle": 900, "baseline": 850.0, "per_minute": 1700.0},
        "cost_usd": {"run": 0.12, "day": 1.4, "known": True},
        "tasks": {
            "success": 40,
            "failure": 2,
            "success_rate": 0.952,
            "latency_ms": {"mean": 231.0, "p95": 410.0},
        },
        "budgets": [{"name": "usd_per_day", "limit": 5.0, "used": 1.4}],
        "depends_on": ["inventory-sync"],
        "blocked_by": [],
        "unfinished_actions": 0,
        "open_incident": None,
        "held": False,
        "parked_s": None,
        "open_call": None,
        "tags": ["shop"],
        "from_a_later_version": {"anything": [1, 2]},
        **known,
    }


def status(*agents: Document) -> Document:
    """The status document around some agents."""
    healths = ("healthy", "degraded", "unreachable", "killed", "unknown")
    return {
        "host": "test",
        "time": "2026-11-21T08:00:00.123Z",
        "daemon": {"pid": 1, "version": "0.1.0", "uptime_s": 3600.0, "storage": "ok"},
        "summary": {name: sum(one["health"] == name for one in agents) for name in healths},
        "agents": list(agents),
        "from_a_later_version": True,
    }


def event(number: int, **known: object) -> Document:
    """One event of CONTRACT 6.2."""
    return {
        "id": number,
        "time": "2026-11-21T08:00:00.123Z",
        "host": "test",
        "agent": "researcher",
        "incarnation": "inc-1",
        "event": "agent.exited",
        "severity": "warning",
        "reason": "EXITED",
        "message": "ended with code 3",
        "data": {},
        **known,
    }


class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    """An error of CONTRACT 5.2, as an entry of the table."""

    def __init__(self, code: str, message: str = "no", hint: str = "") -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, "hint": hint}


class HangUp(Exception):  # noqa: N818 - as above
    """The stub ends the connection instead of answering."""


class Stub:
    """A listener in a thread of its own; one more thread a connection.

    `answers` maps a command (or "line" for agent lines) to its result, to a `Refusal`, or to
    a function of (request, send) that returns the result; `None` as result: no answer.
    """

    def __init__(self, path: Path, answers: dict[str, Answer]) -> None:
        self.path = path
        self.answers: dict[str, Answer] = {"ping": {}, **answers}
        self.asked: list[Document] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(16)
        self._peers: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Go away as a daemon that is killed does: listener and connections at once."""
        for one in (self._listener, *self._peers):
            with contextlib.suppress(OSError):  # a peer may have gone first
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                peer, _ = self._listener.accept()
                self._peers.append(peer)
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError, HangUp), peer, peer.makefile("rb") as lines:
            for line in lines:
                self._answer(peer, json.loads(line))

    def _answer(self, peer: socket.socket, request: Document) -> None:
        def send(document: Document) -> None:
            peer.sendall(json.dumps({"id": request["id"], **document}).encode() + b"\n")

        self.asked.append(request)
        answer = self.answers.get(
            request.get("cmd", "line"), Refusal("unknown_command", "unknown command")
        )
        try:
            result = answer(request, send) if callable(answer) else answer
        except Refusal as refusal:
            result = refusal
        except HangUp:
            peer.shutdown(socket.SHUT_RDWR)
            raise
        if isinstance(result, Refusal):
            send({"ok": False, "error": result.error})
        elif result is not None:
            send({"ok": True, "result": result})

    def commands(self) -> list[str]:
        """The commands it was asked, pings left out."""
        return [one["cmd"] for one in self.asked if one.get("cmd") not in {None, "ping"}]


BREAKER: Document = {
    "name": "openai",
    "state": "open",
    "failures": 5,
    "window_s": 60.0,
    "opened": "2026-11-21T08:00:00.000Z",
    "retry_in_s": 41.2,
    "first_attempts": 20,
    "retries": 4,
    "agents": ["crawler", "order-processor"],
    "last_error": "429",
    "configured": True,
}
