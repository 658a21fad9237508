"""What a simulation prints: JSON Lines of events, effects, and what was refused."""

import json
from collections.abc import Callable
from typing import Final

from agentd.core.effects import (
    Alert,
    Effect,
    Freeze,
    Journal,
    Judge,
    KillTree,
    Recall,
    Reply,
    Run,
    Signal,
    Spawn,
    Thaw,
    Validate,
)
from agentd.core.records import Record

HOST: Final = "simulated"

Ordinal = Callable[[str, int], int]
"""The trace's number of one incarnation of one agent."""

_ON_PROCESS: Final[dict[type[Effect], str]] = {
    Spawn: "spawn",
    Signal: "signal",
    Freeze: "freeze",
    Thaw: "thaw",
    KillTree: "kill_tree",
    Validate: "validate",
}


class Story:
    """Writes one line a thing told; event ids rise from 1 without gaps."""

    def __init__(self, write: Callable[[str], object], ordinal: Ordinal) -> None:
        self._write = write
        self._ordinal = ordinal
        self._events = 0
        self._asked: dict[str, str | int] = {}
        """Request → the id that the agent's question carried."""

    def tell(self, effect: Effect, t_ms: int) -> None:
        """Print an effect if it is one that people are shown."""
        match effect:
            case Journal(record):
                self._tell_event(record, t_ms)
            case Alert():
                self._print(t_ms, {"effect": "alert", **self._alert(effect)})
            case Run(agent, payload):
                self._print(t_ms, {"effect": "run", "agent": agent, "payload": dict(payload)})
            case Judge(agent, incarnation, payload):
                ordinal = self._ordinal(agent, incarnation)
                told = {"effect": "judge", "agent": agent, "incarnation": ordinal}
                self._print(t_ms, {**told, "payload": dict(payload)})
            case Reply():
                if effect.request in self._asked:
                    self._answer(effect.request, effect, t_ms)
                else:
                    self._tell_refusal(effect, t_ms)
            case Spawn() | Signal() | Freeze() | Thaw() | KillTree() | Validate():
                self._tell_process(effect, t_ms)

    def expect(self, request: str, line_id: str | int) -> None:
        """A line of an agent wants an answer under this id."""
        self._asked[request] = line_id

    def recall(self, recall: Recall, state: str | None, t_ms: int) -> None:
        """Print the answer to `checkpoint.get`: what was kept and what was in flight."""
        unfinished = [
            {
                "key": action.key,
                "action": action.action,
                "idempotent": action.idempotent,
                "t": _seconds(action.begun_at_ms),
            }
            for action in recall.unfinished
        ]
        kept = json.loads(state) if state is not None else None
        found = Reply(recall.request, result={"state": kept, "unfinished": unfinished})
        self._answer(recall.request, found, t_ms)

    def reject(self, why: str, t_ms: int) -> None:
        """Print why a line or a command was refused."""
        self._print(t_ms, {"rejected": why})

    def _tell_event(self, record: Record, t_ms: int) -> None:
        self._events += 1
        event = {
            "id": self._events,
            "t": _seconds(t_ms),
            "host": HOST,
            "agent": record.agent,
            "incarnation": self._incarnation(record),
            "event": record.event,
            "severity": record.severity,
            "reason": record.reason,
            "message": record.message,
            "data": record.data,
        }
        self._write(json.dumps(event) + "\n")

    def _alert(self, alert: Alert) -> dict[str, object]:
        record = alert.record
        # Not under "event": whoever counts events must not count the alerts about them.
        return {
            "kind": alert.kind,
            "incident": record.incident,
            "agent": record.agent,
            "incarnation": self._incarnation(record),
            "about": record.event,
            "severity": record.severity,
            "reason": record.reason,
            "message": record.message,
        }

    def _tell_process(
        self, effect: Spawn | Signal | Freeze | Thaw | KillTree | Validate, t_ms: int
    ) -> None:
        told: dict[str, object] = {
            "effect": _ON_PROCESS[type(effect)],
            "agent": effect.agent,
            "incarnation": self._ordinal(effect.agent, effect.incarnation),
        }
        if isinstance(effect, Signal):
            told["signal"] = effect.signal
        if isinstance(effect, Spawn):
            told["reason"] = effect.reason
        self._print(t_ms, told)

    def _answer(self, request: str, reply: Reply, t_ms: int) -> None:
        """Print what an agent is answered, in the shape of the socket (CONTRACT 5.2)."""
        answer: dict[str, object] = {"id": self._asked.pop(request), "ok": reply.error is None}
        if reply.error is not None:
            answer["error"] = dict(zip(("code", "message", "hint"), reply.error, strict=True))
        else:
            answer["result"] = dict(reply.result or {})
        self._print(t_ms, {"answer": answer})

    def _tell_refusal(self, reply: Reply, t_ms: int) -> None:
        if reply.error is not None:
            self.reject(reply.error[1], t_ms)
            return
        rows = (reply.result or {}).get("agents")
        for row in rows if isinstance(rows, list) else []:
            error = row.get("error") if isinstance(row, dict) else None
            if isinstance(error, dict):
                self.reject(str(error.get("message")), t_ms)

    def _incarnation(self, record: Record) -> int | None:
        if record.agent is None or record.incarnation is None:
            return None
        return self._ordinal(record.agent, record.incarnation)

    def _print(self, t_ms: int, told: dict[str, object]) -> None:
        self._write(json.dumps({"t": _seconds(t_ms), **told}) + "\n")


def _seconds(t_ms: int) -> float | int:
    """Whole seconds as whole numbers."""
    return t_ms // 1000 if t_ms % 1000 == 0 else t_ms / 1000
