"""What operators do: nothing of it is an incident, and all of it acknowledges one."""

import pytest

from agentd.config.agent import HeartbeatConfig, MemoryConfig, RestartConfig
from agentd.config.schema import AlertsConfig, Config
from agentd.config.units import Bytes, Milliseconds
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.states import Intent, State
from agentd.wire.documents import status_document
from tests.core.cases import HOUR, S, alerts, fleet_of, kept, only
from tests.core.fleet import Fleet, config

MIB = 1 << 20


def crashed() -> Fleet:
    fleet = fleet_of("a")
    fleet.end("a", 10 * S, signal=11)
    return fleet


def escalated() -> Fleet:
    fleet = fleet_of("a", restart=RestartConfig(failures_max=1))
    fleet.end("a", 10 * S, signal=11)
    assert fleet.state_of("a") is State.ESCALATED
    return fleet


# -- nothing that they do is trouble ------------------------------------------


@pytest.mark.parametrize("cmd", ["stop", "kill", "restart", "pause"])
def test_what_an_operator_did_opens_none(cmd: str) -> None:
    fleet = fleet_of("a")
    fleet.ask(cmd, "a", at_ms=10 * S)
    if cmd != "pause":  # a frozen one that ends was killed by somebody else
        fleet.end("a", 11 * S, signal=15)
    fleet.pass_time(60 * S)
    assert kept(fleet) == {}
    assert not alerts(fleet)


def test_a_plain_signal_of_an_operator_opens_none() -> None:
    fleet = fleet_of("a")
    fleet.ask("signal", "a", at_ms=10 * S, signal="SIGTERM")
    fleet.end("a", 11 * S, signal=15)
    assert kept(fleet) == {}


def test_the_end_of_agentd_itself_opens_none() -> None:
    fleet = fleet_of("a")
    fleet.tell(ev.ShutdownAsked("ada"), 10 * S)
    fleet.end("a", 11 * S, signal=15)
    assert kept(fleet) == {}


# -- their acts ----------------------------------------------------------------


@pytest.mark.parametrize("cmd", ["restart", "pause", "hold", "reset", "start"])
def test_an_act_on_an_agent_acknowledges_its_incident(cmd: str) -> None:
    fleet = crashed()
    fleet.ask(cmd, "a", at_ms=11 * S)
    assert (only(fleet).acknowledged_by, only(fleet).acknowledged_at_ms) == ("ada", 11 * S)
    assert only(fleet).resolved_at_ms is None
    [told] = fleet.told("incident.updated")
    assert told.message == f"acknowledged by ada, with `{cmd}`"
    fleet.pass_time(90 * S)
    assert not alerts(fleet, "reminder")


def test_an_act_that_is_refused_acknowledges_nothing() -> None:
    fleet = escalated()
    fleet.ask("signal", "a", signal="SIGHUP")
    assert only(fleet).acknowledged_by == ""


@pytest.mark.parametrize(("cmd", "how"), [("stop", "stop by ada"), ("kill", "kill by ada")])
def test_a_stop_resolves_its_part(cmd: str, how: str) -> None:
    fleet = escalated()
    fleet.ask(cmd, "a", at_ms=20 * S)
    assert only(fleet).resolved_at_ms == 20 * S
    assert only(fleet).resolution == how
    assert only(fleet).acknowledged_by == "ada"
    assert [one.kind for one in alerts(fleet)][-1] == "resolve"
    assert not alerts(fleet, "acknowledge")


def test_what_agentd_has_killed_is_over_when_an_operator_kills_it_too() -> None:
    memory = MemoryConfig(limit_bytes=Bytes(100 * MIB), on_limit="kill")
    fleet = fleet_of("a", memory=memory)
    fleet.tell(ev.Sampled("a", 1, 120 * MIB), 10 * S)
    fleet.end("a", 11 * S, signal=9)
    assert fleet["a"].intent is Intent.KILLED
    fleet.pass_time(2 * HOUR)
    assert only(fleet).resolved_at_ms is None
    fleet.ask("kill", "a")
    assert only(fleet).resolved_at_ms == 2 * HOUR


def test_a_removal_resolves_its_part() -> None:
    fleet = escalated()
    fleet.tell(ev.Configured(Config(agents={"b": config()})), 20 * S)
    assert only(fleet).resolution == "it was removed"


