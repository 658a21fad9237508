"""Runaway: an agent spends many times what it usually does a minute, and goes on doing so.

A loop doesn't make a cycle dearer; it makes more of them. So what is judged is R, what was
spent within the last `rate_window`, per minute. It is a runaway when R was above `rate_factor`
times the baseline without interruption for a whole `rate_window`. The baseline is the median
of the minutes with usage of the 24 hours before that window.

Rule 1: a single spend, however large, is no runaway. It counts for exactly one window, from
its moment on and not at its end, so that it is gone when that window would be complete.
Rule 2: R falls only as time passes. It is lowest just before the next spend, and is looked at
then; and again with that spend, where it takes the place of one that leaves in that moment.
Rule 3: cost is compared with cost, tokens with tokens: tokens as long as anything within the
window has no known cost.
"""

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from agentd.config.agent import CostConfig

MINUTE_MS: Final = 60_000

# No verdict before so many minutes with usage: a median of fewer is a guess.
MINUTES_MIN: Final = 10

# How far back the baseline reaches, and so how many minutes are kept of it at most.
DAY_MINUTES: Final = 1_440

# Spends so close together are one; they count from the first of them on.
SLICES: Final = 60

# What a minute or a cycle is written down as at most.
AMOUNT_MAX: Final = 1 << 62

_NEVER: Final = 1 << 80
"""More than anybody can spend, later than any moment."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A sustained rate beyond the bound; `unit` is `tokens`, or `picos` for pico-dollars."""

    unit: str
    spent: int
    """Within the window."""
    baseline: float
    """A minute."""
    minutes: int
    """How many minutes the baseline was taken from."""


@dataclass(slots=True)
class Slice:
    """What was spent in one short piece of time."""

    at_ms: int
    """Of its first spend."""
    tokens: int = 0
    picos: int = 0
    unpriced: int = 0
    """Spends of tokens without a known cost."""


