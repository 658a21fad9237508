"""Alerts as the store hands them out, with only what a test cares about said."""

import itertools

from agentd.core.records import Record
from agentd.daemon.alertplan import Waiting
from agentd.store.rows import AlertRow, Delivery, DeliveryRow

_numbers = itertools.count(1)


def delivery(
    agent: str | None = "a",
    key: str = "",
    kind: str = "trigger",
    severity: str = "warning",
    *,
    incident: int | None = None,
    sink: str = "ops",
    event: str = "agent.exited",
    wall_ms: int = 0,
    attempts: int = 0,
    message: str = "it broke",
) -> Delivery:
    """One alert at one sink; without a key it belongs to no incident."""
    number = next(_numbers)
    uid = f"uid-{number}"
    record = Record(event, severity, message, agent, incident=incident)
    row = AlertRow(uid, kind, severity, record, f"host/{key or uid}", (sink,), incident)
    return Delivery(row, number, wall_ms, DeliveryRow(uid, sink, "waiting", attempts, wall_ms, ""))


def waiting(
    agent: str | None = "a",
    key: str = "",
    kind: str = "trigger",
    severity: str = "warning",
    *,
    due_ms: int = 0,
    attempts: int = 0,
    alone: bool = False,
) -> Waiting:
    """One alert that a queue holds."""
    return Waiting(delivery(agent, key, kind, severity), due_ms, attempts, alone=alone)
