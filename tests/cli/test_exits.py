import subprocess
import sys
import time
from collections.abc import Callable
from textwrap import dedent

import pytest

from tests.cli.stub import Answer, Document, Refusal, Stub, agent, status
from tests.stopwatch import Stopwatch

Serve = Callable[[dict[str, Answer]], Stub]
Ctl = Callable[..., tuple[int, str, str]]
Spawned = Callable[..., "subprocess.CompletedProcess[str]"]

STOPPED = {"state": "stopped", "intent": "stopped", "health": "unknown", "pid": None}
ESCALATED = {"state": "escalated", "health": "unreachable", "pid": None}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("bad_request", 2),
        ("forbidden", 4),
        ("no_such_agent", 5),
        ("conflict", 1),
        ("invalid_config", 1),
        ("storage_unavailable", 1),
        ("too_busy", 1),
        ("timeout", 124),
        ("internal", 1),
        ("from_a_later_version", 1),
    ],
)
def test_each_error_has_its_exit_code(serve: Serve, ctl: Ctl, code: str, expected: int) -> None:
    serve({"kill": Refusal(code, "it is so", "do this")})
    assert ctl("kill", "a") == (expected, "", "agentctl: it is so\n  hint: do this\n")


@pytest.mark.parametrize(
    ("words", "agents", "expected"),
    [
        (["status"], [agent("a", **STOPPED)], 0),  # it could be shown
        (["status"], [], 0),
        (["status", "a"], [agent("a")], 0),
        (["status", "a"], [agent("a", **STOPPED)], 3),
        (["status", "a", "b"], [agent("a"), agent("b", **ESCALATED)], 3),
        (["status", "a"], [agent("a", state="starting")], 3),
        (["status", "all"], [], 4),
        (["is-active", "a"], [agent("a")], 0),
        (["is-active", "a"], [agent("a", state="parked")], 0),
        (["is-active", "a"], [agent("a", state="parked", pid=None)], 3),
        (["is-active", "a", "b"], [agent("a"), agent("b", **STOPPED)], 3),
        (["is-healthy", "a"], [agent("a")], 0),
        (["is-healthy", "a"], [agent("a", health="degraded")], 3),
        (["is-healthy", "a"], [agent("a", health="unknown")], 4),
        (["is-healthy", "*"], [agent("a", health="unknown"), agent("b", health="degraded")], 4),
        (["is-failed", "a"], [agent("a", **ESCALATED)], 0),
        (["is-failed", "a"], [agent("a", state="cooldown")], 0),
        (["is-failed", "a"], [agent("a")], 3),
        (["is-failed", "a"], [agent("a", **STOPPED)], 3),
        (["is-failed", "a", "b"], [agent("a"), agent("b", **ESCALATED)], 0),
        (["status", "--check"], [agent("a")], 0),
        (["status", "--check"], [agent("a"), agent("b", health="degraded")], 1),
        (["status", "--check"], [agent("a", health="degraded"), agent("b", **ESCALATED)], 2),
        (["status", "--check"], [agent("a", health="unreachable")], 2),
        (["status", "--check"], [agent("a", open_incident=12)], 2),
        (["status", "--check"], [agent("a", health="unknown")], 3),
        # What is known to be wrong outweighs what isn't known.
        (["status", "--check"], [agent("a", health="unknown"), agent("b", health="degraded")], 1),
        (["status", "--check"], [agent("a", **STOPPED)], 0),  # its operator wanted it so
        (["status", "--check"], [agent("a", state="completed", health="unknown")], 0),
        (["status", "--check"], [], 3),
    ],
)
def test_questions_about_agents_are_answered_by_the_exit_code(
    serve: Serve, ctl: Ctl, words: list[str], agents: list[Document], expected: int
) -> None:
    serve(
        {
            "status": status(*agents),
            "events": {"events": [], "last_id": 0},
            "logs": {"logs": []},
        }
    )
    code, _out, err = ctl(*words)
    assert (code, err) == (expected, "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["status", "nobody"], 4),
        (["is-active", "nobody"], 4),
        (["is-healthy", "nobody"], 4),
        (["is-failed", "nobody"], 4),
        (["status", "nobody-*"], 5),
        (["is-active", "tag:none"], 5),
        (["status", "--check", "nobody"], 3),
    ],
)
def test_an_agent_that_does_not_exist(
    serve: Serve, ctl: Ctl, words: list[str], expected: int
) -> None:
    serve({"status": Refusal("no_such_agent", 'no agent matches "nobody"')})
    assert ctl(*words)[0] == expected


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["statsu"], "unknown command 'statsu'", 'did you mean "status"?'),
        (["xyzzy"], "unknown command 'xyzzy'", "agentctl --help"),
        (["__class__"], "unknown command '__class__'", "agentctl --help"),
        (["kill"], "missing argument 'SELECTOR...'", "agentctl kill --help"),
        (["kill", "a", "--reeson", "x"], "no such option '--reeson'", "did you mean --reason?"),
        (["status", "--timeout", "soon"], None, "agentctl status --help"),
        (["logs", "a", "--since", "soon"], None, "agentctl logs --help"),
        (["wait", "a", "--for", "luck"], None, "agentctl wait --help"),
        (["heartbeat", "--progress", "much"], None, "write --progress 0.3 or --progress 3/10"),
        (["heartbeat", "--cost-usd", "-1"], None, "agentctl heartbeat --help"),
    ],
)
def test_a_mistyped_command_line_exits_2_and_says_what_was_meant(
    ctl: Ctl, words: list[str], message: str | None, hint: str
) -> None:
    code, out, err = ctl(*words)
    assert (code, out) == (2, "")
    assert err.startswith(f"agentctl: {message}" if message else "agentctl: ")
    assert err.endswith(f"\n  hint: {hint}\n")


