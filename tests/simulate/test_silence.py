"""Silence, readiness and memory, as `agentd simulate` tells them: both sides of every bound."""

from pathlib import Path
from typing import Any

import pytest

from tests.simulate.telling import BEATING, QUIET, beats, tell

MIB = 1 << 20


def _line(t: float, **fields: object) -> dict[str, Any]:
    return {"t": t, "line": fields}


def test_silence_degrades_at_90_s_and_is_unreachable_beyond_300_s(tmp_path: Path) -> None:
    told = tell(tmp_path, BEATING, [_line(0), {"t": 300.2, "end": True}])
    assert told.times("agent.degraded") == [90]
    assert told.times("agent.unreachable") == [300.001]
    assert told.reasons() == ["TIMEOUT"]
    assert told.spawns() == [0, 300.101]


@pytest.mark.parametrize(("beat_s", "degraded"), [(89.999, []), (90, [90])])
def test_a_beat_in_time_is_no_silence(tmp_path: Path, beat_s: float, degraded: list[float]) -> None:
    told = tell(tmp_path, BEATING, [_line(0), _line(beat_s), {"t": 100, "end": True}])
    assert told.times("agent.degraded") == degraded


@pytest.mark.parametrize("action", ["alert", "pause", "kill"])
def test_what_is_done_about_silence_is_the_configs_word(tmp_path: Path, action: str) -> None:
    config = BEATING + f'heartbeat.on_unreachable = "{action}"\n'
    told = tell(tmp_path, config, [_line(0), {"t": 2000, "end": True}])
    assert told.times("agent.unreachable") == [300.001]
    assert told.spawns() == [0]
    assert len(told.effects("freeze")) == (1 if action == "pause" else 0)
    assert bool(told.effects("kill_tree")) is (action == "kill")


def test_b9_an_announced_silence_is_no_silence(tmp_path: Path) -> None:
    told = tell(tmp_path, BEATING, [_line(0, silence_s=600), {"t": 700, "end": True}])
    assert told.times("agent.degraded") == [690]


def test_b9_no_silence_may_be_longer_than_max_silence(tmp_path: Path) -> None:
    told = tell(tmp_path, BEATING, [_line(0, silence_s=999_999), {"t": 3700, "end": True}])
    assert told.times("agent.degraded") == [3690]


def test_b9_one_announcement_covers_one_silence(tmp_path: Path) -> None:
    told = tell(tmp_path, BEATING, [_line(0, silence_s=600), _line(60), {"t": 160, "end": True}])
    assert told.times("agent.degraded") == [150]


def test_waiting_for_a_human_is_no_silence(tmp_path: Path) -> None:
    trace = [_line(0, status="waiting_human"), {"t": 3600, "end": True}]
    assert tell(tmp_path, BEATING, trace).events("agent.degraded") == []


@pytest.mark.parametrize(("ended_s", "degraded"), [(None, [600]), (500, [590])])
def test_an_open_call_explains_silence_up_to_its_deadline(
    tmp_path: Path, ended_s: float | None, degraded: list[float]
) -> None:
    begin = _line(10, type="call", phase="start", call="c1", deadline_s=590)
    trace = [_line(0), begin]
    if ended_s is not None:
        trace.append(_line(ended_s, type="call", phase="end", call="c1", ok=True))
    told = tell(tmp_path, BEATING, [*trace, {"t": 620, "end": True}])
    assert told.times("agent.degraded") == degraded


def test_silence_during_a_crash_of_the_daemon_is_not_charged(tmp_path: Path) -> None:
    trace = [_line(0), {"t": 10, "daemon": "crash"}, {"t": 1000, "daemon": "start"}]
    told = tell(tmp_path, BEATING, [*trace, {"t": 1119, "end": True}])
    assert told.events("agent.degraded") == told.events("agent.unreachable") == []


@pytest.mark.parametrize(("beat_s", "reasons"), [(119.999, []), (120.05, ["STARTUP_TIMEOUT"])])
def test_a14_an_agent_must_become_ready_in_time(
    tmp_path: Path, beat_s: float, reasons: list[str]
) -> None:
    told = tell(tmp_path, BEATING, [_line(beat_s), {"t": 130, "end": True}])
    assert told.reasons() == reasons


