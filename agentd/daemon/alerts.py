"""Alerts on their way to people: from the outbox in the store to the sinks.

An alert is a row before its first attempt, written together with the event it tells of. Each
sink has a queue of its own (`alertqueue`), threads of its own and its own order; what the
queue sends next is decided in `alertplan`.
"""

import asyncio
import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

from agentd.config.schema import AlertsConfig, Config, SinkConfig
from agentd.core.effects import Alert
from agentd.core.incident import rank
from agentd.core.records import IncidentRecord, Record
from agentd.daemon.alertmessages import message_of, report_record
from agentd.daemon.alertplan import Planned
from agentd.daemon.alertqueue import PAGE, Keeping, Shared, SinkQueue
from agentd.daemon.alertthreads import AttemptThreads
from agentd.daemon.clock import boottime_ms, wall_ms
from agentd.daemon.log import log
from agentd.daemon.masks import Masks
from agentd.daemon.offload import Offload, TooBusy
from agentd.reporting.incidents import incident_document
from agentd.sinks.message import Kind, Message, Resources
from agentd.sinks.registry import sink_of
from agentd.sinks.routing import Subject, reported, routed
from agentd.store.rows import (
    AlertRow,
    Batch,
    Delivery,
    DeliveryRow,
    IncidentRow,
    Outcome,
    Row,
)

# A shutdown waits so long for attempts under way; what they carried waits in the store.
PATIENCE_S: Final = 1.5
# What waits for a sink that is gone is given up again after so long where the store has failed.
GIVE_UP_AGAIN_S: Final = 60
# Incidents whose receivers, and whose last state, are remembered.
INCIDENTS_MAX: Final = 1_000
UID_BYTES: Final = 8


