"""Alerts over a store and sinks of a test's own.

Time runs twenty times as fast: a second of company is 50 ms.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agentd.config.schema import AlertsConfig, Config, SinkConfig
from agentd.core.effects import Alert, Journal
from agentd.core.records import IncidentRecord, Member, Record
from agentd.daemon import alerts as alerts_module
from agentd.daemon.alerts import Alerts, Surroundings
from agentd.daemon.errands import Ended
from agentd.daemon.masks import Masks
from agentd.daemon.offload import Offload
from agentd.sinks.message import DeliveryFailed, Message, Resources, Sink
from agentd.store.rows import (
    AlertRow,
    Batch,
    Delivery,
    DeliveryRow,
    IncidentRow,
    Outcome,
    Row,
    Stamp,
)

FASTER = 20
WAIT_S = 10.0


class Hurried(asyncio.SelectorEventLoop):
    """Waits a twentieth of what it is asked to."""

    def call_later(self, delay: float, callback: Any, *args: Any, **more: Any) -> Any:  # noqa: ANN401 - as asyncio has it
        return super().call_later(delay / FASTER, callback, *args, **more)


def fast_ms() -> int:
    return time.monotonic_ns() * FASTER // 1_000_000


@dataclass
class Store:
    """Alerts in memory; `broken`: nothing can be read or written."""

    rows: dict[tuple[str, str], Delivery] = field(default_factory=dict)
    broken: str = ""
    marks_broken: str = ""
    asked: list[int] = field(default_factory=list)
    _events: int = 0

    def submit(self, batch: Batch, done: Callable[[Outcome], None]) -> None:
        alone = all(isinstance(row, DeliveryRow) for row in batch.rows)
        error = self.broken or (self.marks_broken if alone else "")
        stamps = [] if error else [stamp for row in batch.rows for stamp in self._write(row)]
        outcome = Outcome(error=error) if error else Outcome(tuple(stamps))
        asyncio.get_running_loop().call_soon(done, outcome)

    def _write(self, row: Row) -> list[Stamp]:
        if isinstance(row, Journal):
            self._events += 1
            return [Stamp(self._events, fast_ms())]
        if isinstance(row, AlertRow):
            for sink in row.sinks:
                state = DeliveryRow(row.uid, sink, "waiting", 0, fast_ms())
                self.rows[row.uid, sink] = Delivery(row, self._events, fast_ms(), state)
        if isinstance(row, DeliveryRow) and (row.uid, row.sink) in self.rows:
            old = self.rows[row.uid, row.sink]
            self.rows[row.uid, row.sink] = Delivery(old.row, old.event_id, old.wall_ms, row)
        return []

    def deliveries(self, *, states: Sequence[str], sink: str | None, limit: int) -> list[Delivery]:
        if self.broken:
            raise sqlite3.OperationalError(self.broken)
        found = [
            one
            for one in list(self.rows.values())
            if one.state.state in states and sink in (None, one.state.sink)
        ]
        self.asked.append(len(found[:limit]))
        return found[:limit]

    def alert_counts(self) -> dict[str, dict[str, int]]:
        counts: dict[str, dict[str, int]] = {}
        for one in list(self.rows.values()):
            own = counts.setdefault(one.state.sink, {})
            own[one.state.state] = own.get(one.state.state, 0) + 1
        return counts

    def incident(self, _number: int) -> IncidentRow | None:
        if self.broken:
            raise sqlite3.OperationalError(self.broken)
        return None

    def states(self, sink: str = "ops") -> list[str]:
        return [one.state.state for one in self.rows.values() if one.state.sink == sink]


@dataclass
class FakeSink:
    """Takes messages, or does what it was told to instead."""

    messages: list[Message] = field(default_factory=list)
    attempts: list[Message] = field(default_factory=list)
    trouble: Callable[[Message], DeliveryFailed | None] = lambda _: None
    hangs: threading.Event | None = None

    def deliver(self, message: Message) -> None:
        self.attempts.append(message)
        if self.hangs is not None:
            self.hangs.wait(WAIT_S)
        failure = self.trouble(message)
        if failure is not None:
            raise failure
        self.messages.append(message)

    def told(self) -> list[str]:
        """The sentences that arrived, in their order."""
        return [
            str(event["message"])
            for message in self.messages
            for event in sorted(
                [message.event, *message.folded], key=lambda event: int(str(event["id"] or 0))
            )
        ]


class AlertHarness:
    """Alerts with sinks of the test's own, and what the performer does with them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **sinks: SinkConfig) -> None:
        self.aio = asyncio.get_running_loop()
        self.store, self.journal = Store(), []
        self.sinks = {name: FakeSink() for name in sinks}
        self.journal: list[Record] = []
        self.config = configured(*sinks.values())
        monkeypatch.setattr(alerts_module, "boottime_ms", fast_ms)
        monkeypatch.setattr(alerts_module, "wall_ms", fast_ms)
        monkeypatch.setattr(alerts_module, "sink_of", self._sink_of)
        self.masks = Masks()
        self.alerts = self.another()

    def another(self) -> Alerts:
        """The alerts of a daemon on this store."""
        around = Surroundings(
            aio=self.aio,
            store=self.store,
            offload=Offload(self.aio),
            host="host",
            masks=self.masks,
            resources=Resources(Path("/"), lambda _: Ended(ok=True, told="")),
            jitter=lambda: 0.0,
            tell=self._tell,
        )
        return Alerts(around, self.config)

    def _sink_of(self, config: SinkConfig, _resources: Resources) -> Sink:
        return self.sinks.setdefault(config.name, FakeSink())

    def _tell(self, record: Record, rows: Sequence[Row]) -> None:
        self.journal.append(record)
        alerts = [row for row in rows if isinstance(row, AlertRow)]
        self.store.submit(
            Batch((Journal(record), *rows)),
            lambda outcome: self.alerts.raised(alerts, outcome) if alerts else None,
        )

    def raise_alert(self, alert: Alert) -> list[AlertRow]:
        """What the performer does with one."""
        rows = self.alerts.rows(alert)
        batch = Batch((Journal(alert.record), *rows))
        self.store.submit(batch, lambda outcome: self.alerts.raised(rows, outcome))
        return rows

    def fail(
        self,
        agent: str | None = "a",
        message: str = "it broke",
        number: int = 0,
        **more: Any,  # noqa: ANN401 - of `Alert`, and the severity
    ) -> list[AlertRow]:
        incident = incident_of(number, agent) if number else None
        record = Record("agent.exited", more.pop("severity", "warning"), message, agent)
        return self.raise_alert(Alert(record, incident=incident, **more))

    async def until(self, look: Callable[[], object]) -> None:
        end = time.monotonic() + WAIT_S
        while not look():
            assert time.monotonic() < end, (self.store.states(), self.journal[-3:])
            await asyncio.sleep(0.02)

    def events(self, name: str) -> list[Record]:
        return [record for record in self.journal if record.event == name]


