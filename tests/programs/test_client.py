"""agentd.client as an operator's program uses it, through a real daemon."""

import threading
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from agentd.client import AgentdError, Client, NotReachable, TimedOut
from tests.daemon.harness import Daemon, alive

COUNTING = "i=0; while :; do echo line-$i; i=$((i+1)); sleep 0.02; done"


class Collected:
    """What an endless iterator yields, taken in by a thread of its own."""

    def __init__(self, stream: Iterable[Any]) -> None:
        self.seen: list[Any] = []
        self.ended: AgentdError | None = None
        self._thread = threading.Thread(target=self._take, args=(stream,), daemon=True)
        self._thread.start()

    def _take(self, stream: Iterable[Any]) -> None:
        try:
            for one in stream:
                self.seen.append(one)
        except AgentdError as error:
            self.ended = error


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with Client(str(daemon.socket)) as one:
        yield one


def test_an_operator_reads_and_commands(daemon: Daemon, client: Client) -> None:
    daemon.beater("worker")
    daemon.sleeper("idler", 'tags = ["night"]')
    daemon.start()
    assert client.list_agents() == ["idler", "worker"]
    client.wait("all", "ready", 10)
    before = client.status("worker")["agents"][0]
    answered = client.kill("worker", reason="cost spike")["agents"][0]
    assert (answered["name"], answered["intent"]) == ("worker", "killed")
    client.wait("worker", "stopped", 10)
    shown = client.status("worker")["agents"][0]
    assert (shown["health"], shown["pid"]) == ("killed", None)
    assert (shown["intent_reason"], shown["reason"]) == ("cost spike", "USER_KILLED")
    assert not alive(before["pid"])
    client.resume("worker")
    client.wait("worker", "healthy", 10)
    again = client.status("worker")["agents"][0]
    assert again["execution"] != before["execution"]  # a kill ends the execution
    assert client.pause("tag:night")["agents"][0]["name"] == "idler"
    client.wait("idler", "paused", 10)
    client.resume("idler")
    client.hold("idler")
    assert client.status("idler")["agents"][0]["held"] is True
    client.unhold("idler")
    client.signal("idler", "SIGCONT")
    client.reset("idler")
    client.restart(["idler", "worker"], "deploy")
    client.wait("all", "ready", 10)
    assert client.daemon()["daemon"]["pid"] == daemon.pid
    assert client.show("idler")["agents"]["idler"]["tags"]["value"] == ["night"]
    assert client.reload(dry_run=True)["unchanged"] == ["idler", "worker"]
    assert set(client.version()) >= {"version"}


def test_what_fails_says_what_and_what_next(daemon: Daemon, client: Client) -> None:
    with pytest.raises(NotReachable) as away:
        client.status()
    assert away.value.hint
    daemon.sleeper("one")
    daemon.start()
    client.wait("one", "ready", 10)
    with pytest.raises(AgentdError) as missing:
        client.stop("two")
    assert missing.value.code == "no_such_agent"
    client.kill("one")
    with pytest.raises(AgentdError) as refused:
        client.start("one")
    assert (refused.value.code, "resume" in (refused.value.hint or "")) == ("conflict", True)
    client.resume("one")
    with pytest.raises(TimedOut):
        client.wait("one", "stopped", 0.1)
    with pytest.raises(AgentdError) as bad:
        client.signal("one", "SIGNONSENSE")
    assert bad.value.code == "bad_request"


def test_k11_a_follower_of_events_outlives_the_daemon_and_misses_nothing(
    daemon: Daemon, client: Client
) -> None:
    daemon.sleeper("one")
    daemon.start()
    client.wait("one", "ready", 10)
    lost: list[AgentdError] = []
    with Client(str(daemon.socket)) as other:
        followed = Collected(other.events(after=0, follow=True, on_lost=lost.append))
        daemon.until_true(lambda: any(e["event"] == "agent.ready" for e in followed.seen))
        daemon.crash()
        daemon.start()
        client.restart("one", "deploy")
        daemon.until_true(
            lambda: [e["event"] for e in followed.seen].count("agent.ready") == 2,
            lambda: str([e["event"] for e in followed.seen]),
        )
        ids = [event["id"] for event in followed.seen]
        assert ids == list(range(1, len(ids) + 1))
        assert "agent.adopted" in [event["event"] for event in followed.seen]
        assert [type(error) for error in lost] == [NotReachable]
        daemon.until_true(lambda: daemon.events()[-1]["id"] == len(followed.seen))


def test_k11_a_follower_of_a_log_outlives_the_daemon_and_misses_nothing(
    daemon: Daemon, client: Client
) -> None:
    daemon.agent("counter", ["bash", "-c", COUNTING], "heartbeat.required = false")
    daemon.start()
    client.wait("counter", "ready", 10)
    with Client(str(daemon.socket)) as other:
        followed = Collected(other.follow_logs("counter", lines=1_000))
        daemon.until_true(lambda: len(followed.seen) > 5)
        daemon.crash()
        daemon.start()
        seen = len(followed.seen)
        daemon.until_true(lambda: len(followed.seen) > seen + 20)
    lines = list(followed.seen)
    assert lines == [("counter", f"line-{n}") for n in range(len(lines))]


def test_a_follower_of_a_log_sees_matching_lines_only(daemon: Daemon) -> None:
    daemon.agent("counter", ["bash", "-c", COUNTING], "heartbeat.required = false")
    daemon.start()
    with Client(str(daemon.socket)) as other:
        followed = Collected(other.follow_logs("counter", lines=1_000, grep="0$"))
        daemon.until_true(lambda: len(followed.seen) > 3)
    assert followed.seen[:4] == [("counter", f"line-{n}") for n in (0, 10, 20, 30)]
