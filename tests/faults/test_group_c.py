"""Group C: an agent misbehaves on the socket. It costs the sender, and nobody else."""

import json
import statistics
import subprocess
import time

import pytest

from tests.daemon.harness import PYTHON, Document, Refused, alive, read_line
from tests.faults.guard import INNOCENT, PROGRAMS, Fleet, environ_of

PLAIN = '[heartbeat]\ninterval = "300ms"\nunreachable_after = "60s"\n'


def a_talker(fleet: Fleet, *names: str) -> None:
    """Agents in whose name a test speaks, on a daemon that is started."""
    for name in names:
        fleet.agent(name, ["sleep", "600"], PLAIN)
    fleet.start()
    for name in names:
        fleet.until(name, lambda s: s["pid"])


def refusals(fleet: Fleet) -> list[Document]:
    return fleet.events(kind="security.refused")


def test_c1_empty_writes_and_a_thousand_empty_visits_are_counted(fleet: Fleet) -> None:
    a_talker(fleet, "a")
    with fleet.as_agent("a") as voice:
        voice.channel.send(b"")
        for blank in (b"\n", b"\n\n\n", b"   \n", b"\t\r\n"):
            voice.channel.sendall(blank)
        assert voice.ask({"id": 1})["ok"]
    for _ in range(1000):
        fleet.connect().close()

    def counted() -> bool:
        return int(fleet.counters()["sockets"]["connections_empty"]) >= 1000

    fleet.until_true(counted)
    assert fleet.counters()["sockets"]["lines_bad"] == 0


def test_c2_a_line_without_an_end_is_refused_at_64_kib(fleet: Fleet) -> None:
    a_talker(fleet, "a")
    with fleet.as_agent("a") as voice:
        voice.tell({"status": "ok", "task": "before"})
        with pytest.raises(OSError):  # noqa: PT012, PT011 - closed at some point of the sending
            voice.channel.sendall(b"x" * 200_000)
            assert "64 KiB" in voice.hear()["error"]["message"]
            voice.hear()
    assert fleet.until("a", lambda s: s["task"] == "before")["failures"] == 0
    assert fleet.counters()["sockets"]["lines_overlong"] == 1
    # An unknown peer of the same user gets no more room.
    with fleet.connect() as channel:
        channel.sendall(b'{"cmd":"ping","id":"' + b"y" * 70_000)
        assert "64 KiB" in json.loads(read_line(channel))["error"]["message"]


HOSTILE: dict[str, bytes] = {
    "nested arrays": b"[" * 60_000,
    "nested arrays with an end": b"[" * 30_000 + b"]" * 30_000,
    "nested objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "just too deep": b'{"task":' + b"[" * 33 + b"]" * 33 + b"}",
    "integer of 5,000 digits": b'{"id":1,"tokens":' + b"9" * 5_000 + b"}",
    "integer beyond 2^53": b'{"id":1,"seq":9007199254740993}',
    "NaN": b'{"id":1,"cost_usd":NaN}',
    "Infinity": b'{"id":1,"cost_usd":Infinity}',
    "minus Infinity": b'{"id":1,"latency_ms":-Infinity}',
    "1e999": b'{"id":1,"cost_usd":1e999}',
    "cost of 1e308": b'{"id":1,"cost_usd":1e308}',
    "negative cost": b'{"id":1,"cost_usd":-0.01}',
    "negative tokens": b'{"id":1,"tokens":-5}',
    "tokens beyond a step": b'{"id":1,"tokens":1000000001}',
    "tokens as text": b'{"id":1,"tokens":"900"}',
    "tokens as a boolean": b'{"id":1,"tokens":true}',
    "negative silence": b'{"id":1,"silence_s":-1}',
    "progress beyond 1": b'{"id":1,"progress":1.5}',
    "unknown status": b'{"id":1,"status":"fine"}',
    "unknown type": b'{"id":1,"type":"exec","command":"rm -rf /"}',
    "type of a class": b'{"id":1,"type":"__class__"}',
    "task of 5,000 characters": b'{"id":1,"task":"' + b"t" * 5_000 + b'"}',
    "too many latencies": b'{"id":1,"latency_ms":[' + b"1," * 1_100 + b"1]}",
    "no JSON": b"hello there",
    "half an object": b'{"id":1,"status":"ok"',
    "two objects": b'{"id":1}{"id":2}',
    "an array": b'[{"id":1}]',
    "a string": b'"ok"',
    "a number": b"42",
    "null": b"null",
    "invalid UTF-8": b'{"id":1,"task":"\xff\xfe"}',
    "overlong UTF-8": b'{"id":1,"task":"\xc0\xaf"}',
    "NUL bytes": b'{"id":1,\x00"status":"ok"}',
    "bare control character": b'{"id":1,"task":"a\x1bb"}',
    "UTF-16": '{"id":1}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + b'{"id":1,"status":"ok"}',
    "id of a list": b'{"id":[1],"status":"ok"}',
    "id too long": b'{"id":"' + b"i" * 300 + b'","status":"ok"}',
    "call without a phase": b'{"id":1,"type":"call","call":"c1"}',
    "call of a bad phase": b'{"id":1,"type":"call","phase":"middle","call":"c1"}',
    "an HTTP request": b"GET / HTTP/1.1\r",
}


