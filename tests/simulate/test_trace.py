"""A trace that is not one is refused with its line number, before anything runs."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from agentd.cli.agentd import agentd
from agentd.simulate.trace import Ended, Measured, Said, TraceError, read_trace
from tests.simulate.telling import BEATING, QUIET, tell

BOTH = '[defaults]\nheartbeat.required = false\n[agents.a]\ncommand="x"\n[agents.b]\ncommand="x"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nonsense", "not JSON"),
        ("[1]", "a line is an object"),
        ("[" * 100_000, "not JSON"),
        ('{"t":1}', "one of start, line"),
        ('{"t":1,"rss":1,"end":true}', "rss and end"),
        ('{"t":1,"rsss":1}', "one of start, line"),
        ('{"t":1,"rss":1,"at":"x"}', '"at" means nothing beside "rss"'),
        ('{"rss":1}', "t is a number"),
        ('{"t":"1","rss":1}', "t is a number"),
        ('{"t":true,"rss":1}', "t is a number"),
        ('{"t":-1,"rss":1}', "from 0 on"),
        ('{"t":NaN,"rss":1}', "from 0 on"),
        ('{"t":1e999,"rss":1}', "from 0 on"),
        ('{"t":0.5,"rss":1}', "t goes back"),
        ('{"t":1,"rss":"1"}', "rss is a number"),
        ('{"t":1,"rss":true}', "rss is a number"),
        ('{"t":1,"start":1}', "start is true"),
        ('{"t":1,"start":true,"at":"noon"}', "noon"),
        ('{"t":1,"start":true,"at":"2026-11-21T00:00:00"}', "needs a zone"),
        ('{"t":1,"start":true,"intents":{"a":"asleep"}}', "intents says of each agent one of up"),
        ('{"t":1,"start":true,"intents":[]}', "intents says"),
        ('{"t":1,"notify":1}', "notify is a text"),
        ('{"t":1,"note":1}', "note is a text"),
        ('{"t":1,"exit":3}', "exit is"),
        ('{"t":1,"exit":{"code":1,"signal":9}}', "not both"),
        ('{"t":1,"exit":{"code":256}}', "from 0 to 255"),
        ('{"t":1,"exit":{"signal":0}}', "from 1 to 64"),
        ('{"t":1,"exit":{"oom":1}}', "true or false"),
        ('{"t":1,"exit":{"code":1},"incarnation":0}', "incarnation is"),
        ('{"t":1,"daemon":"nap"}', "crash"),
        ('{"t":1,"daemon":["crash"]}', "crash"),
        ('{"t":1,"daemon":"start"}', "runs already"),
        ('{"t":1,"world":{"gravity":0}}', "gravity"),
        ('{"t":1,"world":{"spawn":"no"}}', '"ok" or "fail"'),
        ('{"t":1,"world":{"memory_limit":-5}}', "number of bytes"),
        ('{"t":1,"agent":"b","rss":1}', 'no agent "b"'),
        ('{"t":1,"agent":7,"rss":1}', "agent is a name"),
        ('{"t":1,"end":1}', "end is true"),
    ],
)
def test_a_bad_line_is_refused_by_its_number(text: str, told: str) -> None:
    with pytest.raises(TraceError, match="line 3") as refused:
        read_trace(['{"t":0,"start":true}', '{"t":1,"rss":1}', text], {"a"})
    assert told in refused.value.message


def test_nothing_may_follow_the_end() -> None:
    with pytest.raises(TraceError, match="line 2: nothing may follow"):
        read_trace(['{"t":1,"end":true}', '{"t":1,"end":true}'], {"a"})


def test_an_agent_is_needed_where_there_are_several() -> None:
    with pytest.raises(TraceError, match="say which"):
        read_trace(['{"t":1,"rss":1}'], {"a", "b"})


def test_blank_lines_mean_nothing_and_are_counted() -> None:
    with pytest.raises(TraceError, match="line 3"):
        read_trace(["\n", "  \n", "?"], {"a"})


def test_with_one_agent_chosen_lines_about_others_are_left_out() -> None:
    lines = ['{"t":1,"agent":"b","rss":1}', '{"t":2,"rss":2}', '{"t":3,"agent":"a","exit":{}}']
    trace = read_trace(lines, {"a"}, "a")
    assert [line.what for line in trace] == [
        Measured(2),
        Ended(None, None, oom=False, incarnation=None),
    ]


def test_what_a_line_holds_is_kept_for_the_socket_to_judge() -> None:
    (line,) = read_trace(['{"t":1,"line":{"tokens":NaN}}'], {"a"})
    assert line.what == Said(b'{"tokens": NaN}')


@pytest.mark.parametrize(
    "line",
    [
        {"tokens": -5},
        {"tokens": float("nan")},
        {"cost_usd": float("inf")},
        {"agent": "b"},
        {"cmd": "kill", "args": {"select": ["a"]}},
        {"type": "nonsense"},
        "text",
        ["list"],
        None,
    ],
)
def test_a_line_that_the_socket_refuses_is_rejected(tmp_path: Path, line: object) -> None:
    told = tell(tmp_path, BEATING, [{"t": 1, "line": line}, {"t": 2, "end": True}])
    assert len(told.rejected()) == 1
    assert told.events("agent.ready") == []


@pytest.mark.parametrize(
    "cmd",
    [
        {"cmd": "__class__"},
        {"cmd": "kill"},
        {"cmd": "kill", "args": {"select": []}},
        {"cmd": "kill", "args": {"select": ["nobody"]}},
        {"cmd": "kill", "args": {"select": "a"}},
        {"cmd": "status"},
        {"cmd": 7},
        "kill",
        None,
    ],
)
def test_a_command_that_the_socket_refuses_is_rejected(tmp_path: Path, cmd: object) -> None:
    told = tell(tmp_path, QUIET, [{"t": 1, "cmd": cmd}, {"t": 2, "end": True}])
    assert len(told.rejected()) == 1
    assert told.events("agent.killed") == []


@pytest.mark.parametrize("rss", [-1, float("nan"), float("inf"), None])
def test_a_sample_that_is_none_is_dropped(tmp_path: Path, rss: float | None) -> None:
    config = QUIET + 'memory.limit = "1M"\n'
    told = tell(tmp_path, config, [{"t": 1, "rss": rss}, {"t": 2, "end": True}])
    assert told.events("memory.limit") == []


def test_lines_of_equal_time_apply_in_file_order(tmp_path: Path) -> None:
    kill = {"t": 5, "cmd": {"cmd": "kill", "args": {"select": ["a"]}}}
    end = {"t": 5, "exit": {"code": 1}}
    assert tell(tmp_path, QUIET, [kill, end]).reasons() == ["USER_KILLED"]
    assert tell(tmp_path, QUIET, [end, kill]).reasons() == ["EXITED", "USER_KILLED"]


def test_agents_start_at_the_first_start(tmp_path: Path) -> None:
    trace = [{"t": 5, "exit": {"code": 1}}, {"t": 10, "start": True}, {"t": 20, "start": True}]
    assert tell(tmp_path, QUIET, trace).spawns() == [10]


def test_event_ids_rise_without_gaps(tmp_path: Path) -> None:
    crashes = [{"t": t, "exit": {"code": 1}} for t in range(1, 50, 10)]
    told = tell(tmp_path, QUIET, [*crashes, {"t": 1000, "end": True}])
    ids = [line["id"] for line in told.lines if "event" in line]
    assert ids == list(range(1, len(ids) + 1))


def test_every_effect_on_a_process_names_its_incarnation(tmp_path: Path) -> None:
    trace = [
        {"t": 5, "exit": {"code": 1}},
        {"t": 8, "cmd": {"cmd": "stop", "args": {"select": ["a"]}}},
    ]
    told = tell(tmp_path, QUIET, trace)
    spawns = [(line["t"], line["incarnation"]) for line in told.effects("spawn")]
    signals = [(line["t"], line["signal"], line["incarnation"]) for line in told.effects("signal")]
    assert spawns == [(0, 1), (5, 2)]
    assert signals == [(8, "SIGTERM", 2)]


def _run(folder: Path, config: str, trace: str, *options: str) -> tuple[int, str]:
    (folder / "agentd.toml").write_text(config, encoding="utf-8")
    (folder / "trace.jsonl").write_text(trace, encoding="utf-8")
    words = ["simulate", "--config", str(folder / "agentd.toml"), *options]
    done = CliRunner().invoke(agentd, [*words, str(folder / "trace.jsonl")])
    return done.exit_code, done.stdout


def test_the_command_prints_json_lines(tmp_path: Path) -> None:
    code, out = _run(tmp_path, QUIET, '{"t":1,"exit":{"code":0}}\n')
    assert code == 0
    assert [json.loads(line)["t"] for line in out.splitlines()]


def test_the_command_prints_nothing_of_a_trace_that_is_refused(tmp_path: Path) -> None:
    code, out = _run(tmp_path, QUIET, '{"t":1,"exit":{"code":0}}\nbad\n')
    assert (code, out) == (1, "")


def test_the_command_simulates_one_agent_of_many(tmp_path: Path) -> None:
    code, out = _run(
        tmp_path, BOTH, '{"t":1,"exit":{"code":3}}\n{"t":2,"agent":"a","rss":1}\n', "--agent", "b"
    )
    told = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert {line["agent"] for line in told if line.get("effect") == "spawn"} == {"b"}


@pytest.mark.parametrize(
    ("word", "spawns"), [("up", 2), ("held", 1), ("paused", 1), ("stopped", 1), ("killed", 1)]
)
def test_what_operators_had_wanted_before_holds_from_the_start(
    tmp_path: Path, word: str, spawns: int
) -> None:
    start = {"t": 0, "start": True, "intents": {"a": word, "nobody": "up"}}
    told = tell(tmp_path, BOTH, [start, {"t": 5, "end": True}])
    assert len(told.spawns()) == spawns


def test_who_was_down_comes_up_when_an_operator_says_so(tmp_path: Path) -> None:
    start = {"t": 0, "start": True, "intents": {"a": "paused", "b": "killed"}}
    resume = {"t": 5, "cmd": {"cmd": "resume", "args": {"select": ["a", "b"]}}}
    told = tell(tmp_path, BOTH, [start, resume, {"t": 6, "end": True}])
    assert (told.spawns("a"), told.spawns("b")) == ([5], [5])


def test_a_note_is_nothing_and_a_datagram_is_heard(tmp_path: Path) -> None:
    config = BOTH.replace('command="x"\n[agents.b]', 'command="x"\nready="notify"\n[agents.b]')
    told = tell(
        tmp_path,
        config,
        [
            {"t": 0, "start": True},
            {"t": 1, "note": "the configuration changed"},
            {"t": 2, "agent": "a", "notify": "READY=1\nSTATUS=up"},
            {"t": 3, "agent": "a", "notify": "nonsense"},
        ],
    )
    assert told.times("agent.ready", "a") == [2]
    assert told.rejected() == ["notify: not a datagram of sd_notify"]
