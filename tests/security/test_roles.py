"""Who may send which command: every command, everybody who may come, one real daemon.

The table of what each role may is written out here, from the security model and not from the
code: a command that isn't in it fails the test.
"""

import json
from collections.abc import Iterator

import pytest

from agentd.wire.commands import COMMANDS
from tests.daemon.harness import Document
from tests.security.cast import AS_ROOT, Cast, everybody, patiently, picture

pytestmark = AS_ROOT

# FAULTS, section 6: what each role may. Whoever is none of them may nothing at all.
AGENT = {"ping"}
VIEWER = {
    *("ping", "version", "status", "show", "events", "incidents", "history", "report"),
    *("breakers", "daemon", "unfollow"),
}
# Of the operator's commands those that read; they show what agents write, or who is told.
OPERATOR_READS = {"logs", "alerts", "checkpoints", "wait"}
LIFECYCLE = {
    *("start", "stop", "restart", "kill", "pause", "resume", "reset", "hold", "unhold"),
    *("signal", "ack", "reload", "shutdown"),
}
# What agentd's own link of the fleet may on its channel, and nobody who comes to the socket.
CHANNEL = {"fleet"}
OPERATOR = VIEWER | OPERATOR_READS | LIFECYCLE

MAY = {
    "agent by tree": AGENT,
    "agent by token": AGENT,
    "external agent": AGENT,
    "agent's user": AGENT,
    "helper": AGENT,
    "dead token": AGENT,
    "viewer": VIEWER,
    "none": set[str](),
}

# What each command takes when it is meant.
ARGS: dict[str, Document] = {
    "signal": {"select": ["victim"], "signal": "SIGCONT"},
    "ack": {"id": 1},
    "wait": {"select": ["victim"], "for": "ready", "timeout_s": 30},
    "ping": {},
    "unfollow": {"id": "nothing"},
    "fleet": {"connected": False},
    "version": {},
    "breakers": {},
    "daemon": {},
    "report": {},
    "alerts": {},
    "reload": {"dry_run": True},
    "shutdown": {"reason": "by the test"},
}
PLAIN: Document = {"select": ["victim"]}

# Wrong in every way that a schema can be, and what a clever one adds to a right command.
WRONG: list[tuple[str, object]] = [
    ("no object", 5),
    ("a list", ["victim"]),
    ("a wrong type", {"select": 7, "signal": 9, "id": "x", "action": {}, "trace": "yes"}),
    ("an empty name", {"select": [""]}),
    ("too many", {"select": ["victim"] * 1025}),
    ("a path", {"select": ["../victim", "/etc/passwd", "victim\u0000"], "signal": "../SIGHUP"}),
]
TRICKS: list[Document] = [
    {"dry_run": True},
    {"action": "reexec"},
    {"role": "operator", "uid": 0, "who": "root", "viewer": False},
    {"agent": "tree", "token": "0" * 32},
]
NAMES = ["Kill", "kill ", "kill.victim", "agentd.kill", "__init__", "handler", "../kill", "kill\n"]


@pytest.fixture(scope="module")
def cast() -> Iterator[Cast]:
    with everybody() as found:
        yield found


def command(name: str, args: object = None, **more: object) -> Document:
    used = args if args is not None else ARGS.get(name, PLAIN)
    return {"id": f"{name}", "cmd": name, "args": used, **more}


def code_of(answer: Document | None) -> str:
    if answer is None:
        return "closed"
    return "ok" if answer["ok"] else str(answer["error"]["code"])


def test_every_command_is_in_the_table_of_this_test() -> None:
    assert set(COMMANDS) == OPERATOR | CHANNEL


@pytest.mark.parametrize("who", MAY)
def test_c10_l14_each_role_may_what_the_model_says_and_nothing_else(cast: Cast, who: str) -> None:
    part, may = cast.parts[who], MAY[who]
    before = picture(cast.daemon)
    answers = part.ask(*(command(name) for name in COMMANDS))
    told = {name: code_of(answer) for name, answer in zip(COMMANDS, answers, strict=True)}
    wanted = {name: "ok" if name in may else "forbidden" for name in COMMANDS}
    if not may:  # a stranger hears that once, and is closed: the next has nobody to hear it
        assert set(told.values()) <= {"forbidden", "closed"}, told
        assert told["ping"] == "forbidden"
    else:
        assert told == wanted
    assert picture(cast.daemon) == before


