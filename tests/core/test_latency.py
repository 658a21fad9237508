"""Latency against an agent's own normal: both sides of each bound."""

import random
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.detectors.latency import (
    FACTOR,
    IN_A_ROW,
    KEPT,
    NEEDED,
    SLOW_MS_MIN,
    LatencyDetector,
)
from agentd.core.lines import Call, Heartbeat
from agentd.core.records import Durable
from agentd.core.telemetry import LATENCIES_KEPT, Telemetry
from tests.core.fleet import running

USUAL_MS = 400.0
SLOW_MS = USUAL_MS * FACTOR + 1


def used_to(latency_ms: float = USUAL_MS, count: int = NEEDED) -> LatencyDetector:
    detector = LatencyDetector("tasks")
    for _ in range(count):
        assert detector.observe(latency_ms) is None
    return detector


def found(detector: LatencyDetector, latency_ms: float, times: int) -> int:
    return sum(detector.observe(latency_ms) is not None for _ in range(times))


@pytest.mark.parametrize(("times", "expected"), [(IN_A_ROW - 1, 0), (IN_A_ROW, 1), (KEPT - 1, 1)])
def test_several_slow_ones_in_a_row_are_told_once(times: int, expected: int) -> None:
    assert found(used_to(), SLOW_MS, times) == expected


@pytest.mark.parametrize(("latency_ms", "expected"), [(SLOW_MS - 1, 0), (SLOW_MS, 1)])
def test_slow_is_more_than_ten_times_the_usual(latency_ms: float, expected: int) -> None:
    assert found(used_to(), latency_ms, IN_A_ROW) == expected


@pytest.mark.parametrize(("count", "expected"), [(NEEDED - 1, 0), (NEEDED, 1)])
def test_there_is_no_verdict_before_there_is_a_normal(count: int, expected: int) -> None:
    # One less, and the first slow one itself belongs to what is taken for normal.
    assert found(used_to(count=count), SLOW_MS, IN_A_ROW) == expected


@pytest.mark.parametrize(("latency_ms", "expected"), [(SLOW_MS_MIN - 1, 0), (SLOW_MS_MIN, 1)])
def test_what_takes_less_than_a_second_is_never_slow(latency_ms: float, expected: int) -> None:
    assert found(used_to(2.0), latency_ms, IN_A_ROW) == expected


def test_one_that_is_quick_again_ends_the_row() -> None:
    detector = used_to()
    for _ in range(20):
        assert found(detector, SLOW_MS, IN_A_ROW - 1) == 0
        assert detector.observe(USUAL_MS) is None
    assert found(detector, SLOW_MS, IN_A_ROW) == 1
    detector.observe(USUAL_MS)
    assert found(detector, SLOW_MS, IN_A_ROW) == 1


def test_slow_ones_do_not_raise_their_own_bar_but_become_normal_if_they_last() -> None:
    detector = used_to()
    found(detector, SLOW_MS, KEPT - 1)
    assert detector.median_ms() == USUAL_MS
    found(detector, SLOW_MS, 1)
    assert detector.median_ms() == SLOW_MS
    assert found(detector, SLOW_MS, 2 * KEPT) == 0


def test_what_is_kept_is_bounded_and_its_median_is_right() -> None:
    chance, detector = random.Random(1), LatencyDetector("tasks")  # noqa: S311 - a test's
    for _ in range(2_000):
        detector.observe(chance.uniform(300.0, 500.0))
        assert len(detector.normal) <= KEPT
    assert 300.0 < detector.median_ms() < 500.0


def test_a_warning_names_the_figures_and_nothing_is_done_about_it() -> None:
    fleet = running()
    fleet.beat("a", 2_000, Heartbeat(latencies_ms=(USUAL_MS,) * NEEDED))
    made = fleet.beat("a", 3_000, Heartbeat(latencies_ms=(9_000.0,) * IN_A_ROW))
    [record] = fleet.told("latency.warning")
    assert record.severity == "warning"
    assert "took at least 9000 ms, 22 times the usual 400 ms" in record.message
    assert record.data["usual_ms"] == USUAL_MS
    assert {type(effect).__name__ for effect in made} <= {"Journal", "Alert", "Persist"}


def test_calls_are_judged_among_their_own_kind() -> None:
    fleet = running()

    def call(op: str, took_ms: float) -> None:
        fleet.beat("a", fleet.now_ms + 1, Call("c", start=True, op=op, deadline_ms=600_000))
        fleet.beat("a", fleet.now_ms + 1, Call("c", start=False, op=op, took_ms=took_ms))

    for _ in range(NEEDED):
        call("embed", 50.0)
        call("chat", 4_000.0)
    for _ in range(IN_A_ROW):
        call("chat", 9_000.0)
    assert not fleet.told("latency.warning")
    for _ in range(IN_A_ROW):
        call("embed", 9_000.0)
    [record] = fleet.told("latency.warning")
    assert record.data["kind"] == "calls of embed"


def test_kinds_of_calls_are_bounded() -> None:
    fleet = running()
    for number in range(1_000):
        fleet.beat("a", None, Call("c", start=False, op=f"op{number}", took_ms=1.0))
    assert len(fleet["a"].latencies) == 8


def test_a_call_that_failed_says_nothing_of_what_calls_take() -> None:
    fleet = running()
    for took_ms, ok in [(50.0, True)] * NEEDED + [(60_000.0, False)] * IN_A_ROW:
        fleet.beat("a", None, Call("c", start=False, op="chat", ok=ok, took_ms=took_ms))
    assert not fleet.told("latency.warning")


@given(st.lists(st.lists(st.integers(1, 5_000), max_size=4), max_size=90))
def test_the_p95_is_that_of_what_is_kept_whenever_it_is_asked_for(beats: list[list[int]]) -> None:
    telemetry, durable, told = Telemetry(), Durable(), list[float]()
    for latencies in beats:
        telemetry.fold(Heartbeat(latencies_ms=tuple(map(float, latencies))), durable)
        told = [*told, *map(float, latencies)][-LATENCIES_KEPT:]
        expected = sorted(told)[ceil(0.95 * len(told)) - 1] if told else None
        assert telemetry.latency_p95_ms() == expected
