"""How often slow problems are found where there are some, and where there are none.

`python bench/slow_problems.py [FORTNIGHTS]` draws fortnights of hours for agents as they are in
life: working weeks, nights, bursts, days that lean on the day before, restarts at random times,
caches that fill. Clean ones must show nothing; in the others one thing is planted. It prints
the clean fortnights in which something was found, and how often each planted problem was named.
The test suite runs a part of it (tests/reporting/test_slow_problems.py).
"""

import math
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Final

from agentd.core.records import Rollup
from agentd.core.tally import LATENCY_BOUNDS_MS, LATENCY_BUCKETS
from agentd.reporting.findings import Finding
from agentd.reporting.intervals import Restart
from agentd.reporting.recurrence import same_time
from agentd.reporting.trends import DAYS, drifts

FORTNIGHTS: Final = 400
DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
BEGINS_MS: Final = 20_000 * DAY_MS
ENDS_MS: Final = BEGINS_MS + DAYS * DAY_MS
WEEKEND: Final = (5, 6)
# 20,000 days after a Thursday.
FIRST_WEEKDAY: Final = (3 + 20_000) % 7


@dataclass(frozen=True, slots=True)
class Plan:
    """What is planted: shares a day, and restarts at a time of day."""

    tokens: float = 0.0
    memory: float = 0.0
    latency: float = 0.0
    success: float = 0.0
    restart_hour: float | None = None
    restart_days: int = 4


@dataclass(frozen=True, slots=True)
class Habits:
    """What an agent is like; drawn anew for each."""

    cycles: float
    tokens: float
    rss_bytes: float
    latency_ms: float
    failure_rate: float
    night: float
    """What is left of its work at night."""
    weekend: float
    burst: float
    """How wide the hours of a day differ, as a standard deviation of logarithms."""
    mood: float
    """How wide days differ, likewise."""
    memory: float
    """How much of the mood of a day is that of the day before."""
    restarts: float
    """A day, at random times."""
    rising_from: float
    """How far its cache is filled when the fortnight begins."""


def drawn_habits(dice: random.Random) -> Habits:
    """Draw an agent: small or large, busy by day or always, steady or moody."""
    return Habits(
        cycles=math.exp(dice.uniform(math.log(5), math.log(400))),
        tokens=math.exp(dice.uniform(math.log(200), math.log(20_000))),
        rss_bytes=math.exp(dice.uniform(math.log(60), math.log(2_000))) * (1 << 20),
        latency_ms=math.exp(dice.uniform(math.log(50), math.log(20_000))),
        failure_rate=dice.uniform(0.0, 0.1),
        night=dice.choice((0.05, 0.3, 1.0)),
        weekend=dice.choice((0.1, 0.4, 1.0)),
        burst=dice.uniform(0.1, 0.6),
        mood=dice.uniform(0.02, 0.12),
        memory=dice.uniform(0.0, 0.6),
        restarts=dice.choice((0.0, 0.1, 0.5, 1.5)),
        rising_from=dice.choice((0.6, 0.9, 1.0)),
    )


def drawn_hours(dice: random.Random, name: str, habits: Habits, plan: Plan) -> Iterator[Rollup]:
    """Draw the hours of one fortnight."""
    moods = [0.0, 0.0, 0.0]
    for day in range(DAYS):
        fresh = math.sqrt(1 - habits.memory**2) * habits.mood
        moods = [habits.memory * mood + fresh * dice.gauss(0, 1) for mood in moods]
        weekend = (FIRST_WEEKDAY + day) % 7 in WEEKEND
        # Work of weekends is other work, not only less of it.
        kind = (1 - 0.3 * (1 - habits.weekend)) if weekend else 1.0
        filled = 1 - (1 - habits.rising_from) * math.exp(-day / 2)
        for hour in range(24):
            level = (habits.weekend if weekend else 1.0) * (1.0 if 7 <= hour < 22 else habits.night)
            burst = math.exp(dice.gauss(0, habits.burst))
            yield drawn_hour(
                dice,
                Rollup(name, BEGINS_MS + day * DAY_MS + hour * HOUR_MS),
                cycles=_poisson(dice, habits.cycles * level * burst),
                tokens=habits.tokens
                * kind
                * math.exp(moods[0] + dice.gauss(0, habits.burst / 2))
                * (1 + plan.tokens) ** (day + hour / 24),
                rss=habits.rss_bytes * filled * math.exp(0.3 * moods[1] + dice.gauss(0, 0.03))
                * (1 + plan.memory) ** (day + hour / 24),
                latency_ms=habits.latency_ms * math.exp(moods[2]) * (1 + plan.latency) ** day,
                failure_rate=min(
                    0.9, habits.failure_rate * math.exp(3 * moods[1]) + plan.success * day
                ),
            )  # fmt: skip


