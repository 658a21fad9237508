"""Rows of a journal, written down briefly."""

from collections.abc import Iterable

from agentd.reporting.intervals import Lived, Unwatched, lived
from agentd.store.rows import LifeRow

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000

Brief = tuple[int, str] | tuple[int, str, str]


def rows(*told: Brief, agent: str = "a", first_id: int = 1) -> list[LifeRow]:
    """Rows of one agent: (when in ms, event without its `agent.`, reason)."""
    found = []
    runs = 0
    for number, (at_ms, event, *reason) in enumerate(told, first_id):
        runs += event == "started"
        whose = None if event.startswith("daemon") else agent
        name = event if "." in event else f"agent.{event}"
        why = reason[0] if reason else None
        found.append(LifeRow(number, at_ms, whose, name, why, runs or None, f"{event}!", None))
    return found


def life(
    told: Iterable[LifeRow], ends_ms: int, begins_ms: int = 0, unwatched: tuple[Unwatched, ...] = ()
) -> Lived:
    return lived("a", told, begins_ms=begins_ms, ends_ms=ends_ms, unwatched=unwatched)


def shown(found: Lived) -> list[tuple[int, int, str, str | None]]:
    return [(each.begins_ms, each.ends_ms, each.state, each.reason) for each in found.intervals]
