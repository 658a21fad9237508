"""The leak detector: what it must say, what it must not, and what must not matter to it."""

from collections.abc import Callable, Iterable
from math import sin
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.config.agent import HeartbeatConfig, MemoryConfig
from agentd.config.units import Bytes
from agentd.core import events as ev
from agentd.core.detectors.finding import Finding
from agentd.core.detectors.leak import LEAK, SUSPECT, LeakDetector
from agentd.core.detectors.trend import trend_of
from tests.core.cases import alerts, kept
from tests.core.fleet import Fleet, config

MIB = 1 << 20
LIMIT = 1024 * MIB
SETTLE_MS = 1_800_000
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS

Shape = Callable[[float], float]
"""Hours since the start → MiB."""


def watch(
    samples: Iterable[tuple[int, float]], limit_bytes: int = LIMIT, settle_ms: int = SETTLE_MS
) -> list[tuple[int, Finding]]:
    detector = LeakDetector(limit_bytes, settle_ms, 0)
    found = ((at_ms, detector.observe(rss, at_ms)) for at_ms, rss in samples)
    return [(at_ms, finding) for at_ms, finding in found if finding is not None]


def series(shape: Shape, hours: float = 12, every_ms: int = 30_000) -> list[tuple[int, float]]:
    """Samples of a shape with a little noise, up to the limit."""
    random = Random(1)  # noqa: S311 - noise
    samples = []
    for at_ms in range(0, int(hours * HOUR_MS), every_ms):
        rss = shape(at_ms / HOUR_MS) * MIB + random.uniform(-MIB, MIB)
        if rss >= LIMIT:
            break
        samples.append((at_ms, float(int(rss))))
    return samples


def events(found: list[tuple[int, Finding]]) -> list[str]:
    return [finding.event for _, finding in found]


LEAKS: dict[str, Shape] = {
    "steady": lambda h: 150 + 90 * h,
    "late": lambda h: 150 + 150 * max(0.0, h - 5),
    "accelerating": lambda h: 150 + 9 * h * h,
    "under a sawtooth": lambda h: 150 + 90 * h + 60 * (h * 4 % 1),
    "in chunks": lambda h: 150 + 45 * int(h * 2),
    "with partial releases": lambda h: 150 + 100 * h + 40 * (h % 1),
}


def dice(number: int) -> float:
    """Between 0 and 1, the same for the same number."""
    return Random(number).random()  # noqa: S311 - noise


def high_water(h: float) -> float:
    """What an allocator never gives back: the largest of the tasks so far, six an hour."""
    return 250 + 450 * max(dice(task) for task in range(int(h * 6) + 1))


def sessions(h: float) -> float:
    """One after the other, each grows for half an hour or more, and takes its memory with it.

    They end below 60 % of the limit: above, one can't be told from a leak until it is over.
    """
    number = 0
    while h >= (length := 0.5 + dice(number)):
        h, number = h - length, number + 1
    return 200 + (250 + 150 * dice(99 + number)) * h / length


def helpers(h: float) -> float:
    """Five kinds of processes that come and go, each at its own pace."""
    return 150 + 60 * sum((h * pace) % 1 < 0.4 for pace in (0.7, 1.1, 1.9, 2.3, 3.1))


HARMLESS: dict[str, Shape] = {
    "constant": lambda _h: 500,
    "near its limit": lambda h: 1024 * (0.825 + 0.045 * sin(4 * h)),
    "a warm-up": lambda h: 600 - 450 * 2.718 ** (-h * 4),
    "a sawtooth": lambda h: 300 + 350 * (h * 1.7 % 1),
    "a sawtooth within minutes": lambda h: 300 + 350 * (h * 20 % 1),
    "steps": lambda h: 300 + 150 * (h > 3) + 150 * (h > 7),
    "a day and a night": lambda h: 400 + 200 * (1 - abs(h - 6) / 6),
    "ever slower": lambda h: 300 + 60 * (1 + h) ** 0.3,
    "a full cache": lambda h: 200 + min(h * 120, 330),
    "a high-water mark": high_water,
    "sessions": sessions,
    "helpers": helpers,
    "noise": lambda h: 500 + 250 * (2 * dice(int(h * 120)) - 1),
}


