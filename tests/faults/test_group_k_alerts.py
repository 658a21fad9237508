"""K8 and K9: receivers of alerts that are dead, slow or odd, and agents that all fail at once."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.alert_receivers import (
    RESTLESS,
    check_arrived,
    events_of,
    fail,
    sink_shown,
    told,
    told_ids,
    until_delivered,
    webhook,
    with_sinks,
)
from tests.daemon.harness import Document
from tests.faults.guard import Fleet
from tests.sinks.receiver import Mood, Receiver

AGENTS = ["a", "b", "c"]
DEAD = "dead"


@pytest.fixture
def good() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def bad() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def break_it(receiver: Receiver, mood: Mood | str) -> None:
    receiver.redirect_to = "http://127.0.0.1:1/elsewhere"
    if isinstance(mood, Mood):
        receiver.mood = mood
    else:
        receiver.dead()


def mend(receiver: Receiver) -> None:
    receiver.mood = Mood.OK
    receiver.release()
    receiver.alive()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "mood",
    [DEAD, Mood.SLOW, Mood.ERROR, Mood.RESET, Mood.REDIRECT, Mood.CLOSED],
    ids=lambda mood: mood if isinstance(mood, str) else mood.name.lower(),
)
def test_k8_a_receiver_in_trouble_delays_nobody_else_and_misses_nothing(
    fleet: Fleet, good: Receiver, bad: Receiver, mood: Mood | str
) -> None:
    with_sinks(fleet, webhook("good", good.url), webhook("bad", bad.url))
    for name in AGENTS:
        fleet.sleeper(name, RESTLESS)
    fleet.start()
    break_it(bad, mood)
    failures = [fail(fleet, name)["id"] for name in ["a", "b", "a"]]
    fleet.until_true(lambda: set(failures) <= told_ids(good), lambda: str(told_ids(good)))
    # All of that is out at the one while nothing has arrived at the other.
    assert bad.accepted() == []
    if mood is not Mood.SLOW:  # that one is still waited for
        fleet.until_true(lambda: sink_shown(fleet, "bad")["last_error"] is not None)
        # The journal has it a moment later than the queue.
        fleet.until_true(lambda: bool(fleet.events(kind="alert.failed")))
        assert fleet.events(kind="alert.failed")[0]["data"]["sink"] == "bad"
    assert sink_shown(fleet, "bad")["waiting"] > 0
    mend(bad)
    # What is raised now is taken, and what waited for its next try follows at once.
    # It fails in its own way: part of the same incident it would wait behind what failed.
    last = fail(fleet, "c", signal.SIGTERM)["id"]
    fleet.until_true(lambda: {*failures, last} <= told_ids(bad), lambda: str(told_ids(bad)))
    for sink, receiver in (("good", good), ("bad", bad)):
        until_delivered(fleet, sink)
        check_arrived(fleet, receiver, AGENTS)
    assert sink_shown(fleet, "bad")["last_error"] is None


@pytest.mark.timeout(120)
def test_k8_a_storm_is_folded_into_one_digest(fleet: Fleet, good: Receiver) -> None:
    with_sinks(fleet, webhook("good", good.url), digest_after=3)
    names = [f"agent-{number}" for number in range(8)]
    for number, name in enumerate(names):
        # Each fails in its own way, so that each is an incident of its own.
        fleet.shell(name, f"sleep 600 & wait $!; exit {number + 10}", '[restart]\npolicy = "never"')
    fleet.start()
    for name in names:
        pid = fleet.until_state(name, "running")["pid"]
        os.kill(_child_of(pid), signal.SIGTERM)
    failures = {fleet_exit(fleet, name) for name in names}
    fleet.until_true(lambda: failures <= told_ids(good), lambda: str(told(good)))
    documents = [one.json() for one in good.accepted()]
    digests = [one for one in documents if one["kind"] == "digest"]
    assert len(digests) == 1, [(one["kind"], one["agent"]) for one in documents]
    assert len(documents) <= 3 + 1
    assert digests[0]["next"] == "agentctl incidents --open"


def fleet_exit(fleet: Fleet, name: str) -> int:
    fleet.until_true(lambda: fleet.events(name, "agent.exited"))
    number: int = fleet.events(name, "agent.exited")[-1]["id"]
    return number


def _child_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return int(children.split()[0])


@pytest.mark.timeout(180)
def test_k9_fifty_agents_that_fail_at_once_are_one_alert(fleet: Fleet, good: Receiver) -> None:
    with_sinks(fleet, webhook("good", good.url), digest_after=5)
    names = [f"agent-{number}" for number in range(50)]
    for name in names:
        fleet.sleeper(name, '[restart]\npolicy = "never"')
    fleet.start()
    pids = [fleet.until_state(name, "running")["pid"] for name in names]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    failures = {fleet_exit(fleet, name) for name in names}
    fleet.until_true(lambda: failures <= told_ids(good), lambda: str(len(told(good))))
    triggers = [one.json() for one in good.accepted() if one.json()["kind"] != "resolve"]
    assert len(triggers) == 1, [(one["kind"], one["agent"]) for one in triggers]
    [alert] = triggers
    assert {event["agent"] for event in events_of(alert)} == set(names)
    assert sorted(alert["incident"]["agents"]) == sorted(names)


@pytest.mark.timeout(120)
def test_nothing_is_told_of_what_an_operator_did(fleet: Fleet, good: Receiver) -> None:
    with_sinks(fleet, webhook("good", good.url))
    for name in ["mine", "other"]:
        fleet.sleeper(name, RESTLESS)
    fleet.start()
    fleet.until_state("mine", "running")
    for cmd, state in [
        ("pause", "paused"),
        ("resume", "running"),
        ("restart", "running"),
        ("stop", "stopped"),
        ("start", "running"),
        ("kill", "stopped"),
    ]:
        fleet.ask(cmd, select=["mine"])
        fleet.until("mine", lambda s, state=state: s["state"] == state or s["health"] == "killed")
    marker = fail(fleet, "other")["id"]
    fleet.until_true(lambda: marker in told_ids(good))
    assert {event["agent"] for event in told(good)} == {"other"}


@pytest.mark.timeout(120)
def test_l7_no_secret_is_in_an_alert_nor_in_what_is_said_of_a_sink(
    fleet: Fleet, good: Receiver, bad: Receiver
) -> None:
    secret, path = "canary-4f9e21", "hook-canary-77b1"
    bad.dead()
    with_sinks(fleet, webhook("good", good.url), webhook("bad", bad.at(f"/{path}")))
    script = 'echo "token $API_TOKEN is refused" >&2; sleep 0.3; exit 7'
    policy = f'[environment]\nAPI_TOKEN = "{secret}"\n[restart]\npolicy = "never"'
    fleet.shell("leaky", script, f"autostart = false\n{policy}")
    fleet.start()
    fleet.ask("start", select=["leaky"])
    failure = fleet_exit(fleet, "leaky")
    fleet.until_true(lambda: failure in told_ids(good))
    fleet.until_true(lambda: sink_shown(fleet, "bad")["last_error"] is not None)
    shown = json.dumps([fleet.ask("alerts"), fleet.events(), fleet.log_all()])
    bodies = b"".join(one.body for one in good.received)
    assert secret.encode() not in bodies
    assert secret not in shown
    assert path not in shown


def given_up(fleet: Fleet) -> list[Document]:
    return [one for one in fleet.events(kind="alert.failed") if one["data"].get("given_up")]


@pytest.mark.timeout(120)
def test_sinks_come_and_go_by_reload(fleet: Fleet, good: Receiver, bad: Receiver) -> None:
    with_sinks(fleet, webhook("bad", bad.url))
    fleet.sleeper("a", RESTLESS)
    fleet.start()
    bad.dead()
    lost = fail(fleet, "a")["id"]
    fleet.until_true(lambda: sink_shown(fleet, "bad")["last_error"] is not None)
    with_sinks(fleet, webhook("good", good.url))
    fleet.ask("reload")
    fleet.until_true(lambda: given_up(fleet))
    [named] = given_up(fleet)
    assert named["data"]["sink"] == "bad"
    found = fail(fleet, "a")["id"]
    fleet.until_true(lambda: found in told_ids(good))
    assert lost not in told_ids(good)
    document = fleet.ask("alerts")
    assert [sink["name"] for sink in document["sinks"]] == ["good"]
    assert {one["state"] for one in document["queue"] if one["sink"] == "bad"} == {"failed"}


@pytest.mark.timeout(120)
def test_a_test_message_says_exactly_what_is_wrong(
    fleet: Fleet, good: Receiver, bad: Receiver
) -> None:
    bad.mood, bad.error_status = Mood.ERROR, 403
    with_sinks(fleet, webhook("good", good.url), webhook("bad", bad.url))
    fleet.start()
    assert fleet.ask("alerts", test="good")["sent"] is True
    assert good.accepted()[-1].json()["kind"] == "test"
    refused = fleet.ask("alerts", test="bad")
    assert refused["sent"] is False
    assert "403" in refused["error"]
    assert fleet.ask("alerts")["queue"] == []
