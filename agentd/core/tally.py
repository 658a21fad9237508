"""What happened to one agent since the last minute ended, beside the totals of `Durable`.

Latencies are counted in buckets, so that counts of minutes add up to those of hours and days;
a quantile is read from the counts with the width of a bucket as its error.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import zip_longest
from math import ceil
from typing import Final

# Upper ends of the buckets, a 1-2-5 row from a millisecond to an hour: a quantile is off by
# less than a factor of 2.5. One more bucket holds whatever took longer than the last of them.
LATENCY_BOUNDS_MS: Final = (
    *(1, 2, 5, 10, 20, 50, 100, 200, 500),
    *(1_000, 2_000, 5_000, 10_000, 20_000, 50_000),
    *(100_000, 200_000, 500_000, 1_000_000, 2_000_000, 3_600_000),
)
LATENCY_BUCKETS: Final = len(LATENCY_BOUNDS_MS) + 1

# So many latencies are kept as they were told before they are counted.
LATENCIES_MAX: Final = 256


class Standing(StrEnum):
    """How an agent stood for a while: whether it was wanted up, and was."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"
    """Up, and nobody could say how it was."""
    DOWN = "down"
    """Down although it was wanted up."""
    REST = "rest"
    """Nobody wanted it up."""


@dataclass(slots=True)
class Tally:
    """Latencies, memory and time by standing, since the last minute ended."""

    latencies_ms: list[float] = field(default_factory=list)
    """Told, and not in a bucket yet."""
    counts: list[int] = field(default_factory=list)
    """Of those before, by bucket; empty: none were told."""
    counts_before: list[int] = field(default_factory=lambda: [0] * LATENCY_BUCKETS)
    """Of the minutes that have ended since this daemon started, by bucket."""
    latency_sum_ms: float = 0.0
    """Of all that were told since this daemon started."""
    rss_min_bytes: int | None = None
    rss_max_bytes: int | None = None
    standing: Standing = Standing.REST
    since_ms: int | None = None
    """Up to when its time has been counted; None: nobody has looked yet."""
    stood_ms: dict[Standing, int] = field(default_factory=dict)

    def note_latencies(self, latencies_ms: Iterable[float]) -> None:
        """Take in how long tasks took; many are put into buckets faster than one by one."""
        told = list(latencies_ms)
        self.latencies_ms += told
        self.latency_sum_ms += sum(told)
        if len(self.latencies_ms) >= LATENCIES_MAX:
            self._count_latencies()

    def latency_counts(self) -> tuple[int, ...]:
        """Return how many took how long, by bucket; empty: none were told."""
        if self.latencies_ms:
            self._count_latencies()
        return tuple(self.counts)

    def latency_counts_in_all(self) -> list[int]:
        """Return how many took how long, by bucket, since this daemon started."""
        pairs = zip_longest(self.counts_before, self.latency_counts(), fillvalue=0)
        return [before + now for before, now in pairs]

    def _count_latencies(self) -> None:
        ranked = sorted(self.latencies_ms)
        self.latencies_ms.clear()
        if not self.counts:
            self.counts = [0] * LATENCY_BUCKETS
        before = 0
        for bucket, bound_ms in enumerate(LATENCY_BOUNDS_MS):
            upto = bisect_right(ranked, bound_ms, before)
            self.counts[bucket] += upto - before
            before = upto
        self.counts[-1] += len(ranked) - before

    def note_rss(self, rss_bytes: int) -> None:
        """Take in one sample of its tree's memory."""
        if self.rss_min_bytes is None or self.rss_max_bytes is None:
            self.rss_min_bytes = self.rss_max_bytes = rss_bytes
        elif rss_bytes < self.rss_min_bytes:
            self.rss_min_bytes = rss_bytes
        elif rss_bytes > self.rss_max_bytes:
            self.rss_max_bytes = rss_bytes

    def stand(self, standing: Standing, now_ms: int) -> None:
        """It stands like that from now on; up to now, as was said before."""
        if self.since_ms is None:
            self.since_ms = now_ms
        elif standing is not self.standing:
            self.settle(now_ms)
        self.standing = standing

    def settle(self, now_ms: int) -> None:
        """Count the time up to now."""
        if self.since_ms is not None and now_ms > self.since_ms:
            past_ms = now_ms - self.since_ms
            self.stood_ms[self.standing] = self.stood_ms.get(self.standing, 0) + past_ms
            self.since_ms = now_ms

    def skip(self, gap_ms: int, now_ms: int) -> None:
        """Leave out time in which nobody looked: agentd itself, or the host, stood still."""
        if self.since_ms is not None:
            self.since_ms = min(now_ms, self.since_ms + gap_ms)

    def begin(self) -> None:
        """Begin the next minute."""
        self.counts_before = self.latency_counts_in_all()
        self.latencies_ms, self.counts = [], []
        self.rss_min_bytes = self.rss_max_bytes = None
        self.stood_ms = {}


def quantile_ms(counts: Sequence[int], share: float) -> float | None:
    """Return the latency that `share` (0..1) of those counted did not exceed, in milliseconds.

    Within a bucket they are taken to lie evenly; what took longer than an hour is told as an
    hour. None: nothing was counted.
    """
    total = sum(counts)
    if not total:
        return None
    rank = min(max(ceil(share * total), 1), total)
    before = 0
    for bucket, count in enumerate(counts):
        if before + count >= rank:
            if bucket >= len(LATENCY_BOUNDS_MS):
                break
            low = LATENCY_BOUNDS_MS[bucket - 1] if bucket else 0
            return low + (LATENCY_BOUNDS_MS[bucket] - low) * (rank - before) / count
        before += count
    return float(LATENCY_BOUNDS_MS[-1])
