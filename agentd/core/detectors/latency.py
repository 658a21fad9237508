"""Latency at many times the agent's own normal, several times in a row.

Normal is the median of the last latencies, slow ones left out, so that an outage does not
raise its own bar. One slow answer means nothing: the gaps between replies of models in 19,663
healthy steps have p50 4 s, p99 43 s and p99.9 89 s, so that one in a hundred is ten times the
median. Five in a row are something else. A slowness that lasts becomes the new normal.
"""

from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from agentd.core.detectors.finding import Finding

EVENT: Final = "latency.warning"
KEPT: Final = 50
# Before that, a normal is a guess.
NEEDED: Final = 20
FACTOR: Final = 10.0
IN_A_ROW: Final = 5
# Below that nobody waits: a cache that is cold for once is hundreds of times as slow.
SLOW_MS_MIN: Final = 1_000.0


@dataclass(slots=True)
class LatencyDetector:
    """Of one kind of work of one agent."""

    kind: str
    normal: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    """The last latencies that were not slow, in their order."""
    slow: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    """The slow ones since the last that was not."""
    told: bool = False

    def observe(self, latency_ms: float) -> Finding | None:
        """Take one latency into account; a finding once per row of slow ones."""
        if len(self.normal) < NEEDED or not self._is_slow(latency_ms):
            self.normal.append(latency_ms)
            if self.slow:
                self.slow.clear()
            self.told = False
            return None
        self.slow.append(latency_ms)
        if len(self.slow) == KEPT:
            self._adopt()
            return None
        if self.told or len(self.slow) < IN_A_ROW:
            return None
        self.told = True
        return self._finding()

    def median_ms(self) -> float:
        """What it usually takes. Ranked only where that is asked: most answers are quick."""
        return median(self.normal)

    def _is_slow(self, latency_ms: float) -> bool:
        return latency_ms >= SLOW_MS_MIN and latency_ms > FACTOR * self.median_ms()

    def _adopt(self) -> None:
        """So many slow ones in a row are what it takes nowadays."""
        self.normal.clear()
        self.normal.extend(self.slow)
        self.slow.clear()
        self.told = False

    def _finding(self) -> Finding:
        usual_ms, least_ms = self.median_ms(), min(self.slow)
        times = f"{least_ms / usual_ms:.0f} times" if usual_ms else "far above"
        return Finding(
            EVENT,
            f"{self.kind}: the last {len(self.slow)} took at least {least_ms:.0f} ms, "
            f"{times} the usual {usual_ms:.0f} ms",
            {
                "kind": self.kind,
                "latency_ms": least_ms,
                "usual_ms": usual_ms,
                "in_a_row": len(self.slow),
            },
        )
