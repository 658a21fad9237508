"""Memory leak: a floor that rises, will not come back, and reaches the limit if it goes on.

What is judged are floors (the lowest sample of a bucket), because a garbage-collected heap
is a sawtooth whose mean says nothing. Each window of floors must show all of this:

- the latest floor is a record: day and night, sessions and trims fall short of one;
- no single step makes most of the rise: a model that is loaded is a step, not a trend;
- Mann-Kendall finds a trend, and even a cautious slope (a low quantile of Theil-Sen's)
  reaches the limit within a time that the window's length makes credible;
- enough of the limit is used: a cache that fills in a straight line cannot be told from a
  leak before it levels off, so 40 % are worth a quiet entry and 60 % a page.

All lengths of time are multiples of a unit, a sixtieth of `settle` (30 s by default) or the
time between samples where that is longer; with another `settle` everything scales along.

Every figure below was found with `bench/score_leaks.py` and the harness that its README names;
the README has the scores by set of seeds, and which sets were seen while choosing.
"""

from array import array
from dataclasses import dataclass
from typing import Final

from agentd.config.units import SIZE_BYTES_MAX, format_duration
from agentd.core.detectors.finding import Finding
from agentd.core.detectors.trend import Trend, trend_of

SUSPECT: Final = "memory.suspect"
LEAK: Final = "memory.leak"

UNITS_PER_SETTLE: Final = 60
GAPS_LEARNED: Final = 5
"""So many distances between samples are looked at before the unit is fixed."""
USED_SUSPECT: Final = 0.40
USED_LEAK: Final = 0.60
RECORD_SHARE: Final = 0.97
"""A latest floor of at least this share of the highest is a record."""
STEP_SHARE_MAX: Final = 0.45
"""The largest step may make this share of the rise."""
SLOPE_QUANTILE: Final = 0.25
Z_MIN: Final = 2.33
"""99 % confidence, one-sided."""
HOLE_BUCKETS_MAX: Final = 3
"""A hole in the samples longer than that empties a window: what happened in it is unknown."""
PEAK_UNITS: Final = 2_880
"""Records are kept one to two days (of default units): older ones are another life."""
RELEASED_SHARE: Final = 0.85
"""Memory that falls below this share of an alarm's floor ended it; the next one is news."""
SUSPECT_REACH: Final = 0.85
"""A suspect must be this much nearer its limit: less than that is said of many a cache."""


@dataclass(frozen=True, slots=True)
class Window:
    """One length of time over which a trend is looked for."""

    bucket_units: int
    buckets_min: int
    buckets_max: int
    reach: float
    """A forecast is believed up to this many lengths of the window."""
    used_suspect: float = USED_SUSPECT
    used_leak: float = USED_LEAK
    history_units: int = 0
    """How much must have been seen before the window may judge."""
    above_past: float = 0.0
    """The latest floor must be this many times whatever was seen before the window."""
    unlimited: bool = False
    """Whether it may judge an agent that has no limit."""


# From 4 minutes to 12 hours, in default units. The first is for the sudden leak that takes
# the whole limit in a quarter of an hour: at 60 % used it would be too late to page, so it
# pages from 35 % on, if the limit is less than 13 minutes away and the level is unlike
# anything of the past hour. The next two must stand above all that lies before them, or the
# tooth of a slow sawtooth would be a leak. The two longest judge when half full: chunks come
# at random.
WINDOWS: Final = (
    Window(1, 8, 8, 26 / 8, 0.35, 0.35, history_units=120, above_past=1.1),
    Window(2, 30, 30, 4.0, above_past=1.02),
    Window(8, 30, 30, 4.0, above_past=1.02),
    Window(20, 18, 36, 2.0, unlimited=True),
    Window(40, 18, 36, 1.4, unlimited=True),
)


@dataclass(slots=True)
class Peak:
    """The highest floor of the last one to two `PEAK_UNITS`, in two numbers."""

    epoch: int = 0
    now: int = 0
    before: int = 0

    def add(self, unit: int, floor: int) -> None:
        epoch = unit // PEAK_UNITS
        if epoch != self.epoch:
            self.before = self.now if epoch == self.epoch + 1 else 0
            self.epoch, self.now = epoch, 0
        self.now = max(self.now, floor)

    @property
    def highest(self) -> int:
        return max(self.now, self.before)


