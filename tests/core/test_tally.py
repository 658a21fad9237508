"""Minutes: what is told of each adds up to what was counted, over any number of crashes."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.config.agent import AgentConfig, RestartConfig
from agentd.config.schema import Config
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.lines import Call, Heartbeat
from agentd.core.records import Durable, Rolled, Rollup
from agentd.core.tally import LATENCY_BOUNDS_MS, LATENCY_BUCKETS, quantile_ms
from tests.core.fleet import Fleet, config, running

MINUTE_MS = 60_000
TOTALS = ("heartbeats", "tokens", "cost_micros", "unpriced", "restarts", "cycles", "successes")


def minute(fleet: Fleet, at_ms: int, begins_ms: int = 0) -> dict[str, Rollup]:
    """End a minute; what was told of it, by agent."""
    made = fleet.tell(ev.MinuteEnded(begins_ms), at_ms)
    saved = [each for each in made if isinstance(each, do.SaveRollups)]
    return {one.agent: one for each in saved for one in each.rollups}


def test_a_minute_tells_what_was_done_since_the_last_one() -> None:
    fleet = running()
    spent = Heartbeat(
        tokens=900, cost_micros=10_000, successes=2, failures=1, latencies_ms=(3.0, 9e9)
    )
    fleet.beat("a", 2_000, spent)
    fleet.tell(ev.Sampled("a", 1, 500), 3_000)
    fleet.tell(ev.Sampled("a", 1, 300), 4_000)
    told = minute(fleet, 60_000, 120_000)["a"]
    assert (told.begins_ms, told.heartbeats, told.cycles) == (120_000, 2, 1)
    assert (told.tokens, told.cost_micros, told.successes, told.failures) == (900, 10_000, 2, 1)
    assert (told.rss_min_bytes, told.rss_max_bytes) == (300, 500)
    assert told.latency_counts[2] == told.latency_counts[-1] == 1
    fleet.beat("a", 61_000, replace(spent, tokens=100, latencies_ms=()))
    told = minute(fleet, 120_000, 180_000)["a"]
    assert (told.heartbeats, told.tokens) == (1, 100)
    assert (told.latency_counts, told.rss_max_bytes) == ((), None)


def test_time_is_told_by_how_it_stood() -> None:
    fleet = Fleet({"a": config(restart=RestartConfig(cooldown_ms=20_000))}).start()
    fleet.beat("a", 10_000)
    fleet.end("a", 30_000, code=1)  # the first restart of a row is made at once
    fleet.end("a", 35_000, code=1)  # the second waits for the cooldown to be over
    told = minute(fleet, 60_000)["a"]
    assert (told.unknown_ms, told.healthy_ms, told.down_ms) == (25_000, 20_000, 15_000)
    assert told.restarts == 2


def test_who_rests_and_did_nothing_is_not_told_of() -> None:
    fleet = Fleet({"a": config(autostart=False), "b": config()}).start()
    assert minute(fleet, 60_000).keys() == {"b"}
    fleet.ask("stop", "b", at_ms=70_000)
    fleet.end("b", 71_000, signal=15)
    told = minute(fleet, 120_000)["b"]  # it was up for a part of it
    assert told.rest_ms > 0
    assert "b" not in minute(fleet, 180_000)


def test_a_gap_of_our_own_is_nobodys_time() -> None:
    fleet = running()
    minute(fleet, 60_000)
    fleet.tell(ev.Gap(20_000, "stall"), 85_000)
    told = minute(fleet, 120_000)["a"]
    assert told.healthy_ms + told.degraded_ms + told.unreachable_ms + told.unknown_ms == 40_000


def test_what_rollups_tell_of_is_durable_in_the_same_batch() -> None:
    fleet = running()
    fleet.beat("a", 2_000, Heartbeat(tokens=10))
    made = fleet.tell(ev.MinuteEnded(0), 60_000)
    kept = [each for each in made if isinstance(each, do.Persist)]
    assert [one.durable.rolled for one in kept] == [Rolled(2, 1, 10, 0, 1)]
    assert not any(one.lazy for one in kept)


def test_a_daemon_that_ends_tells_of_the_minute_that_runs() -> None:
    fleet = running()
    assert not [each for each in fleet.core.last_words(30_000) if isinstance(each, do.SaveRollups)]
    minute(fleet, 60_000, begins_ms=600_000)
    fleet.beat("a", 61_000, Heartbeat(tokens=7))
    [told] = [each for each in fleet.core.last_words(70_000) if isinstance(each, do.SaveRollups)]
    assert [(one.begins_ms, one.tokens) for one in told.rollups] == [(660_000, 7)]


def test_what_was_removed_is_told_of() -> None:
    fleet = running()
    minute(fleet, 60_000)
    fleet.beat("a", 61_000, Heartbeat(tokens=7))
    fleet.tell(ev.Configured(Config(), remove=True), 62_000)
    made = fleet.end("a", 63_000, signal=15)
    [told] = [each for each in made if isinstance(each, do.SaveRollups)]
    assert [one.tokens for one in told.rollups] == [7]


def test_a_record_older_than_rollups_begins_with_its_totals() -> None:
    old = Durable(tokens=1_000_000, heartbeats=9, rolled=None)
    fleet = Fleet({"a": config()}).start({"a": ev.Fate(old)})
    fleet.pass_time(1_000)
    fleet.beat("a", 2_000, Heartbeat(tokens=5))
    assert minute(fleet, 60_000)["a"].tokens == 5


@dataclass
class Disk:
    """What is durable: agents as they were last written, and rollups, added up."""

    agents: dict[str, Durable] = field(default_factory=dict)
    rolled: Counter[str] = field(default_factory=Counter)

    def write(self, effects: list[do.Effect]) -> None:
        for each in effects:
            if isinstance(each, do.Persist):
                self.agents[each.agent] = each.durable.copy()
            elif isinstance(each, do.SaveRollups):
                for one in each.rollups:
                    self.rolled.update({name: getattr(one, name) for name in TOTALS})


WORDS = st.one_of(
    st.tuples(st.just("beat"), st.integers(0, 500), st.sampled_from((None, 0, 7, 1_000))),
    st.tuples(st.just("call"), st.integers(0, 500), st.sampled_from((None, 9))),
    st.sampled_from((("minute",), ("exit",), ("crash",), ("wait",), ("close",))),
)


@settings(deadline=None)
@given(st.lists(WORDS, max_size=60))
def test_rollups_add_up_to_what_was_counted_over_crashes(words: list[tuple[object, ...]]) -> None:
    disk, now_ms, minute_ms = Disk(), 0, 0
    agents: dict[str, AgentConfig] = {"a": config(restart=RestartConfig(cooldown_ms=1_000))}
    fleet = Fleet(agents)
    disk.write(fleet.tell(ev.Started({})))
    for word in words:
        seen = len(fleet.effects)
        now_ms = fleet.now_ms + 1_500
        fleet.pass_time(now_ms)
        match word:
            case ("beat", tokens, micros):
                fleet.beat("a", now_ms, Heartbeat(tokens=tokens, cost_micros=micros, successes=1))
            case ("call", _, micros):
                fleet.beat("a", now_ms, Call("c", start=False, cost_micros=micros))
            case ("minute",):
                fleet.tell(ev.MinuteEnded(minute_ms))
                minute_ms += MINUTE_MS
            case ("exit",):
                fleet.end("a", code=1)
        disk.write([effect for _, effect in fleet.effects[seen:]])
        if word[0] in ("crash", "close"):
            if word[0] == "close":
                disk.write(fleet.core.last_words(now_ms))
            fates = {name: ev.Fate(one.copy()) for name, one in disk.agents.items()}
            fleet = Fleet(agents)
            fleet.now_ms = now_ms
            disk.write(fleet.tell(ev.Started(fates)))
        on_disk = disk.agents["a"].rolled or Rolled()
        assert disk.rolled == Counter({name: getattr(on_disk, name) for name in TOTALS})
        live = fleet["a"].durable
        assert live.tokens >= on_disk.tokens
    disk.write(fleet.tell(ev.MinuteEnded(minute_ms)))
    live = fleet["a"].durable
    assert disk.rolled["tokens"] == live.tokens
    assert disk.rolled["heartbeats"] == live.heartbeats
    assert disk.rolled["cost_micros"] == live.cost_micros
    assert disk.rolled["restarts"] == live.restarts


@pytest.mark.parametrize(
    ("latencies_ms", "share", "expected_ms"),
    [
        ([], 0.5, None),
        ([0.0], 0.5, 1.0),
        ([1.0], 0.5, 1.0),  # a bound belongs to the bucket below it
        ([100.1, 150, 200, 200], 0.5, 150.0),
        ([100.1, 150, 200, 200], 1.0, 200.0),
        ([1] * 99 + [900], 0.99, 1.0),
        ([1] * 98 + [900] * 2, 0.99, 750.0),
        ([9e9], 0.5, 3_600_000.0),  # beyond an hour nobody counts on
    ],
)
def test_a_quantile_is_read_from_counts(
    latencies_ms: list[float], share: float, expected_ms: float | None
) -> None:
    fleet = running()
    if latencies_ms:
        fleet.beat("a", 2_000, Heartbeat(latencies_ms=tuple(latencies_ms)))
    assert quantile_ms(minute(fleet, 60_000)["a"].latency_counts, share) == expected_ms


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 3_600_000), min_size=1, max_size=200), st.floats(0, 1))
def test_a_quantile_is_off_by_less_than_its_bucket(latencies: list[float], share: float) -> None:
    counts = [0] * LATENCY_BUCKETS
    for one in latencies:
        counts[bisect_left(LATENCY_BOUNDS_MS, one)] += 1
    ranked = sorted(latencies)
    true_ms = ranked[min(max(-int(-share * len(ranked) // 1), 1), len(ranked)) - 1]
    found_ms = quantile_ms(counts, share)
    assert found_ms is not None
    assert bisect_left(LATENCY_BOUNDS_MS, found_ms) == bisect_left(LATENCY_BOUNDS_MS, true_ms)
