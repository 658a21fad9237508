"""The stuck agent, from its handshake to the message in somebody's hands.

A peer accepts the connection and says nothing; the TLS handshake of the agent never ends, and
its heartbeats stop. Whoever is alerted reads where it is stuck, and with whom.
"""

import re
import socket
import sys
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from agentd.daemon import stacks
from tests.daemon.harness import RUN, Daemon, Document
from tests.programs.places import AGENTS
from tests.sinks.receiver import Received, Receiver
from tests.stopwatch import Stopwatch

PROGRAM = AGENTS / "api_client.py"
HANGS = next(
    number
    for number, line in enumerate(PROGRAM.read_text().splitlines(), 1)
    if "wrap_socket" in line
)
ALERT_S_MAX = 5.0
UNREACHABLE_MS = 3_000
WITHOUT_PY_SPY = f"import agentd.daemon.stacks as s; s.find_reader = lambda: ''; {RUN}"

with_py_spy = pytest.mark.skipif(
    not stacks.find_reader(), reason="py-spy is not installed (extra: stacks)"
)


@pytest.fixture
def silent_peer() -> Iterator[str]:
    """HOST:PORT where connections are accepted and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


def alert(receiver: Receiver, event: str) -> tuple[Received, Document]:
    """Wait for the message about an event, and return it with what it says."""
    end = time.monotonic() + 20
    seen = 0
    while time.monotonic() < end:
        seen += 1
        for received in receiver.wait_for(seen, timeout_s=20):
            said: Document = received.json()
            if event in str(said["event"]):
                return received, said
    raise AssertionError(f"nobody was told of {event}")


def start(
    daemon: Daemon, receiver: Receiver, peer: str, *options: str, py_spy: bool = False
) -> None:
    sink = f'[[alerts.sinks]]\nname = "hook"\ntype = "webhook"\nurl = "{receiver.url}"\n'
    with daemon.config.open("a") as config:
        config.write(sink)
    alert_only = '[heartbeat]\non_unreachable = "alert"\n'
    daemon.agent("orders", [sys.executable, str(PROGRAM), peer, *options], alert_only)
    program = RUN if py_spy else WITHOUT_PY_SPY
    daemon._spawn([sys.executable, "-c", program, str(daemon.config)], {})
    daemon.await_notify("READY=1")


def told_in_time(received: Received, event: Document, watch: Stopwatch) -> bool:
    """Whether it came within the limit, counted from when the silence became too long."""
    written_s = _wall_s(event["time"])
    came_s = time.time() - (time.monotonic() - received.at_s)
    looked_s = (event["data"]["silence_ms"] - UNREACHABLE_MS) / 1000
    return came_s - written_s + looked_s <= ALERT_S_MAX + watch.starved_s


def _wall_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@with_py_spy
def test_b1_the_alert_of_a_stuck_handshake_names_function_file_line_and_peer(
    daemon: Daemon, receiver: Receiver, silent_peer: str
) -> None:
    watch = Stopwatch()
    start(daemon, receiver, silent_peer, py_spy=True)
    received, said = alert(receiver, "agent.unreachable")
    message = said["event"]["message"]
    where = f"in do_handshake (api_client.py:{HANGS}), socket to {silent_peer}"
    assert re.match(r"stuck [\d.]+s in ", message), message
    assert where in message
    assert told_in_time(received, said["event"], watch)
    evidence = daemon.ask("incidents", id=int(said["incident"]["id"]))["evidence"]
    frames = str(evidence["stack"])
    assert "call_api" in frames
    assert silent_peer in str(evidence["sockets"])


def test_b1_without_py_spy_the_alert_names_call_wait_channel_and_peer(
    daemon: Daemon, receiver: Receiver, silent_peer: str
) -> None:
    watch = Stopwatch()
    start(daemon, receiver, silent_peer, py_spy=False)
    received, said = alert(receiver, "agent.unreachable")
    message = said["event"]["message"]
    expected = rf"in read \(wait channel \w+\), socket to {re.escape(silent_peer)}"
    assert re.search(expected, message), message
    assert told_in_time(received, said["event"], watch)
    evidence = daemon.ask("incidents", id=int(said["incident"]["id"]))["evidence"]
    assert evidence["syscall"].startswith("read(fd ")
    assert evidence["wchan"]
    assert "stacks.unreadable" in (daemon.root / "stderr").read_text()


def test_b1_an_agent_that_allowed_it_tells_itself_where_it_is_stuck(
    daemon: Daemon, receiver: Receiver, silent_peer: str
) -> None:
    start(daemon, receiver, silent_peer, "--allow-stack-dump")
    _, said = alert(receiver, "agent.unreachable")
    message = said["event"]["message"]
    assert f"in do_handshake (api_client.py:{HANGS}), socket to {silent_peer}" in message, message
    evidence = daemon.ask("incidents", id=int(said["incident"]["id"]))["evidence"]
    assert evidence["stack_source"] == "faulthandler"
    assert daemon.status("orders")["restarts"] == 0