@dataclass(slots=True)
class Line:
    """One unit: what was spent within the window, its bound, since when it is above."""

    spent: int = 0
    bound: int = _NEVER
    above_since_ms: int | None = None
    ranked: list[int] = field(default_factory=list)
    """The baseline's minutes by size."""

    def look(self) -> None:
        """See whether R still is above."""
        if self.spent <= self.bound:
            self.above_since_ms = None

    def set_bound(self, factor: Fraction, window_ms: int) -> None:
        """Find out what may be spent within a window."""
        count = len(self.ranked)
        if count < MINUTES_MIN:
            self.bound = _NEVER
            return
        twice_median = self.ranked[count // 2] + self.ranked[(count - 1) // 2]
        self.bound = (factor.numerator * twice_median * window_ms) // (
            factor.denominator * 2 * MINUTE_MS
        )

    def median(self) -> float:
        count = len(self.ranked)
        return (self.ranked[count // 2] + self.ranked[(count - 1) // 2]) / 2


@dataclass(slots=True)
class RunawayDetector:
    """Judges what one agent spends, over its incarnations."""

    factor: Fraction = Fraction(10)
    window_ms: int = 3 * MINUTE_MS
    tokens: Line = field(default_factory=Line)
    picos: Line = field(default_factory=Line)
    unpriced: int = 0
    """Within the window."""
    slices: deque[Slice] = field(default_factory=deque)
    current: Slice = field(default_factory=lambda: Slice(0))
    current_until_ms: int = 0
    due_ms: int = 0
    """Until then nothing leaves the window and nothing joins the baseline."""
    minute: list[int] | None = None
    """The minute that is being spent in: number, tokens, pico-dollars, unpriced."""
    recent: deque[tuple[int, int, int, int]] = field(default_factory=deque)
    """Minutes with usage that are too young for the baseline."""
    aged: deque[tuple[int, int, int, int]] = field(default_factory=deque)
    """Those that make up the baseline."""
    told: Line | None = None
    """The unit in which a runaway that still stands was told."""

    def configure(self, config: CostConfig) -> None:
        """Go by this config from now on; what a minute usually costs stays known."""
        factor, window_ms = Fraction(repr(config.rate_factor)), int(config.rate_window_ms)
        if (factor, window_ms) == (self.factor, self.window_ms):
            return
        self.factor, self.window_ms = factor, window_ms
        self.tokens.above_since_ms = self.picos.above_since_ms = self.told = None
        self.due_ms = self.current_until_ms = 0

    def observe(self, now_ms: int, tokens: int, picos: int, unpriced: int) -> Ran | None:
        """Take one spend in; `unpriced` 1: its cost isn't known. Once an episode."""
        moved = now_ms >= self.due_ms
        if moved:
            self._pass_time(now_ms)
        current = self.current
        current.tokens += tokens
        current.picos += picos
        current.unpriced += unpriced
        self.unpriced += unpriced
        by_tokens, by_picos = self.tokens, self.picos
        by_tokens.spent += tokens
        by_picos.spent += picos
        if moved:
            self._look()
        if by_tokens.spent > by_tokens.bound or by_picos.spent > by_picos.bound:
            return self._judge(now_ms)
        return None

    def rate_tokens(self, now_ms: int) -> float | None:
        """Tokens a minute within the last window; None: nothing was ever told."""
        if not self.slices and not self.aged and not self.recent:
            return None
        since_ms, spent = now_ms - self.window_ms, self.tokens.spent
        for one in self.slices:  # what has left the window since the last spend
            if one.at_ms > since_ms:
                break
            spent -= one.tokens
        return spent * MINUTE_MS / self.window_ms

    def minutes(self, now_ms: int) -> tuple[tuple[int, int, int, int], ...]:
        """Return the minutes with usage by their age in minutes, for the store."""
        now = now_ms // MINUTE_MS
        kept = [*self.aged, *self.recent]
        if self.minute is not None and self.told is None:
            number, tokens, picos, unpriced = self.minute
            kept.append((number, tokens, picos, unpriced))
        return tuple(
            (now - one[0], min(one[1], AMOUNT_MAX), min(one[2], AMOUNT_MAX), one[3]) for one in kept
        )

    def restore(self, minutes: tuple[tuple[int, int, int, int], ...], at_ms: int) -> None:
        """Go on with what was known before the daemon ended; ages count from `at_ms`."""
        then = at_ms // MINUTE_MS
        self.recent.extend((then - one[0], one[1], one[2], one[3]) for one in minutes)
        self.due_ms = 0

    def _judge(self, now_ms: int) -> Ran | None:
        """Something is above its bound: since when, and is that long enough?"""
        for line in (self.tokens, self.picos):
            if line.above_since_ms is None and line.spent > line.bound:
                line.above_since_ms = now_ms
        line = self.picos if not self.unpriced and self.picos.bound < _NEVER else self.tokens
        since_ms = line.above_since_ms
        if since_ms is None or now_ms - since_ms < self.window_ms or self.told is not None:
            return None
        self.told = line
        # What a runaway spends must not become what is usual.
        self.minute = None
        while self.recent and (self.recent[-1][0] + 1) * MINUTE_MS > since_ms:
            self.recent.pop()
        unit = "picos" if line is self.picos else "tokens"
        return Ran(unit, line.spent, line.median(), len(line.ranked))

    def _pass_time(self, now_ms: int) -> None:
        """Let go of what has left the window, let minutes join the baseline, and look at R."""
        if now_ms >= self.current_until_ms:
            self._close_slice(now_ms)
        self._age(now_ms)
        self._let_go(now_ms - 1)
        self._look()
        self._let_go(now_ms)
        self._begin_slice(now_ms)

    def _let_go(self, now_ms: int) -> None:
        while self.slices and self.slices[0].at_ms + self.window_ms <= now_ms:
            gone = self.slices.popleft()
            self.tokens.spent -= gone.tokens
            self.picos.spent -= gone.picos
            self.unpriced -= gone.unpriced

    def _look(self) -> None:
        """See whether R is above the bound still; where it isn't, a runaway is over."""
        self.tokens.look()
        self.picos.look()
        if self.told is not None and self.told.above_since_ms is None:
            self.told = None

    def _close_slice(self, now_ms: int) -> None:
        """What was spent in it belongs to its minute, unless a runaway stands."""
        done = self.current
        if (done.tokens or done.picos) and self.told is None:
            number = done.at_ms // MINUTE_MS
            if self.minute is None or self.minute[0] != number:
                self._close_minute()
                self.minute = [number, 0, 0, 0]
            self.minute[1] += done.tokens
            self.minute[2] += done.picos
            self.minute[3] += done.unpriced
        if self.minute is not None and self.minute[0] != now_ms // MINUTE_MS:
            self._close_minute()

    def _close_minute(self) -> None:
        if self.minute is not None:
            number, tokens, picos, unpriced = self.minute
            self.recent.append((number, tokens, picos, unpriced))
            self.minute = None

    def _begin_slice(self, now_ms: int) -> None:
        if now_ms >= self.current_until_ms:
            self.current = Slice(now_ms)
            self.slices.append(self.current)
            minute_ends_ms = (now_ms // MINUTE_MS + 1) * MINUTE_MS
            length_ms = max(1, self.window_ms // SLICES)
            self.current_until_ms = min(now_ms + length_ms, minute_ends_ms)
        self.due_ms = min(self.current_until_ms, self.slices[0].at_ms + self.window_ms)

    def _age(self, now_ms: int) -> None:
        """Move minutes into the baseline and out of it again."""
        begins_ms = now_ms - self.window_ms
        first = (begins_ms - DAY_MINUTES * MINUTE_MS) // MINUTE_MS
        changed = False
        while self.recent and (
            (self.recent[0][0] + 1) * MINUTE_MS <= begins_ms or len(self.recent) > DAY_MINUTES
        ):
            one = self.recent.popleft()
            self.aged.append(one)
            self._rank(one)
            changed = True
        while self.aged and (self.aged[0][0] < first or len(self.aged) > DAY_MINUTES):
            self._unrank(self.aged.popleft())
            changed = True
        if changed or self.due_ms == 0:
            self.tokens.set_bound(self.factor, self.window_ms)
            self.picos.set_bound(self.factor, self.window_ms)

    def _rank(self, one: tuple[int, int, int, int]) -> None:
        _, tokens, picos, unpriced = one
        if tokens:
            insort(self.tokens.ranked, tokens)
        if picos and not unpriced:
            insort(self.picos.ranked, picos)

    def _unrank(self, one: tuple[int, int, int, int]) -> None:
        _, tokens, picos, unpriced = one
        if tokens:
            del self.tokens.ranked[bisect_left(self.tokens.ranked, tokens)]
        if picos and not unpriced:
            del self.picos.ranked[bisect_left(self.picos.ranked, picos)]
