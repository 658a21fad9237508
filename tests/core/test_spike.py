"""Cost spikes: both sides of each bound, and what the baseline is made of."""

from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.config.agent import CostConfig
from agentd.core.detectors.spike import SpikeDetector
from agentd.core.lines import Call, Heartbeat, Status, Usage
from tests.core.fleet import Fleet, config, running


def detector(**keys: object) -> SpikeDetector:
    found = SpikeDetector()
    found.configure(CostConfig(**keys))  # type: ignore[arg-type]
    return found


def after(cycles: list[int], **keys: object) -> SpikeDetector:
    found = detector(**keys)
    for tokens in cycles:
        assert found.observe(tokens, 0) is None
    return found


@pytest.mark.parametrize(
    ("before", "tokens", "spikes"),
    [
        (10, 10_000, False),  # ten times the baseline is not above it
        (10, 10_001, True),
        (9, 1_000_000, False),  # no verdict before ten cycles
        (10, 1_000_000, True),
    ],
)
def test_a_cycle_above_ten_medians_is_a_spike(before: int, tokens: int, *, spikes: bool) -> None:
    assert (after([1_000] * before).observe(tokens, 0) is not None) is spikes


@pytest.mark.parametrize(("tokens", "spikes"), [(2_300, False), (2_301, True)])
def test_a_factor_is_the_number_that_was_written(tokens: int, *, spikes: bool) -> None:
    # As a binary fraction 2.3 is a little less, and 2300 would be above it.
    found = after([1_000] * 10, spike_factor=2.3)
    assert (found.observe(tokens, 0) is not None) is spikes


def test_spikes_in_a_row_are_told_once_and_the_next_one_again() -> None:
    found = after([1_000] * 10)
    told = [found.observe(tokens, 0) is not None for tokens in (50_000, 60_000, 900, 70_000)]
    assert told == [True, False, False, True]


def test_neither_spikes_nor_cycles_without_usage_make_the_baseline() -> None:
    found = after([1_000] * 10)
    for _ in range(200):
        found.observe(50_000, 0)
    for _ in range(200):
        found.observe(0, 0)
    assert found.baseline_tokens() == 1_000
    assert len(found.tokens.kept) == 10


def test_the_window_forgets_what_is_older() -> None:
    found = after([1_000] * 10 + [9_000] * 10, window=10)
    assert found.baseline_tokens() == 9_000


def test_cycles_min_counts_cycles_that_the_window_no_longer_holds() -> None:
    found = after([1_000] * 9, window=5)
    assert found.observe(1_000_000, 0) is None
    found = after([1_000] * 10, window=5)
    assert found.observe(1_000_000, 0) is not None


def test_cost_is_compared_with_cost_and_tokens_where_cost_is_not_known() -> None:
    found = detector()
    for _ in range(10):
        found.observe(1_000, 5_000)
    spiked = found.observe(1_000, 50_001)
    assert spiked is not None
    assert (spiked.unit, spiked.baseline) == ("picos", 5_000)
    assert found.observe(1_000, 5_000) is None
    spiked = found.observe(10_001, 0)
    assert spiked is not None
    assert spiked.unit == "tokens"


def test_cost_that_is_new_is_judged_by_tokens_until_there_is_enough_of_it() -> None:
    found = after([1_000] * 10)
    assert found.observe(9_000, 10**12) is None
    spiked = found.observe(10_001, 1)
    assert spiked is not None
    assert spiked.unit == "tokens"


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=300),
    st.integers(1, 30),
    st.integers(1, 12),
    st.sampled_from([1.5, 2.3, 3.0, 10.0]),
)
def test_the_quick_answer_is_the_exact_one(
    cycles: list[int], window: int, cycles_min: int, factor: float
) -> None:
    found = detector(window=window, cycles_min=cycles_min, spike_factor=factor)
    kept: list[int] = []
    seen, standing = 0, False
    for tokens in cycles:
        spikes = seen >= cycles_min and tokens * 10 > median(kept) * round(factor * 10)
        assert (found.observe(tokens, 0) is not None) is (spikes and not standing)
        standing = spikes
        if tokens and not spikes:
            kept = [*kept, tokens][-window:]
            seen += 1


# Through the whole core.


def beating(fleet: Fleet, *tokens: int, every_ms: int = 30_000) -> None:
    for each in tokens:
        fleet.beat("a", fleet.now_ms + every_ms, Heartbeat(tokens=each))


@given(st.lists(st.tuples(st.integers(1, 3_000), st.integers(0, 9)), max_size=60))
def test_the_baseline_is_the_median_of_what_is_kept_whenever_it_is_asked_for(
    cycles: list[tuple[int, int]],
) -> None:
    found = detector(window=40)
    for tokens, chance in cycles:
        found.observe(tokens, 0)
        if chance == 0:
            found.configure(CostConfig(window=20))
        if chance == 1:
            found.restore((7, 8), (), (0, 0))
        kept = found.tokens.kept
        expected = float(median(kept)) if found.tokens.seen >= found.cycles_min else None
        assert found.baseline_tokens() == expected


def test_c17_one_cycle_ten_times_as_dear_is_a_warning_and_nothing_else() -> None:
    fleet = running()
    beating(fleet, *[1_000] * 10, 11_000, *[1_000] * 30)
    [told] = fleet.told("cost.spike")
    assert (told.severity, told.reason) == ("warning", "COST_SPIKE")
    assert told.data["spent"] == 11_000
    assert told.data["baseline"] == 1_000
    assert not fleet.told("cost.runaway", "agent.paused")


@pytest.mark.parametrize(
    ("action", "event"),
    [("pause", "agent.paused"), ("kill", "agent.killed"), ("restart", "agent.stopping")],
)
def test_on_spike_is_carried_out(action: str, event: str) -> None:
    fleet = running(cost=CostConfig(on_spike=action))  # type: ignore[arg-type]
    beating(fleet, *[1_000] * 10, 11_000)
    assert [record.reason for record in fleet.told(event)] == ["COST_SPIKE"]


def test_a_last_flush_is_no_spike_for_a_bounded_time() -> None:
    fleet = running()
    beating(fleet, *[1_000] * 10)
    fleet.beat("a", fleet.now_ms + 1_000, Heartbeat(status=Status.DRAINING, tokens=90_000))
    assert not fleet.told("cost.spike")
    fleet.beat("a", fleet.now_ms + 299_999, Heartbeat(tokens=90_000))
    assert not fleet.told("cost.spike")
    fleet.beat("a", fleet.now_ms + 1, Heartbeat(tokens=90_000))
    assert fleet.told("cost.spike")


def test_whoever_says_again_and_again_that_it_shuts_down_is_judged() -> None:
    fleet = running()
    beating(fleet, *[1_000] * 10)
    fleet.beat("a", fleet.now_ms + 1, Heartbeat(status=Status.DRAINING))
    fleet.beat("a", fleet.now_ms + 1, Heartbeat(status=Status.WORKING))
    fleet.beat("a", fleet.now_ms + 300_000, Heartbeat(status=Status.DRAINING, tokens=90_000))
    assert fleet.told("cost.spike")


def test_a_cycle_is_known_by_its_calls_as_well() -> None:
    fleet = Fleet({"a": config()}).start()
    for number in range(11):
        usage = Usage(input_tokens=1_000 if number < 10 else 10_001)
        fleet.beat("a", fleet.now_ms + 30_000, Call(f"c{number}", start=False, usage=usage))
        fleet.beat("a", fleet.now_ms, Heartbeat())
    assert len(fleet.told("cost.spike")) == 1
