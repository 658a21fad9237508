"""`agentctl top` on a terminal of its own, in front of a stub: what is drawn, asked and left."""

import os
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.incident_samples import incident
from tests.cli.screens import Terminal, agentctl
from tests.cli.stub import Answer, Document, Refusal, Stub, agent, status

Serve = Callable[[dict[str, Answer]], Stub]

FLEET: dict[str, Answer] = {
    "status": status(agent("order-processor"), agent("crawler", health="degraded")),
    "incidents": {"incidents": [incident(agent="crawler")]},
}


def on_a_terminal(stub: Stub, *words: str, **more: str) -> Terminal:
    env = {**os.environ, "TERM": "xterm-256color", "AGENTD_SOCKET": str(stub.path), **more}
    return Terminal(agentctl("top", "--interval", "0.2", *words), env)


@pytest.mark.parametrize("key", [b"q", b"\x03"], ids=["q", "Ctrl-C"])
def test_a_key_leaves_the_terminal_as_it_was(serve: Serve, key: bytes) -> None:
    with on_a_terminal(serve(FLEET)) as terminal:
        seen = terminal.until(lambda text: "order-processor" in text and "incident 3" in text)
        assert max(map(len, seen.splitlines())) <= 80
        assert not terminal.is_as_before()
        terminal.type(key)
        assert terminal.ended() == 0
        assert terminal.is_as_before()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_as_it_was(serve: Serve, number: signal.Signals) -> None:
    with on_a_terminal(serve(FLEET)) as terminal:
        terminal.until(lambda text: "order-processor" in text)
        terminal.process.send_signal(number)
        assert terminal.ended() == 128 + number
        assert terminal.is_as_before()


@pytest.mark.parametrize("wrong", [{"agents": [{}]}, {"no": "agents"}])
def test_a_fault_of_ours_leaves_the_terminal_as_it_was(serve: Serve, wrong: Document) -> None:
    stub = serve(FLEET)
    with on_a_terminal(stub) as terminal:
        terminal.until(lambda text: "order-processor" in text)
        stub.answers["status"] = wrong
        assert terminal.ended() == 1
        assert terminal.is_as_before()
        assert b"agentctl: unexpected KeyError" in terminal.written
        assert b"Traceback" not in terminal.written


def test_nobody_there_is_an_error_before_the_screen_is_taken(tmp_path: Path) -> None:
    env = {**os.environ, "TERM": "xterm", "AGENTD_SOCKET": str(tmp_path / "none")}
    with Terminal(agentctl("top"), env) as terminal:
        assert terminal.ended() == 7
        assert b"\x1b[?1049h" not in terminal.written


@pytest.mark.parametrize(
    ("key", "verb"), [(b"K", "kill"), (b"p", "pause"), (b"r", "resume"), (b"t", "restart")]
)
def test_an_order_is_sent_with_its_reason_and_what_came_of_it_is_shown(
    serve: Serve, key: bytes, verb: str
) -> None:
    told = {"agents": [{"name": "crawler", "state": "stopping", "message": "it is recorded"}]}
    stub = serve({**FLEET, verb: told})
    with on_a_terminal(stub) as terminal:
        terminal.until(lambda text: "> crawler" in text)
        terminal.type(key + b"cost spike")
        terminal.until(lambda text: "cost spike_" in text)
        assert verb not in stub.commands()
        terminal.type(b"\r")
        terminal.until(lambda text: "crawler: stopping (it is recorded)" in text)
        (sent,) = (one for one in stub.asked if one.get("cmd") == verb)
        assert sent["args"] == {"select": ["crawler"], "reason": "cost spike"}


def test_the_daemon_that_is_gone_was_last_seen_and_is_shown_again_when_it_is_back(
    serve: Serve,
) -> None:
    stub = serve(FLEET)
    with on_a_terminal(stub) as terminal:
        terminal.until(lambda text: "order-processor" in text)
        stub.close()
        terminal.until(lambda text: "NOT REACHABLE, last seen" in text and "healthy?" in text)
        terminal.type(b"j")
        terminal.until(lambda text: "> order-processor" in text)  # keys don't wait for anybody
        back = serve(FLEET)
        terminal.until(lambda text: "NOT REACHABLE" not in text and "healthy?" not in text)
        assert "status" in back.commands()


def test_a_daemon_that_says_nothing_was_last_seen_and_keys_go_on(serve: Serve) -> None:
    hung = threading.Event()

    def answer(_request: Document, _send: object) -> object:
        return None if hung.is_set() else FLEET["status"]

    stub = serve({**FLEET, "status": answer, "ping": lambda *_: None if hung.is_set() else {}})
    with on_a_terminal(stub) as terminal:
        terminal.until(lambda text: "order-processor" in text)
        hung.set()
        terminal.type(b"j")
        terminal.until(lambda text: "> order-processor" in text)
        terminal.until(lambda text: "NOT REACHABLE, last seen" in text)
        assert stub.commands().count("status") > 1


