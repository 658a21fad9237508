"""What an agent tells about its work, folded into figures of bounded size."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Final

from agentd.core.lines import Heartbeat, Line, Status
from agentd.core.records import Durable

LATENCIES_KEPT: Final = 256


@dataclass(slots=True)
class Telemetry:
    """The latest of each thing said, and short histories for means and rates."""

    status: Status | None = None
    task: str | None = None
    step: str | None = None
    tool: str | None = None
    goal: str | None = None
    progress: float | None = None
    model: str | None = None
    sdk: str | None = None
    stack_signal: int = 0
    """The signal that has it write its stacks into its log, by its own word; 0: there is none."""
    drop_told_at_ms: int | None = None
    dropped: int = 0
    """Lines that never reached the core: over the rate, or dropped by the SDK."""
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    _p95_ms: float | None = None
    """As it was when somebody looked last; looks are more than latencies."""
    _is_p95_old: bool = False

    def fold(self, beat: Heartbeat, durable: Durable) -> None:
        """Take one heartbeat into account; what it spent is the ledger's matter."""
        durable.heartbeats += 1
        if beat.status is not None:
            self.status = beat.status
        if beat.task is not None:
            self.task = beat.task
        if beat.step is not None:
            self.step = beat.step
        if beat.tool is not None:
            self.tool = beat.tool
        if beat.goal is not None:
            self.goal = beat.goal
        if beat.progress is not None:
            self.progress = beat.progress
        if beat.model is not None:
            self.model = beat.model
        if beat.dropped:
            self.dropped += beat.dropped
        durable.successes += beat.successes
        durable.failures_told += beat.failures
        if beat.latencies_ms:
            self.latencies_ms.extend(beat.latencies_ms)
            self._is_p95_old = True

    def note_dropped(self, count: int, lines: Sequence[Line]) -> None:
        """Lines that came and were not heard: they count, and so do those that they tell of."""
        self.dropped += count + sum(line.dropped for line in lines if isinstance(line, Heartbeat))

    def forget_work(self) -> None:
        """A new incarnation has no task, step, status, or signal for stacks until it says so."""
        self.status = self.task = self.step = self.tool = self.progress = None
        self.stack_signal = 0

    def latency_mean_ms(self) -> float | None:
        kept = self.latencies_ms
        return sum(kept) / len(kept) if kept else None

    def latency_p95_ms(self) -> float | None:
        """Nearest-rank 95th percentile of the latencies kept."""
        if self._is_p95_old:
            ranked = sorted(self.latencies_ms)
            self._p95_ms, self._is_p95_old = ranked[ceil(0.95 * len(ranked)) - 1], False
        return self._p95_ms