@pytest.mark.parametrize("name", LEAKS)
def test_e1_a_leak_is_told_at_least_half_an_hour_before_the_limit(name: str) -> None:
    samples = series(LEAKS[name])
    pages = [at_ms for at_ms, finding in watch(samples) if finding.event == LEAK]
    assert len(pages) == 1
    assert samples[-1][0] - pages[0] >= HOUR_MS / 2


def test_a_sudden_leak_is_told_before_60_percent_are_used() -> None:
    samples = series(lambda h: 150 + 3000 * max(0.0, h - 5), every_ms=5_000)
    ((at_ms, finding),) = watch(samples)
    assert finding.event == LEAK
    assert samples[-1][0] - at_ms >= 10 * MINUTE_MS


@pytest.mark.parametrize("name", HARMLESS)
def test_e2_a_harmless_shape_pages_nobody(name: str) -> None:
    assert LEAK not in events(watch(series(HARMLESS[name])))


def sampled(shape: Shape) -> Fleet:
    """An agent of the core that is measured so, with the default of everything but the limit."""
    quiet, memory = HeartbeatConfig(required=False), MemoryConfig(limit_bytes=Bytes(LIMIT))
    fleet = Fleet({"a": config(heartbeat=quiet, memory=memory)}).start()
    for at_ms, rss in series(shape):
        fleet.tell(ev.Sampled("a", 1, int(rss)), max(at_ms, fleet.now_ms))
    return fleet


@pytest.mark.parametrize("name", HARMLESS)
def test_e2_nobody_is_told_of_a_harmless_shape(name: str) -> None:
    fleet = sampled(HARMLESS[name])
    assert not alerts(fleet)
    assert not kept(fleet)
    assert not fleet.told("memory.leak", "memory.pressure", "memory.limit")


def test_e1_people_are_told_of_a_leak() -> None:
    fleet = sampled(LEAKS["steady"])
    assert [one.agent for one in fleet.told("memory.leak")] == ["a"]
    assert alerts(fleet)[0].record.event == "memory.leak"


def test_a_finding_names_the_forecast_and_its_figures() -> None:
    found = [finding for _, finding in watch(series(LEAKS["steady"])) if finding.event == LEAK]
    (finding,) = found
    assert finding.forecast_ms is not None
    assert finding.forecast_ms == pytest.approx((1024 * 0.4) / 90 * HOUR_MS, rel=0.1)
    assert "1024 MiB is reached in about 4h" in finding.message
    assert finding.data["used"] == pytest.approx(0.6, abs=0.01)


def test_the_forecast_goes_when_the_trend_does() -> None:
    detector = LeakDetector(LIMIT, SETTLE_MS, 0)
    for at_ms, rss in series(lambda h: 150 + 90 * min(h, 6), hours=6):
        detector.observe(rss, at_ms)
    assert detector.forecast_ms is not None
    for at_ms, rss in series(lambda h: 150 + 90 * min(h, 6), hours=24):
        if at_ms > 6 * HOUR_MS:
            detector.observe(rss, at_ms)
    assert detector.forecast_ms is None


def test_a_leak_after_a_release_is_news_again() -> None:
    samples = series(lambda h: 150 + 110 * (h % 7), hours=14)
    assert events(watch(samples)).count(LEAK) == 2


def test_without_a_limit_nobody_is_paged() -> None:
    assert events(watch(series(LEAKS["steady"]), limit_bytes=0)) == [SUSPECT]


def test_a_constant_without_a_limit_is_nothing() -> None:
    assert watch(series(lambda _h: 500), limit_bytes=0) == []


def test_an_hour_without_samples_raises_no_alarm() -> None:
    for name, shape in HARMLESS.items():
        samples = series(shape)
        for gap_h in range(1, 10):
            kept = [(t, rss) for t, rss in samples if not gap_h <= t / HOUR_MS < gap_h + 1]
            assert LEAK not in events(watch(kept)), (name, gap_h)


