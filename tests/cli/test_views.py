import time
from collections.abc import Callable, Iterator

import pytest

from agentd.cli.commands import daemon, heartbeat, logs, reload, show, signal, version
from agentd.cli.operate import lines
from agentd.cli.views.agents import status_table, top_table, verdict
from agentd.cli.views.details import details
from agentd.cli.views.journal import event_line, event_table
from agentd.cli.views.table import plain
from agentd.cli.views.words import clock, dollars, percent, shortened, size
from agentd.reporting.words import duration, visible
from tests.cli.stub import Answer, Refusal, Stub, agent, event, status

Serve = Callable[[dict[str, Answer]], Stub]
Ctl = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _utc(_environment: None) -> Iterator[None]:
    time.tzset()
    yield
    time.tzset()


NEVER_HEARD_OF = agent(
    "shell-script",
    pid=None,
    state="cooldown",
    health="unreachable",
    uptime_s=None,
    cooldown_s=192.0,
    reason="EXITED",
    rss_bytes=None,
    memory_limit_bytes=None,
    silence_s=None,
    heartbeats=0,
    status=None,
    task=None,
    step=None,
    tool=None,
    progress=None,
    cpu_percent=None,
    last_exit=None,
    tokens={"total": 0, "last_cycle": None, "baseline": None, "per_minute": None},
    cost_usd={"run": 0.0, "day": 0.0, "known": False},
    tasks={"success": 0, "failure": 0, "success_rate": None, "latency_ms": None},
    budgets=[],
    depends_on=[],
    tags=[],
)


def test_status_as_text() -> None:
    document = status(
        agent("order-processor"),
        NEVER_HEARD_OF,
        agent(
            "x",
            health="killed",
            state="stopped",
            intent="killed",
            pid=None,
            uptime_s=None,
            reason="USER_KILLED",
            held=True,
            cost_usd={"run": 0.2, "day": 0.2, "known": False},
        ),
    )
    assert plain(status_table(document)) == (
        "AGENT            STATE     HEALTH        PID  UPTIME  RESTARTS  MEMORY  BEAT    COST"
        "  TASK/STEP      REASON\n"
        "order-processor  running   healthy      4242  13m32s         1    100M  3.2s   $1.40"
        "  ticket-918/17  -\n"
        "shell-script     cooldown  unreachable     -       -         1       -     -       -"
        "  -              EXITED, next start in 3m12s\n"
        "x                stopped   killed          -       -         1    100M  3.2s  >$0.20"
        "  ticket-918/17  USER_KILLED, held\n"
        "1 healthy, 1 unreachable, 1 killed"
    )


def test_status_of_no_agents() -> None:
    assert plain(status_table(status())) == "no agents"


def test_top_as_text_says_what_agents_use_up() -> None:
    document = status(agent("order-processor"), NEVER_HEARD_OF)
    assert plain(top_table(document)) == (
        "AGENT            STATE     HEALTH       CPU%  MEMORY  LIMIT  TOKENS/MIN   COST"
        "  BUDGET            BEAT  RESTARTS      OK    P95  DONE  REASON"
        "                       TASK/STEP      TOOL/CALL\n"
        "order-processor  running   healthy       1.2    100M   512M       1,700  $1.40"
        "  28 % usd_per_day  3.2s         1  95.2 %  410ms  30 %  -"
        "                            ticket-918/17  web_search\n"
        "shell-script     cooldown  unreachable     -       -      -           -      -"
        "  -                    -         1       -      -     -  EXITED, next start in 3m12s"
        "  -              -\n"
        "1 healthy, 1 unreachable"
    )


def test_details_of_one_agent() -> None:
    assert details(agent("order-processor")) == (
        "order-processor: running, healthy\n"
        "  intent     up\n"
        "  process    pid 4242, up 13m32s, CPU 1.2 %, incarnation inc-1\n"
        "  execution  exe-1\n"
        "  restarts   1, 1 in this row\n"
        "  last exit  OOM_KILLED, signal 9, memory.events oom_kill 0 -> 1, "
        "2026-11-21T08:00:00.123Z\n"
        "  heartbeat  3.2s ago, 27 in all\n"
        "  doing      working, task ticket-918, step 17, tool web_search, 30 % done\n"
        "  memory     100M of 512M\n"
        "  tokens     88,000 in all, 900 in the last cycle, 1,700 a minute\n"
        "  cost       $0.12 this run, $1.40 today\n"
        "  tasks      40 done, 2 failed, 95.2 % success, mean 231 ms, p95 410 ms\n"
        "  budgets    usd_per_day $1.40 of $5.00\n"
        "  needs      inventory-sync\n"
        "  tags       shop"
    )


def test_what_is_not_known_of_an_agent_is_left_out() -> None:
    assert details(NEVER_HEARD_OF) == (
        "shell-script: cooldown, unreachable\n"
        "  intent     up\n"
        "  reason     EXITED, next start in 3m12s\n"
        "  execution  exe-1\n"
        "  restarts   1, 1 in this row"
    )


