"""What agents spent and did, added up over spans of time."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from operator import attrgetter
from typing import Final

from agentd.core.records import Rollup

MICROS_PER_USD: Final = 1_000_000
_BEGINS: Final = attrgetter("begins_ms")


@dataclass(slots=True)
class Figures:
    """Sums over some rollups of one agent."""

    cycles: int = 0
    tokens: int = 0
    cost_micros: int = 0
    unpriced: int = 0
    successes: int = 0
    failures: int = 0
    latency_counts: list[int] = field(default_factory=list)

    def add(self, rollup: Rollup) -> None:
        self.cycles += rollup.cycles
        self.tokens += rollup.tokens
        self.cost_micros += rollup.cost_micros
        self.unpriced += rollup.unpriced
        self.successes += rollup.successes
        self.failures += rollup.failures
        if rollup.latency_counts:
            pairs = zip_longest(self.latency_counts, rollup.latency_counts, fillvalue=0)
            self.latency_counts = [one + other for one, other in pairs]

    @property
    def cost_usd(self) -> float | None:
        """Dollars; None: it spent, and nobody knows what that cost."""
        if not self.cost_micros and self.unpriced:
            return None
        return self.cost_micros / MICROS_PER_USD

    @property
    def tokens_per_cycle(self) -> float | None:
        return self.tokens / self.cycles if self.cycles and self.tokens else None

    @property
    def micros_per_cycle(self) -> float | None:
        return self.cost_micros / self.cycles if self.cycles and self.cost_micros else None

    @property
    def tasks(self) -> int:
        return self.successes + self.failures

    @property
    def success_rate(self) -> float | None:
        return self.successes / self.tasks if self.tasks else None


def summed(rollups: Iterable[Rollup]) -> Figures:
    """Return the sums of rollups of one agent."""
    figures = Figures()
    for rollup in rollups:
        figures.add(rollup)
    return figures


def within(rollups: Sequence[Rollup], begins_ms: int, ends_ms: int) -> list[Rollup]:
    """Return the rollups, which come in the order of time, that begin within a span."""
    first = bisect_left(rollups, begins_ms, key=_BEGINS)
    return list(rollups[first : bisect_left(rollups, ends_ms, first, key=_BEGINS)])


def by_agent(rollups: Iterable[Rollup]) -> dict[str, list[Rollup]]:
    """Sort rollups by agent, each agent's by time."""
    found: dict[str, list[Rollup]] = {}
    for rollup in rollups:
        found.setdefault(rollup.agent, []).append(rollup)
    for each in found.values():
        each.sort(key=lambda rollup: rollup.begins_ms)
    return found
