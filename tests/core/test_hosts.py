"""Other hosts: what is waited for there and for how long, who is lost, and what is one incident."""

from typing import Any

import pytest

from agentd.config.agent import HeartbeatConfig, RestartConfig
from agentd.config.schema import Config
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.host_views import RemoteBreaker, RemoteHost
from agentd.core.incident import HOST_FORGOTTEN_MS
from agentd.core.lines import BreakerReport
from agentd.core.states import State
from agentd.wire.dependencies import breakers_document
from agentd.wire.documents import agent_document
from tests.core.cases import MINUTE, SILENT_OK, S, alerts, kept, only
from tests.core.fleet import Fleet, config
from tests.core.others import PATIENCE_MS, agent, begun_anew, host, link, linked, see, see_until

OTHER = "machine-3/orders"


def dependent(*names: str, **keys: object) -> Fleet:
    """Agents here that depend on one of machine-3."""
    keys = {"heartbeat": SILENT_OK, "depends_on": [OTHER]} | keys
    return linked({name: config(**keys) for name in names or ("a",)}).start()


def blocked_by(fleet: Fleet, name: str = "a") -> object:
    found = agent_document(fleet[name], fleet.core.agents, fleet.now_ms, 0, hosts=fleet.core.hosts)
    return found["blocked_by"]


# -- what is waited for ------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "starts"),
    [
        (host("machine-3", agent("orders")), True),
        (host("machine-3", agent("orders", ready=False)), False),
        (host("machine-3", agent("another")), False),  # nothing is known of the one that counts
        (host("machine-3", agent("orders"), lost=True), False),  # what it said last is history
        (host("machine-4", agent("orders")), False),
    ],
)
def test_an_agent_starts_once_the_one_elsewhere_is_ready(seen: RemoteHost, starts: bool) -> None:
    fleet = dependent()
    assert fleet.starts_of("a") == []
    assert blocked_by(fleet) == [OTHER]
    see(fleet, 1 * S, seen)
    assert fleet.starts_of("a") == ([1 * S] if starts else [])
    assert blocked_by(fleet) == ([] if starts else [OTHER])


def test_a_whole_view_in_which_it_is_not_ready_is_waited_for_without_end() -> None:
    fleet = dependent()
    see_until(fleet, 30 * MINUTE, host("machine-3", agent("orders", ready=False)))
    assert fleet.starts_of("a") == []
    see(fleet, fleet.now_ms + 1, host("machine-3", agent("orders")))
    assert fleet.starts_of("a") == [30 * MINUTE + 1]


@pytest.mark.parametrize("cut_off", [False, True])
def test_a_start_waits_for_a_view_that_never_comes_no_longer_than_its_bound(
    cut_off: bool,
) -> None:
    fleet = dependent()
    for at_ms in range(0, PATIENCE_MS, 5 * S) if cut_off else ():
        see(fleet, at_ms, connected=False)
    fleet.pass_time(PATIENCE_MS - 1)
    assert fleet.starts_of("a") == []
    fleet.pass_time(10 * MINUTE)
    assert fleet.starts_of("a") == [PATIENCE_MS]
    [warning] = [one for one in fleet.told("agent.starting") if one.severity == "warning"]
    assert warning.message.startswith(f"starts without {OTHER}, of which nothing better is known")
    assert alerts(fleet) == []


def test_cut_off_what_was_last_known_stands() -> None:
    fleet = dependent()
    see(fleet, 1 * S, host("machine-3", agent("orders")))
    see(fleet, 2 * S, connected=False)
    fleet.ask("stop", "a", at_ms=3 * S)
    fleet.end("a", 4 * S, signal=15)
    fleet.ask("start", "a", at_ms=10 * MINUTE)
    assert fleet.starts_of("a") == [1 * S, 10 * MINUTE]
    assert not [one for one in fleet.told("agent.starting") if one.severity == "warning"]


def test_cut_off_what_was_last_known_to_be_out_is_waited_for_no_longer_than_the_bound() -> None:
    fleet = dependent()
    see(fleet, 1 * S, host("machine-3", agent("orders", ready=False)))
    fleet.pass_time(10 * MINUTE)
    assert fleet.starts_of("a") == [1 * S + PATIENCE_MS]
    assert blocked_by(fleet) == [OTHER], "it is out, as far as anybody knows, and is shown"