def test_status_of_one_name_adds_its_events_and_log(serve: Serve, ctl: Ctl) -> None:
    stub = serve(
        {
            "status": status(agent("a")),
            "events": {"events": [event(1)], "last_id": 1},
            "logs": {"logs": [{"agent": "a", "lines": ["one", "two"], "offset": 8}]},
        }
    )
    code, out, _err = ctl("status", "a")
    assert code == 0
    assert out.endswith(
        "  tags       shop\n\n"
        "recent\n"
        "  TIME                 SEVERITY  EVENT         MESSAGE\n"
        "  2026-11-21 08:00:00  warning   agent.exited  EXITED: ended with code 3\n\n"
        "log\n"
        "  one\n"
        "  two\n"
    )
    assert stub.commands() == ["status", "events", "logs"]


def test_status_of_one_name_leaves_out_a_log_that_may_not_be_read(serve: Serve, ctl: Ctl) -> None:
    serve(
        {
            "status": status(agent("a")),
            "events": {"events": [], "last_id": 0},
            "logs": Refusal("forbidden"),
        }
    )
    code, out, err = ctl("status", "a")
    assert (code, err) == (0, "")
    assert out.endswith("tags       shop\n")


@pytest.mark.parametrize(
    ("agents", "expected"),
    [
        ([agent("a")], (0, "agentd OK: 1 healthy")),
        ([agent("a", health="degraded")], (1, "agentd WARNING: a degraded")),
        (
            [agent("a", health="degraded"), agent("b", health="unreachable", reason="TIMEOUT")],
            (2, "agentd CRITICAL: b unreachable (TIMEOUT); a degraded"),
        ),
        ([agent("a", state="escalated")], (2, "agentd CRITICAL: a escalated")),
        ([agent("a", health="unknown")], (3, "agentd UNKNOWN: a unknown")),
    ],
)
def test_the_verdict_names_what_is_wrong(agents: list[dict[str, object]], expected: object) -> None:
    assert verdict(status(*agents)) == expected


def test_events_as_text() -> None:
    assert event_line(event(1)) == (
        "2026-11-21 08:00:00  warning   researcher        agent.exited        "
        "EXITED: ended with code 3"
    )
    assert plain(event_table([])) == "no events"
    assert event_line({"time": "later\x1b"}).startswith(r"later\x1b  ")


def test_logs_of_several_agents_name_them() -> None:
    one = {"agent": "a", "lines": ["x\ty", "\x07"]}
    assert logs.render({"logs": [one]}, raw=False) == "x\ty\n\\x07"
    both = {"logs": [one, {"agent": "b", "lines": ["z"]}]}
    assert logs.render(both, raw=False) == "a | x\ty\na | \\x07\nb | z"


def test_show_as_text() -> None:
    keys = {
        "command": {"value": ["python", "x.py"], "origin": "a.toml:1"},
        "nice": {"value": 0, "origin": "default"},
    }
    assert show.render({"agents": {"a": keys}}) == (
        '[a]\ncommand = ["python", "x.py"]  # a.toml:1\nnice = 0                      # default'
    )


def test_a_reload_as_text(serve: Serve, ctl: Ctl) -> None:
    plan = {
        "dry_run": True,
        "added": ["a"],
        "removed": [],
        "restarted": [{"agent": "b", "keys": ["command", "user"]}],
        "applied": [{"agent": "c", "keys": ["restart.cooldown"]}],
        "unchanged": ["d", "e"],
        "errors": [],
    }
    assert reload.render(plan) == (
        "added:     a\n"
        "restarted: b (command, user)\n"
        "applied:   c (restart.cooldown)\n"
        "unchanged: d, e\n"
        "nothing was done (dry run)"
    )
    error = {
        "file": "f.toml",
        "line": 12,
        "key": "agents.f.restart.cooldwn",
        "message": "unknown option",
        "hint": 'did you mean "cooldown"?',
    }
    other = {"file": "g.toml", "line": None, "key": "", "message": "not TOML", "hint": ""}
    serve({"reload": {**plan, "errors": [other, error]}})
    code, out, err = ctl("reload", "--dry-run")
    assert (code, out) == (1, f"{reload.render(plan)}\n")
    assert err == (
        "agentctl: g.toml: not TOML\n"
        "agentctl: f.toml:12: agents.f.restart.cooldwn: unknown option\n"
        '  hint: did you mean "cooldown"?\n'
    )


def test_the_daemon_as_text() -> None:
    document = {
        "daemon": {"pid": 1, "uptime_s": 3600.04, "problem": None},
        "counters": {"lines_rejected": 2, "refused": {"forbidden": 1}, "none": []},
    }
    assert daemon.render(document) == (
        "pid             1\n"
        "uptime_s        3600.0\n"
        "problem         -\n"
        "lines_rejected  2\n"
        "refused         forbidden 1\n"
        "none            -"
    )