def configured(*sinks: SinkConfig, digest_after: int = 1_000) -> Config:
    return Config(alerts=AlertsConfig(sinks=list(sinks), digest_after=digest_after))


def sink(name: str = "ops", **more: Any) -> SinkConfig:  # noqa: ANN401 - its options
    return SinkConfig(name=name, **{"type": "webhook", **more})


def incident_of(number: int, agent: str | None, **more: Any) -> IncidentRecord:  # noqa: ANN401 - its fields
    members = () if agent is None else (Member(agent, 0),)
    fields: dict[str, Any] = {
        "number": number,
        "key": f"key{number}",
        "cause": "CRASHED",
        "severity": "warning",
        "summary": "it broke",
        "began_at_ms": fast_ms(),
        "opened_at_ms": fast_ms(),
        "agent": agent,
        "members": members,
    }
    return IncidentRecord(**{**fields, **more})


def run(work: Callable[[], Any]) -> None:
    """Run a test in hurried time."""
    with asyncio.Runner(loop_factory=Hurried) as runner:
        runner.run(work())


def in_hurried_time(test: Callable[..., Any]) -> Callable[..., None]:
    def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
        run(lambda: test(monkeypatch))

    hurried.__name__, hurried.__doc__ = test.__name__, test.__doc__
    return hurried


def refused(text: str = "no", **more: Any) -> Callable[[Message], DeliveryFailed]:  # noqa: ANN401 - of `DeliveryFailed`
    return lambda _: DeliveryFailed(text, **more)
