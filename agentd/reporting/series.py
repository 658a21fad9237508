"""Figures over time, for small curves: a bounded number of points, from what minutes were told.

Of minutes that were folded into hours or days by now, there is one point an hour or a day. So
a step is never shorter than what the whole window is known by.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from agentd.config.encodable import utc_text
from agentd.core.records import Rollup
from agentd.core.tally import quantile_ms
from agentd.reporting.figures import MICROS_PER_USD

Document = dict[str, object]

POINTS_MAX: Final = 500
"""Of one agent."""
POINTS_TOTAL_MAX: Final = 20_000
"""Of all agents together: five figures a point make some 700 kB, written in one turn."""
P95: Final = 0.95

_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 60 * _MINUTE_MS
_DAY_MS: Final = 24 * _HOUR_MS
# (Older than that, known by steps of that), as `store.rollups` folds them.
_KNOWN_BY: Final = ((60 * _DAY_MS, _DAY_MS), (2 * _DAY_MS, _HOUR_MS))


@dataclass(frozen=True, slots=True)
class Window:
    """Points from `begins_ms` on, `step_ms` apart; the last one is the running step."""

    begins_ms: int
    step_ms: int
    points: int

    @property
    def ends_ms(self) -> int:
        return self.begins_ms + self.points * self.step_ms

    @property
    def step_minutes(self) -> int:
        return self.step_ms // _MINUTE_MS


def window_of(since_ms: int, now_ms: int, step_ms: int, agents: int) -> Window:
    """Return the window from `since_ms` to `now_ms`, by steps of `step_ms` or more.

    A step is a whole number of minutes, of hours or of days, and steps begin where UTC has
    them begin, so that two that ask shortly after one another are told the same figures.
    """
    most = max(1, min(POINTS_MAX, POINTS_TOTAL_MAX // max(1, agents)))
    unit_ms = next((unit for old, unit in _KNOWN_BY if now_ms - since_ms > old), _MINUTE_MS)
    # One step more than fits: the window begins before `since_ms`, and ends after now.
    least_ms = max(step_ms, (now_ms - since_ms) // max(1, most - 1) + 1)
    step_ms = -(-least_ms // unit_ms) * unit_ms
    begins_ms = since_ms - since_ms % step_ms
    return Window(begins_ms, step_ms, (now_ms - begins_ms) // step_ms + 1)


def series(window: Window, rollups: Iterable[Rollup]) -> dict[str, Document]:
    """Return by agent what each step of the window was told; null where nothing was.

    `rss_bytes` is the most of a step, `latency_ms` the 95th percentile of its tasks to a
    factor of 2.5, the others are sums; `cost_usd` is null also where nobody knows it.
    """
    found: dict[str, _Curves] = {}
    for rollup in rollups:
        place = (rollup.begins_ms - window.begins_ms) // window.step_ms
        if 0 <= place < window.points:
            found.setdefault(rollup.agent, _Curves(window)).put(place, rollup)
    return {name: curves.document() for name, curves in found.items()}


def no_series(window: Window) -> Document:
    """Return the document of an agent of which nothing was told."""
    return _Curves(window).document()


class _Curves:
    """One agent's figures; two rollups never fall into one step."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._rss_bytes: list[int | None] = [None] * window.points
        self._tokens: list[int | None] = [None] * window.points
        self._latency_ms: list[float | None] = [None] * window.points
        self._heartbeats: list[int | None] = [None] * window.points
        self._cost_usd: list[float | None] = [None] * window.points

    def put(self, place: int, rollup: Rollup) -> None:
        latency_ms = quantile_ms(rollup.latency_counts, P95)
        self._rss_bytes[place] = rollup.rss_max_bytes
        self._tokens[place] = rollup.tokens
        self._latency_ms[place] = None if latency_ms is None else round(latency_ms, 3)
        self._heartbeats[place] = rollup.heartbeats
        if rollup.cost_micros or not rollup.unpriced:
            self._cost_usd[place] = rollup.cost_micros / MICROS_PER_USD

    def document(self) -> Document:
        return {
            "from": utc_text(self._window.begins_ms),
            "step_s": self._window.step_ms // 1000,
            "rss_bytes": self._rss_bytes,
            "tokens": self._tokens,
            "latency_ms": self._latency_ms,
            "heartbeats": self._heartbeats,
            "cost_usd": self._cost_usd,
        }


def with_series(
    document: Mapping[str, object], window: Window, rollups: Iterable[Rollup]
) -> Document:
    """Return a history document with each agent's series in it."""
    told = series(window, rollups)
    agents = document["agents"]
    assert isinstance(agents, list)
    nothing = no_series(window)
    return {
        **document,
        "agents": [{**one, "series": told.get(one["name"], nothing)} for one in agents],
    }
