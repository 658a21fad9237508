"""`[fleet] nats` is taken out of the config: nothing that was about other hosts stays open."""

import pytest

from agentd.config.schema import FleetConfig
from agentd.core import effects as do
from agentd.core.budgets import FLEET_BUDGET
from agentd.core.host_views import RemoteBreaker
from agentd.core.hosts import Remote
from agentd.core.lines import BreakerReport
from agentd.core.states import Intent
from agentd.wire.fleet import fleet_document
from tests.core.cases import MINUTE, SILENT_OK, S, alerts, only
from tests.core.fleet import Fleet, config
from tests.core.others import (
    TODAY,
    USD,
    agent,
    assert_paused_at,
    begun_anew,
    host,
    intent_of,
    link,
    linked,
    reload,
    see,
    see_until,
    spend,
    spending,
)

ALONE = FleetConfig()
ALONE_WITH_BUDGET = FleetConfig(budget=link(10.0).budget)
NO_OTHERS = "this host hears of no other any more"
LOST = host("machine-3", agent("orders"), lost=True, announce=True)


def dependent() -> Fleet:
    return linked({"a": config(heartbeat=SILENT_OK, depends_on=["machine-3/orders"])}).start()


@pytest.mark.parametrize("by_restart", [False, True])
def test_an_incident_of_a_lost_host_ends_and_says_why(by_restart: bool) -> None:
    fleet = dependent()
    see_until(fleet, MINUTE, LOST)
    assert only(fleet).resolved_at_ms is None
    if by_restart:
        fleet = begun_anew(fleet, ALONE)
    else:
        reload(fleet, ALONE, at_ms=MINUTE + 1 * S)
    assert only(fleet).resolution == NO_OTHERS
    [resolved] = alerts(fleet, "resolve")
    assert NO_OTHERS in resolved.record.message
    assert fleet.told("host.back") == [], "nobody has seen it"


def test_what_was_known_of_others_is_forgotten() -> None:
    fleet = dependent()
    see(fleet, 1 * S, host("machine-3", agent("orders", ready=False)), host("m4", lost=True))
    reload(fleet, ALONE, at_ms=2 * S)
    hosts = fleet.core.hosts
    assert (hosts.lost, hosts.here, hosts.agents) == (frozenset(), frozenset(), {})
    reload(fleet, link(), at_ms=3 * S)
    assert hosts.how_is("machine-3/orders") is Remote.UNKNOWN
    assert hosts.is_unheard


def test_a_view_that_was_under_way_is_answered_and_not_gone_by() -> None:
    fleet = dependent()
    reload(fleet, ALONE, at_ms=1 * S)
    reply = see(fleet, 2 * S, LOST, breakers=(RemoteBreaker("machine-3", "api"),))
    assert reply.result is not None
    assert fleet.told("host.lost") == []
    assert fleet.core.hosts.connected is None
    assert fleet.core.hosts.open_elsewhere == {}


@pytest.mark.parametrize("by_restart", [False, True])
def test_the_incident_of_the_fleet_s_budget_ends_once_its_agents_are_well(by_restart: bool) -> None:
    fleet = spending()
    spend(fleet, "a", 5.0, 1 * S)
    see(fleet, 2 * S, date=TODAY, others_micros=5 * USD, hosts_total=2)
    assert intent_of(fleet, "a") is Intent.PAUSED
    if by_restart:
        fleet = begun_anew(fleet, ALONE_WITH_BUDGET)
    else:
        reload(fleet, ALONE_WITH_BUDGET, at_ms=3 * S)
    fleet.pass_time(fleet.now_ms + 5 * S)
    assert fleet.core.hosts.over_budget is False
    assert intent_of(fleet, "a") is Intent.PAUSED, "nothing that a budget stopped goes on by itself"
    reply = fleet.ask("resume", "a")
    assert "overridden" not in str(reply.result)
    fleet.pass_time(fleet.now_ms + 2 * MINUTE)
    assert only(fleet).resolved_at_ms is not None


def test_the_incident_of_the_fleet_s_budget_says_that_there_are_no_others() -> None:
    fleet = spending()
    spend(fleet, "a", 10.0, 1 * S)
    see(fleet, 2 * S, date=TODAY)
    fleet.ask("resume", "a", at_ms=3 * S)
    see_until(fleet, 2 * MINUTE, date=TODAY)
    assert only(fleet).resolved_at_ms is None
    reload(fleet, ALONE_WITH_BUDGET, at_ms=3 * MINUTE)
    assert only(fleet).resolution == NO_OTHERS


def test_a_breaker_that_was_open_elsewhere_no_longer_warns() -> None:
    fleet = linked({"a": config(heartbeat=SILENT_OK)}).start()
    fleet.beat("a", 1 * S, BreakerReport("api", True, 1, None))
    see(fleet, 2 * S, breakers=(RemoteBreaker("machine-3", "api"),))
    reload(fleet, ALONE, at_ms=3 * S)
    assert fleet.core.hosts.open_elsewhere == {}
    [closed] = fleet.told("breaker.closed")
    assert closed.message == (
        "dependency 'api' failed on machine-3 when that was last heard; "
        "this host hears of no other any more"
    )
    controls = [one for _, one in fleet.effects if isinstance(one, do.Control)]
    assert [one.data["state"] for one in controls if one.action == "steer"] == ["open", "closed"]


def test_a_link_that_is_back_begins_with_no_other_host_s_spending() -> None:
    fleet = spending()
    spend(fleet, "a", 1.0, 1 * S)
    see(fleet, 2 * S, date=TODAY, others_micros=8 * USD, hosts_total=4)
    reload(fleet, ALONE, at_ms=3 * S)
    assert fleet_document(fleet.core) is None
    reload(fleet, link(10.0), at_ms=4 * S)
    see(fleet, 5 * S, connected=False)
    assert_paused_at(fleet, "a", 9.0)


def test_a_person_s_word_outlasts_a_link_that_comes_back_the_same_day() -> None:
    fleet = spending()
    spend(fleet, "a", 10.0, 1 * S)
    see(fleet, 2 * S, date=TODAY)
    fleet.ask("resume", "a", at_ms=3 * S)
    reload(fleet, ALONE_WITH_BUDGET, at_ms=4 * S)
    reload(fleet, link(10.0), at_ms=5 * S)
    see(fleet, 6 * S, date=TODAY)
    assert fleet["a"].durable.budgets_overridden == (FLEET_BUDGET,)
    assert intent_of(fleet, "a") is Intent.UP
