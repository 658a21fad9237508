"""How often a shared dependency may be tried again: a share of the first attempts, and a floor.

Many callers that each retry a little are a storm together. A retry is allowed while the last
minute saw fewer than the floor, or the window fewer than its share of the first attempts.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from agentd.config.schema import BreakerConfig

FLOOR_WINDOW_MS: Final = 60_000
# A window is counted in so many parts: what is counted is forgotten at most a sixtieth early.
PARTS: Final = 60


@dataclass(slots=True)
class WindowCount:
    """How often something happened within the last `window_ms`, in bounded memory."""

    window_ms: int
    _parts: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=PARTS + 1))
    """(start of the part, how often), the oldest first."""
    _total: int = 0

    def add(self, now_ms: int) -> None:
        """Count one that happens now."""
        self.total(now_ms)
        part_ms = max(1, self.window_ms // PARTS)
        start_ms = now_ms // part_ms * part_ms
        if self._parts and self._parts[-1][0] == start_ms:
            self._parts[-1] = (start_ms, self._parts[-1][1] + 1)
        else:
            self._parts.append((start_ms, 1))
        self._total += 1

    def total(self, now_ms: int) -> int:
        """How many of them are not older than the window."""
        while self._parts and now_ms - self._parts[0][0] >= self.window_ms:
            self._total -= self._parts.popleft()[1]
        return self._total

    def peek(self, now_ms: int) -> int:
        """The same, and nothing is forgotten by it."""
        return sum(count for at_ms, count in self._parts if now_ms - at_ms < self.window_ms)

    def below_in_ms(self, bound: float, now_ms: int) -> int | None:
        """How long until fewer than `bound` are left if none is added; None: never."""
        left = self.total(now_ms)
        if left < bound:
            return 0
        for start_ms, count in self._parts:
            left -= count
            if left < bound:
                return start_ms + self.window_ms - now_ms
        return None


@dataclass(slots=True)
class RetryBudget:
    """First attempts and retries of one dependency, all callers together."""

    window_ms: int
    firsts: WindowCount = field(init=False)
    retries: WindowCount = field(init=False)
    retries_minute: WindowCount = field(init=False)

    def __post_init__(self) -> None:
        self.firsts = WindowCount(self.window_ms)
        self.retries = WindowCount(self.window_ms)
        self.retries_minute = WindowCount(FLOOR_WINDOW_MS)

    def count(self, attempt: int, now_ms: int) -> None:
        """Count one attempt; any but the first is a retry."""
        if attempt <= 1:
            self.firsts.add(now_ms)
        else:
            self.retries.add(now_ms)
            self.retries_minute.add(now_ms)

    def wait_ms(self, config: BreakerConfig, now_ms: int) -> int | None:
        """How long until a retry is allowed; 0: now; None: not before more first attempts."""
        share = config.retry_ratio * self.firsts.total(now_ms)
        waits = (
            self.retries.below_in_ms(share, now_ms),
            self.retries_minute.below_in_ms(config.retry_floor_per_minute, now_ms),
        )
        return min((wait_ms for wait_ms in waits if wait_ms is not None), default=None)
