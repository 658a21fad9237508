import itertools
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from agentd.client import AgentdError, Client, NotReachable, TimedOut, socket_path
from agentd.config.places import User, config_place, places
from tests.cli.stub import Answer, Document, HangUp, Refusal, Stub, agent, event, status

Serve = Callable[[dict[str, Answer]], Stub]
Send = Callable[[Document], None]


@pytest.mark.parametrize(
    ("env", "euid"),
    [
        ({}, 0),
        ({}, 1000),
        ({"XDG_RUNTIME_DIR": "/run/user/1000"}, 1000),
        ({"XDG_RUNTIME_DIR": "/run/user/0"}, 0),
        ({"AGENTD_SOCKET": "/elsewhere/a.sock"}, 0),
        ({"AGENTD_SOCKET": "/elsewhere/a.sock", "XDG_RUNTIME_DIR": "/run/user/1"}, 1),
    ],
)
def test_client_and_daemon_agree_on_the_socket(env: dict[str, str], euid: int) -> None:
    environ = {"HOME": "/home/nobody-at-all", **env}
    user = User(environ=environ, euid=euid, home=Path(environ["HOME"]))
    config_file, _ = config_place(user)
    assert socket_path(environ, euid) == str(places(user, config_file).socket)


def test_each_method_sends_its_command(serve: Serve) -> None:
    names = ["start", "stop", "restart", "kill", "pause", "resume", "hold", "unhold", "reset"]
    others = ["version", "show", "reload", "daemon", "shutdown", "logs", "wait", "signal"]
    stub = serve({name: {"agents": []} for name in [*names, *others]})
    with Client() as client:
        for name in names:
            getattr(client, name)("a*", "why")
        client.signal("a", "SIGHUP")
        client.wait("a", "stopped", 3.0)
        client.logs("a")
        client.version(), client.show(), client.reload(dry_run=True), client.daemon("reexec")
        client.shutdown("enough")
    assert stub.commands() == [
        *names, "signal", "wait", "logs", "version", "show", "reload", "daemon", "shutdown",
    ]  # fmt: skip
    by_cmd = {one["cmd"]: one["args"] for one in stub.asked}
    assert by_cmd["kill"] == {"select": ["a*"], "reason": "why"}
    assert by_cmd["start"] == {"select": ["a*"], "reason": "why", "fresh": False}
    assert by_cmd["signal"] == {"select": ["a"], "reason": "", "signal": "SIGHUP"}
    assert by_cmd["wait"] == {"select": ["a"], "for": "stopped", "timeout_s": 3.0}
    assert by_cmd["reload"] == {"dry_run": True}
    assert by_cmd["daemon"] == {"action": "reexec"}
    assert len({one["id"] for one in stub.asked}) == len(stub.asked)


def test_an_error_keeps_its_code_message_and_hint(serve: Serve) -> None:
    serve({"kill": Refusal("no_such_agent", 'no agent matches "x"', 'did you mean "y"?')})
    with pytest.raises(AgentdError) as caught:
        Client().kill("x")
    assert (caught.value.code, caught.value.hint) == ("no_such_agent", 'did you mean "y"?')
    assert str(caught.value) == 'no agent matches "x"'


def test_a_refusal_without_an_id_is_an_answer(serve: Serve) -> None:
    def refuse(_request: Document, send: Send) -> None:
        send({"id": None, "ok": False, "error": {"code": "forbidden", "message": "who are you"}})
        raise HangUp

    serve({"status": refuse})
    with pytest.raises(AgentdError) as caught:
        Client().status()
    assert caught.value.code == "forbidden"


def test_k5_a_write_whose_connection_is_lost_is_sent_again_with_the_same_id(serve: Serve) -> None:
    ran: dict[str, Document] = {}

    def kill(request: Document, _send: Send) -> Document:
        first = request["id"] not in ran
        ran.setdefault(request["id"], {"agents": [{"name": "a", "state": "stopped"}]})
        if first:  # carried out, and gone before the reply
            raise HangUp
        return ran[request["id"]]

    stub = serve({"kill": kill})
    assert Client().kill("a")["agents"][0]["name"] == "a"
    assert len(ran) == 1
    assert [one["id"] for one in stub.asked] == [next(iter(ran))] * 2


