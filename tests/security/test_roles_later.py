"""Who is who for a daemon that has just come: after its start, its crash, and its re-exec.

What an earlier daemon knew of its agents' processes is gone with it, and orphans hang on init:
the roles must stand all the same. Each line that an agent may send is sent by everybody, too.
"""

import json
import signal
from collections.abc import Iterator

import pytest

from agentd.wire.commands import COMMANDS
from agentd.wire.lines import _DECODERS as LINE_TYPES
from tests.daemon.harness import Daemon, Document
from tests.security.cast import AS_ROOT, QUIET, Cast, everybody, patiently, picture
from tests.security.test_roles import AGENT, MAY, code_of, command

pytestmark = AS_ROOT

# Started by an agent, in sessions of their own and without a word of ours in their environment.
DISGUISED = ("disguised", "orphan")
EVERYBODY = {**MAY, **dict.fromkeys(DISGUISED, AGENT)}
SPEAK = ("agent by tree", "agent by token", "external agent", *DISGUISED)
WHO = (*EVERYBODY, "operator")

LINES: list[Document] = [
    {"status": "error", "tokens": 1_000_000, "cost_usd": 99.0, "task": "theirs", "failures": 7},
    {"type": "heartbeat", "status": "waiting_human", "silence_s": 600},
    {"type": "hello", "sdk": "x"},
    {"type": "call", "phase": "start", "call": "c", "op": "chat", "deadline_s": 600},
    {"type": "call", "phase": "end", "call": "c", "ok": False, "cost_usd": 99.0},
    {"type": "step", "step": 1, "note": "n", "tool": "t", "ok": False, "error": "e"},
    {"type": "intent", "key": "k", "action": "pay", "detail": {"n": 1}},
    {"type": "done", "key": "k", "ok": True},
    {"type": "checkpoint.put", "state": {"n": 1}},
    {"type": "checkpoint.get"},
    {"type": "breaker", "name": "openai", "ok": True},
    {"type": "breaker.ask", "name": "openai"},
]


def disguise(daemon: Daemon) -> None:
    words = [f"env -i setsid {' '.join(Cast(daemon).words(name))}" for name in DISGUISED]
    script = f"{words[0]} & ({words[1]} &) ; exec sleep 600"
    daemon.agent("rebel", ["/bin/sh", "-c", script], QUIET)


@pytest.fixture(scope="module")
def young() -> Iterator[Cast]:
    with everybody(disguise) as cast:
        for name in DISGUISED:
            cast.add(name, cast.place(name))
        yield cast


@pytest.fixture(scope="module", params=["fresh", "crashed", "re-exec'ed"])
def cast(request: pytest.FixtureRequest, young: Cast) -> Cast:
    """Everybody, around a daemon that has known them all along, or has just come."""
    daemon = young.daemon
    if request.param == "crashed":
        daemon.crash()
        daemon.start()
    elif request.param == "re-exec'ed":
        daemon.heard()
        daemon.signal(signal.SIGUSR2)
        daemon.await_notify("READY=1")
    for name in ("victim", "other", "rootish", "tree", "rebel"):
        daemon.until_state(name, "running")
    return young


def defended(cast: Cast, who: str) -> None:
    """Without a cgroup for each agent an orphan may be anybody, and the page says so."""
    isolation = patiently(lambda: cast.daemon.ask("daemon"))["daemon"]["isolation"]
    if who == "orphan" and "no cgroup" in isolation:
        pytest.skip("no cgroups here")


def of_the_victims(seen: Document) -> Document:
    """What must stay as it is in a picture; what agents tell of themselves changes the rest."""
    names = ("victim", "other")
    return {
        "agents": [agent for agent in seen["agents"] if agent["name"] in names],
        "checkpoints": [one for one in seen["checkpoints"]["agents"] if one["name"] in names],
        "incidents": [one for one in seen["incidents"] if one["agent"] in names],
    }


@pytest.mark.parametrize("who", EVERYBODY)
def test_l14_each_role_stands_whichever_daemon_is_asked(cast: Cast, who: str) -> None:
    defended(cast, who)
    may, before = EVERYBODY[who], picture(cast.daemon)
    answers = cast.parts[who].ask(*(command(name) for name in COMMANDS))
    told = {name: code_of(answer) for name, answer in zip(COMMANDS, answers, strict=True)}
    wanted = {name: "ok" if name in may else "forbidden" for name in COMMANDS}
    if may:
        assert told == wanted
    else:
        assert set(told.values()) <= {"forbidden", "closed"}, told
    assert picture(cast.daemon) == before


def test_every_type_of_line_is_sent_by_these_tests() -> None:
    assert {line.get("type", "heartbeat") for line in LINES} == set(LINE_TYPES)


@pytest.mark.parametrize("who", WHO)
def test_c9_l14_an_agent_speaks_for_itself_alone_and_nobody_else_does(cast: Cast, who: str) -> None:
    defended(cast, who)
    before = picture(cast.daemon)
    own = [{**line, "id": number} for number, line in enumerate(LINES)]
    claims = [{**line, "agent": "victim"} for line in own]
    claims += [{**line, "incarnation": "1"} for line in claims]
    told = [code_of(answer) for answer in cast.parts[who].ask(*claims)]
    refused = {"forbidden", "closed"} if who == "none" else {"forbidden"}
    assert set(told) <= refused, told
    answers = cast.parts[who].ask(*own)
    told = [code_of(answer) for answer in answers]
    after = picture(cast.daemon)
    if who in SPEAK:
        assert told == ["ok"] * len(LINES), json.dumps(answers)
        assert of_the_victims(after) == of_the_victims(before)
    else:
        assert set(told) <= refused, told
        assert told[0] == "forbidden"
        assert after == before
