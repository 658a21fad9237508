"""Runaways: what a whole window above the bound is, to the millisecond, and what is none."""

from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.config.agent import CostConfig
from agentd.config.units import Milliseconds
from agentd.core.detectors.runaway import MINUTE_MS, RunawayDetector
from agentd.core.lines import Heartbeat, Status
from tests.core.fleet import Fleet, running

WINDOW_MS = 3 * MINUTE_MS
USUAL = 1_000


def detector(**keys: object) -> RunawayDetector:
    found = RunawayDetector()
    found.configure(CostConfig(**keys))  # type: ignore[arg-type]
    return found


def usual(minutes: int = 20, picos: int = 0) -> tuple[RunawayDetector, int]:
    """A detector that knows what is usual, and the moment from which on it does."""
    found = detector()
    for minute in range(minutes):
        assert found.observe(minute * MINUTE_MS, USUAL, picos, 0) is None
    now_ms = minutes * MINUTE_MS + WINDOW_MS
    return found, now_ms


def test_a_rate_above_the_bound_for_a_whole_window_is_a_runaway() -> None:
    found, now_ms = usual()
    # 30,000 within a window is the bound: 10,001 a minute in three minutes are above.
    assert found.observe(now_ms, 30_001, 0, 0) is None
    for second in range(10, 180, 10):
        assert found.observe(now_ms + second * 1_000, 2_000, 0, 0) is None
    assert found.observe(now_ms + WINDOW_MS - 1, 0, 0, 0) is None
    ran = found.observe(now_ms + WINDOW_MS, 0, 0, 0)
    assert ran is not None
    assert (ran.unit, ran.baseline, ran.spent) == ("tokens", USUAL, 17 * 2_000)


@pytest.mark.parametrize(("each", "runs"), [(1_666, False), (1_667, True)])
def test_both_sides_of_the_bound(each: int, *, runs: bool) -> None:
    """18 spends are within the window at any moment: 29,988 of 30,000, or 30,006."""
    found, now_ms = usual()
    seen = [found.observe(now_ms + n * 10_000, each, 0, 0) is not None for n in range(60)]
    assert any(seen) is runs
    assert sum(seen) <= 1  # once an episode


def test_a_single_spend_however_large_is_no_runaway() -> None:
    found, now_ms = usual()
    assert found.observe(now_ms, 10**15, 0, 0) is None
    for elapsed_ms in [*range(1_000, 400_000, 999), 400_001]:
        assert found.observe(now_ms + elapsed_ms, 100, 0, 0) is None


def test_a_single_spend_is_gone_when_its_window_would_be_complete() -> None:
    for elapsed_ms in (WINDOW_MS - 1, WINDOW_MS, WINDOW_MS + 1):
        found, now_ms = usual()
        found.observe(now_ms, 10**15, 0, 0)
        assert found.observe(now_ms + elapsed_ms, 20_000, 0, 0) is None


def test_an_interruption_begins_the_window_anew() -> None:
    found, now_ms = usual()
    at_ms = now_ms
    for _ in range(17):  # 170 s above
        assert found.observe(at_ms, 40_000, 0, 0) is None
        at_ms += 10_000
    at_ms += WINDOW_MS  # nothing for a whole window: R was 0
    for _ in range(18):
        assert found.observe(at_ms, 40_000, 0, 0) is None
        at_ms += 10_000
    assert found.observe(at_ms, 40_000, 0, 0) is not None


@pytest.mark.parametrize(("minutes", "runs"), [(9, False), (10, True)])
def test_no_verdict_before_ten_minutes_with_usage(minutes: int, *, runs: bool) -> None:
    found, now_ms = usual(minutes)
    seen = [found.observe(now_ms + n * 10_000, 10_000, 0, 0) is not None for n in range(40)]
    assert any(seen) is runs


def test_idle_minutes_are_no_part_of_the_baseline() -> None:
    found = detector()
    for number in range(20):  # once an hour
        found.observe(number * 60 * MINUTE_MS, USUAL, 0, 0)
    found.observe(1_300 * MINUTE_MS, 0, 0, 0)
    assert found.tokens.median() == USUAL


def test_the_baseline_reaches_back_a_day() -> None:
    found, now_ms = usual()
    assert found.tokens.bound < 10**9
    found.observe(now_ms + 1_441 * MINUTE_MS, 0, 0, 0)
    assert not found.tokens.ranked


def test_a_runaway_that_stands_does_not_become_what_is_usual() -> None:
    found, now_ms = usual()
    for number in range(6 * 60):  # an hour
        found.observe(now_ms + number * 10_000, 40_000, 0, 0)
    assert found.tokens.median() == USUAL
    assert found.told is not None


def test_it_is_told_again_after_it_was_over() -> None:
    found, now_ms = usual()
    told = []
    for number in range(200):
        tokens = 40_000 if number % 100 < 50 else 0
        if found.observe(now_ms + number * 10_000, tokens, 0, 0) is not None:
            told.append(number)
    assert told == [18, 118]


