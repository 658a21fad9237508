"""The operator's word, and crashes of the daemon, as `agentd simulate` tells them."""

from pathlib import Path
from typing import Any

import pytest

from tests.simulate.telling import QUIET, tell

CRASH: dict[str, Any] = {"exit": {"code": 1}}


def _cmd(t: float, cmd: str, *select: str, **args: object) -> dict[str, Any]:
    return {"t": t, "cmd": {"cmd": cmd, "args": {"select": list(select or ("a",)), **args}}}


def _daemon(down_s: float, up_s: float) -> list[dict[str, Any]]:
    return [{"t": down_s, "daemon": "crash"}, {"t": up_s, "daemon": "start"}]


@pytest.mark.parametrize("word", ["kill", "stop"])
def test_k1_a_kill_and_a_stop_outlive_the_daemon(tmp_path: Path, word: str) -> None:
    trace = [_cmd(10, word), *_daemon(20, 30), *_daemon(40, 50), {"t": 90_000, "end": True}]
    assert tell(tmp_path, QUIET, trace).spawns() == [0]


@pytest.mark.parametrize("word", ["start", "restart"])
def test_a_killed_agent_is_not_started_but_by_resume(tmp_path: Path, word: str) -> None:
    told = tell(tmp_path, QUIET, [_cmd(10, "kill"), _cmd(20, word), _cmd(30, "resume")])
    assert told.spawns() == [0, 30]
    (why,) = told.rejected()
    assert "killed" in why


def test_a_kill_ends_the_tree_at_once_and_pages_nobody(tmp_path: Path) -> None:
    told = tell(tmp_path, QUIET, [_cmd(10, "kill"), {"t": 20, "end": True}])
    assert told.effects("kill_tree")[0]["t"] == 10
    assert told.effects("signal") == []
    assert told.effects("alert") == []
    assert told.reasons() == ["USER_KILLED"]


def test_a_kill_wins_over_a_restart_that_waits(tmp_path: Path) -> None:
    fails = [{"t": 10, **CRASH}, {"t": 20, **CRASH}]
    told = tell(tmp_path, QUIET, [*fails, _cmd(100, "kill"), {"t": 1000, "end": True}])
    assert told.spawns() == [0, 10]


def test_i3_a_cooldown_survives_a_crash_of_the_daemon(tmp_path: Path) -> None:
    """Two minutes gone, a minute without a daemon: it fires at 5:00, not at 8:00."""
    trace = [{"t": 0, **CRASH}, {"t": 0, **CRASH}, *_daemon(120, 180), {"t": 1000, "end": True}]
    assert tell(tmp_path, QUIET, trace).spawns() == [0, 0, 300]


def test_a_cooldown_that_ran_out_without_a_daemon_ends_with_its_return(tmp_path: Path) -> None:
    trace = [{"t": 0, **CRASH}, {"t": 0, **CRASH}, *_daemon(120, 480), {"t": 1000, "end": True}]
    assert tell(tmp_path, QUIET, trace).spawns() == [0, 0, 480]


def test_g1_a_living_agent_is_adopted_and_not_restarted(tmp_path: Path) -> None:
    told = tell(tmp_path, QUIET, [*_daemon(10, 20), {"t": 1000, "end": True}])
    assert told.spawns() == [0]
    assert told.times("agent.adopted") == [20]


def test_g3_an_end_without_a_daemon_is_decided_once(tmp_path: Path) -> None:
    trace = [*_daemon(10, 30), {"t": 20, **CRASH}, *_daemon(40, 50), {"t": 1000, "end": True}]
    told = tell(tmp_path, QUIET, trace)
    assert told.reasons() == ["EXITED"]
    assert told.spawns() == [0, 30]


def test_failures_are_remembered_over_a_crash_of_the_daemon(tmp_path: Path) -> None:
    trace = [{"t": 10, **CRASH}, {"t": 320, **CRASH}, *_daemon(330, 340), {"t": 350, **CRASH}]
    told = tell(tmp_path, QUIET, [*trace, *_daemon(360, 370), {"t": 2000, "end": True}])
    assert told.times("agent.escalated") == [350]
    assert told.spawns() == [0, 10, 320]