def test_c4_c5_every_hostile_line_is_refused_and_the_next_is_heard(fleet: Fleet) -> None:
    assert len(HOSTILE) >= 20
    a_talker(fleet, "a")
    with fleet.as_agent("a") as voice:
        for number, (name, raw) in enumerate(HOSTILE.items()):
            bad = int(fleet.counters()["sockets"]["lines_bad"])
            voice.tell(raw)
            voice.tell({"id": f"after {number}", "status": "ok", "task": f"after {number}"})
            answer = voice.hear()
            if answer["id"] != f"after {number}":
                assert answer["ok"] is False, (name, answer)
                assert answer["error"]["code"] == "bad_request", (name, answer)
                assert len(answer["error"]["message"]) > 5, (name, answer)
                answer = voice.hear()
            assert answer == {"id": f"after {number}", "ok": True, "result": {}}, (name, answer)
            assert int(fleet.counters()["sockets"]["lines_bad"]) == bad + 1, name
    shown = fleet.status("a")
    assert shown["task"] == f"after {len(HOSTILE) - 1}"
    assert (shown["tokens"]["total"], shown["cost_usd"]["known"]) == (0, False)
    assert fleet.ask("status")["daemon"]["lines_rejected"] >= len(HOSTILE)


def test_c5_what_was_spent_never_falls(fleet: Fleet) -> None:
    a_talker(fleet, "a")
    with fleet.as_agent("a") as voice:
        assert voice.ask({"id": 1, "tokens": 1000, "cost_usd": 0.5})["ok"]
        for lie in ({"tokens": -1000}, {"cost_usd": -0.5}, {"tokens": 0, "cost_usd": 0}):
            voice.ask({"id": 2, **lie})
    shown = fleet.status("a")
    assert (shown["tokens"]["total"], shown["cost_usd"]["run"]) == (1000, 0.5)


def test_c7_what_breaks_terminals_and_encoders_is_stored_escaped(fleet: Fleet) -> None:
    a_talker(fleet, "a")
    tasks = [
        b"\\ud800",
        b"a\\u0000b",
        b"\\u001b[31mred\\u001b]0;title\\u0007",
        b"\\u202egnp.exe",
        "\N{RIGHT-TO-LEFT MARK}mark".encode(),
        b"<img src=x onerror=alert(1)>",
        b"%s %n {0} ${HOME} $(id)",
    ]
    with fleet.as_agent("a") as voice:
        for number, task in enumerate(tasks):
            raw = b'{"id":%d,"status":"ok","task":"%s"}' % (number, task)
            assert voice.ask(raw)["ok"], raw
            json.dumps(fleet.status("a")).encode()
            shown = agentctl(fleet, "status", "a")
            assert "\x1b" not in shown
            assert "\x00" not in shown
            assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in shown
            assert "\N{RIGHT-TO-LEFT MARK}" not in shown


def agentctl(fleet: Fleet, *words: str) -> str:
    """What the command line prints of this daemon."""
    done = subprocess.run(
        [PYTHON, "-m", "agentd.cli", "--socket", str(fleet.socket), *words],
        capture_output=True,
        check=False,
        timeout=20,
    )
    return done.stdout.decode()