def test_a_pause_keeps_it_open_until_the_agent_is_well_again() -> None:
    fleet = fleet_of("a", heartbeat=HeartbeatConfig(on_unreachable="alert"))
    fleet.pass_time(100 * S)
    fleet.ask("pause", "a")
    fleet.pass_time(2 * HOUR)
    assert only(fleet).resolved_at_ms is None
    assert not alerts(fleet, "reminder")
    fleet.ask("resume", "a")
    fleet.beat("a")
    assert only(fleet).resolved_at_ms == 2 * HOUR


# -- reminders and `ack` --------------------------------------------------------


def test_people_are_reminded_every_hour_while_it_is_open() -> None:
    fleet = escalated()
    fleet.pass_time(10 * S + 3 * HOUR)
    told = alerts(fleet, "reminder")
    messages = [one.record.message.partition(":")[0] for one in told]
    assert messages == ["still open after 1h", "still open after 2h", "still open after 3h"]
    assert {one.record.event for one in told} == {"incident.updated"}
    assert {one.record.severity for one in told} == {"critical"}
    fleet.ask("stop", "a")
    fleet.pass_time(10 * HOUR)
    assert len(alerts(fleet, "reminder")) == 3


def test_where_nobody_wants_reminders_there_are_none() -> None:
    fleet = escalated()
    agents = {"a": fleet["a"].config}
    never = AlertsConfig(remind_every_ms=Milliseconds(0))
    fleet.tell(ev.Configured(Config(agents=agents, alerts=never)))
    fleet.pass_time(10 * HOUR)
    assert not alerts(fleet, "reminder")


def test_ack_is_durable_before_it_is_answered_and_ends_the_reminders() -> None:
    fleet = escalated()
    made = fleet.tell(ev.Requested("r", "ack", "bob", options={"id": 1}), 20 * S)
    kinds = [type(effect) for effect in made]
    assert kinds.index(do.PersistIncident) < kinds.index(do.Reply)
    assert only(fleet).acknowledged_by == "bob"
    reply = made[-1]
    assert isinstance(reply, do.Reply)
    assert reply.result == {
        "id": 1,
        "open": True,
        "acknowledged_by": "bob",
        "message": "acknowledged: no more reminders",
    }
    fleet.pass_time(10 * HOUR)
    assert not alerts(fleet, "reminder")
    [told] = alerts(fleet, "acknowledge")  # for receivers that keep incidents of their own
    assert told.incident == only(fleet)


def test_an_acknowledgement_says_who_and_why() -> None:
    fleet = escalated()
    fleet.tell(ev.Requested("r", "ack", "bob", (), "on it", {"id": 1}))
    assert fleet.told("incident.updated")[-1].message == "acknowledged by bob: on it"


def test_ack_again_changes_nothing_and_says_so() -> None:
    fleet = escalated()
    fleet.ask("ack", id=1)
    first, made = only(fleet), len(fleet.effects)
    asked = ev.Requested("r2", "ack", "bob", options={"id": 1})
    [reply] = fleet.tell(asked, 20 * S)
    assert isinstance(reply, do.Reply)
    assert reply.result is not None
    assert reply.result["message"] == "acknowledged already by ada"
    assert only(fleet) == first
    assert len(fleet.effects) == made + 1


def test_ack_of_one_that_is_over_says_so() -> None:
    fleet = crashed()
    fleet.beat("a", 12 * S)
    reply = fleet.ask("ack", id=1)
    assert reply.result is not None
    assert (reply.result["open"], reply.result["message"]) == (
        False,
        "incident 1 is resolved already",
    )


@pytest.mark.parametrize("number", [0, 2, -1, "1", None, True])
def test_ack_of_what_there_never_was_is_an_error_with_a_hint(number: object) -> None:
    reply = escalated().ask("ack", id=number)
    assert reply.error is not None
    code, message, hint = reply.error
    assert (code, hint) == ("bad_request", "agentctl incidents")
    assert str(number) in message or "missing" in message


def test_the_status_names_the_open_incident() -> None:
    fleet = fleet_of("a", "b")
    fleet.end("a", 10 * S, signal=11)
    document = status_document(
        fleet.core.agents,
        ["a", "b"],
        now_ms=fleet.now_ms,
        wall_ms=0,
        daemon={},
        host="h",
        open_incidents=fleet.core.incidents.bound,
    )
    agents = document["agents"]
    assert isinstance(agents, list)
    assert [agent["open_incident"] for agent in agents] == [1, None]