def test_a_new_view_is_gone_by_again_and_stops_nobody_that_runs() -> None:
    fleet = dependent("a", "b")
    fleet.ask("stop", "b", at_ms=1 * S)
    fleet.pass_time(PATIENCE_MS)
    assert fleet.starts_of("a") == [PATIENCE_MS]
    see(fleet, PATIENCE_MS + 1, host("machine-3", agent("orders", ready=False)))
    fleet.ask("start", "b", at_ms=PATIENCE_MS + 2)
    assert fleet.state_of("a") is State.RUNNING
    assert fleet.starts_of("b") == []


def test_of_what_runs_an_outage_elsewhere_is_shown_and_that_nothing_is_known_is_not() -> None:
    fleet = dependent()
    see(fleet, 1 * S, host("machine-3", agent("orders")))
    after = begun_anew(fleet)
    assert (after.state_of("a"), blocked_by(after)) == (State.RUNNING, [])
    see(after, 2 * S, host("machine-3", agent("orders", ready=False)))
    assert (after.state_of("a"), blocked_by(after)) == (State.RUNNING, [OTHER])


def test_without_a_link_nobody_elsewhere_is_waited_for() -> None:
    fleet = Fleet({"a": config(depends_on=[OTHER])}).start()
    assert fleet.starts_of("a") == [0]
    assert blocked_by(fleet) == []


def test_a_link_that_is_configured_away_ends_the_waiting() -> None:
    fleet = dependent()
    assert fleet.starts_of("a") == []
    fleet.tell(ev.Configured(Config(agents={"a": fleet["a"].config})), 1 * S)
    assert fleet.starts_of("a") == [1 * S]


def test_time_in_which_the_daemon_stood_still_is_not_waited() -> None:
    fleet = dependent()
    fleet.now_ms = 60 * S
    fleet.tell(ev.Gap(60 * S, "suspend"))
    assert fleet.starts_of("a") == []
    see(fleet, 61 * S, host("machine-3", agent("orders")))
    assert fleet.starts_of("a") == [61 * S]


def test_the_link_is_told_whom_we_depend_on_and_what_fails_here() -> None:
    agents = {
        "a": config(depends_on=["z", OTHER, "machine-4/x"]),
        "b": config(depends_on=[OTHER]),
        "z": config(heartbeat=SILENT_OK),
    }
    fleet = linked(agents).start()
    for number in range(5):
        fleet.beat("z", 1_000 + number, BreakerReport("api", False, 1, "429"))
    reply = see(fleet, 2 * S)
    assert reply.result is not None
    assert reply.result["depends_on"] == [OTHER, "machine-4/x"]
    assert reply.result["breakers"] == [{"name": "api", "state": "open"}]
    assert reply.result["budget_usd_per_day"] is None


# -- what it explains --------------------------------------------------------

QUICK = RestartConfig(failures_max=9)


@pytest.mark.parametrize(
    ("seen", "reason", "evidence"),
    [
        (host("machine-3", agent("orders")), "EXITED", ""),
        (host("machine-3", agent("orders", ready=False)), "DEPENDENCY_DOWN", OTHER),
        (
            host("machine-3", agent("orders", ready=False, reason="OOM_KILLED")),
            "DEPENDENCY_DOWN",
            f"{OTHER} (OOM_KILLED)",
        ),
        (host("machine-3", lost=True), "DEPENDENCY_DOWN", f"{OTHER} (its host is lost)"),
        (host("machine-4", lost=True), "EXITED", ""),
    ],
)
def test_an_outage_elsewhere_explains_a_failure_here(
    seen: RemoteHost, reason: str, evidence: str
) -> None:
    fleet = dependent(restart=QUICK)
    see(fleet, 1 * S, host("machine-3", agent("orders")))
    see(fleet, 2 * S, seen)
    assert fleet.state_of("a") is State.RUNNING, "an outage stops nobody by itself"
    fleet.end("a", 3 * S, code=1)
    [ended] = fleet.told("agent.exited")
    assert ended.reason == reason
    assert evidence in ended.message


def test_agents_that_fail_for_want_of_the_same_one_elsewhere_are_one_incident() -> None:
    names = ["a", "b", "c"]
    fleet = dependent(*names, restart=QUICK)
    see(fleet, 1 * S, host("machine-3", agent("orders")))
    see_until(fleet, MINUTE, host("machine-3", agent("orders", ready=False)))
    for place, name in enumerate(names):  # far enough from each other not to look alike
        fleet.end(name, MINUTE + place * 10 * S, code=1 + place)
        fleet.pass_time(fleet.now_ms + 5 * S)
    assert only(fleet).agents == tuple(names)
    assert only(fleet).cause == "DEPENDENCY_DOWN"


