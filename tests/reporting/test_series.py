"""Figures over time: where a point lies, what is in it, and that there are never too many."""

from hypothesis import given
from hypothesis import strategies as st

from agentd.core.records import Rollup
from agentd.core.tally import LATENCY_BUCKETS
from agentd.reporting.series import POINTS_MAX, POINTS_TOTAL_MAX, no_series, series, window_of

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
NOW_MS = 1_800_000_000_000


@given(
    st.integers(1, 400 * DAY_MS),
    st.integers(0, 2 * DAY_MS),
    st.integers(0, 3_000),
    st.integers(0, DAY_MS),
)
def test_points_are_bounded_and_hold_every_moment(
    back_ms: int, step_ms: int, agents: int, now_ms: int
) -> None:
    now_ms += NOW_MS
    window = window_of(now_ms - back_ms, now_ms, step_ms, agents)
    assert window.begins_ms <= now_ms - back_ms
    assert now_ms < window.ends_ms <= now_ms + window.step_ms
    assert window.step_ms >= max(step_ms, MINUTE_MS)
    assert window.begins_ms % window.step_ms == window.step_ms % MINUTE_MS == 0
    assert window.points <= POINTS_MAX + 1
    # Where there are more agents than points, each has its two: the running step, and the last.
    assert window.points * agents <= max(POINTS_TOTAL_MAX + agents, 2 * agents)
    if back_ms > 2 * DAY_MS:
        assert window.step_ms % HOUR_MS == 0
    if back_ms > 60 * DAY_MS:
        assert window.step_ms % DAY_MS == 0


def test_a_step_is_told_at_its_place_and_what_nobody_told_is_null() -> None:
    counts = [0] * LATENCY_BUCKETS
    counts[5] = 20  # between 20 and 50 ms
    window = window_of(NOW_MS - 10 * MINUTE_MS, NOW_MS, 5 * MINUTE_MS, 1)
    told = Rollup(
        "a",
        window.begins_ms + window.step_ms,
        heartbeats=3,
        tokens=900,
        cost_micros=1_500_000,
        latency_counts=tuple(counts),
        rss_min_bytes=10,
        rss_max_bytes=20,
    )
    found = series(window, [told])["a"]
    assert found["step_s"] == 300
    rest = [None] * (window.points - 2)
    assert found["rss_bytes"] == [None, 20, *rest]
    assert found["tokens"] == [None, 900, *rest]
    assert found["heartbeats"] == [None, 3, *rest]
    assert found["cost_usd"] == [None, 1.5, *rest]
    latencies = found["latency_ms"]
    assert isinstance(latencies, list)
    assert 20 < latencies[1] <= 50


def test_cost_that_nobody_knows_is_null_and_none_is_nought() -> None:
    window = window_of(NOW_MS - MINUTE_MS, NOW_MS, 0, 1)
    free = Rollup("a", window.begins_ms, tokens=5)
    unknown = Rollup("b", window.begins_ms, tokens=5, unpriced=1)
    found = series(window, [free, unknown])
    assert (found["a"]["cost_usd"], found["b"]["cost_usd"]) == ([0.0, None], [None, None])


def test_one_of_which_nothing_was_told_has_the_same_points() -> None:
    window = window_of(NOW_MS - HOUR_MS, NOW_MS, 0, 1)
    found = no_series(window)
    assert found["tokens"] == [None] * window.points
    assert series(window, []) == {}
