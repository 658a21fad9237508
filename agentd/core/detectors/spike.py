"""Cost spike: one cycle of work costs many times what a cycle usually does.

Compared with the median of the last cycles, so that one wild cycle does not raise its own
bar; spikes are left out of it altogether, and so are cycles without usage. Cost is compared
with cost and tokens with tokens: tokens where the cost of the cycle, or of enough cycles
before it, isn't known.

Measured on 371 healthy runs (docs/detectors.md): ten times the usual on cost is rare (2 runs), on
tokens it is not (64 runs), which is why a spike is a warning.
"""

from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from statistics import median
from typing import Final

from agentd.config.agent import CostConfig

# A window of so many cycles is as good as a longer one, and a median must stay cheap.
WINDOW_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Spiked:
    """One cycle beyond the bound; `unit` is `tokens`, or `picos` for pico-dollars."""

    unit: str
    spent: int
    baseline: float
    cycles: int
    """How many cycles the baseline was taken from."""


@dataclass(slots=True)
class CycleWindow:
    """The last cycles in one unit, and a quick answer to whether another one is a spike."""

    kept: deque[int] = field(default_factory=deque)
    seen: int = 0
    surely_normal: int = 0
    """Up to this a cycle is no spike, for the next `sure_for` cycles."""
    sure_for: int = 0
    _median: float = 0.0
    """As it was when `_median_of` cycles had been seen; it is shown more often than it changes."""
    _median_of: int | None = None

    def add(self, amount: int) -> None:
        self.kept.append(amount)
        self.seen += 1
        self.sure_for -= 1

    def median(self) -> float:
        """Return the median of the cycles that are kept; StatisticsError: there are none."""
        if self._median_of != self.seen:
            self._median, self._median_of = float(median(self.kept)), self.seen
        return self._median

    def forget_quick_answers(self) -> None:
        """Learn that other cycles are kept than were added one by one."""
        self.sure_for, self._median_of = 0, None

    def is_spike(self, amount: int, factor: Fraction) -> bool:
        """Judge exactly: amount > factor x median; and find out what needs no such judgement.

        A cycle that comes and one that goes move the median by one rank at most. So the value
        a quarter below it is a lower bound of the median for a quarter of the window.
        """
        ranked = sorted(self.kept)
        quarter = len(ranked) // 4
        self.sure_for = quarter
        low = ranked[max(0, (len(ranked) - 1) // 2 - quarter)]
        self.surely_normal = low * factor.numerator // factor.denominator
        twice_median = ranked[len(ranked) // 2] + ranked[(len(ranked) - 1) // 2]
        return 2 * amount * factor.denominator > twice_median * factor.numerator


@dataclass(slots=True)
class SpikeDetector:
    """Judges the cycles of one agent, over its incarnations."""

    factor: Fraction = Fraction(10)
    cycles_min: int = 10
    tokens: CycleWindow = field(default_factory=CycleWindow)
    picos: CycleWindow = field(default_factory=CycleWindow)
    standing: bool = False
    """The last cycle was a spike, and that was told."""

    def configure(self, config: CostConfig) -> None:
        """Go by this config from now on; the cycles known so far stay."""
        self.factor = Fraction(repr(config.spike_factor))
        self.cycles_min = config.cycles_min
        size = min(config.window, WINDOW_MAX)
        for window in (self.tokens, self.picos):
            if window.kept.maxlen != size:
                window.kept = deque(window.kept, maxlen=size)
            window.forget_quick_answers()

    def observe(self, tokens: int, picos: int) -> Spiked | None:
        """Take one cycle in; `picos` 0: its cost isn't known. Once for spikes in a row."""
        window, amount = self.picos, picos
        if tokens and picos <= window.surely_normal and window.sure_for > 0 and picos:
            # Almost every cycle: it is well below the bound, in both units if in one.
            self.standing = False
            other = self.tokens
            window.kept.append(picos)
            window.seen += 1
            window.sure_for -= 1
            other.kept.append(tokens)
            other.seen += 1
            other.sure_for -= 1
            return None
        if not picos or window.seen < self.cycles_min:
            window, amount = self.tokens, tokens
        if (
            window.seen >= self.cycles_min
            and (amount > window.surely_normal or window.sure_for <= 0)
            and window.is_spike(amount, self.factor)
        ):
            if self.standing:
                return None
            self.standing = True
            unit = "picos" if window is self.picos else "tokens"
            return Spiked(unit, amount, window.median(), len(window.kept))
        self.standing = False
        if tokens:
            self.tokens.add(tokens)
        if picos:
            self.picos.add(picos)
        return None

    def end_row(self) -> None:
        """Somebody let it go on: the next spike is news."""
        self.standing = False

    def baseline_tokens(self) -> float | None:
        """Median of the last cycles that told their tokens; None before there are enough."""
        if self.tokens.seen < self.cycles_min:
            return None
        return self.tokens.median()

    def restore(
        self, tokens: tuple[int, ...], picos: tuple[int, ...], seen: tuple[int, int]
    ) -> None:
        """Go on with what was known before the daemon ended."""
        for window, kept, count in ((self.tokens, tokens, seen[0]), (self.picos, picos, seen[1])):
            window.kept.extend(kept)
            window.seen = max(count, len(window.kept))
            window.forget_quick_answers()