class Floors:
    """The floors of one window, newest last, and the one that is still open."""

    __slots__ = ("_floor", "_open", "past", "peak", "window", "xs", "ys")

    def __init__(self, window: Window) -> None:
        self.window = window
        self.xs = array("q")
        self.ys = array("q")
        self.peak = Peak()
        self.past = Peak()
        """Of the floors that have left the window."""
        self._open: int | None = None
        self._floor = 0

    def fold(self, unit: int, floor: int) -> bool:
        """Take the floor of one unit; True when that closed a bucket."""
        bucket = unit // self.window.bucket_units
        if bucket == self._open:
            self._floor = min(self._floor, floor)
            return False
        closed = self._open is not None
        if self._open is not None:
            self._close(self._open)
        self._open, self._floor = bucket, floor
        return closed

    def _close(self, bucket: int) -> None:
        unit = bucket * self.window.bucket_units
        if self.xs and bucket - self.xs[-1] > HOLE_BUCKETS_MAX:
            for floor in self.ys:
                self.past.add(unit, floor)
            del self.xs[:], self.ys[:]
        self.xs.append(bucket)
        self.ys.append(self._floor)
        self.peak.add(unit, self._floor)
        if len(self.xs) > self.window.buckets_max:
            self.past.add(unit, self.ys[0])
            del self.xs[0], self.ys[0]

    def could_leak(self) -> bool:
        """Judge by what is cheap to know, which nearly always says no."""
        if len(self.ys) < self.window.buckets_min:
            return False
        latest = self.ys[-1]
        if latest < RECORD_SHARE * self.peak.highest:
            return False
        if latest < self.window.above_past * self.past.highest:
            return False
        rise = latest - min(self.ys)
        steps = (after - before for before, after in zip(self.ys, self.ys[1:], strict=False))
        return rise > 0 and max(steps) <= STEP_SHARE_MAX * rise