@pytest.mark.parametrize(
    ("status", "severity"), [("done", "info"), ("draining", "info"), ("ok", "warning")]
)
def test_an_exit_0_that_was_not_announced_is_told(
    tmp_path: Path, status: str, severity: str
) -> None:
    trace = [_line(0, status=status), {"t": 10, "exit": {"code": 0}}, {"t": 20, "end": True}]
    (completed,) = tell(tmp_path, BEATING, trace).events("agent.completed")
    assert completed["severity"] == severity


def test_a5_an_oom_kill_is_a_fact_and_signal_9_alone_is_not(tmp_path: Path) -> None:
    trace = [
        {"t": 10, "exit": {"signal": 9, "oom": True}},
        {"t": 20, "exit": {"signal": 9}},
        {"t": 30, "end": True},
    ]
    assert tell(tmp_path, QUIET, trace).reasons() == ["OOM_KILLED", "CRASHED"]


@pytest.mark.parametrize(
    ("on_limit", "reasons", "spawns"),
    [
        ("restart", ["MEMORY_LIMIT"], [0, 20.1]),
        ("kill", ["MEMORY_LIMIT"], [0]),
        ("alert", [], [0]),
    ],
)
def test_the_memory_limit_does_what_the_config_says(
    tmp_path: Path, on_limit: str, reasons: list[str], spawns: list[float]
) -> None:
    config = QUIET + f'memory = {{ limit = "100M", on_limit = "{on_limit}" }}\n'
    samples = [(10, 95 * MIB), (15, 100 * MIB - 1), (20, 100 * MIB), (20, 101 * MIB)]
    trace = [{"t": t, "rss": rss} for t, rss in samples]
    told = tell(tmp_path, config, [*trace, {"t": 30, "end": True}])
    assert told.times("memory.pressure") == [10]
    assert told.times("memory.limit") == [20]
    assert told.reasons() == reasons
    assert told.spawns() == spawns


def test_the_worlds_own_limit_is_the_kernels(tmp_path: Path) -> None:
    world = {"t": 0, "world": {"memory_limit": 64 * MIB}}
    told = tell(tmp_path, QUIET, [world, {"t": 10, "rss": 64 * MIB}, {"t": 20, "end": True}])
    assert told.reasons() == ["OOM_KILLED"]


def test_e1_a_leak_is_told_long_before_the_limit(tmp_path: Path) -> None:
    """+10 MiB a minute from 100 MiB on, towards 1 GiB: 92 minutes."""
    config = QUIET + 'memory = { limit = "1G" }\n'
    samples = [{"t": t, "rss": 100 * MIB + 10 * MIB * t // 60} for t in range(0, 5400, 30)]
    told = tell(tmp_path, config, [*samples, {"t": 5400, "end": True}])
    (at_s,) = told.times("memory.leak")
    assert at_s <= 5544 - 1800
    assert told.reasons() == []


def test_e1_a_leaking_agent_is_restarted_gracefully_where_the_config_says_so(
    tmp_path: Path,
) -> None:
    config = QUIET + 'memory = { limit = "1G", leak = "restart" }\n'
    samples = [{"t": t, "rss": 100 * MIB + 10 * MIB * t // 60} for t in range(0, 5400, 30)]
    told = tell(tmp_path, config, [*samples, {"t": 5400, "end": True}])
    assert told.reasons()[0] == "MEMORY_LEAK"
    assert told.effects("signal")[0]["signal"] == "SIGTERM"


def test_a_parked_agents_exit_is_no_failure(tmp_path: Path) -> None:
    trace = [
        *beats(0, 60),
        _line(70, status="error", retry_after_s=600),
        {"t": 80, "exit": {"code": 1}},
        {"t": 900, "end": True},
    ]
    told = tell(tmp_path, BEATING, trace)
    assert told.times("agent.parked") == [70]
    assert told.spawns()[:2] == [0, 670]
    assert told.times("agent.cooldown") == told.times("agent.escalated") == []
