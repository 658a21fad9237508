import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any, get_args

import pytest

from agentd.cli import agentd as daemon_script
from agentd.cli import exits
from agentd.cli import main as operator_script
from agentd.cli.commands.heartbeat import STATUSES
from agentd.cli.invocation import Invocation
from agentd.cli.lazy import LazyGroup
from agentd.wire.shapes import StatusWord
from tests.cli.incident_samples import incident, whole
from tests.cli.reported import HISTORY, REPORT
from tests.cli.stub import BREAKER, Answer, Document, HangUp, Stub, agent, event, status

Serve = Callable[[dict[str, Answer]], Stub]
Ctl = Callable[..., tuple[int, str, str]]
Spawned = Callable[..., "subprocess.CompletedProcess[str]"]

WRITTEN = {"agents": [{"name": "a", "state": "running", "intent": "up", "message": "starts"}]}
WAITED = {"agents": [{"name": "a", "state": "running", "health": "healthy", "met": True}]}
ANSWERS: dict[str, Answer] = {
    "version": {"version": "0.1.0"},
    "status": status(agent("a", intent="paused", state="paused")),
    "checkpoints": {
        "agents": [
            {
                "name": "a",
                "execution": "e1",
                "unfinished": [
                    {
                        "key": "refund:1",
                        "action": "stripe.refund",
                        "idempotent": False,
                        "at": "2026-11-21T08:00:00.123Z",
                        "age_s": 60.0,
                        "incarnation": "i1",
                        "cut_off": True,
                        "accepted": False,
                    }
                ],
                "checkpoints": [
                    {
                        "seq": 7,
                        "time": "2026-11-21T08:00:00.123Z",
                        "execution": "e1",
                        "incarnation": "i1",
                        "bytes": 1228,
                        "current": True,
                    }
                ],
                "state": {"n": 1},
            }
        ]
    },
    "show": {"agents": {"a": {"command": {"value": ["x"], "origin": "a.toml:1"}}}},
    "incidents": lambda request, _send: (
        whole() if request["args"].get("id") else {"incidents": [incident()]}
    ),
    "ack": {"id": 3, "open": True, "message": "acknowledged: no more reminders"},
    "events": lambda request, _send: {
        "events": [event(1)] if (request["args"]["after"] or 0) < 1 else [],
        "last_id": 1,
    },
    "logs": {"logs": [{"agent": "a", "lines": ["hello"], "offset": 6}]},
    "daemon": {"daemon": {"pid": 1}, "counters": {"lines": 2}},
    "reload": {"dry_run": False, "added": ["a"], "errors": []},
    "wait": WAITED,
    "shutdown": {},
    "line": {},
    **dict.fromkeys(
        ["start", "stop", "restart", "kill", "pause", "resume", "hold", "unhold", "reset"], WRITTEN
    ),
    "signal": WRITTEN,
    "breakers": {"breakers": [BREAKER]},
    "alerts": {"sinks": [], "queue": []},
    "history": HISTORY,
    "report": REPORT,
}
LINES = {
    "status": ["status"],
    "status of one": ["status", "a"],
    "status --check": ["status", "--check"],
    "start": ["start", "a", "--fresh"],
    "stop": ["stop", "a", "--reason", "r"],
    "restart": ["restart", "a"],
    "kill": ["kill", "a"],
    "pause": ["pause", "a"],
    "resume": ["resume", "a"],
    "hold": ["hold", "a"],
    "unhold": ["unhold", "a"],
    "reset": ["reset", "a"],
    "signal": ["signal", "a", "hup"],
    "logs": ["logs", "a"],
    "events": ["events"],
    "incidents": ["incidents"],
    "incident": ["incident", "3"],
    "ack": ["ack", "3"],
    "show": ["show", "a"],
    "checkpoints": ["checkpoints"],
    "checkpoints --state": ["checkpoints", "a", "--state"],
    "reload": ["reload"],
    "wait": ["wait", "a", "--for", "healthy"],
    "is-active": ["is-active", "a"],
    "is-healthy": ["is-healthy", "a"],
    "is-failed": ["is-failed", "a"],
    "heartbeat": ["heartbeat", "--tokens", "9"],
    "top": ["top"],
    "breakers": ["breakers"],
    "alerts": ["alerts"],
    "history": ["history", "a", "--since", "7d"],
    "report": ["report", "--date", "2026-11-20"],
    "daemon": ["daemon"],
    "daemon reexec": ["daemon", "reexec"],
    "ping": ["ping"],
    "version": ["version"],
    "shutdown": ["shutdown", "--no-wait"],
}


def test_every_command_is_tried_here_but_those_that_ask_no_daemon() -> None:
    tried = {words[0] for words in LINES.values()}
    assert tried == set(operator_script.COMMANDS) - {"completion", "dashboard", "fleet"}