def test_cost_is_compared_with_cost_as_long_as_all_of_it_is_known() -> None:
    found, now_ms = usual(picos=50)
    ran = None
    for number in range(20):  # a few tokens, but dear ones
        ran = ran or found.observe(now_ms + number * 10_000, 10, 5_000, 0)
    assert ran is not None
    assert (ran.unit, ran.baseline) == ("picos", 50)


def test_one_spend_of_unknown_cost_makes_it_tokens() -> None:
    found, now_ms = usual(picos=50)
    for number in range(20):
        unpriced = int(number == 10)
        assert found.observe(now_ms + number * 10_000, 10, 5_000, unpriced) is None


def test_what_leaves_and_what_comes_in_the_same_moment_is_no_interruption() -> None:
    """A beat every 30 s at eleven times the usual: R is 11 times the usual at any moment."""
    found = detector()
    told = []
    for number in range(80):
        tokens = 100 if number < 40 else 1_100
        if found.observe(number * 30_000, tokens, 0, 0) is not None:
            told.append(number * 30)
    # Above 6,000 as soon as six of them make up the window; a whole window later it is told.
    assert told == [(40 + 5) * 30 + 180]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 300, 999, 1_000, 7_000, 20_000, 59_999, 60_000, 60_001]),
            st.sampled_from([1, 10, 50, 101, 5_000]),
        ),
        max_size=200,
    )
)
def test_what_is_told_is_a_runaway_by_its_definition(spends: list[tuple[int, int]]) -> None:
    """R is counted anew from all spends, just before each of them and with it."""
    found = detector(rate_window_ms=Milliseconds(MINUTE_MS))
    for minute in range(12):
        found.observe(minute * MINUTE_MS, 10, 0, 0)
    now_ms = 14 * MINUTE_MS
    done: list[tuple[int, int]] = []
    above_since: int | None = None
    for wait_ms, tokens in spends:
        now_ms += wait_ms
        told = found.observe(now_ms, tokens, 0, 0) is not None
        bound = 10 * median(found.tokens.ranked)
        if _within(done, now_ms - 1) <= bound:
            above_since = None
        done.append((now_ms, tokens))
        if _within(done, now_ms) <= bound:
            above_since = None
        elif above_since is None:
            above_since = now_ms
        if told:
            assert above_since is not None, "told while R is within its bound"
            assert now_ms - above_since >= MINUTE_MS, "told before the window was complete"


def _within(done: list[tuple[int, int]], now_ms: int) -> int:
    return sum(tokens for at_ms, tokens in done if now_ms - MINUTE_MS < at_ms <= now_ms)


@given(
    st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 5_000)), max_size=60),
    st.integers(0, 2 * WINDOW_MS),
)
def test_the_rate_is_what_was_spent_in_slices_that_began_within_the_window(
    spends: list[tuple[int, int]], later_ms: int
) -> None:
    found, now_ms = detector(), 0
    for gap_ms, tokens in spends:
        now_ms += gap_ms
        found.observe(now_ms, tokens, 0, 0)
    now_ms += later_ms
    spent = sum(one.tokens for one in found.slices if one.at_ms > now_ms - WINDOW_MS)
    rate = found.rate_tokens(now_ms)
    assert (rate or 0) == spent * MINUTE_MS / WINDOW_MS


def test_memory_and_work_stay_bounded_whatever_is_sent() -> None:
    found = detector()
    for number in range(200_000):
        found.observe(number * 37, 5, 7, 0)
    assert len(found.slices) <= 70
    for number in range(4_000):
        found.observe(8_000_000 + number * MINUTE_MS, 5, 7, 0)
    assert len(found.aged) <= 1_441
    assert len(found.recent) <= 4


# Through the whole core.


def spending(fleet: Fleet, minutes: float, tokens: int, every_ms: int = 10_000) -> None:
    for _ in range(int(minutes * MINUTE_MS / every_ms)):
        fleet.beat("a", fleet.now_ms + every_ms, Heartbeat(tokens=tokens))


def test_c17_a_sustained_rate_pauses_the_agent_as_a_loop() -> None:
    fleet = running()
    spending(fleet, 20, 100)
    spending(fleet, 10, 9_000)
    [told] = fleet.told("cost.runaway")
    assert (told.severity, told.reason) == ("critical", "LOOP_DETECTED")
    [paused] = fleet.told("agent.paused")
    assert paused.reason == "LOOP_DETECTED"


def test_what_is_said_after_the_pause_tells_nothing_twice() -> None:
    fleet = running(cost=CostConfig(on_runaway="alert"))
    spending(fleet, 20, 100)
    spending(fleet, 30, 9_000)
    assert len(fleet.told("cost.runaway")) == 1
    assert not fleet.told("agent.paused")


def test_whoever_is_shutting_down_does_not_run_away() -> None:
    fleet = running()
    spending(fleet, 20, 100)
    fleet.beat("a", fleet.now_ms + 1, Heartbeat(status=Status.DRAINING))
    spending(fleet, 4.9, 9_000)
    assert not fleet.told("cost.runaway")
    spending(fleet, 6, 9_000)
    assert fleet.told("cost.runaway")