class LeakDetector:
    """One series of samples, from one start of an agent to its end.

    Costs some 7 KB an agent, half a microsecond a sample, and at most a few tenths of a
    millisecond once a unit while memory is growing; a new incarnation needs a new one.
    """

    __slots__ = (
        "_alarm_floor",
        "_begin_ms",
        "_floor",
        "_gaps_ms",
        "_last_ms",
        "_limit_at_ms",
        "_limit_bytes",
        "_said",
        "_seen_units",
        "_settle_ms",
        "_unit",
        "_unit_ms",
        "_windows",
    )

    def __init__(self, limit_bytes: int, settle_ms: int, started_at_ms: int) -> None:
        """`limit_bytes` 0: no limit, so nothing to forecast, and suspects only."""
        self._limit_bytes = limit_bytes
        self._settle_ms = settle_ms
        self._begin_ms = started_at_ms + settle_ms
        self._unit_ms = 0  # not known yet
        self._gaps_ms: list[int] = []
        self._last_ms: int | None = None
        self._unit: int | None = None
        self._floor = 0
        self._seen_units = 0
        self._windows = [Floors(window) for window in WINDOWS]
        self._limit_at_ms: list[int | None] = [None] * len(WINDOWS)
        self._said: set[str] = set()
        self._alarm_floor = 0

    @property
    def forecast_ms(self) -> int | None:
        """From the last sample to the limit, while a window still sees the trend."""
        known = [at_ms for at_ms in self._limit_at_ms if at_ms is not None]
        if not known or self._last_ms is None:
            return None
        return max(0, min(known) - self._last_ms)

    def observe(self, rss_bytes: float, now_ms: int) -> Finding | None:
        """Take one sample of the whole tree; what is no size of any memory is dropped.

        A finding comes once per rise: suspect, then leak; both again after a release.
        """
        if not 0 < rss_bytes <= SIZE_BYTES_MAX:
            return None
        if not self._unit_ms:
            self._learn(now_ms)
        self._last_ms = now_ms
        if not self._unit_ms or now_ms < self._begin_ms:
            return None
        floor, unit = int(rss_bytes), (now_ms - self._begin_ms) // self._unit_ms
        if unit == self._unit:
            self._floor = min(self._floor, floor)
            return None
        closed, self._unit = self._unit, unit
        closed_floor, self._floor = self._floor, floor
        return None if closed is None else self._close(closed, closed_floor, now_ms)

    def _learn(self, now_ms: int) -> None:
        """Fix the unit: the middle of the first gaps, where that is longer than its default."""
        if self._last_ms is not None:
            self._gaps_ms.append(now_ms - self._last_ms)
        if len(self._gaps_ms) == GAPS_LEARNED:
            usual_ms = sorted(self._gaps_ms)[GAPS_LEARNED // 2]
            self._unit_ms = max(self._settle_ms // UNITS_PER_SETTLE, usual_ms, 1)

    def _close(self, unit: int, floor: int, now_ms: int) -> Finding | None:
        self._seen_units += 1
        if self._said and floor < RELEASED_SHARE * self._alarm_floor:
            self._said.clear()
        news: Finding | None = None
        for number, floors in enumerate(self._windows):
            finding = self._judge(number, now_ms) if floors.fold(unit, floor) else None
            if finding is not None and (news is None or finding.event == LEAK):
                news = finding
        if news is None or news.event in self._said or LEAK in self._said:
            return None
        self._said.add(news.event)
        self._alarm_floor = floor
        return news

    def _judge(self, number: int, now_ms: int) -> Finding | None:
        """All rules over one window whose bucket has just been closed."""
        self._limit_at_ms[number] = None
        floors = self._windows[number]
        window, limit_bytes = floors.window, self._limit_bytes
        if self._seen_units < window.history_units or not (limit_bytes or window.unlimited):
            return None
        latest = floors.ys[-1]
        used = latest / limit_bytes if limit_bytes else None
        if (used is not None and used < window.used_suspect) or not floors.could_leak():
            return None
        trend = trend_of(floors.xs, floors.ys, SLOPE_QUANTILE)
        if trend.z < Z_MIN or trend.slope_low <= 0:
            return None
        # Without a limit, doubling stands for it: who doubles in hours will not stop at two.
        room = limit_bytes - latest if limit_bytes else latest
        away_buckets = max(0.0, room / trend.slope_low)
        suspect_only = used is None or used < window.used_leak
        reach = window.reach * (SUSPECT_REACH if suspect_only else 1.0)
        if away_buckets > reach * len(floors.xs):
            return None
        bucket_ms = window.bucket_units * self._unit_ms
        rise = Rise(latest, trend, bucket_ms, len(floors.xs))
        if used is None:
            return rise.without_limit()
        forecast_ms = int(away_buckets * bucket_ms)
        self._limit_at_ms[number] = now_ms + forecast_ms
        return rise.towards(limit_bytes, forecast_ms, SUSPECT if suspect_only else LEAK)


@dataclass(frozen=True, slots=True)
class Rise:
    """A trend that passed every rule, on its way into words."""

    latest_bytes: int
    trend: Trend
    bucket_ms: int
    buckets: int

    def towards(self, limit_bytes: int, forecast_ms: int, event: str) -> Finding:
        used = self.latest_bytes / limit_bytes
        message = (
            f"memory grows by {self._an_hour()} and does not come back: the limit of "
            f"{_mebibytes(limit_bytes)} is reached in about {_about(forecast_ms)}, "
            f"{used:.0%} are used"
        )
        data = self._figures() | {
            "limit_bytes": limit_bytes,
            "used": round(used, 3),
            "forecast_s": forecast_ms / 1_000,
        }
        return Finding(event, message, data, forecast_ms=forecast_ms)

    def without_limit(self) -> Finding:
        message = (
            f"memory grows by {self._an_hour()} and does not come back; "
            f"{_mebibytes(self.latest_bytes)} are used and no limit is set"
        )
        return Finding(SUSPECT, message, self._figures())

    def _an_hour(self) -> str:
        return f"{_mebibytes(self.trend.slope_low * 3_600_000 / self.bucket_ms)}/h"

    def _figures(self) -> dict[str, object]:
        return {
            "floor_bytes": self.latest_bytes,
            "growth_bytes_per_hour": round(self.trend.slope_low * 3_600_000 / self.bucket_ms),
            "window_s": self.buckets * self.bucket_ms / 1_000,
            "z": round(self.trend.z, 2),
        }


def _mebibytes(size_bytes: float) -> str:
    mebibytes = size_bytes / (1 << 20)
    return f"{mebibytes:.0f} MiB" if mebibytes >= 10 else f"{mebibytes:.1f} MiB"  # noqa: PLR2004 - two digits


def _about(duration_ms: int) -> str:
    """Two leading units are all that a forecast is worth."""
    for step_ms in (3_600_000, 60_000, 1_000):
        if duration_ms >= 10 * step_ms:
            return format_duration(duration_ms // step_ms * step_ms)
    return format_duration(duration_ms // 100 * 100)