def test_who_depends_on_it_by_way_of_another_has_part_in_the_same_incident() -> None:
    agents = {
        "a": config(heartbeat=SILENT_OK, depends_on=[OTHER], restart=QUICK),
        "front": config(heartbeat=SILENT_OK, depends_on=["mid"], restart=QUICK),
        "mid": config(heartbeat=SILENT_OK, depends_on=[OTHER]),
    }
    fleet = linked(agents).start()
    see(fleet, 1 * S, host("machine-3", agent("orders")))
    see_until(fleet, MINUTE, host("machine-3", agent("orders", ready=False)))
    fleet.end("a", MINUTE, code=1)
    fleet.end("front", MINUTE + 5 * S, code=2)
    assert only(fleet).agents == ("a", "front")


def test_an_incident_of_other_trouble_is_not_joined_for_an_outage_elsewhere() -> None:
    fleet = dependent("a", "b", restart=QUICK)
    see(fleet, 1 * S, host("machine-3", agent("orders")))
    fleet.tell(ev.OomChild("a", fleet["a"].incarnation, "a helper"), 2 * S)
    see(fleet, 3 * S, host("machine-3", agent("orders", ready=False)))
    fleet.end("b", 10 * S, code=1)
    assert [one.agents for one in kept(fleet).values()] == [("a",), ("b",)]


# -- who is lost -------------------------------------------------------------

LOST = host("machine-3", agent("orders"), agent("refunds"), lost=True, announce=True)


def test_a_lost_host_is_one_incident_and_one_alert_that_names_its_agents() -> None:
    fleet = dependent(restart=QUICK)
    see(fleet, 1 * S, host("machine-3", agent("orders")))
    see_until(fleet, 5 * MINUTE, LOST)
    [lost] = fleet.told("host.lost")
    assert lost.severity == "critical"
    assert lost.data["agents"] == ["orders", "refunds"]
    assert lost.message.endswith("its agents: orders, refunds")
    [alert] = alerts(fleet)
    assert alert.incident is not None
    assert alert.incident.shared_key == "host.lost:machine-3"
    fleet.end("a", fleet.now_ms + 1, code=1)
    assert only(fleet).agents == ("a",), "what fails for it is part of it"


def test_it_is_back_and_that_is_told_once() -> None:
    fleet = dependent()
    see_until(fleet, MINUTE, LOST)
    see_until(fleet, 2 * MINUTE, host("machine-3", agent("orders")))
    [back] = fleet.told("host.back")
    assert (back.severity, back.incident) == ("info", 1)
    assert only(fleet).resolution == "the host is back"
    [resolved] = alerts(fleet, "resolve")
    assert resolved.incident is not None
    assert resolved.incident.shared_key == "host.lost:machine-3"


def test_who_need_not_tell_is_silent_and_so_is_who_is_cut_off_himself() -> None:
    fleet = dependent()
    see(fleet, 1 * S, host("machine-3", agent("orders")))
    see_until(fleet, MINUTE, host("machine-3", lost=True))
    see_until(fleet, 2 * MINUTE, LOST, connected=False)
    see_until(fleet, 3 * MINUTE, host("machine-3"))
    assert fleet.told("host.lost", "host.back") == []
    assert kept(fleet) == {}


def test_who_is_to_tell_it_later_tells_it_then() -> None:
    fleet = dependent()
    see(fleet, 1 * S, host("machine-3", lost=True))
    see(fleet, 2 * S, LOST)
    see(fleet, 3 * S, host("machine-3", lost=True))  # and no more: it is told
    assert len(fleet.told("host.lost")) == 1
    assert only(fleet).resolved_at_ms is None


def test_a_new_daemon_does_not_tell_it_again_and_tells_that_it_is_back() -> None:
    fleet = dependent()
    see_until(fleet, MINUTE, LOST)
    after = begun_anew(fleet)
    see(after, after.now_ms + 1 * S, LOST)
    assert after.told("host.lost") == []
    see(after, after.now_ms + 1 * S, host("machine-3"))
    assert len(after.told("host.back")) == 1
    assert only(after).resolution == "the host is back"


def test_it_is_back_once_also_where_agents_are_part_of_its_incident_still() -> None:
    fleet = dependent(restart=QUICK)
    see(fleet, 1 * S, host("machine-3", agent("orders")))
    see_until(fleet, MINUTE, LOST)
    fleet.end("a", fleet.now_ms + 1, code=1)
    see(fleet, fleet.now_ms + 1 * S, host("machine-3", agent("orders", ready=False)))
    assert len(fleet.told("host.back")) == 1
    assert only(fleet).resolved_at_ms is None, "what failed for it isn't well yet"
    after = begun_anew(fleet)
    see(after, after.now_ms + 1 * S, host("machine-3", agent("orders", ready=False)))
    assert after.told("host.back") == []
    see(after, after.now_ms + 1 * S, LOST)
    assert len(after.told("host.lost")) == 1
    assert list(kept(after)) == [1]