def test_a_daemon_that_ends_every_connection_is_not_reachable(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang_up(_request: Document, _send: Send) -> None:
        raise HangUp

    monkeypatch.setattr("agentd.client.link.RECONNECT_S", 0.3)
    serve({"status": hang_up})
    with pytest.raises(NotReachable):
        Client().status()


def test_a_client_goes_on_after_a_restart_of_the_daemon(serve: Serve) -> None:
    first = serve({"status": status(agent("a"))})
    client = Client()
    assert client.list_agents() == ["a"]
    first.close()
    serve({"status": status(agent("b"))})
    assert client.list_agents() == ["b"]


def test_k6_nobody_there_is_not_reachable_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(NotReachable) as caught:
        Client().status()
    assert time.monotonic() - begun < 2
    assert os.environ["AGENTD_SOCKET"] in str(caught.value)
    assert "agentd start" in caught.value.hint


def test_k6_a_daemon_that_is_stopped_is_noticed_by_its_silence(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.client.link.QUIET_S", 0.2)
    monkeypatch.setattr("agentd.client.link.PONG_S", 0.2)
    silent: Answer = lambda _request, _send: None  # noqa: E731 - an entry of a table
    stub = serve({"status": silent, "ping": silent})
    with pytest.raises(TimedOut):
        Client(timeout=60.0).status()
    assert [one["cmd"] for one in stub.asked] == ["status", "ping"]


def test_a_slow_answer_is_waited_for_while_the_daemon_answers_pings(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.client.link.QUIET_S", 0.05)
    seen: list[Document] = []

    def hear_ping(request: Document, send: Send) -> Document:
        seen.append(request)
        if len(seen) == 3:
            send({"id": waiting[0]["id"], "ok": True, "result": {"agents": []}})
        return {}

    waiting: list[Document] = []
    serve({"wait": lambda request, _send: waiting.append(request), "ping": hear_ping})
    assert Client().wait("a", "ready", None) == {"agents": []}
    assert len(seen) == 3


def test_k6_a_full_backlog_is_a_timeout_and_not_a_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.client.channel.CONNECT_S", 0.3)
    path = str(tmp_path / "full")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        waiting = []
        for _ in range(8):
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            if waiting[-1].connect_ex(path):
                break
        with pytest.raises(TimedOut):
            Client(path).status()
        for one in waiting:
            one.close()


def test_the_timeout_bounds_one_command(serve: Serve) -> None:
    serve({"status": lambda _request, _send: None})
    begun = time.monotonic()
    with pytest.raises(TimedOut):
        Client(timeout=0.2).status()
    assert time.monotonic() - begun < 5


def test_k7_fields_of_a_later_version_are_handed_on(serve: Serve) -> None:
    serve({"status": status(agent("a"))})
    assert Client().status()["agents"][0]["from_a_later_version"] == {"anything": [1, 2]}


@pytest.mark.parametrize(
    "answer", [b"hello\n", b"[1]\n", b"{\n", b"\xff\xfe\n", b"[" * 9999 + b"\n"]
)
def test_what_is_no_daemon_of_ours_is_said_so(tmp_path: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        client = Client()
        client.bound(time.monotonic() + 5)

        def reply() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(answer)

        thread = Thread(target=reply)
        thread.start()
        with pytest.raises(AgentdError, match="does not speak"):
            client.status()
        thread.join(5)


class Journal:
    """Events as the daemon keeps them; a follower loses its connection after the first lines."""

    def __init__(self, last_id: int) -> None:
        self.last_id = last_id
        self.asked: list[Document] = []

    def __call__(self, request: Document, send: Send) -> Document | None:
        args = request["args"]
        after, limit = args["after"], args["limit"]
        found = [event(number) for number in range(1 + (after or 0), self.last_id + 1)]
        if not request.get("follow"):
            found = found[:limit] if after is not None else found[len(found) - limit :]
            return {"events": found, "last_id": found[-1]["id"] if found else self.last_id}
        self.asked.append(args)
        if len(self.asked) == 1:
            send({"event": event(self.last_id + 1)})
            self.last_id += 4  # one that was seen, three that the follower never got
            raise HangUp
        for one in [event(after), *found]:  # the first of them again, as a hasty daemon might
            send({"event": one})
        return None


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"limit": 2}, [2, 3, 4, 5, 6, 7]),
        ({"limit": 0}, [4, 5, 6, 7]),
        ({"limit": None}, [1, 2, 3, 4, 5, 6, 7]),
        ({"after": 1}, [2, 3, 4, 5, 6, 7]),
    ],
)
def test_k11_a_follower_resumes_by_cursor_without_gap_or_double(
    serve: Serve, wanted: dict[str, int | None], expected: list[int]
) -> None:
    journal = Journal(3)
    serve({"events": journal})
    lost: list[AgentdError] = []
    stream = Client().events(**wanted, follow=True, on_lost=lost.append)  # type: ignore[arg-type]
    seen = [one["id"] for one in itertools.islice(stream, len(expected))]
    assert seen == expected
    assert len(lost) == 1
    assert [args["after"] for args in journal.asked] == [3, 4]


