"""The only place that reads clocks: integer milliseconds, one function a clock.

BOOTTIME counts suspends and is what deadlines are made of; MONOTONIC stands still in a
suspend and is what the loop's own lateness is measured with; the wall is for people.
"""

import time
from dataclasses import dataclass, field
from typing import Final

_NS_PER_MS: Final = 1_000_000

# So far a clock may drift, as one that is disciplined does all the time, before it was set.
DRIFT_MS_MAX: Final = 50

# The two clocks are read one after the other: a difference this small is rounding.
SUSPEND_MS_MIN: Final = 100


def boottime_ms() -> int:
    """CLOCK_BOOTTIME: the core's `now_ms`; goes on while the host is suspended."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // _NS_PER_MS


def monotonic_ms() -> int:
    """CLOCK_MONOTONIC: asyncio's clock; stands still while the host is suspended."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // _NS_PER_MS


def wall_ms() -> int:
    """CLOCK_REALTIME since 1970, which may jump; never compared, only shown and stored."""
    return time.time_ns() // _NS_PER_MS


@dataclass(slots=True)
class Calendar:
    """Says what time it is on both clocks at once, BOOTTIME and wall.

    Their distance is kept as it was first seen until it has really changed (somebody set the
    clock), so that a moment of the past is shown with the same wall time whenever asked for.
    """

    _distance_ms: int | None = None

    def now(self) -> tuple[int, int]:
        """Return milliseconds of BOOTTIME, and since 1970."""
        now_ms = boottime_ms()
        distance_ms = wall_ms() - now_ms
        if self._distance_ms is None or abs(distance_ms - self._distance_ms) > DRIFT_MS_MAX:
            self._distance_ms = distance_ms
        return now_ms, now_ms + self._distance_ms


def _suspended_total_ms() -> int:
    return boottime_ms() - monotonic_ms()


@dataclass(slots=True)
class SuspendMeter:
    """Tells how long the host slept, from the drift of BOOTTIME against MONOTONIC."""

    _total_ms: int = field(default_factory=_suspended_total_ms)

    def slept_ms(self) -> int:
        """Milliseconds of suspend since the last call; 0 for none."""
        slept_ms = _suspended_total_ms() - self._total_ms
        if slept_ms < SUSPEND_MS_MIN:
            return 0
        self._total_ms += slept_ms
        return slept_ms
