"""A real daemon and receivers on loopback: who was told of what, and in which order."""

import os
import signal
from collections.abc import Iterator

from tests.daemon.harness import DEFAULTS, Daemon, Document
from tests.sinks.receiver import Receiver

# Fails as often as it is killed, and is back at once.
RESTLESS = '[restart]\ncooldown = "50ms"\ncooldown_max = "50ms"\nfailures_max = 100000\n'


def webhook(name: str, url: str, more: str = "") -> str:
    """One sink of the config."""
    return f'[[alerts.sinks]]\nname = "{name}"\ntype = "webhook"\nurl = "{url}"\n{more}\n'


def with_sinks(daemon: Daemon, *sinks: str, digest_after: int = 1000) -> None:
    """Write the config anew; by default nothing is ever a storm."""
    alerts = f"[alerts]\ndigest_after = {digest_after}\n"
    daemon.configure(extra="\n".join([DEFAULTS, alerts, *sinks]))


def fail(daemon: Daemon, name: str, by: signal.Signals = signal.SIGKILL) -> Document:
    """Kill the process of a running agent, and wait for the journal to have it; the event."""
    shown = daemon.until(name, lambda s: s["state"] == "running" and s["pid"] is not None)
    before = len(daemon.events(name, "agent.exited"))
    os.kill(shown["pid"], by)
    daemon.until_true(lambda: len(daemon.events(name, "agent.exited")) > before)
    return daemon.events(name, "agent.exited")[-1]


def events_of(document: Document) -> list[Document]:
    """The events that one message tells of, in their order."""
    events = [document["event"], *document.get("folded", [])]
    return sorted((one for one in events if one), key=lambda event: event["id"] or 0)


def told(receiver: Receiver) -> list[Document]:
    """Every event that was accepted, in the order of arrival, repetitions and all."""
    return [event for one in receiver.accepted() for event in events_of(one.json())]


def told_ids(receiver: Receiver) -> set[int]:
    return {event["id"] for event in told(receiver)}


def sink_shown(daemon: Daemon, name: str) -> Document:
    sinks: list[Document] = daemon.ask("alerts")["sinks"]
    [found] = [sink for sink in sinks if sink["name"] == name]
    return found


def until_delivered(daemon: Daemon, name: str) -> None:
    """Wait until nothing waits for a sink."""
    daemon.until_true(
        lambda: sink_shown(daemon, name)["waiting"] == 0,
        lambda: str(daemon.ask("alerts")),
    )


def check_arrived(daemon: Daemon, receiver: Receiver, agents: list[str]) -> None:
    """Every failure arrived at least once, in order per agent, and repeats bear the same key."""
    arrived = told_ids(receiver)
    for agent in agents:
        ends = daemon.events(agent, "agent.exited")
        failures = {event["id"] for event in ends if event["severity"] != "info"}
        assert failures <= arrived, (agent, sorted(failures - arrived))
        first = list(dict.fromkeys(_ids(receiver, agent)))
        assert first == sorted(first), (agent, first)
    _check_keys(receiver)


def _ids(receiver: Receiver, agent: str) -> Iterator[int]:
    return (event["id"] for event in told(receiver) if event["agent"] == agent)


def _check_keys(receiver: Receiver) -> None:
    """What is repeated is known by its key; what bears the same id tells the same."""
    keys: dict[int, str] = {}
    content: dict[str, list[int]] = {}
    for one in receiver.accepted():
        document = one.json()
        if document["kind"] in ("digest", "test"):
            continue
        ids = [event["id"] for event in events_of(document)]
        assert content.setdefault(document["alert_id"], ids) == ids, document["alert_id"]
        for number in ids:
            key = keys.setdefault(number, document["dedup_key"])
            assert key == document["dedup_key"], number
