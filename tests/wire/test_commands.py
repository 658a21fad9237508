import json

import pytest

from agentd.wire.commands import COMMANDS, Command, decode_command, named_command
from agentd.wire.lines import BadLine

CONTRACT = [
    "ping", "version", "status", "show", "start", "stop", "restart", "kill", "pause",
    "resume", "reset", "hold", "unhold", "signal", "wait", "events", "unfollow", "incidents", "ack",
    "history", "report", "logs", "alerts", "checkpoints", "breakers", "reload", "daemon",
    "shutdown",
]  # fmt: skip


def asked(cmd: object, args: object = None, **more: object) -> Command:
    return decode_command(json.dumps({"id": "7", "cmd": cmd, "args": args, **more}).encode())


def test_the_table_is_that_of_the_contract() -> None:
    assert [name for name in COMMANDS if name != "fleet"] == CONTRACT
    assert [name for name, spec in COMMANDS.items() if spec.internal] == ["fleet"]


def test_agents_may_do_nothing_but_ping() -> None:
    assert [name for name, spec in COMMANDS.items() if spec.role == "agent"] == ["ping"]


def test_viewers_change_nothing_and_read_no_logs() -> None:
    readable = {name for name, spec in COMMANDS.items() if spec.role == "viewer"}
    assert not any(COMMANDS[name].mutates for name in readable)
    assert not readable & {"logs", "checkpoints", "alerts"}


@pytest.mark.parametrize(
    ("cmd", "args"),
    [
        ("ping", {}),
        ("status", {"select": ["a", "tag:x"], "all": False}),
        ("restart", {"select": ["order-*"], "reason": "deploy"}),
        ("start", {"select": ["a"], "fresh": True}),
        ("signal", {"select": ["a"], "signal": "SIGHUP"}),
        ("wait", {"select": ["a"], "for": "ready", "timeout_s": 1.5}),
        ("wait", {"select": ["a"], "for": "healthy", "timeout_s": None}),
        ("status", {"all": True, "counters": True}),
        ("history", {"since": "2026-11-21T08:00:00Z", "series": True, "step_s": 300}),
        ("history", {"since": 1_795_000_000_000, "series": False, "step_s": None}),
        ("unfollow", {"id": "7"}),
        ("events", {"after": 12, "limit": None, "types": []}),
        ("logs", {"select": ["a"], "lines": 10, "grep": "x", "raw": True, "from": {"a": 7}}),
        ("reload", {"dry_run": True}),
        ("ack", {"id": 12, "reason": "on it"}),
        ("daemon", {"action": "reexec"}),
        ("kill", {"select": ["a"], "from the future": 1}),
    ],
)
def test_arguments_are_checked_and_handed_on(cmd: str, args: dict[str, object]) -> None:
    assert asked(cmd, args) == Command("7", cmd, args)


@pytest.mark.parametrize(
    ("cmd", "args", "told"),
    [
        ("kill", {"select": "a"}, "args.select: expected `array | null`, got `str`"),
        ("kill", {"select": [1]}, "args.select[0]: expected `str`"),
        ("kill", {"select": [""]}, "args.select[0]: "),
        ("kill", {"select": ["x"] * 1025}, "args.select: "),
        ("kill", {"select": ["a"], "reason": "x" * 4097}, "args.reason: "),
        ("kill", [], "args: expected `object | null`"),
        ("signal", {"select": ["a"]}, "missing required field `signal`"),
        ("signal", {"select": ["a"], "signal": "SIGFOO"}, "args.signal: 'SIGFOO' is not the name"),
        ("logs", {"select": ["a"], "from": {"a": "1"}}, "args.from"),
        ("wait", {"for": "lunch"}, "args.for: "),
        ("wait", {"timeout_s": -1}, "args.timeout_s: "),
        ("daemon", {"action": "explode"}, "args.action: "),
        ("reload", {"dry_run": 1}, "args.dry_run: "),
        ("events", {"after": 1 << 60}, "args.after: "),
        ("ack", {}, "missing required field `id`"),
        ("ack", {"id": "1"}, "args.id: expected `int`"),
    ],
)
def test_a_wrong_argument_is_named(cmd: str, args: object, told: str) -> None:
    with pytest.raises(BadLine) as caught:
        asked(cmd, args)
    assert (caught.value.code, caught.value.id) == ("bad_request", "7")
    assert told in caught.value.message


@pytest.mark.parametrize(
    "cmd",
    [
        "__class__",
        "a.b.c",
        "Kill",
        "kill ",
        "",
        "__init__",
        "start.__globals__",
        "../kill",
        "\u202ekill",
    ],
)
def test_l4_a_name_is_looked_up_and_nothing_else(cmd: str) -> None:
    with pytest.raises(BadLine) as caught:
        asked(cmd)
    assert caught.value.code == ("unknown_command" if cmd else "bad_request")


@pytest.mark.parametrize(
    ("cmd", "args", "mutates", "needs"),
    [
        ("status", {}, False, "viewer"),
        ("kill", {"select": ["a"]}, True, "operator"),
        ("reload", {}, True, "operator"),
        ("reload", {"dry_run": True}, False, "operator"),
        ("kill", {"select": ["a"], "dry_run": True}, True, "operator"),  # it knows no such thing
        ("events", {"trace": True}, False, "operator"),
        ("wait", {"select": ["a"]}, False, "operator"),
        ("daemon", {}, False, "viewer"),
        ("daemon", {"action": "reexec"}, True, "operator"),
        ("shutdown", {}, True, "operator"),
    ],
)
def test_what_changes_something_is_told_apart(
    cmd: str, args: dict[str, object], mutates: bool, needs: str
) -> None:
    command = asked(cmd, args)
    assert (command.mutates, command.needs) == (mutates, needs)


@pytest.mark.parametrize(
    ("args", "needs"),
    [(b'{"action":1}', "operator"), (b'{"action":{}}', "operator"), (b"5", "viewer")],
)
def test_who_may_is_known_before_the_arguments_are_looked_at(args: bytes, needs: str) -> None:
    named = named_command(b'{"cmd":"daemon","args":%b}' % args)
    assert named.needs == needs
    with pytest.raises(BadLine):
        named.checked()


@pytest.mark.parametrize(
    "raw",
    [b'{"cmd":1}', b'{"cmd":"kill","id":[1]}', b"[", b'{"cmd":"' + b"x" * 300 + b'"}', b"[" * 9000],
)
def test_a_broken_command_is_a_bad_request(raw: bytes) -> None:
    with pytest.raises(BadLine) as caught:
        decode_command(raw)
    assert caught.value.code == "bad_request"
