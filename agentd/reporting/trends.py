"""Slow drifts over days: tokens per cycle, memory and latency that rise, success that falls.

Each day becomes one number, the median of its hours (memory: of the lowest of each hour), so
that bursts, nightly jobs and restarts within a day don't count. The slope is Theil-Sen's over
the pairs of days, and Mann-Kendall says whether there is a trend at all; both are those of the
leak detector. Three things hold off what fools them: weekends are first put on a level with
working days, days of the second week must differ from the same weekdays of the first, and the
last week must still rise, because a cache that has filled is no drift.

Quantities that grow are compared by their logarithms: a slope is a share a day then, whatever
the size. The bounds are measured, `python bench/slow_problems.py`: 400 clean fortnights of five
agents each (working weeks, nights, bursts, days that lean on the day before) against planted
drifts of 1 to 5 % a day. Not seen: what rises within a week and stays there, growth below the
bounds, and what has fewer than DAYS_MIN days with figures.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from statistics import median
from typing import Final

from agentd.core.detectors.trend import trend_of
from agentd.core.records import Rollup
from agentd.core.tally import quantile_ms
from agentd.reporting.days import days_before
from agentd.reporting.figures import summed, within
from agentd.reporting.findings import Finding

DAYS: Final = 14
# Ten points are the fewest of which Mann-Kendall's normal approximation is recommended.
DAYS_MIN: Final = 10
WEEK_DAYS: Final = 7
# Of random days one series in 1,000 is beyond 3.1; days lean on each other, hence the rest.
Z_MIN: Final = 3.1
# So many days may differ the wrong way from the same weekday a week before.
AGAINST_WEEK_MAX: Final = 1
# The last week alone must show this much of the slope of the first one, or it was something that
# levels off; and this much of the change that is asked of the whole time. Memory is what caches
# fill, so more is asked of it: with 0.2 it would be wrong in 5 of 300 clean fortnights of an
# agent, with 0.5 in none.
LATE_SHARE_MIN: Final = 0.2
LATE_SHARE_MEMORY_MIN: Final = 0.5
LATE_CHANGE_SHARE_MIN: Final = 0.4
WEEKEND: Final = (5, 6)
# Growth over the whole time below which nobody would act.
TOKENS_GROWTH_MIN: Final = 0.20
MEMORY_GROWTH_MIN: Final = 0.20
MEMORY_GROWTH_BYTES_MIN: Final = 16 << 20
# Latencies are counted in buckets a factor of 2 to 2.5 wide; a smaller rise may be the bucket's.
LATENCY_GROWTH_MIN: Final = 0.40
LATENCY_SHARE: Final = 0.95
# In points of the rate, 0.05 is five of a hundred tasks.
SUCCESS_FALL_MIN: Final = 0.05
# Days with fewer tasks say little of a rate, or of the slowest twentieth.
TASKS_MIN: Final = 20
_SCALE: Final = 1_000_000
# What is said of each: what it is, and in which unit.
_SHOWN: Final = {
    "tokens_drift": ("tokens per cycle", 1, "tokens"),
    "memory_drift": ("memory", 1 << 20, "MiB"),
    "latency_rise": ("latency (95 of 100 tasks are faster)", 1, "ms"),
}


@dataclass(frozen=True, slots=True)
class Day:
    """The hours of one day."""

    hours: Sequence[Rollup]
    is_weekend: bool


@dataclass(frozen=True, slots=True)
class Drift:
    """What a series of days does."""

    days: int
    """From the first to the last day that has a figure, both counted."""
    first: float
    """Where the line through all days begins."""
    last: float
    per_day: float
    """Slope, as a share a day, or (`straight`) in units a day."""


def drifts(agent: str, rollups: Sequence[Rollup], ends_ms: int, zone: tzinfo) -> Iterator[Finding]:
    """Yield what drifts in the DAYS days before `ends_ms`, which ends a day.

    `rollups` are those of one agent, by the hour.
    """
    days = [
        Day(within(rollups, *span), day.weekday() in WEEKEND)
        for day, span in days_before(ends_ms, DAYS, zone)
    ]
    for rule in (_tokens, _memory, _latency, _success):
        found = rule(agent, days)
        if found is not None:
            yield found


def _tokens(agent: str, days: Sequence[Day]) -> Finding | None:
    values = [_median(day.hours, _tokens_per_cycle) for day in days]
    return _risen(agent, "tokens_drift", _growth(days, values, TOKENS_GROWTH_MIN))


def _memory(agent: str, days: Sequence[Day]) -> Finding | None:
    values = [_median(day.hours, _floor) for day in days]
    drift = _growth(days, values, MEMORY_GROWTH_MIN, LATE_SHARE_MEMORY_MIN)
    if drift is not None and drift.last - drift.first < MEMORY_GROWTH_BYTES_MIN:
        return None
    return _risen(agent, "memory_drift", drift)


def _latency(agent: str, days: Sequence[Day]) -> Finding | None:
    values = [_slowest(day.hours) for day in days]
    return _risen(agent, "latency_rise", _growth(days, values, LATENCY_GROWTH_MIN))


def _success(agent: str, days: Sequence[Day]) -> Finding | None:
    rates = [_success_rate(day.hours) for day in days]
    drift = _drift(days, rates, SUCCESS_FALL_MIN, straight=True)
    if drift is None:
        return None
    fall = 100 * drift.per_day
    message = (
        f"success rate {fall:+.1f} points a day over {drift.days} days, "
        f"from {min(drift.first, 1):.1%} to {max(drift.last, 0):.1%}".replace("%", " %")
    )
    return Finding(agent, "success_fall", message, round(fall, 2), "points a day")


def _risen(agent: str, kind: str, drift: Drift | None) -> Finding | None:
    if drift is None:
        return None
    what, divisor, unit = _SHOWN[kind]
    per_day = 100 * drift.per_day
    message = (
        f"{what} {per_day:+.1f} % a day over {drift.days} days, "
        f"from {drift.first / divisor:,.0f} to {drift.last / divisor:,.0f} {unit}"
    )
    return Finding(agent, kind, message, round(per_day, 2), "% a day")


# --- one number a day


def _median(day: Sequence[Rollup], figure: Callable[[Rollup], float | None]) -> float | None:
    values = [value for hour in day if (value := figure(hour)) is not None]
    return median(values) if values else None


def _tokens_per_cycle(hour: Rollup) -> float | None:
    return hour.tokens / hour.cycles if hour.cycles and hour.tokens else None


def _floor(hour: Rollup) -> float | None:
    return hour.rss_min_bytes or None


def _slowest(day: Sequence[Rollup]) -> float | None:
    counts = summed(day).latency_counts
    return quantile_ms(counts, LATENCY_SHARE) if sum(counts) >= TASKS_MIN else None


def _success_rate(day: Sequence[Rollup]) -> float | None:
    figures = summed(day)
    return figures.success_rate if figures.tasks >= TASKS_MIN else None


# --- the trend of them


def _growth(
    days: Sequence[Day],
    values: Sequence[float | None],
    growth_min: float,
    late_share: float = LATE_SHARE_MIN,
) -> Drift | None:
    """Return the drift of a value that grows by a share of itself."""
    change_min = math.log1p(growth_min)
    return _drift(days, values, change_min, straight=False, late_share=late_share)


def _drift(
    days: Sequence[Day],
    values: Sequence[float | None],
    change_min: float,
    *,
    straight: bool,
    late_share: float = LATE_SHARE_MIN,
) -> Drift | None:
    """Return the drift of a value a day (None: not known), if there is one for the worse.

    `straight`: the value is a rate, which falls; else one whose logarithm rises.
    """
    sign = -1 if straight else 1
    series = {
        day: sign * _scaled(value, straight=straight)
        for day, value in enumerate(values)
        if value is not None
    }
    if len(series) < DAYS_MIN or not _holds_by_weekday(series):
        return None
    series = _levelled(series, [day.is_weekend for day in days])
    xs, ys = list(series), list(series.values())
    trend = trend_of(xs, ys, 0.5)
    early, late = (
        trend_of(xs[part], ys[part], 0.5).slope_low
        for part in (slice(None, WEEK_DAYS), slice(-WEEK_DAYS, None))
    )
    slope = trend.slope_low
    span = xs[-1] - xs[0]
    if trend.z < Z_MIN or slope * span < change_min * _SCALE:
        return None
    if late < max(late_share * early, LATE_CHANGE_SHARE_MIN * change_min * _SCALE / span):
        return None
    base = median(y - slope * x for x, y in series.items())
    ends = (base + slope * xs[0], base + slope * xs[-1])
    first, last = (_unscaled(sign * each, straight=straight) for each in ends)
    per_day = (last - first) / span if straight else (last / first) ** (1 / span) - 1
    return Drift(span + 1, first, last, per_day)


def _holds_by_weekday(series: dict[int, int]) -> bool:
    """Whether days lie above the same weekdays a week before, all but a few of them."""
    pairs = [(series[day], series[day + WEEK_DAYS]) for day in series if day + WEEK_DAYS in series]
    return sum(later <= earlier for earlier, later in pairs) <= AGAINST_WEEK_MAX


def _levelled(series: dict[int, int], is_weekend: Sequence[bool]) -> dict[int, int]:
    """Return the series with weekends moved to the level of working days.

    How far apart they are is seen once the rise from week to week is taken out.
    """
    steps = [series[day + WEEK_DAYS] - series[day] for day in series if day + WEEK_DAYS in series]
    slope = median(steps) / WEEK_DAYS if steps else 0.0
    flat = {day: value - slope * day for day, value in series.items()}
    rest = [value for day, value in flat.items() if is_weekend[day]]
    work = [value for day, value in flat.items() if not is_weekend[day]]
    if not rest or not work:
        return series
    apart = round(median(rest) - median(work))
    return {day: value - apart * is_weekend[day] for day, value in series.items()}


def _scaled(value: float, *, straight: bool) -> int:
    return round((value if straight else math.log(max(value, 1e-9))) * _SCALE)


def _unscaled(value: float, *, straight: bool) -> float:
    return value / _SCALE if straight else math.exp(value / _SCALE)
