"""Where an agent's accounts begin: its cycle, its run, and the civil hour, day and month.

Only totals are ever added to, and they never fall; an account is the total less a mark that
was set when its period began. So each spend is counted in all of them at once, and a period
that begins anew forgets nothing of another.
"""

from dataclasses import dataclass, replace
from typing import Final

from agentd.core.records import Durable, Mark

# The clock of a host is set back by less than this for daylight saving, zones and drift; the
# period that it was in stays what it was, so that none begins twice.
SET_BACK_MS_MAX: Final = 25 * 3_600_000

# No 64-bit column overflows, whatever is claimed; at a dollar a second that takes 146,000 years.
TOTAL_MAX: Final = 1 << 62

PICOS: Final = 1_000_000
"""Pico-dollars in a micro-dollar: what a single token costs can be less than one of those."""


@dataclass(frozen=True, slots=True)
class Span:
    """A civil period, in milliseconds of wall time; it ends where the next one begins."""

    begins_ms: int
    ends_ms: int


@dataclass(frozen=True, slots=True)
class Periods:
    """The civil hour, day and month that it is now, in the configured zone."""

    hour: Span
    day: Span
    month: Span
    date: str = ""
    """The day's, such as `2026-11-21`; empty: nobody said."""

    @classmethod
    def of(
        cls, hour: tuple[int, int], day: tuple[int, int], month: tuple[int, int], date: str = ""
    ) -> "Periods":
        """Make them of where each begins and ends."""
        return cls(Span(*hour), Span(*day), Span(*month), date)


def add(durable: Durable, tokens: int, picos: int) -> None:
    """Count spending in every account; what is less than a micro-dollar is carried on."""
    durable.tokens += tokens
    micros, durable.cost_rest_picos = divmod(durable.cost_rest_picos + picos, PICOS)
    durable.cost_micros += micros
    if durable.tokens > TOTAL_MAX or durable.cost_micros > TOTAL_MAX:
        durable.tokens = min(durable.tokens, TOTAL_MAX)
        durable.cost_micros = min(durable.cost_micros, TOTAL_MAX)


def cycle_picos(durable: Durable) -> int:
    """What the running cycle has cost so far, as far as it is known."""
    micros = durable.cost_micros - durable.cycle_from_micros
    return micros * PICOS + durable.cost_rest_picos - durable.cycle_from_picos


def begin_cycle(durable: Durable) -> None:
    """The next cycle begins with nothing spent."""
    durable.cycle_from_tokens = durable.tokens
    durable.cycle_from_micros = durable.cost_micros
    durable.cycle_from_picos = durable.cost_rest_picos
    durable.cycle_unpriced = 0
    if durable.budgets_warned or durable.budgets_exceeded or durable.budgets_overridden:
        _forget(durable, "cycle")


def cut_cycle_off(durable: Durable) -> None:
    """Its process is gone in the middle of a cycle; what that cost nobody will say any more."""
    durable.unpriced += durable.cycle_unpriced
    begin_cycle(durable)


def begin_run(durable: Durable) -> None:
    """A new execution begins, and a cycle with it."""
    cut_cycle_off(durable)
    durable.run = _mark(durable, None)
    _forget(durable, "run")


def roll(durable: Durable, periods: Periods | None) -> bool:
    """Set the marks of civil periods that began; True if any mark changed.

    Labels only move forward. A wall clock that was set back a little stays in the period that
    it was in; one that was far ahead gets its label back, and nothing spent is forgotten. The
    same holds for a change of the zone: a period is over when its own end has come.
    """
    if periods is None:
        return False
    # A month begins with a day, and a day with an hour, whatever their labels say.
    month, month_began = _moved(durable, durable.month, periods.month)
    day, day_began = _moved(durable, None if month_began else durable.day, periods.day)
    hour, hour_began = _moved(durable, None if day_began else durable.hour, periods.hour)
    moved = (hour, day, month) != (durable.hour, durable.day, durable.month)
    durable.hour, durable.day, durable.month = hour, day, month
    for period, began in (("hour", hour_began), ("day", day_began), ("month", month_began)):
        if began:
            _forget(durable, period)
    return moved


def _moved(durable: Durable, mark: Mark | None, span: Span) -> tuple[Mark, bool]:
    """Return the mark as it is in `span`, and whether a new period began."""
    if mark is None or mark.begins_ms is None or mark.ends_ms is None:
        return _mark(durable, span), True
    if span.begins_ms >= mark.ends_ms:
        return _mark(durable, span), True
    if 0 < mark.begins_ms - span.begins_ms < SET_BACK_MS_MAX:
        return mark, False
    if (mark.begins_ms, mark.ends_ms) == (span.begins_ms, span.ends_ms):
        return mark, False
    return replace(mark, begins_ms=span.begins_ms, ends_ms=span.ends_ms), False


def _mark(durable: Durable, span: Span | None) -> Mark:
    return Mark(
        span.begins_ms if span is not None else None,
        span.ends_ms if span is not None else None,
        durable.tokens,
        durable.cost_micros,
        durable.priced,
        durable.unpriced,
    )


def _forget(durable: Durable, period: str) -> None:
    """What was said of budgets of a period that is over is history."""
    end = f"_{period}"
    durable.budgets_warned = _without(durable.budgets_warned, end)
    durable.budgets_exceeded = _without(durable.budgets_exceeded, end)
    durable.budgets_overridden = _without(durable.budgets_overridden, end)


def _without(names: tuple[str, ...], end: str) -> tuple[str, ...]:
    return tuple(name for name in names if not name.endswith(end))
