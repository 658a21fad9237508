"""Counters that only rise: of a whole life, and of this daemon."""

from agentd.config.agent import RestartConfig
from agentd.core import events as ev
from agentd.core.lines import Heartbeat
from agentd.core.records import Durable
from agentd.core.tally import LATENCY_BOUNDS_MS, LATENCY_BUCKETS
from agentd.wire.counters import counters_document, restarts_by_reason
from tests.core.fleet import Fleet, config, running


def test_restarts_are_counted_by_the_end_that_they_followed() -> None:
    fleet = Fleet({"a": config(restart=RestartConfig(cooldown_ms=1_000))}).start()
    fleet.end("a", 10_000, code=1)
    fleet.end("a", 20_000, signal=11)
    fleet.end("a", 30_000, code=1)
    fleet.ask("start", "a", at_ms=40_000)
    durable = fleet["a"].durable
    assert restarts_by_reason(durable) == {"EXITED": 2, "CRASHED": 1}
    assert sum(restarts_by_reason(durable).values()) == durable.restarts


def test_restarts_of_before_reasons_were_counted_are_of_unknown_reason() -> None:
    durable = Durable(restarts=7, restarts_by_reason={"EXITED": 2, "UNKNOWN": 1})
    assert restarts_by_reason(durable) == {"EXITED": 2, "UNKNOWN": 5}


def test_latencies_add_up_over_minutes_and_none_is_counted_twice() -> None:
    fleet = running()
    fleet.beat("a", 2_000, Heartbeat(latencies_ms=(3.0, 30.0)))
    before = counters_document(fleet["a"])["latency_histogram"]
    fleet.tell(ev.MinuteEnded(0), 60_000)
    assert counters_document(fleet["a"])["latency_histogram"] == before
    fleet.beat("a", 62_000, Heartbeat(latencies_ms=(9e9,), successes=1))
    shown = counters_document(fleet["a"])
    assert shown["tasks_success"] == 1
    told = shown["latency_histogram"]
    assert isinstance(told, dict)
    assert told["bounds_ms"] == list(LATENCY_BOUNDS_MS)
    assert len(told["counts"]) == LATENCY_BUCKETS
    assert (told["count"], told["sum_ms"]) == (3, 33.0 + 9e9)
    assert [told["counts"][place] for place in (2, 5, -1)] == [1, 1, 1]


def test_cost_is_unknown_until_somebody_tells_it() -> None:
    fleet = running()
    fleet.beat("a", 2_000, Heartbeat(tokens=100))
    assert counters_document(fleet["a"])["cost_usd_total"] is None
    fleet.beat("a", 3_000, Heartbeat(tokens=100, cost_micros=2_500_000))
    assert counters_document(fleet["a"])["cost_usd_total"] == 2.5