def test_a_host_that_comes_and_goes_is_the_same_incident_again() -> None:
    fleet = dependent()
    for _ in range(3):
        see_until(fleet, fleet.now_ms + MINUTE, LOST)
        see_until(fleet, fleet.now_ms + MINUTE, host("machine-3"))
    assert only(fleet).reopened == 2


def test_a_lost_host_that_nobody_knows_any_more_is_closed_after_a_day() -> None:
    fleet = dependent()
    see_until(fleet, MINUTE, LOST)
    see_until(fleet, MINUTE + HOST_FORGOTTEN_MS - MINUTE)
    assert only(fleet).resolved_at_ms is None
    see_until(fleet, MINUTE + HOST_FORGOTTEN_MS + MINUTE)
    assert only(fleet).resolution == "no host knows of it any more"


def test_a_lost_host_stays_lost_while_nobody_can_be_asked() -> None:
    fleet = dependent()
    see_until(fleet, MINUTE, LOST)
    fleet.pass_time(MINUTE + 2 * HOST_FORGOTTEN_MS)
    assert only(fleet).resolved_at_ms is None


def test_two_lost_hosts_are_two_incidents() -> None:
    fleet = dependent()
    other = host("machine-4", lost=True, announce=True)
    see(fleet, 1 * S, LOST, other)
    assert [one.shared_key for one in kept(fleet).values()] == [
        "host.lost:machine-3",
        "host.lost:machine-4",
    ]


# -- breakers elsewhere ------------------------------------------------------

ELSEWHERE = (RemoteBreaker("machine-3", "api"), RemoteBreaker("machine-2", "api"))


def caller() -> Fleet:
    fleet = linked({"a": config(heartbeat=SILENT_OK), "b": config(heartbeat=SILENT_OK)}).start()
    fleet.beat("a", 1 * S, BreakerReport("api", True, 1, None))
    return fleet


def steered(fleet: Fleet) -> list[tuple[str, object]]:
    controls = [one for _, one in fleet.effects if isinstance(one, do.Control)]
    return [(one.agent, one.data.get("state")) for one in controls if one.action == "steer"]


def test_a_breaker_that_is_open_elsewhere_warns_who_uses_it_here_and_opens_nothing() -> None:
    fleet = caller()
    see_until(fleet, MINUTE, breakers=ELSEWHERE)
    [opened] = fleet.told("breaker.opened")
    assert (opened.severity, opened.data["hosts"]) == ("info", ["machine-2", "machine-3"])
    assert steered(fleet) == [("a", "open")]
    assert (alerts(fleet), kept(fleet)) == ([], {})
    document: dict[str, Any] = breakers_document(
        fleet.core.breakers, fleet.core.hosts, fleet.now_ms, 0
    )
    [shown] = document["breakers"]
    assert (shown["state"], shown["elsewhere"]) == ("closed", ["machine-2", "machine-3"])
    see(fleet, MINUTE + 1, breakers=ELSEWHERE[:1])
    assert len(fleet.told("breaker.opened", "breaker.closed")) == 1
    see(fleet, MINUTE + 2)
    assert steered(fleet) == [("a", "open"), ("a", "closed")]
    assert len(fleet.told("breaker.closed")) == 1


def test_a_breaker_elsewhere_that_nobody_here_uses_is_nobody_s_news() -> None:
    fleet = linked({"a": config(heartbeat=SILENT_OK)}).start()
    see(fleet, 1 * S, breakers=ELSEWHERE)
    assert fleet.told("breaker.opened") == []
    assert steered(fleet) == []


def test_what_a_host_that_is_cut_off_says_of_breakers_is_not_heard() -> None:
    fleet = caller()
    see(fleet, 2 * S, connected=False, breakers=ELSEWHERE)
    assert fleet.told("breaker.opened") == []


def test_an_agent_with_a_link_and_no_other_host_beats_as_without() -> None:
    fleet = linked({"a": config(heartbeat=HeartbeatConfig())}, link()).start()
    fleet.beat("a", 1 * S)
    see_until(fleet, MINUTE)
    assert fleet.state_of("a") is State.RUNNING
