"""Restarts at the same time of day: a nightly job, a token that expires, a quota that begins.

Times are those that clocks on the wall show, so that a job at 03:00 stays one over daylight
saving. Restarts that follow each other closely are one. A cluster is reported if restarts came
within the tolerance of one time on DAYS_HIT_MIN of the last days, and chance would rarely have
put them there: among N restarts at random times, n or more are expected to fall within a
window of share w of the day about C(N, n) * n * w^(n-1) times (the scan statistic's first
term; w is that of the cluster itself). So three of three convince, and three of seven only
when they are minutes apart: an agent that dies daily at random times has no time of day.
"""

from collections.abc import Sequence
from datetime import date, tzinfo
from math import comb
from typing import Final

from agentd.reporting.days import date_of, days_before, minute_of_day
from agentd.reporting.findings import Finding
from agentd.reporting.intervals import Restart

DAYS: Final = 7
DAYS_HIT_MIN: Final = 3
TOLERANCE_MINUTES: Final = 20
DAY_MINUTES: Final = 1_440
# Of an agent that restarts at random, one report in two hundred (`bench/slow_problems.py`).
CHANCE_MAX: Final = 0.005
# No cluster is taken to be narrower: minutes are what is known.
SPREAD_MINUTES_MIN: Final = 5
ROUND_MINUTES: Final = 5


def same_time(
    agent: str, restarts: Sequence[Restart], ends_ms: int, zone: tzinfo
) -> Finding | None:
    """Return the time of day at which it keeps being restarted, in the days before `ends_ms`.

    What operators asked for, and what the work does by itself, is not counted.
    """
    begins_ms = days_before(ends_ms, DAYS, zone)[0][1][0]
    counted = _episodes([each for each in restarts if begins_ms <= each.at_ms < ends_ms])
    moments = [(minute_of_day(each.at_ms, zone), date_of(each.at_ms, zone)) for each in counted]
    cluster = max((_around(minute, moments) for minute, _ in moments), key=len, default=[])
    days = {day for _, day in cluster}
    if len(days) < DAYS_HIT_MIN:
        return None
    spread = max((minute - cluster[0][0]) % DAY_MINUTES for minute, _ in cluster)
    if _chance(len(moments), len(days), spread) > CHANCE_MAX:
        return None
    at = _middle([minute for minute, _ in cluster])
    reasons = {each.reason for each in counted if minute_of_day(each.at_ms, zone) in dict(cluster)}
    message = (
        f"restarted at about {at // 60:02d}:{at % 60:02d} on {len(days)} of the last {DAYS} days "
        f"({', '.join(sorted(reasons))})"
    )
    return Finding(agent, "restarts_same_time", message, len(days), f"of {DAYS} days")


def _episodes(restarts: Sequence[Restart]) -> list[Restart]:
    """Return the first of each group of restarts that follow each other within the tolerance."""
    found: list[Restart] = []
    last_ms: int | None = None
    for each in sorted(restarts, key=lambda restart: restart.at_ms):
        if each.is_planned:
            continue
        if last_ms is None or each.at_ms - last_ms > TOLERANCE_MINUTES * 60_000:
            found.append(each)
        last_ms = each.at_ms
    return found


def _around(minute: int, moments: Sequence[tuple[int, date]]) -> list[tuple[int, date]]:
    """Return those within twice the tolerance after a minute, the nearest first."""

    def after(each: tuple[int, date]) -> int:
        return (each[0] - minute) % DAY_MINUTES

    return sorted((each for each in moments if after(each) <= 2 * TOLERANCE_MINUTES), key=after)


def _chance(total: int, hits: int, spread_minutes: int) -> float:
    share = max(spread_minutes, SPREAD_MINUTES_MIN) / DAY_MINUTES
    return float(comb(total, hits) * hits * share ** (hits - 1))


def _middle(minutes: Sequence[int]) -> int:
    """Return the middle of minutes that lie close together, maybe over midnight, rounded."""
    first = minutes[0]
    offsets = sorted((minute - first + DAY_MINUTES // 2) % DAY_MINUTES for minute in minutes)
    middle = first + offsets[len(offsets) // 2] - DAY_MINUTES // 2
    return round(middle / ROUND_MINUTES) * ROUND_MINUTES % DAY_MINUTES
