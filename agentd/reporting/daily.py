"""The report document of CONTRACT 6.1: one civil day, and the slow problems up to its end."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, tzinfo
from statistics import median
from typing import Final

from agentd.config.civil import civil
from agentd.config.encodable import utc_text
from agentd.config.names import INTERNAL
from agentd.core.records import IncidentRecord, Rollup
from agentd.core.spending import Limit
from agentd.reporting import recurrence, trends
from agentd.reporting.days import Span, days_before
from agentd.reporting.figures import MICROS_PER_USD, Figures, by_agent, summed, within
from agentd.reporting.findings import Finding
from agentd.reporting.history import Past, Place
from agentd.reporting.incidents import Incident
from agentd.reporting.intervals import PARKED, PLANNED, WISHES, Interval, Life, Lived
from agentd.reporting.pace import on_course

Document = dict[str, object]

# A day's cost per cycle is compared with the median of these days before it. It is outside
# where it is further off than three times their usual distance (1.4826 of the median absolute
# deviation is a standard deviation where days are normal), and by a quarter at least.
BASELINE_DAYS: Final = 14
BASELINE_DAYS_MIN: Final = 5
SPREADS_MAX: Final = 3 * 1.4826
SHARE_OFF_MIN: Final = 0.25

LOOPS: Final = frozenset(
    (
        *("loop.detected", "loop.warning", "drift.detected", "drift.warning"),
        *("tool.failing", "retry.limit"),
    )
)
BUDGETS: Final = frozenset(("budget.exceeded", "budget.warning", "cost.runaway", "cost.spike"))


@dataclass(frozen=True, slots=True)
class Given:
    """What the report of one day is made from."""

    day: date
    span: Span
    """When that day began and ended; of a running day, until now."""
    past: Past
    """Rows of the last week up to the end of the span, rollups of `rollups_since`."""
    names: Sequence[str]
    """The agents that there are; those that had a part in the day are added."""
    incidents: Sequence[Incident] = ()
    limits: Mapping[str, Sequence[Limit]] = field(default_factory=dict)
    unfinished: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Actions that were cut off and wait for a person, by agent."""
    now_ms: int | None = None
    """Up to when budgets are looked at and incidents are open; None: the end of the day."""

    @property
    def as_of_ms(self) -> int:
        return self.span[1] if self.now_ms is None else self.now_ms


def daily_document(given: Given, place: Place) -> Document:
    """Return the report; `ok`: nothing in it wants anybody's attention."""
    rollups = by_agent(given.past.rollups)
    lives = {life.name: life for life in given.past.lives(_names(given, rollups))}
    rows: dict[str | None, list[Life]] = {}
    for row in given.past.rows:
        if given.span[0] <= row.wall_ms < given.span[1]:
            rows.setdefault(row.agent, []).append(row)
    whole = [
        (life, _agent(given, place, life, rows.get(name, ()), rollups.get(name, ())))
        for name, life in lives.items()
    ]
    agents = [
        agent
        for life, agent in whole
        if agent["needs_human"]
        or _was_there(life.within(*given.span), within(rollups.get(life.name, ()), *given.span))
    ]
    slow = [
        finding.document()
        for name, life in lives.items()
        for finding in _slow(given, place, life, rollups.get(name, ()))
    ]
    host = [_incident(each) for each in _open(given) if _owner(each) is None]
    return {
        "date": given.day.isoformat(),
        "timezone": place.timezone,
        "host": place.host,
        "from": utc_text(given.span[0]),
        "to": utc_text(given.span[1]),
        "agents": agents,
        "needs_human": host,
        "slow_problems": slow,
        "ok": not slow and not host and not any(map(wants_attention, agents)),
    }


def wants_attention(agent: Mapping[str, object]) -> bool:
    """Whether anything of an agent's day is more than good news."""
    downs, cost = agent["downs"], agent["cost"]
    assert isinstance(downs, list)
    assert isinstance(cost, dict)
    failed = any(each["reason"] not in PLANNED for each in downs)
    told = ("loops", "budgets", "cooldowns", "recovered", "needs_human")
    return failed or bool(cost["outside_baseline"]) or any(agent[name] for name in told)


def _was_there(today: Lived, rollups: Sequence[Rollup]) -> bool:
    """Whether anything is known of an agent's day; one that was added later has none."""
    return bool(today.intervals or rollups)


def _names(given: Given, rollups: Mapping[str, Sequence[Rollup]]) -> list[str]:
    here = set(given.names)
    gone = {row.agent for row in given.past.rows if given.span[0] <= row.wall_ms < given.span[1]}
    gone |= {name for name, found in rollups.items() if within(found, *given.span)}
    gone -= INTERNAL
    # Of those, only what somebody has to look after.
    gone |= {_owner(each) for each in _open(given)}
    return [*given.names, *sorted(name for name in gone if name is not None and name not in here)]