def test_nothing_is_drawn_while_nothing_changes(serve: Serve) -> None:
    looks = 0
    enough = threading.Event()

    def answer(_request: Document, _send: object) -> Answer:
        nonlocal looks
        looks += 1
        if looks == 10:
            enough.set()
        return FLEET["status"]

    with on_a_terminal(serve({**FLEET, "status": answer})) as terminal:
        terminal.until(lambda text: "host: " in text)
        while not enough.is_set():
            terminal.read(0.1)
        drawn = terminal.written.split(b"\x1b[?7l")[1].split(b"\x1b[H\x1b[2J")[-1]
        # Past the first frame, only the line with the host's own load is ever written again.
        again = re.findall(rb"\x1b\[(\d+);1H", drawn)[24:]
        assert set(again) <= {b"2"}, again
        assert len(again) <= looks


def test_a_terminal_that_is_resized_is_drawn_anew(serve: Serve) -> None:
    with on_a_terminal(serve(FLEET)) as terminal:
        terminal.until(lambda text: "q" in text.splitlines()[-1])
        terminal.resize(120, 40)
        os.kill(terminal.process.pid, signal.SIGWINCH)
        terminal.until(lambda text: "filter" in text.splitlines()[-1] and "TASK/STEP" in text)
        assert len(terminal.picture.lines()) == 40


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(serve: Serve) -> None:
    with on_a_terminal(serve(FLEET)) as terminal:
        terminal.until(lambda text: "order-processor" in text)
        terminal.type(b"\x1a")
        os.waitid(os.P_PID, terminal.process.pid, os.WSTOPPED)
        terminal.until(lambda _: terminal.is_as_before())
        terminal.process.send_signal(signal.SIGCONT)
        terminal.until(lambda text: terminal.picture.is_other_screen and "order-processor" in text)
        terminal.type(b"q")
        assert terminal.ended() == 0


@pytest.mark.parametrize(
    ("more", "words", "colours"),
    [({}, (), True), ({"NO_COLOR": "1"}, (), False), ({}, ("--color", "never"), False)],
)
def test_no_colour_is_drawn_where_none_is_wanted(
    serve: Serve, more: dict[str, str], words: tuple[str, ...], *, colours: bool
) -> None:
    with on_a_terminal(serve(FLEET), *words, **more) as terminal:
        terminal.until(lambda text: "> crawler" in text)
        terminal.type(b"q")
        assert terminal.ended() == 0
        found = re.search(rb"\x1b\[[0-9;]*(?:3[0-7]|38|9[0-7])[0-9;]*m", terminal.written)
        assert (found is not None) is colours


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_only_prints_gets_a_table_whenever_it_has_changed(
    serve: Serve, term: str
) -> None:
    stub = serve(FLEET)
    with on_a_terminal(stub, TERM=term) as terminal:
        terminal.until(lambda text: "1 degraded" in text)
        stub.answers["status"] = status(agent("order-processor", state="paused"))
        terminal.until(lambda text: "paused" in text)
        stub.close()
        terminal.until(lambda text: "last seen" in text)
        assert b"\x1b" not in terminal.written
        assert terminal.written.count(b"crawler") == 1
        terminal.type(b"\x03")
        assert terminal.ended() == 0


@pytest.mark.parametrize("term", ["dumb", "xterm-256color"])
@pytest.mark.parametrize(
    ("code", "exit_code"), [("no_such_agent", 5), ("forbidden", 4), ("internal", 1)]
)
def test_an_error_that_time_does_not_mend_ends_it_and_is_told_as_what_it_is(
    serve: Serve, term: str, code: str, exit_code: int
) -> None:
    stub = serve(FLEET)
    with on_a_terminal(stub, TERM=term) as terminal:
        terminal.until(lambda text: "order-processor" in text)
        stub.answers["status"] = Refusal(code, "it is so", "do this")
        assert terminal.ended() == exit_code
        assert terminal.is_as_before()
        assert b"agentctl: it is so\r\n  hint: do this" in terminal.written
        assert b"NOT REACHABLE" not in terminal.written


@pytest.mark.parametrize("term", ["dumb", "xterm-256color"])
@pytest.mark.parametrize(
    ("code", "told"), [("too_busy", "TOO BUSY"), ("storage_unavailable", "NOT READABLE")]
)
def test_a_daemon_that_answers_without_a_status_is_not_called_unreachable(
    serve: Serve, term: str, code: str, told: str
) -> None:
    stub = serve(FLEET)
    with on_a_terminal(stub, TERM=term) as terminal:
        terminal.until(lambda text: "order-processor" in text)
        stub.answers["status"] = Refusal(code, "it is so")
        terminal.until(lambda text: f"{told}, last seen" in text and "it is so" in text)
        stub.answers["status"] = status(agent("order-processor", state="paused"))
        terminal.until(lambda text: "paused" in text)
        assert b"NOT REACHABLE" not in terminal.written


def test_it_looks_once_however_short_its_time_is(serve: Serve) -> None:
    stub = serve(FLEET)
    with on_a_terminal(stub, "--interval", "5", "--timeout", "3", TERM="dumb") as terminal:
        assert terminal.ended() == 0
        assert terminal.written.count(b"order-processor") == 1
        assert stub.commands() == ["status"]


def test_it_is_one_process(serve: Serve) -> None:
    with on_a_terminal(serve(FLEET)) as terminal:
        terminal.until(lambda text: "order-processor" in text)
        pid = terminal.process.pid
        assert not Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()


def test_a_line_that_is_cut_ends_it(serve: Serve) -> None:
    with on_a_terminal(serve(FLEET)) as terminal:
        terminal.until(lambda text: "order-processor" in text)
        terminal.hang_up()
        assert terminal.process.wait(30) == 128 + signal.SIGHUP
