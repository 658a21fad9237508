"""The history document of CONTRACT 6.1: when agents were up and down, and why."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from agentd.config.encodable import utc_text
from agentd.core.records import Rollup
from agentd.reporting.days import days_between
from agentd.reporting.figures import by_agent, summed, within
from agentd.reporting.intervals import Life, Lived, Unwatched, lived

Document = dict[str, object]


@dataclass(frozen=True, slots=True)
class Place:
    """Whose history it is, and by which clock days are counted."""

    host: str
    timezone: str
    zone: tzinfo


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of a span of time [begins_ms, ends_ms)."""

    begins_ms: int
    ends_ms: int
    rows: Sequence[Life]
    """Of the span, and before it what says how agents were when it began."""
    rollups: Sequence[Rollup] = ()
    unwatched: Sequence[Unwatched] = ()

    def lives(self, names: Iterable[str]) -> list[Lived]:
        """Return what became of each agent, in the order of the names."""
        rows: dict[str, list[Life]] = {}
        for row in self.rows:
            if row.agent is not None:
                rows.setdefault(row.agent, []).append(row)
        return [
            lived(
                name,
                rows.get(name, ()),
                begins_ms=self.begins_ms,
                ends_ms=self.ends_ms,
                unwatched=self.unwatched,
            )
            for name in names
        ]


def history_document(past: Past, names: Iterable[str], place: Place) -> Document:
    """Return the document; `days` are the civil days of the place, the oldest first."""
    rollups = by_agent(past.rollups)
    days = [
        (day.isoformat(), max(begins_ms, past.begins_ms), min(ends_ms, past.ends_ms))
        for day, (begins_ms, ends_ms) in days_between(past.begins_ms, past.ends_ms, place.zone)
    ]
    return {
        "host": place.host,
        "timezone": place.timezone,
        "from": utc_text(past.begins_ms),
        "to": utc_text(past.ends_ms),
        "agents": [
            {
                "name": life.name,
                **_totals(life, rollups.get(life.name, ())),
                "intervals": [
                    {
                        "from": utc_text(each.begins_ms),
                        "to": utc_text(each.ends_ms),
                        "state": each.state,
                        "reason": each.reason,
                    }
                    for each in life.intervals
                ],
                "days": [
                    {
                        "date": day,
                        **_totals(
                            life.within(begins_ms, ends_ms),
                            within(rollups.get(life.name, ()), begins_ms, ends_ms),
                        ),
                    }
                    for day, begins_ms, ends_ms in days
                ],
            }
            for life in past.lives(names)
        ],
    }


def _totals(life: Lived, rollups: Sequence[Rollup]) -> Document:
    figures = summed(rollups)
    availability, mttr_ms = life.availability, life.mttr_ms
    return {
        "availability": None if availability is None else round(availability, 6),
        "mttr_s": None if mttr_ms is None else round(mttr_ms / 1000, 3),
        "downs": len(life.downs),
        "restarts": len(life.restarts),
        "cost_usd": figures.cost_usd,
        "cost_known": not figures.unpriced,
        "tokens": figures.tokens,
        "up_s": life.total_ms("up") / 1000,
        "down_s": life.total_ms("down") / 1000,
        "paused_s": life.total_ms("paused") / 1000,
        "unknown_s": life.unknown_ms / 1000,
    }