@pytest.mark.parametrize("words", LINES.values(), ids=LINES.keys())
@pytest.mark.parametrize("before", [True, False], ids=["--json first", "--json last"])
def test_json_is_one_document_and_nothing_else(
    serve: Serve, ctl: Ctl, words: list[str], *, before: bool
) -> None:
    serve(ANSWERS)
    _code, out, err = ctl(*(["--json", *words] if before else [*words, "--json"]))
    assert isinstance(json.loads(out), dict)
    assert out.count("\n") == 1
    assert err == ""


@pytest.mark.parametrize("words", LINES.values(), ids=LINES.keys())
def test_text_is_plain_where_nobody_watches(serve: Serve, ctl: Ctl, words: list[str]) -> None:
    serve(ANSWERS)
    _code, out, err = ctl(*words)
    assert "\x1b" not in out
    assert err == ""


def test_quiet_leaves_the_words_of_a_write_out(serve: Serve, ctl: Ctl) -> None:
    serve(ANSWERS)
    assert ctl("kill", "a", "-q") == (0, "", "")
    assert ctl("-q", "start", "a") == (0, "", "")


@pytest.mark.parametrize("script", [operator_script.agentctl, daemon_script.agentd])
def test_every_command_of_the_table_resolves_and_has_help(
    script: LazyGroup, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert script.name is not None
    for name in script.table:
        monkeypatch.setattr(sys, "argv", [script.name, name, "--help"])
        assert exits.run(script, script.name, Invocation()) == 0
        assert f"Usage: {script.name} {name}" in capsys.readouterr().out


def test_aliases_are_the_command_they_stand_for(serve: Serve, ctl: Ctl) -> None:
    serve(ANSWERS)
    assert ctl("ls") == ctl("ps") == ctl("status")


def test_status_as_json_imports_nothing_heavy(serve: Serve) -> None:
    serve({"status": status(agent("a"))})
    code = """
import sys
sys.argv = ["agentctl", "status", "--json"]
from agentd.cli import exits
from agentd.cli.invocation import Invocation
from agentd.cli.main import agentctl
assert exits.run(agentctl, "agentctl", Invocation()) == 0
heavy = {"rich", "asyncio", "psutil", "sqlite3", "msgspec", "decimal", "difflib", "pathlib"}
heavy.add("agentd.cli.views")
ours = {name for name in sys.modules if name.startswith(("agentd.core", "agentd.config"))}
print(sorted((heavy & set(sys.modules)) | ours), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
    )
    assert json.loads(done.stdout)["agents"][0]["name"] == "a"
    assert done.stderr == "[]\n"


def test_agentctl_knows_every_status_that_the_wire_takes() -> None:
    # Written twice, because a beat of a shell script must not pay for msgspec.
    assert set(STATUSES) == set(get_args(StatusWord))


def test_the_client_imports_only_the_standard_library() -> None:
    code = (
        "import sys, agentd.client; names = {name.split('.')[0] for name in sys.modules}; "
        "print(sorted(names - set(sys.stdlib_module_names) - {'agentd', '__main__'}), "
        "sorted(name for name in sys.modules if name.startswith('agentd.')))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
        cwd=operator_script.__file__.split("/agentd/cli/")[0],
    )
    names = ["channel", "cursors", "errors", "link"]
    assert done.stdout.strip() == f"[] {['agentd.client', *(f'agentd.client.{n}' for n in names)]}"


@pytest.mark.parametrize(
    ("color", "env", "terminal", "expected"),
    [
        ("auto", {"TERM": "xterm"}, True, True),
        ("auto", {"TERM": "xterm"}, False, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {"TERM": ""}, True, False),
        ("auto", {}, True, False),
        ("auto", {"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ("auto", {"TERM": "xterm", "NO_COLOR": ""}, True, True),  # empty: as if not set
        ("always", {"NO_COLOR": "1", "TERM": "dumb"}, False, True),  # the later word wins
        ("never", {"TERM": "xterm"}, True, False),
    ],
)
def test_colours_are_for_people_who_want_them(
    monkeypatch: pytest.MonkeyPatch,
    color: str,
    env: dict[str, str],
    *,
    terminal: bool,
    expected: bool,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    invocation = Invocation(env)
    invocation.color = color
    assert invocation.colored() is expected


def test_a_coloured_table_holds_foreign_text_as_text(serve: Serve, ctl: Ctl) -> None:
    serve({"status": status(agent("a", task="[/path/x] [bold]\x1b[2J"), agent("b"))})
    code, out, _err = ctl("status", "--color", "always")
    assert code == 0
    assert "\x1b[2J" not in out
    assert "\x1b[32m" in out  # healthy is green


def _hostile(value: Any, text: str) -> Any:  # noqa: ANN401 - any part of a document
    """Return a document every text of which is `text`, times and the words of tables aside."""
    if isinstance(value, dict):
        return {
            name: each if name in ("time", "opened", "began") else _hostile(each, text)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [_hostile(each, text) for each in value]
    return text if isinstance(value, str) else value


def test_c7_hostile_text_never_reaches_the_terminal_raw(serve: Serve, ctl: Ctl) -> None:
    hostile = "a\x1b[31m\x00\u202e\ud800\r\nagentctl: forged"
    serve(
        {
            "status": status(agent("a", task=hostile, evidence=hostile, goal=hostile)),
            "events": {"events": [event(1, message=hostile)], "last_id": 1},
            "logs": {"logs": [{"agent": "a", "lines": [hostile]}]},
            "kill": {"agents": [{"name": "a", "message": hostile}]},
            "incidents": lambda request, _send: (
                _hostile(whole(), hostile)
                if request["args"].get("id")
                else {"incidents": [_hostile(incident(), hostile)]}
            ),
            "ack": {"id": 3, "message": hostile},
        }
    )
    for words in (
        ["status"],
        ["status", "a"],
        ["events"],
        ["logs", "a"],
        ["kill", "a", "--no-wait"],
        ["incidents"],
        ["incident", "3"],
        ["ack", "3"],
    ):
        _code, out, err = ctl(*words)
        assert not set(out) & set("\x1b\x00\u202e\ud800\r"), words
        assert "\nagentctl: forged" not in out + err, words
        assert "forged" in out or words == ["status"], words


def test_raw_logs_are_as_they_were_written(serve: Serve, ctl: Ctl) -> None:
    stub = serve({"logs": {"logs": [{"agent": "a", "lines": ["\x1b[31mred"]}]}})
    assert ctl("logs", "a", "--raw")[1] == "\x1b[31mred\n"
    assert stub.asked[0]["args"]["raw"] is True


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["events", "-f"], {"id": 1}),
        (["logs", "a", "-f"], {"agent": "a", "line": "hello"}),
    ],
)
def test_following_as_json_is_json_lines(
    serve: Serve, ctl: Ctl, words: list[str], expected: Document
) -> None:
    serve(ANSWERS)
    code, out, err = ctl(*words, "--json", "--timeout", "0.5")
    found = [json.loads(line) for line in out.splitlines()]
    assert [{key: one[key] for key in expected} for one in found] == [expected]
    assert (code, "the time for following is over" in err) == (124, True)


def test_a_follower_says_that_it_waits_for_the_daemon(serve: Serve, ctl: Ctl) -> None:
    def events(request: Document, send: Callable[[Document], None]) -> Document | None:
        if not request.get("follow"):
            return {"events": [event(1)], "last_id": 1}
        if request["args"]["after"] == 1:
            send({"event": event(2)})
            raise HangUp
        send({"event": event(3)})
        return None

    serve({"events": events})
    code, out, err = ctl("events", "-f", "--timeout", "1.5")
    assert code == 124
    assert out.count("agent.exited") == 3
    assert "went away: connection closed; waiting for it" in err


def test_completion_prints_a_script_for_each_shell(ctl: Ctl) -> None:
    for shell in ("bash", "zsh", "fish"):
        code, out, err = ctl("completion", shell)
        assert (code, err) == (0, "")
        assert "_AGENTCTL_COMPLETE" in out


@pytest.mark.parametrize(
    ("line", "cword", "expected"),
    [
        ("agentctl sta", "1", {"status", "start"}),
        ("agentctl kill or", "2", {"order-processor"}),
        ("agentctl kill --re", "2", {"--reason"}),
        ("agentctl kill nothing-like-it", "2", set()),
    ],
)
def test_tab_completes_commands_options_and_agents(
    serve: Serve, spawned: Spawned, line: str, cword: str, expected: set[str]
) -> None:
    serve({"status": status(agent("order-processor"), agent("researcher"))})
    done = spawned(_AGENTCTL_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=cword)
    assert {item.partition(",")[2] for item in done.stdout.split()} == expected
    assert done.stderr == ""


def test_tab_is_silent_without_a_daemon(spawned: Spawned) -> None:
    words = {"COMP_WORDS": "agentctl kill or", "COMP_CWORD": "2"}
    done = spawned(_AGENTCTL_COMPLETE="bash_complete", **words)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_names_survive_a_terminal_without_utf_8(serve: Serve, spawned: Spawned) -> None:
    serve({"status": status(agent("a", task="größe\ud800"))})
    done = spawned("status", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert done.returncode == 0
    assert r"gr\xf6\xdfe" in done.stdout


def test_options_without_effect_are_told_beside_the_table_and_not_in_it(
    serve: Serve, ctl: Ctl
) -> None:
    keys = [f"agents.a.budget.{number}" for number in range(6)]
    document = status(agent("a"))
    document["daemon"]["no_effect_yet"] = keys
    serve({**ANSWERS, "status": document})
    code, out, err = ctl("status")
    assert code == exits.DONE
    assert "effect" not in out
    assert err.count("\n") == 1
    assert err.startswith("without effect in this version: agents.a.budget.0, ")
    assert "and 2 more (agentd check says where)" in err
    for words in (("-q", "status"), ("--json", "status"), ("status", "a"), ("status", "--check")):
        assert ctl(*words)[2] == "", words