def test_c9_an_agent_speaks_for_itself_alone(fleet: Fleet) -> None:
    a_talker(fleet, "a", "b")
    before = fleet.status("b")
    foreign = fleet.as_agent("b")
    incarnation = fleet.status("b")["incarnation"]
    with foreign, fleet.as_agent("a") as voice:
        for claim in (
            {"agent": "b", "task": "mine"},
            {"agent": "agentd", "task": "mine"},
            {"incarnation": incarnation, "task": "mine"},
            {"token": "0" * 32, "task": "mine"},
            {"token": token_of(fleet, "b"), "task": "mine"},
        ):
            answer = voice.ask({"id": 1, **claim})
            assert answer["error"]["code"] == "forbidden", claim
        assert voice.ask({"id": 2, "agent": "a", "task": "my own"})["ok"]
    after = fleet.status("b")
    assert (after["heartbeats"], after["task"]) == (before["heartbeats"], None)
    assert fleet.status("a")["task"] == "my own"
    assert {event["agent"] for event in refusals(fleet)} == {"a"}


def token_of(fleet: Fleet, name: str) -> str:

    return environ_of(fleet.status(name)["pid"])["AGENTD_TOKEN"]


def test_c10_a_lifecycle_command_of_an_agent_is_forbidden_and_never_runs(fleet: Fleet) -> None:
    a_talker(fleet, "a", "b")
    before = {name: fleet.status(name)["pid"] for name in ("a", "b", INNOCENT)}
    with fleet.as_agent("a") as voice:
        for cmd in [
            "restart",
            "stop",
            "kill",
            "pause",
            "start",
            "resume",
            "hold",
            "unhold",
            "reset",
            "signal",
            "reload",
            "shutdown",
            "status",
            "show",
            "events",
            "logs",
            "wait",
            "daemon",
            "version",
        ]:
            for target in ("a", "b", "all"):
                args: Document = {"select": [target], "signal": "SIGKILL"}
                answer = voice.ask({"id": f"{cmd}-{target}", "cmd": cmd, "args": args})
                assert answer["error"]["code"] in ("forbidden", "bad_request"), (cmd, answer)
        assert voice.ask({"id": "p", "cmd": "ping"})["ok"]
        answer = voice.ask({"id": "k", "cmd": "kill", "args": {"select": ["b"]}, "agent": "b"})
        assert answer["error"]["code"] == "forbidden"
    for name, pid in before.items():
        shown = fleet.status(name)
        assert (shown["pid"], shown["intent"], shown["held"]) == (pid, "up", False)
    assert any(event["agent"] == "a" for event in refusals(fleet))
    assert fleet.counters()["sockets"]["commands_forbidden"] >= 50


def test_c10_root_within_an_agents_tree_is_no_operator(fleet: Fleet) -> None:
    fleet.sleeper("victim")
    words = [PYTHON, "-S", str(PROGRAMS / "rebel.py"), str(fleet.root / "said"), "plain"]
    fleet.agent("rebel", words, "[heartbeat]\nrequired = false")
    fleet.start()
    pid = fleet.until_state("victim", "running")["pid"]
    said = fleet.root / "said"
    fleet.until_true(said.exists)
    answers = json.loads(said.read_text())
    assert answers
    assert {answer["error"]["code"] for answer in answers} == {"forbidden"}
    assert fleet.status("victim")["pid"] == pid
    assert fleet.status("victim")["intent"] == "up"
    told = [event for event in refusals(fleet) if event["agent"] == "rebel"]
    assert told