class Store(Keeping, Protocol):
    """Where alerts are kept."""

    def alert_counts(self) -> dict[str, dict[str, int]]: ...

    def incident(self, number: int) -> IncidentRow | None: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What alerts need of the daemon."""

    aio: asyncio.AbstractEventLoop
    store: Store
    offload: Offload
    host: str
    masks: Masks
    resources: Resources
    jitter: Callable[[], float]
    tell: Callable[[Record, Sequence[Row]], None]
    """Writes an entry of the journal, and rows that belong to it, as one."""


class Alerts:
    """All sinks; implements `performer.Alerting`."""

    def __init__(self, around: Surroundings, config: Config) -> None:
        self._around = around
        self._config = config
        self._began_ms = boottime_ms()
        self.threads = AttemptThreads(around.aio.call_soon_threadsafe)
        self.queues: dict[str, SinkQueue] = {}
        self._incidents: dict[int, IncidentRecord] = {}
        """As they were last told, for when the store can't say."""
        self._told: dict[int, set[str]] = {}
        """Who was sent a trigger of an incident that began in our time."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._shared = Shared(
            aio=around.aio,
            store=around.store,
            offload=around.offload,
            threads=self.threads,
            now_ms=boottime_ms,
            wall_ms=wall_ms,
            jitter=around.jitter,
            note=lambda record: around.tell(record, ()),
            prepare=self.prepare,
            mask=around.masks.text,
            freed=self._freed,
        )

    def start(self) -> None:
        """Begin to send; what an earlier daemon left goes on at once."""
        self.use(self._config)

    def use(self, config: Config) -> None:
        """Go on with the sinks of this config."""
        self._config = config
        alerts, names = config.alerts, {sink.name for sink in config.alerts.sinks}
        for name in self.queues.keys() - names:
            self.queues.pop(name).close()
        for sink in alerts.sinks:
            self._configure(alerts, sink)
        task = self._around.aio.create_task(self._give_up_gone())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Begin nothing more, and wait a moment for what is under way."""
        for task in self._tasks:
            task.cancel()
        for queue in self.queues.values():
            queue.close()
        self.threads.close(PATIENCE_S)

    def _configure(self, alerts: AlertsConfig, config: SinkConfig) -> None:
        sink = sink_of(config, self._around.resources)
        queue = self.queues.get(config.name)
        if queue is None:
            self.queues[config.name] = SinkQueue(self._shared, config, sink, alerts.digest_after)
        else:
            queue.configure(config, sink, alerts.digest_after)

    def _freed(self) -> None:
        for queue in self.queues.values():
            queue.wake()

    # --- what the performer asks

    def rows(self, alert: Alert) -> list[AlertRow]:
        """Return the alert as it is kept; nothing where no sink takes it."""
        record, incident = alert.record, alert.incident
        names = [sink.name for sink in self._receivers(alert.kind, record, incident)]
        if incident is not None:
            self._remember(incident)
            if alert.kind == "trigger":
                self._told.get(incident.number, set()).update(names)
        if not names:
            log.debug("alert.dropped", record=record.event, why="no sink takes it")
            return []
        return [self._row(alert.kind, record, incident, names)]

    def raised(self, rows: Sequence[AlertRow], outcome: Outcome) -> None:
        """Send what is in the store now; what the store refused is sent from memory."""
        if outcome.error:
            log.error("alert.unrecorded", alerts=len(rows), why=outcome.error)
        for row in rows:
            for name in row.sinks:
                queue = self.queues.get(name)
                if queue is None:
                    continue
                if outcome.error:
                    queue.keep(_unrecorded(row, name))
                else:
                    queue.raised()

    def send_report(
        self, document: Mapping[str, object], text: str, rows: Sequence[Row] = ()
    ) -> int:
        """Have the daily report sent to the sinks that take info; return how many there are.

        `rows` become durable in the same moment, whether or not there is a sink.
        """
        names = [sink.name for sink in reported(self._config.alerts.sinks)]
        masks = self._around.masks
        record = report_record(masks.document(document), masks.text(text), len(names))
        row = self._row("digest", record, None, names)
        self._around.tell(record, [row, *rows] if names else list(rows))
        return len(names)

    def _row(
        self, kind: str, record: Record, incident: IncidentRecord | None, sinks: Sequence[str]
    ) -> AlertRow:
        uid = secrets.token_hex(UID_BYTES)
        own_key = f"{self._around.host}/{incident.key if incident is not None else uid}"
        return AlertRow(
            uid=uid,
            kind=kind,
            severity=record.severity,
            record=record,
            dedup_key=(incident.shared_key if incident is not None else "") or own_key,
            sinks=tuple(sinks),
            incident=incident.number if incident is not None else None,
        )

    def _receivers(
        self, kind: Kind, record: Record, incident: IncidentRecord | None
    ) -> list[SinkConfig]:
        agents = [record.agent] if record.agent is not None else []
        severity, told = record.severity, None
        if incident is not None:
            severity = max(severity, incident.severity, key=rank)
            if kind != "trigger":
                agents = list(incident.agents)
                told = self._told.get(incident.number)
        tags = [tag for name in agents for tag in self._tags(name)]
        subject = Subject(kind, severity, record.event, agents, tags)
        return routed(self._config.alerts.sinks, subject, told)

    def _tags(self, agent: str) -> Sequence[str]:
        config = self._config.agents.get(agent)
        return config.tags if config is not None else ()

    def _remember(self, incident: IncidentRecord) -> None:
        self._incidents.pop(incident.number, None)
        self._incidents[incident.number] = incident
        if incident.opened_at_ms >= self._began_ms:
            self._told.setdefault(incident.number, set())
        for kept in (self._incidents, self._told):
            while len(kept) > INCIDENTS_MAX:
                del kept[next(iter(kept))]

    # --- messages

    def prepare(self, planned: Planned) -> Message:
        """Make the message, secrets masked; runs in the thread of an attempt."""
        number = planned.lead.delivery.row.incident
        incident = None if number is None else self._incident(number)
        masks = self._around.masks
        made = message_of(planned, self._around.host, incident)
        return replace(
            made,
            event=masks.document(made.event),
            incident=None if made.incident is None else masks.document(made.incident),
            folded=tuple(map(masks.document, made.folded)),
            report=None if made.report is None else masks.document(made.report),
            report_text=masks.text(made.report_text),
        )

    def _incident(self, number: int) -> dict[str, object] | None:
        """Return an incident as it is now; where the store can't say, as it was last told."""
        try:
            row = self._around.store.incident(number)
        except sqlite3.Error as error:
            log.warning("alert.unread", incident=number, error=error)
            row = None
        if row is None:
            known = self._incidents.get(number)
            row = None if known is None else _by_the_wall(known)
        return None if row is None else incident_document(row)

    # --- sinks that are gone

    async def _give_up_gone(self) -> None:
        """Name the sinks that are not in the config any more, and end what waits for them."""
        named: set[str] = set()
        while not await self._have_given_up(named):  # noqa: ASYNC110 - what ends it is another try
            await asyncio.sleep(GIVE_UP_AGAIN_S)

    async def _have_given_up(self, named: set[str]) -> bool:
        """End what waits for sinks that are gone; False: it can't be read or written now."""
        around = self._around
        try:
            counts = await around.offload.run(around.store.alert_counts)
            for name, states in counts.items():
                if not states.get("waiting") or name in self.queues:
                    continue
                if name not in named:
                    named.add(name)
                    self._tell_gone(name, states["waiting"])
                if not await self._end_all(name):
                    return False
        except (sqlite3.Error, TooBusy) as error:
            log.warning("alert.unread", error=error, next_try_s=GIVE_UP_AGAIN_S)
            return False
        return True

    def _tell_gone(self, name: str, count: int) -> None:
        alerts = "1 alert" if count == 1 else f"{count} alerts"
        told = f'{alerts} given up: the sink "{name}" is not in the config any more'
        data: dict[str, object] = {"sink": name, "alerts": count, "given_up": True}
        self._around.tell(Record("alert.failed", "warning", told, data=data), ())

    async def _end_all(self, name: str) -> bool:
        """Mark all that waits for a sink as failed; False: that can't be written now."""
        around = self._around
        question = partial(around.store.deliveries, states=("waiting",), sink=name, limit=PAGE)
        why = "the sink is not in the config any more"
        while name not in self.queues and (page := await around.offload.run(question)):
            done: asyncio.Future[Outcome] = around.aio.create_future()
            rows = tuple(
                DeliveryRow(one.row.uid, name, "failed", one.state.attempts, wall_ms(), why)
                for one in page
            )
            around.store.submit(Batch(rows), done.set_result)
            if not (await done).ok:
                return False
        return True


def _unrecorded(row: AlertRow, sink: str) -> Delivery:
    now_ms = wall_ms()
    return Delivery(row, 0, now_ms, DeliveryRow(row.uid, sink, "waiting", 0, now_ms))


def _by_the_wall(incident: IncidentRecord) -> IncidentRow:
    distance_ms = wall_ms() - boottime_ms()

    def wall(at_ms: int | None) -> int | None:
        return None if at_ms is None else at_ms + distance_ms

    return IncidentRow(
        incident,
        began_wall_ms=incident.began_at_ms + distance_ms,
        opened_wall_ms=incident.opened_at_ms + distance_ms,
        recovered_wall_ms=wall(incident.recovered_at_ms),
        resolved_wall_ms=wall(incident.resolved_at_ms),
        acknowledged_wall_ms=wall(incident.acknowledged_at_ms),
    )
