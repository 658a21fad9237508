"""What goes into the store and what comes out of it, as plain frozen data."""

from dataclasses import dataclass

from agentd.config.encodable import utc_text
from agentd.core.effects import (
    Forget,
    Journal,
    Persist,
    PersistBaseline,
    PersistIncident,
    PersistSpending,
    SaveCheckpoint,
    SaveEvidence,
    SaveRollups,
)
from agentd.core.records import Durable, IncidentRecord, Record


@dataclass(frozen=True, slots=True)
class SpawnIntent:
    """Written before the fork: this incarnation is about to exist."""

    agent: str
    incarnation: int
    incarnation_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class SpawnRow:
    """Written before the child is let go to exec: who it is, so that a later daemon finds it.

    `start_time` is field 22 of /proc/PID/stat, in clock ticks since the boot. The token is
    kept as it is, because the daemon that adopts this incarnation has to recognise it; the
    row loses it when the incarnation ends.
    """

    agent: str
    incarnation: int
    incarnation_id: str
    token: str
    pid: int
    start_time: int
    pidfd_inode: int | None
    boot_id: str
    cgroup: str | None
    wall_ms: int


@dataclass(frozen=True, slots=True)
class SpawnEnded:
    """No process of this incarnation is left; the row stays for a while, as evidence."""

    agent: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A command that changes something, and its answer once there is one (JSON)."""

    uid: int
    id: str
    cmd: str
    args_hash: str
    reply: str | None
    wall_ms: int


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert before its first attempt, written together with the event that it tells of."""

    uid: str
    """Unique for ever: the alert's id outside."""
    kind: str
    """trigger, reminder, resolve, digest or test."""
    severity: str
    record: Record
    """Journaled in the same batch, which gives the alert its event's id and time."""
    dedup_key: str
    """The same for all alerts of one incident."""
    sinks: tuple[str, ...]
    """Each gets a delivery of its own."""
    incident: int | None = None


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """How far one alert has come at one sink; rewritten after each attempt."""

    uid: str
    sink: str
    state: str
    """waiting, sent, folded (into another message) or failed (given up)."""
    attempts: int
    next_wall_ms: int
    """Not before then, by the wall clock."""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One alert at one sink, as the outbox has it."""

    row: AlertRow
    event_id: int
    wall_ms: int
    """When the alert was raised."""
    state: DeliveryRow


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """An incident as the store has it, its moments by the wall clock (ms since 1970)."""

    incident: IncidentRecord
    began_wall_ms: int
    opened_wall_ms: int
    recovered_wall_ms: int | None
    resolved_wall_ms: int | None
    acknowledged_wall_ms: int | None


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """One look at one agent of an incident."""

    incident: int
    agent: str
    kind: str
    wall_ms: int
    evidence: dict[str, object]


@dataclass(frozen=True, slots=True)
class LifeRow:
    """One event of the journal, as far as history and reports read it."""

    id: int
    wall_ms: int
    agent: str | None
    event: str
    reason: str | None
    incarnation: int | None
    message: str
    incident: int | None
    silence_ms: int | None = None
    """Of `agent.unreachable`: how long ago its last sign of life was."""


@dataclass(frozen=True, slots=True)
class MarkRow:
    """A number that outlives the daemon under its name, in place of the one before."""

    name: str
    value: int


Row = (
    Persist
    | PersistBaseline
    | PersistSpending
    | PersistIncident
    | SaveEvidence
    | SaveRollups
    | AlertRow
    | DeliveryRow
    | MarkRow
    | Forget
    | Journal
    | SaveCheckpoint
    | SpawnIntent
    | SpawnRow
    | SpawnEnded
    | RequestRow
)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that become durable together or not at all.

    `urgent`: written even from the last reserve of a full disk. Operators' intents and
    `RequestRow`s are urgent by themselves.
    """

    rows: tuple[Row, ...]
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the journal added to a record: its id and its wall time (milliseconds since 1970)."""

    id: int
    wall_ms: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a batch: `stamps`, one for each `Journal` in its order, or an error."""

    stamps: tuple[Stamp, ...] = ()
    error: str = ""

    @property
    def ok(self) -> bool:
        return not self.error


@dataclass(frozen=True, slots=True)
class StoredAgent:
    """An agent as the last daemon left it, its times in BOOTTIME of this boot."""

    durable: Durable
    same_boot: bool
    wall_ms: int


def event_document(stamp: Stamp, record: Record, host: str) -> dict[str, object]:
    """Return a record of the journal in the form that users see."""
    return {
        "id": stamp.id,
        "time": utc_text(stamp.wall_ms),
        "host": host,
        "agent": record.agent,
        "incarnation": record.incarnation_id,
        "event": record.event,
        "severity": record.severity,
        "reason": record.reason,
        "message": record.message,
        "data": record.data,
    }