def test_c11_the_connection_of_a_dead_incarnation_is_dead(fleet: Fleet) -> None:
    fleet.agent("a", ["sleep", "600"], PLAIN)
    fleet.start()
    fleet.until("a", lambda s: s["pid"])
    voice = fleet.as_agent("a")
    assert voice.ask({"id": 1, "task": "first life"})["ok"]
    token = token_of(fleet, "a")
    fleet.ask("restart", select=["a"])
    old = fleet.status("a")["incarnation"]
    fleet.until("a", lambda s: s["state"] == "starting" and s["incarnation"] and s["pid"])
    fleet.until("a", lambda s: s["heartbeats"] >= 0 and s["pid"] and s["incarnation"])
    assert old
    heard = fleet.status("a")["heartbeats"]
    with pytest.raises((ConnectionError, KeyError)):  # noqa: PT012 - closed at once, or told first
        while True:
            voice.ask({"id": 2, "task": "second life"})["error"]
    voice.channel.close()
    # A connection made anew with the old token is no better.
    with fleet.connect() as channel:
        channel.sendall(json.dumps({"id": 3, "token": token, "task": "ghost"}).encode() + b"\n")
        assert json.loads(read_line(channel))["error"]["code"] == "forbidden"
    shown = fleet.status("a")
    assert (shown["heartbeats"], shown["task"]) == (heard, shown["task"])
    assert shown["task"] not in ("second life", "ghost")
    assert fleet.counters()["sockets"]["lines_dead"] >= 1


def test_c13_the_senders_clock_is_not_used(fleet: Fleet) -> None:
    a_talker(fleet, "a")
    now = time.time()
    with fleet.as_agent("a") as voice:
        for stamp in (now + 3600, now - 3600, "2031-01-01T00:00:00Z", 0, None):
            assert voice.ask({"id": 1, "status": "ok", "ts": stamp})["ok"]
            assert fleet.status("a")["silence_s"] < 1
    # Two are an hour off, one is of 2031 and one of 1970 or no number; all that are numbers count.
    assert fleet.counters()["sockets"]["lines_skewed"] == 3
    assert fleet.status("a")["health"] == "healthy"


def test_c15_a_flood_costs_the_sender_and_delays_nobody(fleet: Fleet) -> None:
    a_talker(fleet, "flood")
    line = b'{"status":"ok","tokens":1,"cost_usd":0.001,"task":"flooding"}\n'
    before = len(fleet.answers())
    with fleet.as_agent("flood") as voice:
        end = time.monotonic() + 3
        sent = 0
        while time.monotonic() < end:
            voice.channel.sendall(line * 1000)
            sent += 1000
            time.sleep(max(0.0, sent / 20_000 - (3 - (end - time.monotonic()))))

        def all_counted() -> bool:
            return bool(fleet.status("flood")["tokens"]["total"] == sent)

        fleet.until_true(all_counted, lambda: json.dumps(fleet.status("flood")))
    shown = fleet.status("flood")
    # A burst of 400, and 200 a second; their cost is counted all the same.
    assert 0 < shown["heartbeats"] < 400 + 200 * 8
    assert shown["dropped_lines"] == sent - shown["heartbeats"]
    assert shown["cost_usd"]["run"] == pytest.approx(sent * 0.001)
    took = [max(0.0, ms - starved) for _, ms, starved in fleet.answers()[before:]]
    assert statistics.quantiles(took, n=100)[-1] < 50
    told = refusals(fleet)
    assert [event["agent"] for event in told] == ["flood"]
    assert "line_rate" in told[0]["message"]


def test_c18_a_cost_that_nobody_knows_is_unknown_and_not_0(fleet: Fleet) -> None:
    a_talker(fleet, "a")
    with fleet.as_agent("a") as voice:
        begin = {"type": "call", "phase": "start", "call": "c1", "op": "chat", "model": "m"}
        usage = {"input_tokens": 70, "output_tokens": 30}
        end = {"type": "call", "phase": "end", "call": "c1", "ok": True, "usage": usage}
        voice.tell(begin)
        voice.tell(end)
        assert voice.ask({"id": 1, "status": "ok"})["ok"]
    shown = fleet.status("a")
    assert shown["tokens"]["total"] == 100
    assert (shown["cost_usd"]["known"], shown["cost_usd"]["run"]) == (False, None)


def test_strangers_tokens_open_nothing(fleet: Fleet) -> None:
    a_talker(fleet, "a")
    with fleet.connect() as channel:
        line = {"id": 1, "token": "f" * 32, "status": "ok"}
        channel.sendall(json.dumps(line).encode() + b"\n")
        assert json.loads(read_line(channel))["error"]["code"] == "forbidden"
    with pytest.raises(Refused):
        fleet.status("no-such-agent")
    assert alive(fleet.status("a")["pid"])