def _agent(
    given: Given, place: Place, life: Lived, rows: Sequence[Life], rollups: Sequence[Rollup]
) -> Document:
    today, new_ms = _since_new(life.within(*given.span), rows)
    since_ms = given.span[0] if new_ms is None else new_ms
    return {
        "name": life.name,
        "alive_all_day": today.total_ms("up") == given.span[1] - since_ms,
        "new_since": None if new_ms is None else utc_text(new_ms),
        "downtime_s": today.total_ms("down") / 1000,
        "paused_s": today.total_ms("paused") / 1000,
        "unknown_s": (today.unknown_ms - (since_ms - given.span[0])) / 1000,
        "downs": [_down(each, given.span[1]) for each in today.downs],
        "restarts": [
            {"time": utc_text(each.at_ms), "reason": each.reason} for each in today.restarts
        ],
        "cost": _cost(given, place, rollups),
        "loops": _told(rows, LOOPS),
        "budgets": _told(rows, BUDGETS),
        "cooldowns": _told(rows, frozenset(("agent.cooldown",))),
        "recovered": [
            _incident(each) for each in _recovered(given) if life.name in each.incident.agents
        ],
        "needs_human": list(_needs(given, today)),
    }


def _since_new(today: Lived, rows: Sequence[Life]) -> tuple[Lived, int | None]:
    """Leave out the waiting for a first start, which is no rest; return since when it is new.

    None: it was there before that day. One that is never started rests.
    """
    kept = tuple(
        each
        for each in today.intervals
        if each is today.intervals[-1] or each.state != "paused" or each.reason is not None
    )
    if not kept:
        return today, None
    began = today.intervals[0]
    added = any(row.event == "agent.added" and row.wall_ms <= began.begins_ms for row in rows)
    is_new = added or began is not kept[0]
    return replace(today, intervals=kept), kept[0].begins_ms if is_new else None


def _down(down: Interval, day_ends_ms: int) -> Document:
    """One outage; `to` is null where the day ended before it did."""
    return {
        "from": utc_text(down.begins_ms),
        "to": None if down.ends_ms >= day_ends_ms else utc_text(down.ends_ms),
        "reason": down.reason,
        "duration_s": down.lasts_ms / 1000,
    }


def _told(rows: Sequence[Life], events: frozenset[str]) -> list[Document]:
    return [
        {
            "time": utc_text(row.wall_ms),
            "event": row.event,
            "reason": row.reason,
            "message": row.message,
        }
        for row in rows
        if row.event in events
    ]


def rollups_since(span: Span, zone: tzinfo) -> int:
    """Return from when on the rollups of a report are wanted."""
    month_ms = civil(span[1] - 1, zone).month[0]
    fortnight_ms = days_before(span[0], max(trends.DAYS, BASELINE_DAYS), zone)[0][1][0]
    return min(month_ms, fortnight_ms)


def rows_since(span: Span, zone: tzinfo) -> int:
    """Return from when on the rows of a report are wanted."""
    return days_before(span[0], recurrence.DAYS, zone)[0][1][0]


# --- cost


def _cost(given: Given, place: Place, rollups: Sequence[Rollup]) -> Document:
    """Compare what a cycle took this day with the days before it."""
    today = summed(within(rollups, *given.span))
    days = [
        summed(within(rollups, *span))
        for _, span in days_before(given.span[0], BASELINE_DAYS, place.zone)
    ]
    tokens = _baseline([day.tokens_per_cycle for day in days])
    micros = _baseline([day.micros_per_cycle for day in days])
    return {
        "tokens": today.tokens,
        "usd": today.cost_usd,
        "known": not today.unpriced,
        "per_cycle": _rounded(today.tokens_per_cycle),
        "baseline": _rounded(tokens[0]) if tokens else None,
        "usd_per_cycle": _usd(today.micros_per_cycle),
        "usd_baseline": _usd(tokens and micros and micros[0]),
        "outside_baseline": _is_outside(today.tokens_per_cycle, tokens)
        or _is_outside(today.micros_per_cycle, micros),
        **_work(today),
    }


def _work(today: Figures) -> Document:
    rate = today.success_rate
    return {
        "cycles": today.cycles,
        "tasks": today.tasks,
        "success_rate": None if rate is None else round(rate, 4),
    }


def _baseline(values: Sequence[float | None]) -> tuple[float, float] | None:
    """Return the median of the days and how far off a day may be; None: too few days."""
    known = [value for value in values if value is not None]
    if len(known) < BASELINE_DAYS_MIN:
        return None
    middle = median(known)
    spread = median(abs(value - middle) for value in known)
    return middle, max(SPREADS_MAX * spread, SHARE_OFF_MIN * middle)