def test_a_stop_begun_before_a_crash_is_finished_after_it(tmp_path: Path) -> None:
    deaf = {"t": 0, "world": {"deaf_to_sigterm": True}}
    trace = [deaf, _cmd(10, "stop"), *_daemon(15, 20), {"t": 200, "end": True}]
    told = tell(tmp_path, QUIET, trace)
    assert told.reasons() == ["USER_STOPPED"]
    assert told.events("agent.exited")[0]["t"] <= 50
    assert told.spawns() == [0]


def test_b6_who_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    deaf = {"t": 0, "world": {"deaf_to_sigterm": True}}
    told = tell(tmp_path, QUIET, [deaf, _cmd(10, "stop"), {"t": 100, "end": True}])
    (signal,) = told.effects("signal")
    assert (signal["t"], signal["signal"], signal["incarnation"]) == (10, "SIGTERM", 1)
    assert [line["t"] for line in told.effects("kill_tree")] == [40]
    assert told.reasons() == ["USER_STOPPED"]


def test_pause_freezes_and_its_clocks_stand_still(tmp_path: Path) -> None:
    config = '[agents.a]\ncommand = ["true"]\nready = "spawn"\n'
    trace = [
        {"t": 0, "line": {}},
        _cmd(60, "pause"),
        *_daemon(1000, 1010),
        _cmd(5000, "resume"),
        {"t": 5010, "end": True},
    ]
    told = tell(tmp_path, config, trace)
    assert told.effects("freeze")[0]["t"] == 60
    assert told.effects("thaw")[-1]["t"] == 5000
    assert told.spawns() == [0]
    assert told.events("agent.degraded") == told.events("agent.unreachable") == []


def test_a_pause_keeps_what_is_left_of_a_cooldown(tmp_path: Path) -> None:
    fails = [{"t": 10, **CRASH}, {"t": 20, **CRASH}]
    trace = [*fails, _cmd(110, "pause"), _cmd(1000, "resume"), {"t": 3000, "end": True}]
    assert tell(tmp_path, QUIET, trace).spawns() == [0, 10, 1200]


def test_nothing_starts_by_itself_while_held(tmp_path: Path) -> None:
    trace = [_cmd(5, "hold"), {"t": 10, **CRASH}, _cmd(500, "unhold"), {"t": 600, "end": True}]
    assert tell(tmp_path, QUIET, trace).spawns() == [0, 500]


def test_an_exit_of_an_earlier_incarnation_changes_nothing(tmp_path: Path) -> None:
    late = {"exit": {"code": 1}, "incarnation": 1}
    trace = [{"t": 10, **CRASH}, {"t": 20, **late}, {"t": 30, **late}, {"t": 40, "end": True}]
    told = tell(tmp_path, QUIET, trace)
    assert told.spawns() == [0, 10]
    assert [line["incarnation"] for line in told.events("agent.exited")] == [1]


def test_a_dependant_waits_until_what_it_needs_is_ready(tmp_path: Path) -> None:
    config = (
        '[agents.web]\ncommand = ["true"]\nready = "spawn"\nheartbeat.required = false\n'
        'depends_on = ["db"]\n[agents.db]\ncommand = ["true"]\n'
    )
    trace = [{"t": 20, "agent": "db", "line": {}}, _cmd(50, "stop", "all"), {"t": 60, "end": True}]
    told = tell(tmp_path, config, trace)
    assert (told.spawns("db"), told.spawns("web")) == ([0], [20])
    stops = [(line["t"], line["agent"]) for line in told.effects("signal")]
    assert stops == [(50, "web"), (50.1, "db")]


def test_an_outage_explains_the_failures_of_its_dependants(tmp_path: Path) -> None:
    config = (
        '[defaults]\nheartbeat.required = false\n[agents.db]\ncommand = ["true"]\n'
        'restart.policy = "never"\n[agents.web]\ncommand = ["true"]\ndepends_on = ["db"]\n'
    )
    trace = [{"t": 10, "agent": "db", **CRASH}, {"t": 20, "agent": "web", **CRASH}]
    told = tell(tmp_path, config, [*trace, {"t": 30, "end": True}])
    assert told.reasons("web") == ["DEPENDENCY_DOWN"]
    assert told.spawns("web") == [0]


def test_a_shutdown_stops_all_and_a_new_daemon_starts_them_again(tmp_path: Path) -> None:
    trace = [_cmd(10, "shutdown"), {"t": 20, "daemon": "start"}, {"t": 30, "end": True}]
    told = tell(tmp_path, QUIET, trace)
    assert told.reasons() == ["DAEMON_STOPPED"]
    assert told.spawns() == [0, 20]
