"""What holds of every sink there is: the contract, parametrised over SINKS."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agentd.config.schema import SinkConfig
from agentd.sinks.message import DeliveryFailed, Message, Sink
from agentd.sinks.registry import SINKS, sink_of
from tests.sinks.receiver import Mood, Receiver
from tests.sinks.samples import CANARY, REPORT, TRIGGER, config, hasty, resources

Make = Callable[[], Sink]
POSTING = ("slack", "pagerduty", "webhook")
# Stands for a command of the user's: fails unless somebody takes what it was given.
POSTS = """
import sys, urllib.request
body = sys.stdin.buffer.read()
try:
    urllib.request.urlopen(urllib.request.Request(sys.argv[1], body), timeout=5)
except OSError as error:
    sys.exit(f"not posted: {type(error).__name__}")
"""


def config_for(kind: str, receiver: Receiver, directory: Path) -> SinkConfig:
    """A sink that reaches the receiver, its secrets in files."""
    secret = directory / "secret"
    secret.write_text(f"{CANARY}\n")
    url = receiver.at(f"/{CANARY}")
    match kind:
        case "pagerduty":
            return config(kind, routing_key_file="secret", url=receiver.at("/v2/enqueue"))
        case "command":
            return config(kind, command=[sys.executable, "-c", POSTS, receiver.url])
        case "apprise":
            url = url.replace("http://", "json://")
        case "webhook":
            (directory / "url").write_text(f"{url}\n")
            return config(kind, url_file="url", secret_file=secret.name)
    (directory / "url").write_text(f"{url}\n")
    return config(kind, url_file="url")


@pytest.fixture(params=SINKS)
def make(request: pytest.FixtureRequest, receiver: Receiver, tmp_path: Path) -> Make:
    kind: str = request.param
    if kind == "apprise":
        pytest.importorskip("apprise")
    described = config_for(kind, receiver, tmp_path)
    return lambda: sink_of(described, resources(tmp_path))


def told(sink: Sink, message: Message = TRIGGER) -> str:
    """Try to deliver, and return why it could not be."""
    with pytest.raises(DeliveryFailed) as raised:
        sink.deliver(message)
    return str(raised.value)


@pytest.mark.parametrize("kind", ["trigger", "reminder", "resolve", "test"])
def test_a_message_arrives_and_names_its_agent(make: Make, receiver: Receiver, kind: str) -> None:
    make().deliver(replace(TRIGGER, kind=kind))  # type: ignore[arg-type]
    [received] = receiver.accepted()
    assert received.method == "POST"
    # Who resolves by a key tells nothing else.
    assert b"orders" in received.body or received.json()["event_action"] == "resolve"


def test_the_daily_report_arrives(make: Make, receiver: Receiver) -> None:
    make().deliver(REPORT)
    assert b"2026-11-20" in receiver.accepted()[0].body


def test_the_same_sink_delivers_once_the_receiver_is_back(make: Make, receiver: Receiver) -> None:
    sink = make()
    receiver.dead()
    told(sink)
    receiver.alive()
    receiver.mood = Mood.ERROR
    told(sink)
    receiver.mood = Mood.OK
    sink.deliver(TRIGGER)
    assert len(receiver.accepted()) == 1


@pytest.mark.parametrize("mood", [Mood.ERROR, Mood.RESET, Mood.GARBAGE, Mood.CLOSED])
def test_k8_a_receiver_that_takes_nothing_is_a_failure(
    make: Make, receiver: Receiver, mood: Mood
) -> None:
    receiver.mood = mood
    assert told(make())


@pytest.mark.parametrize("mood", [Mood.ERROR, Mood.RESET, Mood.GARBAGE, Mood.REDIRECT])
def test_l7_no_failure_tells_a_secret(make: Make, receiver: Receiver, mood: Mood) -> None:
    with Receiver() as elsewhere:
        elsewhere.mood = Mood.ERROR
        receiver.mood, receiver.redirect_to = mood, elsewhere.at(f"/{CANARY}")
        assert CANARY not in told(make())


def test_l7_a_dead_receiver_tells_no_secret(make: Make, receiver: Receiver) -> None:
    receiver.dead()
    assert CANARY not in told(make())


def test_l7_the_payload_holds_no_secret_but_pagerdutys_key(make: Make, receiver: Receiver) -> None:
    make().deliver(TRIGGER)
    body = receiver.accepted()[0].body
    if b"routing_key" in body:
        body = body.replace(f'"routing_key": "{CANARY}"'.encode(), b"")
    assert CANARY.encode() not in body


@pytest.mark.parametrize("kind", POSTING)
@pytest.mark.parametrize("mood", [Mood.SLOW, Mood.DRIP])
def test_k8_a_slow_receiver_costs_the_deadline_and_no_more(
    receiver: Receiver, tmp_path: Path, kind: str, mood: Mood
) -> None:
    receiver.mood, receiver.drip_s = mood, 0.05
    sink = sink_of(config_for(kind, receiver, tmp_path), resources(tmp_path))
    sink.http = hasty()  # type: ignore[attr-defined]
    assert told(sink) == "no answer within 0.5 s"


@pytest.mark.parametrize("kind", POSTING)
def test_a_redirect_is_not_followed(receiver: Receiver, tmp_path: Path, kind: str) -> None:
    with Receiver() as elsewhere:
        receiver.mood, receiver.redirect_to = Mood.REDIRECT, elsewhere.url
        told(sink_of(config_for(kind, receiver, tmp_path), resources(tmp_path)))
        assert elsewhere.received == []


@pytest.mark.parametrize("kind", ["slack", "pagerduty", "webhook", "apprise"])
def test_a_secret_is_read_at_each_delivery(receiver: Receiver, tmp_path: Path, kind: str) -> None:
    if kind == "apprise":
        pytest.importorskip("apprise")
    sink = sink_of(config_for(kind, receiver, tmp_path), resources(tmp_path))
    file = tmp_path / ("secret" if kind == "pagerduty" else "url")
    good = file.read_text()
    file.unlink()
    failure = told(sink)
    assert str(file) in failure
    assert "cannot be read: no such file" in failure
    file.write_text(good)
    sink.deliver(TRIGGER)
    assert len(receiver.accepted()) == 1


def test_words_of_agents_that_are_no_text_arrive_all_the_same(
    make: Make, receiver: Receiver
) -> None:
    event = {**TRIGGER.event, "message": "half \ud800 of a pair, \x1b[2J, \x00"}
    make().deliver(replace(TRIGGER, event=event))
    received = receiver.accepted()[0].body
    assert b"\x1b" not in received
    received.decode()