def _is_outside(value: float | None, baseline: tuple[float, float] | None) -> bool:
    return value is not None and baseline is not None and abs(value - baseline[0]) > baseline[1]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _usd(micros: float | None) -> float | None:
    return None if micros is None else round(micros / MICROS_PER_USD, 8)


# --- who is needed


def _open(given: Given) -> list[Incident]:
    """Return the incidents that were open when the report ends, the worst first."""
    found = [
        each
        for each in given.incidents
        if each.opened_wall_ms < given.as_of_ms
        and (each.resolved_wall_ms is None or each.resolved_wall_ms >= given.as_of_ms)
    ]
    return sorted(found, key=lambda each: each.incident.severity != "critical")


def _owner(found: Incident) -> str | None:
    """Return the agent that an incident is filed under; None: it is the host's."""
    agents = found.incident.agents
    return found.incident.agent if found.incident.agent in agents else next(iter(agents), None)


def _recovered(given: Given) -> list[Incident]:
    """Return the incidents that came to their end this day, with nobody's help."""
    return [
        each
        for each in given.incidents
        if each.resolved_wall_ms is not None
        and given.span[0] <= each.resolved_wall_ms < given.span[1]
        and each.resolved_wall_ms < given.as_of_ms
        and not each.incident.acknowledged_by
    ]


def _incident(found: Incident) -> Document:
    number, owner = found.incident.number, _owner(found)
    others = [name for name in found.incident.agents if name != owner]
    resolved_ms = found.resolved_wall_ms
    return {
        "kind": "incident",
        "incident": number,
        "agents": [*([] if owner is None else [owner]), *others],
        "severity": found.incident.severity,
        "message": found.incident.summary,
        "from": utc_text(found.began_wall_ms),
        "to": None if resolved_ms is None else utc_text(resolved_ms),
        "next": _way_out(found.incident) or f"agentctl incident {number}",
    }


def _way_out(incident: IncidentRecord) -> str | None:
    """Return the command that ends the one agent's escalation; None: there is more to look at."""
    if incident.resolved_at_ms is not None or len(incident.members) != 1:
        return None
    [member] = incident.members
    return f"agentctl start {member.agent}" if "agent.escalated" in member.troubles else None


def _needs(given: Given, today: Lived) -> Iterator[Document]:
    """Yield what of an agent is left to a person."""
    name = today.name
    mine = [each for each in _open(given) if name in each.incident.agents]
    number = mine[0].incident.number if mine else None
    yield from (_incident(each) for each in mine if _owner(each) == name)
    last = today.intervals[-1] if today.intervals else None
    if last is not None and last.ends_ms < given.span[1]:
        last = None
    gave_up = _last_escalation(given, name)
    if last is not None and last.state == "down" and gave_up is not None:
        need = _need("escalated", gave_up.message, gave_up.wall_ms, f"agentctl start {name}")
        yield {**need, "incident": number}
    if last is not None and last.state == "paused" and _by_policy(last.reason):
        told = f"held back by policy: {last.reason}"
        yield _need("paused", told, last.begins_ms, f"agentctl resume {name}")
    for key in given.unfinished.get(name, ()):
        told = f"an action was cut off, and nobody knows whether it came to its end: {key}"
        yield _need("unfinished", told, None, f"agentctl checkpoints {name}")


def _by_policy(reason: str | None) -> bool:
    return reason is not None and reason not in WISHES and reason != PARKED


def _last_escalation(given: Given, name: str) -> Life | None:
    """Return the escalation that an agent has not come back from; None: there is none."""
    found = None
    for row in given.past.rows:
        if row.agent == name and row.wall_ms < given.span[1]:
            if row.event == "agent.escalated":
                found = row
            elif row.event in ("agent.started", "agent.ready", "agent.healthy"):
                found = None
    return found


def _need(kind: str, message: str, since_ms: int | None, command: str) -> Document:
    since = None if since_ms is None else utc_text(since_ms)
    return {"kind": kind, "incident": None, "message": message, "from": since, "next": command}


# --- what no single day shows


def _slow(given: Given, place: Place, life: Lived, rollups: Sequence[Rollup]) -> Iterator[Finding]:
    yield from trends.drifts(life.name, rollups, given.span[1], place.zone)
    recurring = recurrence.same_time(life.name, life.restarts, given.span[1], place.zone)
    if recurring is not None:
        yield recurring
    limits = given.limits.get(life.name, ())
    yield from on_course(life.name, limits, rollups, given.as_of_ms, place.zone)