def test_versions_as_text() -> None:
    same = {"agentctl": "1.0", "daemon": {"version": "1.0"}}
    assert version.render(same) == "agentctl 1.0\nagentd   1.0"
    assert version.render({"agentctl": "1.0", "daemon": None}).endswith("not reachable")
    assert "they differ" in version.render({**same, "agentctl": "1.2"})


def test_a_write_as_text() -> None:
    document = {"agents": [{"name": "a", "state": "stopping", "message": "x"}, {"name": "b"}]}
    assert lines(document) == "a: stopping (x)\nb: ?"


@pytest.mark.parametrize(
    ("typed", "name"), [("hup", "SIGHUP"), ("SIGHUP", "SIGHUP"), ("1", "SIGHUP"), ("999", "SIG999")]
)
def test_signals_are_named_in_several_ways(typed: str, name: str) -> None:
    assert signal.name_of(typed) == name


def test_a_heartbeat_holds_only_what_was_said(serve: Serve, ctl: Ctl) -> None:
    stub = serve({"line": {}})
    code, out, err = ctl(
        *("heartbeat", "--tokens", "0", "--cost-usd", "0.03", "--status", "ok", "--failure"),
        *("--latency-ms", "5", "--latency-ms", "7", "--silence", "10m", "--task", "t"),
        *("--input-tokens", "4", "--progress", "3/10"),
    )
    assert (code, out, err) == (0, "", "")
    sent = {key: value for key, value in stub.asked[0].items() if key != "id"}
    assert sent == {
        "type": "heartbeat",
        "tokens": 0,
        "cost_usd": 0.03,
        "status": "ok",
        "success": False,
        "latency_ms": [5.0, 7.0],
        "silence_s": 600.0,
        "task": "t",
        "usage": {"input_tokens": 4},
        "progress": {"done": 3.0, "total": 10.0},
    }


def test_a_heartbeat_proves_who_speaks(
    serve: Serve, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = serve({"line": {}})
    monkeypatch.setenv("AGENTD_TOKEN", "from-env")
    assert ctl("heartbeat")[0] == 0
    path = stub.path.parent / "token"
    path.write_text("from-file\n")
    assert ctl("heartbeat", "--token-file", str(path))[0] == 0
    assert [one["token"] for one in stub.asked] == ["from-env", "from-file"]
    assert ctl("heartbeat", "--token-file", f"{path}-not-there")[0] == 1


def test_progress_as_a_share() -> None:
    assert heartbeat.progress("0.25") == 0.25


def test_times_become_moments(serve: Serve, ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = serve({"events": {"events": [], "last_id": 0}})
    monkeypatch.setattr("agentd.cli.options.time.time", lambda: 1_000_000.0)
    for since in ("10m", "1970-01-02T00:00:00Z", "1970-01-02", "1h30m"):
        assert ctl("events", "--since", since)[0] == 0
    assert [one["args"]["since_ms"] for one in stub.asked] == [
        999_400_000,
        86_400_000,
        86_400_000,
        994_600_000,
    ]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "-"), (0, "0s"), (0.04, "0.0s"), (3.24, "3.2s"), (10, "10s"), (59.9, "59s"),
        (60, "1m00s"), (812.4, "13m32s"), (7500, "2h05m"), (86_399, "23h59m"), (273_600, "3d04h"),
    ],
)  # fmt: skip
def test_durations_for_people(seconds: float | None, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [
        (None, "-"), (0, "0B"), (512, "512B"), (1536, "1.5K"), (104_857_600, "100M"),
        (1_610_612_736, "1.5G"), (536_870_912, "512M"), (1 << 50, "1024T"),
    ],
)  # fmt: skip
def test_sizes_for_people(size_bytes: int | None, expected: str) -> None:
    assert size(size_bytes) == expected


@pytest.mark.parametrize(
    ("amount", "known", "expected"),
    [
        (None, True, "?"),
        (None, False, "?"),
        (0.0, False, "?"),  # unknown is never 0
        (0.0, True, "$0.00"),
        (1.4, True, "$1.40"),
        (1.4, False, ">$1.40"),
        (0.0012, True, "$0.0012"),
    ],
)
def test_costs_for_people(amount: float | None, expected: str, *, known: bool) -> None:
    assert dollars(amount, known=known) == expected


def test_shares_and_short_texts() -> None:
    assert (percent(0.952), percent(None)) == ("95.2 %", "-")
    assert (shortened("abcdef", 6), shortened("abcdefg", 6)) == ("abcdef", "abcde…")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("größe → ok", "größe → ok"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x9b\x00\x7f", r"\x9b\x00\x7f"),
        ("\u202eevil\u200b", r"\u202eevil\u200b"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_c7_what_is_invisible_is_made_visible(text: str, expected: str) -> None:
    assert visible(text) == expected


def test_a_time_that_is_none_is_shown_as_it_is() -> None:
    assert clock("2026-11-21T08:00:00.123Z") == "2026-11-21 08:00:00"
    assert clock("soon\x1b") == r"soon\x1b"
