"""What an agent tells about its work, folded into figures of bounded size."""

from collections import deque
from dataclasses import dataclass, field
from math import ceil
from statistics import median
from typing import Final

from agentd.core.lines import Call, Heartbeat, Status
from agentd.core.records import Durable

LATENCIES_KEPT: Final = 256
CYCLES_KEPT: Final = 50
CYCLES_FOR_BASELINE: Final = 10
RATE_MINUTES: Final = 3
_MINUTE_MS: Final = 60_000


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
    cycle_tokens: int | None = None
    called_tokens: int = 0
    """What the calls of the running cycle add up to."""
    called_micros: int = 0
    drop_told_at_ms: int | None = None
    dropped: int = 0
    """Lines that never reached the core: over the rate, or dropped by the SDK."""
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    cycles: deque[int] = field(default_factory=lambda: deque(maxlen=CYCLES_KEPT))
    minutes: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=RATE_MINUTES + 1))
    """(minute, tokens of that minute)."""

    def fold(self, beat: Heartbeat, durable: Durable, now_ms: int) -> None:
        """Take one heartbeat into account."""
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
        self._close_cycle(beat, durable, now_ms)
        durable.successes += beat.successes
        durable.failures_told += beat.failures
        if beat.latencies_ms:
            self.latencies_ms.extend(beat.latencies_ms)

    def _close_cycle(self, beat: Heartbeat, durable: Durable, now_ms: int) -> None:
        """A cycle costs the larger of what its calls add up to and what its heartbeat says."""
        tokens = beat.tokens
        if tokens is None and beat.usage is not None:
            tokens = beat.usage.total_tokens
        if tokens is not None or self.called_tokens:
            cycle = max(tokens or 0, self.called_tokens)
            self.spend(cycle - self.called_tokens, durable, now_ms)
            self.cycle_tokens = cycle
            self.cycles.append(cycle)
            self.called_tokens = 0
        if beat.cost_micros is not None:
            durable.cost_micros += max(0, beat.cost_micros - self.called_micros)
            durable.cost_known = True
        self.called_micros = 0

    def fold_call(self, call: Call, durable: Durable, now_ms: int) -> None:
        """A call's usage counts at once, not only when the cycle ends."""
        if call.usage is not None:
            self.called_tokens += call.usage.total_tokens
            self.spend(call.usage.total_tokens, durable, now_ms)
        if call.cost_micros is not None:
            self.called_micros += call.cost_micros
            durable.cost_micros += call.cost_micros
            durable.cost_known = True
        if call.model is not None:
            self.model = call.model

    def spend(self, tokens: int, durable: Durable, now_ms: int) -> None:
        """Count tokens, whoever told of them."""
        durable.tokens += tokens
        minute = now_ms // _MINUTE_MS
        if self.minutes and self.minutes[-1][0] == minute:
            self.minutes[-1] = (minute, self.minutes[-1][1] + tokens)
        else:
            self.minutes.append((minute, tokens))

    def forget_work(self) -> None:
        """A new incarnation has no task, step or status until it says so."""
        self.status = self.task = self.step = self.tool = self.progress = None

    def tokens_per_minute(self, now_ms: int) -> float | None:
        """Mean of the last `RATE_MINUTES` minutes, the running one included; None: none told."""
        if not self.minutes:
            return None
        minute = now_ms // _MINUTE_MS
        recent = sum(tokens for at, tokens in self.minutes if at > minute - RATE_MINUTES)
        return recent / RATE_MINUTES

    def baseline_tokens(self) -> float | None:
        """Median of the last cycles that told their tokens; None before there are enough."""
        return float(median(self.cycles)) if len(self.cycles) >= CYCLES_FOR_BASELINE else None

    def latency_mean_ms(self) -> float | None:
        kept = self.latencies_ms
        return sum(kept) / len(kept) if kept else None

    def latency_p95_ms(self) -> float | None:
        """Nearest-rank 95th percentile of the latencies kept."""
        ranked = sorted(self.latencies_ms)
        return ranked[ceil(0.95 * len(ranked)) - 1] if ranked else None