def drawn_hour(
    dice: random.Random,
    blank: Rollup,
    *,
    cycles: int,
    tokens: float,
    rss: float,
    latency_ms: float,
    failure_rate: float,
) -> Rollup:
    """Draw one hour from what is expected of it."""
    failures = sum(dice.random() < failure_rate for _ in range(cycles))
    counts = [0] * LATENCY_BUCKETS
    for _ in range(cycles):
        took_ms = latency_ms * math.exp(dice.gauss(0, 0.6))
        counts[sum(bound < took_ms for bound in LATENCY_BOUNDS_MS)] += 1
    return replace(
        blank,
        heartbeats=cycles,
        cycles=cycles,
        tokens=round(cycles * tokens),
        cost_micros=round(cycles * tokens * 3),
        successes=cycles - failures,
        failures=failures,
        latency_counts=tuple(counts) if cycles else (),
        rss_min_bytes=round(rss),
        rss_max_bytes=round(rss * 1.2),
    )


def drawn_restarts(dice: random.Random, habits: Habits, plan: Plan) -> list[Restart]:
    """Draw restarts at random times, and those that are planted."""
    found = []
    for day in range(DAYS):
        for _ in range(_poisson(dice, habits.restarts)):
            at_ms = BEGINS_MS + day * DAY_MS + dice.randrange(DAY_MS)
            found += [Restart(at_ms, "CRASHED")] * dice.choice((1, 1, 2))
    if plan.restart_hour is not None:
        for day in dice.sample(range(DAYS - 7, DAYS), plan.restart_days):
            hour = plan.restart_hour + dice.uniform(-0.2, 0.2)
            found.append(Restart(round(BEGINS_MS + day * DAY_MS + hour * HOUR_MS), "OOM_KILLED"))
    return sorted(found, key=lambda each: each.at_ms)


def _poisson(dice: random.Random, expected: float) -> int:
    if expected > 30:
        return max(0, round(dice.gauss(expected, math.sqrt(expected))))
    count, left = 0, math.exp(-expected)
    product = dice.random()
    while product > left:
        count, product = count + 1, product * dice.random()
    return count


def found_in(seed: str, plan: Plan) -> list[Finding]:
    """Draw one agent's fortnight and return what is found in it."""
    dice = random.Random(seed)
    habits = drawn_habits(dice)
    hours = list(drawn_hours(dice, "agent", habits, plan))
    found = list(drifts("agent", hours, ENDS_MS, UTC))
    recurring = same_time("agent", drawn_restarts(dice, habits, plan), ENDS_MS, UTC)
    return found + ([recurring] if recurring else [])


AGENTS: Final = 5
PLANTED_AGENTS: Final = 100
_AT_3: Final = Plan(restart_hour=3, restart_days=3)
_AT_3_DAILY: Final = Plan(restart_hour=3, restart_days=7)
PLANTED: Final = {
    "tokens +1 % a day": ("tokens_drift", Plan(tokens=0.01)),
    "tokens +2 % a day": ("tokens_drift", Plan(tokens=0.02)),
    "tokens +3 % a day": ("tokens_drift", Plan(tokens=0.03)),
    "tokens +5 % a day": ("tokens_drift", Plan(tokens=0.05)),
    "memory +3 % a day": ("memory_drift", Plan(memory=0.03)),
    "latency +5 % a day": ("latency_rise", Plan(latency=0.05)),
    "success -0.5 points a day": ("success_fall", Plan(success=0.005)),
    "success -1 point a day": ("success_fall", Plan(success=0.01)),
    "restarts at 03:00 on 3 of 7 days": ("restarts_same_time", _AT_3),
    "restarts at 03:00 on 4 of 7 days": ("restarts_same_time", Plan(restart_hour=3)),
    "restarts at 03:00 on 7 of 7 days": ("restarts_same_time", _AT_3_DAILY),
}  # fmt: skip


def main(fortnights: int) -> None:
    """Print false findings and detections."""
    kinds: Counter[str] = Counter()
    touched = 0
    for number in range(fortnights):
        found = [
            each for agent in range(AGENTS) for each in found_in(f"clean {number} {agent}", Plan())
        ]
        kinds.update(each.kind for each in found)
        touched += bool(found)
    print(f"clean: {touched} of {fortnights} fortnights of {AGENTS} agents show something")
    for kind, count in kinds.most_common():
        print(f"  {kind}: {count}")
    for name, (kind, plan) in PLANTED.items():
        named = sum(
            any(each.kind == kind for each in found_in(f"planted {number}", plan))
            for number in range(PLANTED_AGENTS)
        )
        print(f"{name}: named in {named} of {PLANTED_AGENTS}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else FORTNIGHTS)