def test_g8_k11_a_follower_bears_one_that_listens_and_is_not_up_yet(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.client.link.QUIET_S", 0.05)
    monkeypatch.setattr("agentd.client.link.PONG_S", 0.05)
    pings = itertools.count(1)
    # Up, then replaced: the same socket accepts, and nobody answers there for a while.
    answer: Answer = lambda _request, _send: {} if next(pings) not in (2, 3) else None  # noqa: E731 - an entry of a table
    serve({"events": Journal(3), "ping": answer})
    stream = Client().events(limit=0, follow=True)
    assert [one["id"] for one in itertools.islice(stream, 4)] == [4, 5, 6, 7]
    assert next(pings) >= 4


def test_k11_a_second_loss_long_after_the_first_is_borne_as_well(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.client.link.FOLLOW_RECONNECT_S", 0.5)
    losses: list[AgentdError] = []

    def events(request: Document, send: Send) -> Document | None:
        if not request.get("follow"):
            return {"events": [], "last_id": 0}
        if len(losses) == 3:
            send({"event": event(1)})
            return None
        time.sleep(0.6)  # followed, and silent for longer than a loss is borne
        raise HangUp

    serve({"events": events})
    stream = Client().events(limit=0, follow=True, on_lost=losses.append)
    assert next(iter(stream))["id"] == 1
    assert len(losses) == 3


def test_a_follower_that_is_left_ends_its_connection(serve: Serve) -> None:
    def events(request: Document, send: Send) -> Document | None:
        if not request.get("follow"):
            return {"events": [], "last_id": 0}
        for number in range(1, 6):
            send({"event": event(number)})
        return None

    serve({"events": events, "status": status(agent("a"))})
    client = Client()
    stream = client.events(limit=0, follow=True)
    assert next(stream)["id"] == 1
    stream.close()
    assert client._link._channel is None
    assert client.list_agents() == ["a"]


def test_all_events_come_page_by_page(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.client.cursors.PAGE", 3)
    stub = serve({"events": Journal(8)})
    assert [one["id"] for one in Client().events()] == list(range(1, 9))
    assert [one["args"]["after"] for one in stub.asked] == [0, 3, 6, 8]


def test_a_follower_whose_daemon_is_not_there_at_all_fails_at_once() -> None:
    with pytest.raises(NotReachable):
        next(iter(Client().events(follow=True)))


def test_logs_are_followed_over_a_restart_from_their_offsets(serve: Serve) -> None:
    asked: list[Document] = []

    def logs(request: Document, send: Send) -> None:
        asked.append(request["args"])
        first = len(asked) == 1
        chunks = [{"agent": "a", "lines": ["one"], "offset": 4}] if first else []
        send({"ok": True, "result": {"logs": chunks}})
        line, offset = ("two", 8) if first else ("three", 14)
        send({"log": {"agent": "a", "line": line, "offset": offset}})
        if first:
            raise HangUp

    serve({"logs": logs})
    seen = []
    for agent_name, line in Client().follow_logs("a"):
        seen.append((agent_name, line))
        if line == "three":
            break
    assert seen == [("a", "one"), ("a", "two"), ("a", "three")]
    assert (asked[1]["lines"], asked[1]["from"]) == (0, {"a": 8})


def test_a_heartbeat_carries_the_token_and_waits_for_its_confirmation(serve: Serve) -> None:
    stub = serve({"line": {}})
    Client().heartbeat({"tokens": 900}, token="t0k")  # noqa: S106 - no secret
    line = stub.asked[0]
    assert (line["type"], line["tokens"], line["token"]) == ("heartbeat", 900, "t0k")
    assert "cmd" not in line
