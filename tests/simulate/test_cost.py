"""Spikes and runaways, as `agentd simulate` tells them, over restarts of agent and daemon."""

from pathlib import Path
from typing import Any

import pytest

from tests.simulate.telling import tell

HOUR = 3_600
CONFIG = '[agents.a]\ncommand = ["true"]\nheartbeat.required = false\n'


def beats(
    first_s: float, last_s: float, tokens: int, every_s: float = 30, **more: object
) -> list[Any]:
    count = int((last_s - first_s) // every_s) + 1
    line = {"status": "ok", "tokens": tokens, **more}
    return [{"t": first_s + n * every_s, "line": line} for n in range(count)]


@pytest.mark.parametrize(("tokens", "spikes"), [(1_000, False), (1_001, True)])
def test_a_cycle_above_ten_times_the_median_is_a_spike(
    tmp_path: Path, tokens: int, *, spikes: bool
) -> None:
    trace = [*beats(0, 270, 100), *beats(300, 300, tokens)]
    told = tell(tmp_path, CONFIG, trace)
    assert told.times("cost.spike") == ([300] if spikes else [])
    assert not told.effects("freeze")


@pytest.mark.parametrize(("before", "spikes"), [(9, False), (10, True)])
def test_no_spike_before_cycles_min(tmp_path: Path, before: int, *, spikes: bool) -> None:
    trace = [*beats(0, 30 * (before - 1), 100), *beats(30 * before, 30 * before, 10**6)]
    assert bool(tell(tmp_path, CONFIG, trace).times("cost.spike")) is spikes


@pytest.mark.parametrize(
    ("option", "tokens", "spikes"),
    [
        ("cost.spike_factor = 3.0", 301, True),
        ("cost.spike_factor = 3.0", 300, False),
        ("cost.cycles_min = 20", 10**6, False),
        ("cost.window = 5", 10**6, True),
    ],
)
def test_the_options_of_a_spike(tmp_path: Path, option: str, tokens: int, *, spikes: bool) -> None:
    trace = [*beats(0, 270, 100), *beats(300, 300, tokens)]
    assert bool(tell(tmp_path, CONFIG + option, trace).times("cost.spike")) is spikes


@pytest.mark.parametrize(
    ("action", "effect"),
    [("alert", ""), ("pause", "freeze"), ("kill", "kill_tree"), ("restart", "signal")],
)
def test_on_spike(tmp_path: Path, action: str, effect: str) -> None:
    trace = [*beats(0, 270, 100), *beats(300, 300, 10_000)]
    told = tell(tmp_path, f'{CONFIG}cost.on_spike = "{action}"', trace)
    [event] = told.events("cost.spike")
    assert (event["severity"], event["reason"]) == ("warning", "COST_SPIKE")
    for name in ("freeze", "kill_tree", "signal"):
        assert bool(told.effects(name)) is (name == effect)


@pytest.mark.parametrize(
    ("each", "told_at"),
    [(1_000, []), (1_100, [1_200 + 150 + 180])],  # 10 times the usual, and 11
)
def test_a_sustained_rate_is_a_runaway(tmp_path: Path, each: int, told_at: list[float]) -> None:
    # R is above as soon as all six beats of a window are such: from 1350 on.
    trace = [*beats(0, 1_170, 100), *beats(1_200, 3_600, each)]
    told = tell(tmp_path, CONFIG, trace)
    assert told.times("cost.runaway") == told_at
    if told_at:
        [event] = told.events("cost.runaway")
        assert (event["severity"], event["reason"]) == ("critical", "LOOP_DETECTED")
        assert event["data"]["unit"] == "tokens"
        assert [line["t"] for line in told.effects("freeze")] == told_at
        assert [e["reason"] for e in told.events("agent.paused")] == ["LOOP_DETECTED"]


def test_c17_a_single_spend_however_large_is_none(tmp_path: Path) -> None:
    trace = [*beats(0, 1_170, 100), *beats(1_200, 1_200, 10**9), *beats(1_230, 3_600, 100)]
    told = tell(tmp_path, CONFIG, trace)
    assert told.times("cost.spike") == [1_200]
    assert not told.events("cost.runaway")


@pytest.mark.parametrize(
    ("factor", "cycles", "spikes_at", "loops_at"),
    [
        (10, 1, [], []),
        (10, 15, [], []),  # the bound itself is let pass, for as long as one likes
        (11, 1, [1_200], []),
        (11, 5, [1_200], []),
        (11, 6, [1_200], [1_500]),  # by then all of three minutes stood above it
        (20, 5, [1_200], [1_440]),
    ],
)
def test_c17_more_than_ten_times_is_a_warning_and_a_loop_once_it_has_lasted(
    tmp_path: Path, factor: int, cycles: int, spikes_at: list[float], loops_at: list[float]
) -> None:
    usual = beats(0, 1_140, 1_000, 60)
    dear = beats(1_200, 1_200 + (cycles - 1) * 60, factor * 1_000, 60)
    told = tell(tmp_path, CONFIG, [*usual, *dear])
    assert told.times("cost.spike") == spikes_at
    assert told.times("cost.runaway") == loops_at


@pytest.mark.parametrize(
    ("option", "told_at"),
    [
        ("cost.rate_factor = 30.0", []),
        ('cost.rate_window = "10m"', [1_200 + 210 + 600]),
        ('cost.rate_window = "1m"', [1_200 + 60]),
    ],
)
def test_the_options_of_a_runaway(tmp_path: Path, option: str, told_at: list[float]) -> None:
    trace = [*beats(0, 1_170, 100), *beats(1_200, 3_600, 2_500)]
    assert tell(tmp_path, CONFIG + option, trace).times("cost.runaway") == told_at


@pytest.mark.parametrize(
    ("action", "effect"),
    [("alert", ""), ("pause", "freeze"), ("kill", "kill_tree"), ("restart", "signal")],
)
def test_on_runaway(tmp_path: Path, action: str, effect: str) -> None:
    trace = [*beats(0, 1_170, 100), *beats(1_200, 2_400, 5_000)]
    told = tell(tmp_path, f'{CONFIG}cost.on_runaway = "{action}"', trace)
    for name in ("freeze", "kill_tree", "signal"):
        assert bool(told.effects(name)) is (name == effect)


@pytest.mark.parametrize(("minutes", "runs"), [(9, False), (10, True)])
def test_no_runaway_before_ten_minutes_with_usage(
    tmp_path: Path, minutes: int, *, runs: bool
) -> None:
    trace = [*beats(0, (minutes - 1) * 60, 100, 60), *beats(HOUR, HOUR + 400, 10_000)]
    assert bool(tell(tmp_path, CONFIG, trace).events("cost.runaway")) is runs


def test_a_loop_of_calls_is_seen_within_its_cycle(tmp_path: Path) -> None:
    calls = [
        {
            "t": 1_200 + n,
            "line": {
                "type": "call",
                "phase": "end",
                "call": f"c{n}",
                "usage": {"input_tokens": 90},
            },
        }
        for n in range(900)
    ]
    told = tell(tmp_path, CONFIG, [*beats(0, 1_170, 100), *calls])
    assert len(told.events("cost.runaway")) == 1
    assert not told.events("cost.spike")  # the cycle has not even ended


def test_cost_is_judged_where_it_is_known(tmp_path: Path) -> None:
    usual = beats(0, 1_170, 100, cost_usd=0.0002)
    trace = [*usual, *beats(1_200, 2_400, 100, cost_usd=0.01)]  # the same tokens, dearer
    told = tell(tmp_path, CONFIG, trace)
    [event] = told.events("cost.runaway")
    assert event["data"]["unit"] == "usd"
    assert event["data"]["baseline_per_minute"] == 0.0004
    assert told.events("cost.spike")[0]["data"]["baseline"] == 0.0002


@pytest.mark.parametrize("ends", ["daemon", "agent"])
def test_baselines_survive_restarts(tmp_path: Path, ends: str) -> None:
    restarts = {
        "daemon": [{"t": 2_000, "daemon": "crash"}, {"t": 2_100, "daemon": "start"}],
        "agent": [{"t": 2_000, "exit": {"code": 1}}],
    }
    trace = [*beats(0, 1_980, 100), *restarts[ends], *beats(2_400, 3_600, 10_000)]
    told = tell(tmp_path, CONFIG, trace)
    assert told.times("cost.spike") == [2_400]
    assert len(told.events("cost.runaway")) == 1
    assert told.events("cost.runaway")[0]["data"]["baseline_per_minute"] == 200


def test_a_shutdown_is_neither_for_a_bounded_time(tmp_path: Path) -> None:
    draining = beats(1_200, 1_470, 10_000, status="draining")
    told = tell(tmp_path, CONFIG, [*beats(0, 1_170, 100), *draining])
    assert not told.events("cost.spike")
    assert not told.events("cost.runaway")
    draining = beats(1_200, 3_600, 10_000, status="draining")
    told = tell(tmp_path, CONFIG, [*beats(0, 1_170, 100), *draining])
    assert told.times("cost.spike") == [1_500]
    assert len(told.events("cost.runaway")) == 1


def test_what_was_let_go_on_is_told_again_when_it_runs_away_again(tmp_path: Path) -> None:
    resume = {"cmd": "resume", "args": {"select": ["a"]}}
    trace = [
        *beats(0, 1_170, 100),
        *beats(1_200, 1_380, 10_000),
        {"t": 2_000, "cmd": resume},
        *beats(2_010, 2_400, 10_000),
    ]
    assert tell(tmp_path, CONFIG, trace).times("cost.runaway") == [1_380, 2_190]