@pytest.mark.parametrize("who", MAY)
def test_c10_who_may_not_is_refused_before_anything_else_is_looked_at(cast: Cast, who: str) -> None:
    part = cast.parts[who]
    denied = sorted(set(COMMANDS) - MAY[who])
    before = picture(cast.daemon)
    for told, args in WRONG:
        answers = part.ask(*(command(name, args) for name in denied))
        found = {name: code_of(one) for name, one in zip(denied, answers, strict=True)}
        assert set(found.values()) <= {"forbidden", "closed"}, (told, found)
        texts = {json.dumps(one["error"]) for one in answers if one is not None}
        assert not any("args" in text or "select" in text for text in texts), texts
    for trick in TRICKS:
        lines = [command(name, {**ARGS.get(name, PLAIN), **trick}) for name in denied]
        lines += [command(name, follow=True, **trick) for name in denied]
        codes = {code_of(one) for one in part.ask(*lines)}
        assert codes <= {"forbidden", "closed"}, trick
    assert picture(cast.daemon) == before


@pytest.mark.parametrize("who", MAY)
def test_c10_what_makes_a_reading_command_more_is_the_operators(cast: Cast, who: str) -> None:
    lines = [
        command("daemon", {"action": "reexec"}),
        command("daemon", {"action": "shutdown"}),
        command("daemon", {"action": 1}),
        command("events", {"trace": True}),
        command("events", {"trace": "yes"}),
        command("events", {"trace": True}, follow=True),
    ]
    before = picture(cast.daemon)
    codes = {code_of(answer) for answer in cast.parts[who].ask(*lines)}
    assert codes <= {"forbidden", "closed"}
    assert picture(cast.daemon) == before


@pytest.mark.parametrize("who", MAY)
def test_l4_no_other_spelling_of_a_command_is_one(cast: Cast, who: str) -> None:
    before = picture(cast.daemon)
    answers = cast.parts[who].ask(*(command(name) for name in NAMES))
    refused = {"forbidden", "closed"} if who == "none" else {"unknown_command"}
    assert {code_of(answer) for answer in answers} <= refused
    assert picture(cast.daemon) == before


def test_c10_each_agent_that_commanded_is_named(cast: Cast) -> None:
    def counted() -> Document:
        found: Document = patiently(lambda: cast.daemon.ask("daemon"))["counters"]["sockets"]
        return found

    def named() -> set[str]:
        refused = patiently(lambda: cast.daemon.events(kind="security.refused"))
        return {event["agent"] for event in refused}

    before, agents = counted(), ("agent by tree", "agent by token", "external agent")
    for who in agents:
        cast.parts[who].ask(command("kill", 5))
    cast.daemon.until_true(lambda: {"tree", "rootish", "outer"} <= named(), lambda: str(named()))
    after = counted()
    assert after["commands_forbidden"] == before["commands_forbidden"] + len(agents)
    assert after["faults"] == 0


def test_a_viewer_reads_no_secret_and_no_text_of_an_agent(cast: Cast) -> None:
    answers = cast.parts["viewer"].ask(*(command(name) for name in VIEWER))
    assert "k-77-hidden" not in json.dumps(answers)
    shown = cast.parts["operator"].ask(command("show"))
    assert "k-77-hidden" not in json.dumps(shown)


def test_an_operator_may_send_every_command_but_those_of_a_channel(cast: Cast) -> None:
    """The last test of this daemon: it ends with `shutdown`."""
    operator = cast.parts["operator"]
    last = ["shutdown"]
    order = [name for name in COMMANDS if name not in last]
    told = {}
    for name in order:
        told[name] = code_of(operator.ask(command(name, {**ARGS.get(name, PLAIN)}))[0])
        if name == "kill":  # what follows is about one that is up
            assert code_of(operator.ask(command("resume", id="again"))[0]) == "ok"
    assert told == {name: "forbidden" if name in CHANNEL else "ok" for name in order}
    assert code_of(operator.ask(command("shutdown"))[0]) == "ok"
    assert cast.daemon.process is not None
    assert cast.daemon.process.wait(30) == 0
