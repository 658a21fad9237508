"""Rows of history, as the tests of the store write them."""

from dataclasses import replace

from agentd.core.effects import Journal, PersistIncident, SaveEvidence, SaveRollups
from agentd.core.records import IncidentRecord, Member, Record, Rollup
from agentd.store.rows import AlertRow, DeliveryRow

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
# 2023-11-15, a midnight of UTC.
MIDNIGHT_MS = 1_700_006_400_000
LATENCIES = (0, 3, 40, 12, 2, 0, 0, 1, 0, 0, 0, 0)


def incident(number: int = 1, agent: str = "a", **more: object) -> IncidentRecord:
    """Return one that began 5 s and opened 2 s before the clock of a fresh desk."""
    base = IncidentRecord(
        number=number,
        key=f"here-{number}",
        cause="UNREACHABLE",
        severity="critical",
        summary=f"{agent} is silent",
        began_at_ms=995_000,
        opened_at_ms=998_000,
        agent=agent,
        members=(Member(agent, 998_000, ("silent",)),),
    )
    return replace(base, **more)  # type: ignore[arg-type]


def opened(number: int = 1, agent: str = "a", **more: object) -> PersistIncident:
    return PersistIncident(incident(number, agent, **more))


def look(number: int = 1, **seen: object) -> SaveEvidence:
    return SaveEvidence(number, "a", "stall", seen or {"wchan": "do_poll"})


def told(message: str = "it is silent", number: int | None = 1) -> Journal:
    return Journal(Record("agent.unreachable", "critical", message, "a", 1, "i-1", incident=number))


def alert(
    uid: str, of: Journal, sinks: tuple[str, ...] = ("pager", "chat"), number: int | None = 1
) -> AlertRow:
    return AlertRow(uid, "trigger", "critical", of.record, "here-1", sinks, number)


def sent(uid: str, sink: str, wall_ms: int = 0) -> DeliveryRow:
    return DeliveryRow(uid, sink, "sent", 1, wall_ms)


def minute(agent: str, begins_ms: int, **more: object) -> Rollup:
    base = Rollup(
        agent,
        begins_ms,
        heartbeats=2,
        cycles=2,
        tokens=1_800,
        cost_micros=18_000,
        successes=2,
        latency_counts=LATENCIES,
        rss_min_bytes=100 << 20,
        rss_max_bytes=120 << 20,
        healthy_ms=MINUTE_MS,
    )
    return replace(base, **more)  # type: ignore[arg-type]


def saved(*rollups: Rollup) -> SaveRollups:
    return SaveRollups(rollups)
