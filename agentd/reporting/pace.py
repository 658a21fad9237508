"""Budgets of a civil day or month that are on course to run out, and when.

What is still to come is taken from the days before: what an hour of the day usually costs, on
the mean of the last week; of the running day it is raised or lowered by how this day compares
with that so far. Without three such days it goes on as it went since the period began. A
budget that is spent already is no forecast: that was told when it happened.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from typing import Final

from agentd.config.civil import civil
from agentd.core.records import Rollup
from agentd.core.spending import Limit
from agentd.reporting.days import days_before
from agentd.reporting.figures import MICROS_PER_USD, within
from agentd.reporting.findings import Finding

HOUR_MS: Final = 3_600_000
HOURS: Final = 24
PAST_DAYS: Final = 7
PAST_DAYS_MIN: Final = 3
# Before that, one burst would be the pace of a whole day, or one day that of a month.
ELAPSED_MS_MIN: Final = {"day": 3 * HOUR_MS, "month": 2 * HOURS * HOUR_MS}
# A forecast this little above a budget is as likely below it.
OVER_MIN: Final = 1.05
# So far a day may be taken to differ from others before the difference is chance.
FACTOR_MIN: Final = 0.5
FACTOR_MAX: Final = 3.0
# Of what a day usually costs, so much must usually be spent by now to compare at all.
COMPARED_SHARE_MIN: Final = 0.15


def on_course(
    agent: str, limits: Sequence[Limit], rollups: Sequence[Rollup], now_ms: int, zone: tzinfo
) -> Iterator[Finding]:
    """Yield the budgets of an agent that will run out before their period ends.

    `rollups` are its hours of this month, and of the week before today.
    """
    periods = civil(now_ms, zone)
    for limit in limits:
        span = {"day": periods.day, "month": periods.month}.get(limit.period)
        if span is not None and now_ms - span[0] >= ELAPSED_MS_MIN[limit.period]:
            found = _forecast(limit, span, rollups, now_ms, zone)
            if found is not None:
                yield Finding(agent, "budget_pace", *found, f"% of {limit.name}")


def _forecast(
    limit: Limit, span: tuple[int, int], rollups: Sequence[Rollup], now_ms: int, zone: tzinfo
) -> tuple[str, float] | None:
    """Return in words when a budget runs out, and how much of it will be spent, in percent."""
    begins_ms, ends_ms = span
    used = _spent(limit, within(rollups, begins_ms, now_ms))
    if used <= 0 or used >= limit.amount:
        return None
    usual = _usual_hours(limit, rollups, now_ms, zone)
    if usual is None:
        usual = [used * HOUR_MS / (now_ms - begins_ms)] * HOURS
    elif limit.period == "day":
        usual = _as_today(usual, used, now_ms, zone, begins_ms)
    total, runs_out_ms = float(used), None
    at_ms = now_ms
    while at_ms < ends_ms:
        step_ms = min(HOUR_MS, ends_ms - at_ms)
        coming = usual[_hour(at_ms, zone)] * step_ms / HOUR_MS
        if runs_out_ms is None and total + coming > limit.amount:
            runs_out_ms = at_ms + round(step_ms * (limit.amount - total) / coming)
        total += coming
        at_ms += step_ms
    if runs_out_ms is None or total < OVER_MIN * limit.amount:
        return None
    at = datetime.fromtimestamp(runs_out_ms // 1_000, tz=zone)
    when = f"today at about {at:%H:%M}" if limit.period == "day" else f"on {at:%Y-%m-%d}"
    message = (
        f"{limit.name} is on course to run out {when}: {_amount(limit, used)} of "
        f"{_amount(limit, limit.amount)} spent, {_amount(limit, total)} to be expected"
    )
    return message, round(100 * total / limit.amount, 1)


def _usual_hours(
    limit: Limit, rollups: Sequence[Rollup], now_ms: int, zone: tzinfo
) -> list[float] | None:
    """Return what each hour of the day costs on the mean of the last days; None: too few."""
    today_ms = civil(now_ms, zone).day[0]
    days = [within(rollups, *span) for _, span in days_before(today_ms, PAST_DAYS, zone)]
    known = [day for day in days if _spent(limit, day) > 0]
    if len(known) < PAST_DAYS_MIN:
        return None
    hours = [0.0] * HOURS
    # Days without any spending count where they lie between others: weekends do come.
    first = next(index for index, day in enumerate(days) if _spent(limit, day) > 0)
    for rollup in (each for day in days[first:] for each in day):
        hours[_hour(rollup.begins_ms, zone)] += _spent(limit, [rollup])
    return [hour / (len(days) - first) for hour in hours]


def _as_today(
    usual: Sequence[float], used: int, now_ms: int, zone: tzinfo, begins_ms: int
) -> list[float]:
    """Return the hours as they are to be expected today."""
    so_far, at_ms = 0.0, begins_ms
    while at_ms < now_ms:
        step_ms = min(HOUR_MS, now_ms - at_ms)
        so_far += usual[_hour(at_ms, zone)] * step_ms / HOUR_MS
        at_ms += step_ms
    if so_far < COMPARED_SHARE_MIN * sum(usual):
        return list(usual)
    factor = min(max(used / so_far, FACTOR_MIN), FACTOR_MAX)
    return [hour * factor for hour in usual]


def _spent(limit: Limit, rollups: Sequence[Rollup]) -> int:
    return sum(each.cost_micros if limit.in_dollars else each.tokens for each in rollups)


def _amount(limit: Limit, amount: float) -> str:
    return f"${amount / MICROS_PER_USD:,.2f}" if limit.in_dollars else f"{amount:,.0f} tokens"


def _hour(wall_ms: int, zone: tzinfo) -> int:
    return datetime.fromtimestamp(wall_ms // 1_000, tz=zone).hour
