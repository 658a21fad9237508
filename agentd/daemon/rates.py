"""Token buckets: how many lines an agent, or commands an operator, may send just now."""

from dataclasses import dataclass
from typing import Final

UNLIMITED: Final = 1 << 60


@dataclass(slots=True)
class Bucket:
    """Refills with `rate` a second up to `burst`; rate 0 never limits.

    What may wait instead of being dropped takes in advance: the level goes below zero, and
    the taker waits until it would have been full enough.
    """

    rate: float
    burst: float
    _level: float = 0.0
    _at_ms: int | None = None

    def allowed(self, now_ms: int) -> int:
        """Return how many may pass now."""
        if not self.rate:
            return UNLIMITED
        if self._at_ms is None:
            self._level = self.burst
        else:
            gained = (now_ms - self._at_ms) * self.rate / 1000
            self._level = min(self.burst, self._level + gained)
        self._at_ms = now_ms
        return max(0, int(self._level))

    def take(self, count: int = 1) -> None:
        """Let `count` pass; call `allowed` first."""
        if self.rate:
            self._level -= count

    def take_in_advance(self) -> int:
        """Let one pass later; return in how many milliseconds."""
        self.take()
        return max(1, round(-self._level * 1000 / self.rate)) if self.rate else 0
