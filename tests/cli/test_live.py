"""What changes while somebody looks on: top, --watch, and writes that come true later."""

import subprocess
from collections.abc import Callable

import pytest

from tests.cli.stub import Answer, Document, Refusal, Stub, agent, status

Serve = Callable[[dict[str, Answer]], Stub]
Ctl = Callable[..., tuple[int, str, str]]
Spawned = Callable[..., "subprocess.CompletedProcess[str]"]


def test_top_in_a_pipe_is_shown_once(serve: Serve, spawned: Spawned) -> None:
    stub = serve({"status": status(agent("a"))})
    done = spawned("top")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "1 healthy"
    assert stub.commands() == ["status"]


def test_watch_shows_it_again_until_the_time_is_over(
    serve: Serve, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.cli.commands.status.WATCH_S", 0.05)
    stub = serve({"status": status(agent("a"))})
    code, out, _err = ctl("status", "--watch", "--timeout", "1")
    assert code == 124
    assert out.count("1 healthy") == len(stub.commands()) >= 2


def test_watch_as_json_is_json_lines(
    serve: Serve, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.cli.commands.status.WATCH_S", 0.05)
    serve({"status": status(agent("a"))})
    _code, out, _err = ctl("status", "--watch", "--json", "--timeout", "0.5")
    assert all(line.startswith("{") for line in out.splitlines())


WRITTEN = {"agents": [{"name": "a", "state": "running", "intent": "paused"}]}


@pytest.mark.parametrize(("command", "goal"), [("pause", "paused"), ("kill", "stopped")])
def test_a_pause_and_a_kill_wait_until_it_has_come_true(
    serve: Serve, ctl: Ctl, command: str, goal: str
) -> None:
    met = {"agents": [{"name": "a", "state": goal, "met": True, "why": ""}]}
    stub = serve({command: WRITTEN, "show": {"agents": {}}, "wait": met})
    assert ctl(command, "a") == (0, f"a: {goal}\n", "")
    assert stub.asked[-1]["args"]["for"] == goal


def test_a_remark_that_has_come_true_is_not_repeated(serve: Serve, ctl: Ctl) -> None:
    told = {
        "agents": [{"name": "a", "message": "stops"}, {"name": "b", "message": "is down already"}]
    }
    met = {"agents": [{"name": name, "state": "stopped", "met": True} for name in "ab"]}
    serve({"stop": told, "show": {"agents": {}}, "wait": met})
    assert ctl("stop", "a", "b")[1] == "a: stopped\nb: stopped (is down already)\n"


def test_a_pause_that_takes_too_long_exits_124(serve: Serve, ctl: Ctl) -> None:
    late = Refusal("timeout", "a: not paused in time", "agentctl status a")
    serve({"pause": WRITTEN, "show": {"agents": {}}, "wait": late})
    code, _out, err = ctl("pause", "a", "--timeout", "0.5")
    assert (code, "not paused in time" in err) == (124, True)


@pytest.mark.parametrize("command", ["start", "stop", "restart", "kill", "pause", "resume"])
def test_no_wait_asks_once(serve: Serve, ctl: Ctl, command: str) -> None:
    stub = serve({command: WRITTEN})
    assert ctl(command, "a", "--no-wait") == (0, "a: running\n", "")
    assert stub.commands() == [command]


def test_shutdown_waits_until_the_daemon_has_gone(serve: Serve, ctl: Ctl) -> None:
    def shutdown(_request: Document, send: Callable[[Document], None]) -> None:
        send({"ok": True, "result": {"stopping": True}})
        stub.close()

    stub = serve({"shutdown": shutdown})
    assert ctl("shutdown") == (0, "agentd has stopped\n", "")


def test_a_shutdown_that_takes_too_long_exits_124(serve: Serve, ctl: Ctl) -> None:
    serve({"shutdown": {"stopping": True}})
    code, out, err = ctl("shutdown", "--timeout", "0.5")
    assert (code, out) == (124, "")
    assert "still stopping" in err


@pytest.mark.parametrize(
    "words", [("--cost-usd", "nan"), ("--latency-ms", "inf"), ("--progress", "nan/3")]
)
def test_what_is_no_number_is_refused_before_it_is_sent(
    words: tuple[str, str], spawned: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    done = spawned("heartbeat", *words)
    assert done.returncode == 2
    assert words[1].partition("/")[0] in done.stderr