def test_a_jump_across_a_gap_is_no_trend() -> None:
    samples = [
        (t, 300.0 * MIB if t < 3 * HOUR_MS else 800.0 * MIB) for t, _ in series(lambda _h: 1)
    ]
    kept = [(t, rss) for t, rss in samples if not 3 <= t / HOUR_MS < 4]
    assert watch(kept) == []


@pytest.mark.parametrize("odd", [-1.0, 0.0, 1e300, float("nan"), float("inf"), -float("inf")])
def test_what_is_no_size_is_dropped(odd: float) -> None:
    samples = series(LEAKS["steady"])
    mixed = [pair for at_ms, rss in samples for pair in ((at_ms, odd), (at_ms, rss))]
    assert watch(mixed) == watch(samples)


@pytest.mark.parametrize("name", ["steady", "in chunks", "late"])
@pytest.mark.parametrize("factor", [2, 3, 16])
def test_twice_the_memory_and_twice_the_limit_is_the_same(name: str, factor: int) -> None:
    samples = series(LEAKS[name])
    scaled = [(at_ms, rss * factor) for at_ms, rss in samples]
    told = [(at_ms, finding.event) for at_ms, finding in watch(samples)]
    told_scaled = [(at_ms, finding.event) for at_ms, finding in watch(scaled, LIMIT * factor)]
    assert told == told_scaled


def test_when_it_is_does_not_matter() -> None:
    shift_ms = 987_654_321
    detector = LeakDetector(LIMIT, SETTLE_MS, shift_ms)
    moved = []
    for at_ms, rss in series(LEAKS["steady"]):
        finding = detector.observe(rss, at_ms + shift_ms)
        if finding is not None:
            moved.append((at_ms, finding))
    assert moved == watch(series(LEAKS["steady"]))


def test_all_times_scale_with_settle() -> None:
    """A thousandth of the default: 1.8 s of settling, a sample every 100 ms."""
    quick = [(int(at_ms / 300), rss) for at_ms, rss in series(LEAKS["steady"])]
    found = watch(quick, settle_ms=SETTLE_MS // 900)
    assert LEAK in events(found)
    assert LEAK not in events(
        watch([(t // 300, rss) for t, rss in series(HARMLESS["steps"])], settle_ms=2_000)
    )


@settings(max_examples=30, deadline=None)
@given(
    st.integers(MIB, LIMIT),
    st.lists(st.integers(0, 20 * MINUTE_MS), max_size=400),
    st.sampled_from([0, LIMIT, 64 * MIB]),
)
def test_a_constant_series_never_alarms(rss: int, gaps_ms: list[int], limit_bytes: int) -> None:
    at_ms, samples = 0, []
    for gap_ms in gaps_ms:
        at_ms += gap_ms
        samples.append((at_ms, float(rss)))
    assert watch(samples, limit_bytes) == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, HOUR_MS), st.floats()), max_size=300))
def test_no_series_of_samples_breaks_it(steps: list[tuple[int, float]]) -> None:
    at_ms, detector = 0, LeakDetector(LIMIT, SETTLE_MS, 0)
    for gap_ms, rss in steps:
        at_ms += gap_ms
        detector.observe(rss, at_ms)
        assert detector.forecast_ms is None or detector.forecast_ms >= 0


def test_the_trend_of_a_line_is_its_slope() -> None:
    trend = trend_of(range(10), [3 * x for x in range(10)], 0.25)
    assert trend.slope_low == 3
    assert trend.z == pytest.approx(3.94, abs=0.01)


def test_ties_lower_the_confidence_not_the_sign() -> None:
    flat, steps = trend_of(range(10), [5] * 10, 0.25), trend_of(range(10), [1] * 5 + [2] * 5, 0.25)
    assert (flat.slope_low, flat.z) == (0, 0)
    assert steps.slope_low == 0
    assert 2 < steps.z < 3.94