def test_no_command_at_all_shows_the_help_on_stderr(ctl: Ctl) -> None:
    code, out, err = ctl()
    assert (code, out) == (2, "")
    assert err.startswith("Usage: agentctl")


def test_k6_without_a_daemon_every_command_exits_7_with_the_next_step(spawned: Spawned) -> None:
    begun = time.monotonic()
    done = spawned("status")
    assert time.monotonic() - begun < 5
    assert (done.returncode, done.stdout) == (7, "")
    assert "no answer from agentd on" in done.stderr
    assert "hint: is it running?  agentd start" in done.stderr


def test_k6_a_silent_daemon_exits_124_within_5_seconds(serve: Serve, spawned: Spawned) -> None:
    serve({"status": lambda _request, _send: None, "ping": lambda _request, _send: None})
    watch = Stopwatch()
    done = spawned("status", "--json")
    assert watch.fair_s < 5
    assert (done.returncode, done.stdout) == (124, "")
    assert "no answer in time" in done.stderr


def test_the_timeout_bounds_the_whole_command(serve: Serve, ctl: Ctl) -> None:
    stub = serve({"start": {"agents": [{"name": "a"}]}, "wait": lambda _request, _send: None})
    begun = time.monotonic()
    assert ctl("--timeout", "0.6", "start", "a")[0] == 124
    assert time.monotonic() - begun < 3
    assert 0 < stub.asked[1]["args"]["timeout_s"] < 0.6


def test_p18_an_unexpected_error_is_one_line_and_no_traceback(serve: Serve, ctl: Ctl) -> None:
    serve({"status": {"agents": "not a list of agents"}})
    code, out, err = ctl("status")
    assert (code, out) == (1, "")
    assert err.startswith("agentctl: unexpected AttributeError: ")
    assert "Traceback" not in err
    assert err.count("\n") == 2


def test_a_traceback_is_shown_to_whoever_asks_for_it(
    serve: Serve, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTD_DEBUG", "1")
    serve({"status": {"agents": "not a list of agents"}})
    with pytest.raises(AttributeError):
        ctl("status")


def test_p18_a_reader_that_has_seen_enough_ends_it_quietly(serve: Serve) -> None:
    many = [{"agent": "a", "lines": ["x" * 100] * 20_000}]
    stub = serve({"logs": {"logs": many}})
    with subprocess.Popen(
        [sys.executable, "-m", "agentd.cli", "-s", str(stub.path), "logs", "a"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(100)
        process.stdout.close()
        assert process.wait(20) == 0
        assert process.stderr.read() == b""


def test_an_interrupt_exits_130_quietly(ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("agentd.client.Client.status", interrupted)
    assert ctl("status") == (130, "", "")


@pytest.mark.parametrize("met", [True, False])
def test_a_write_that_does_not_come_true_fails(serve: Serve, ctl: Ctl, *, met: bool) -> None:
    waited = {"name": "a", "state": "running" if met else "escalated", "met": met, "why": "no"}
    keys = {"startup_timeout": {"value": "2m"}, "stop_timeout": {"value": "30s"}}
    stub = serve(
        {
            "start": {"agents": [{"name": "a"}]},
            "show": {"agents": {"a": keys}},
            "wait": {"agents": [waited]},
        }
    )
    code, out, err = ctl("start", "a")
    # It waits as long as the agent's own configuration lets it take, and a little longer.
    assert stub.asked[-1]["args"] == {"select": ["a"], "for": "ready", "timeout_s": 160.0}
    if met:
        assert (code, out, err) == (0, "a: running\n", "")
    else:
        assert (code, out) == (1, "a: escalated\n")
        assert err.startswith('agentctl: "a" is not ready: no\n  hint: agentctl status a')


def test_a_thread_that_hangs_keeps_no_daemon_from_ending() -> None:
    hangs = """
    import sys, threading
    from concurrent.futures import ThreadPoolExecutor
    from agentd.cli.agentd import main
    ThreadPoolExecutor().submit(threading.Event().wait)
    sys.argv = ["agentd", "version"]
    main()
    """
    ended = subprocess.run(
        [sys.executable, "-c", dedent(hangs)], capture_output=True, timeout=20, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout
