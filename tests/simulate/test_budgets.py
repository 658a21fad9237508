"""Budgets by the civil clock, over restarts of agent and daemon, as `agentd simulate` tells it."""

from pathlib import Path
from typing import Any

import pytest

from tests.simulate.telling import Told, tell

HOUR = 3_600
DAY = 24 * HOUR


def config(budget: str, zone: str = "", **more: str) -> str:
    daemon = f'[daemon]\ntimezone = "{zone}"\n' if zone else ""
    tables = "".join(f"{key} = {value}\n" for key, value in more.items())
    return f'{daemon}[agents.a]\ncommand = ["true"]\nheartbeat.required = false\n{tables}{budget}\n'


def start(at: str) -> dict[str, Any]:
    return {"t": 0, "start": True, "at": at}


def beat(t: float, tokens: int, **more: object) -> dict[str, Any]:
    return {"t": t, "line": {"status": "ok", "tokens": tokens, **more}}


def call(t: float, name: str, tokens: int, **more: object) -> dict[str, Any]:
    usage = {"input_tokens": tokens}
    return {"t": t, "line": {"type": "call", "phase": "end", "call": name, "usage": usage, **more}}


def resume(t: float) -> dict[str, Any]:
    return {"t": t, "cmd": {"cmd": "resume", "args": {"select": ["a"]}}}


def exceeded(told: Told) -> list[float]:
    return told.times("budget.exceeded")


@pytest.mark.parametrize(
    ("period", "begins_s"),
    [("hour", HOUR), ("day", DAY), ("month", 31 * DAY)],
)
def test_a_period_is_over_when_the_next_one_begins(
    tmp_path: Path, period: str, begins_s: int
) -> None:
    text = config(f"budget.tokens_per_{period} = 1000")
    for t, stopped in ((begins_s - 0.001, True), (begins_s, False)):
        trace = [beat(1, 1_000), beat(t, 1), {"t": t + 1, "end": True}]
        told = tell(tmp_path, text, trace)
        assert bool(exceeded(told)) is stopped, t
        assert bool(told.effects("freeze")) is stopped


@pytest.mark.parametrize(
    ("zone", "begins_s"),
    [
        ("Europe/Berlin", 23 * HOUR),
        ("America/New_York", 5 * HOUR),
        ("Asia/Kolkata", 18.5 * HOUR),
        ("UTC", DAY),
    ],
)
def test_a_day_is_that_of_the_configured_zone(tmp_path: Path, zone: str, begins_s: float) -> None:
    text = config("budget.tokens_per_day = 1000", zone)
    for t, stopped in ((begins_s - 1, True), (begins_s, False)):
        told = tell(tmp_path, text, [start("2026-01-01T00:00:00Z"), beat(1, 1_000), beat(t, 1)])
        assert bool(exceeded(told)) is stopped, t


@pytest.mark.parametrize(
    ("at", "hours"),
    [
        ("2026-03-28T23:00:00Z", 23),  # the clocks go forward
        ("2026-10-24T22:00:00Z", 25),  # and back
        ("2026-06-01T22:00:00Z", 24),
    ],
)
def test_a_day_of_daylight_saving_is_one_day(tmp_path: Path, at: str, hours: int) -> None:
    text = config("budget.tokens_per_day = 1000", "Europe/Berlin")
    for t, stopped in ((hours * HOUR - 1, True), (hours * HOUR, False)):
        told = tell(tmp_path, text, [start(at), beat(1, 1_000), beat(t, 1)])
        assert bool(exceeded(told)) is stopped, t


def test_the_hour_that_happens_twice_is_two_hours(tmp_path: Path) -> None:
    text = config('budget.tokens_per_hour = 1000\nbudget.on_exceeded = "alert"', "Europe/Berlin")
    # 02:00 summer time, 02:00 winter time, 03:00.
    trace = [start("2026-10-25T00:00:00Z"), *(beat(n * HOUR + 5, 1_001) for n in range(3))]
    assert exceeded(tell(tmp_path, text, trace)) == [5, HOUR + 5, 2 * HOUR + 5]


def test_the_hour_that_is_missing_is_none(tmp_path: Path) -> None:
    text = config('budget.tokens_per_hour = 1000\nbudget.on_exceeded = "alert"', "Europe/Berlin")
    # 01:00 is followed by 03:00.
    trace = [start("2026-03-29T00:00:00Z"), *(beat(n * 600, 400) for n in range(12))]
    assert exceeded(tell(tmp_path, text, trace)) == [1_200, 3_600 + 1_200]


def test_a_month_ends_with_its_last_day(tmp_path: Path) -> None:
    text = config("budget.tokens_per_month = 1000", "Europe/Berlin")
    for t, stopped in ((27 * DAY + 23 * HOUR - 1, True), (27 * DAY + 23 * HOUR, False)):
        trace = [start("2026-02-01T00:00:00Z"), beat(1, 1_000), beat(t, 1)]
        assert bool(exceeded(tell(tmp_path, text, trace))) is stopped


def test_a_wall_clock_that_is_set_back_a_little_begins_no_day_twice(tmp_path: Path) -> None:
    text = config('budget.tokens_per_day = 1000\nbudget.on_exceeded = "alert"')
    trace = [
        start("2026-01-01T23:00:00Z"),
        beat(1, 900),
        beat(HOUR + 1, 1_001),  # the next day
        {"t": HOUR + 600, "start": True, "at": "2026-01-01T23:30:00Z"},
        beat(HOUR + 601, 900),  # nothing new: told once
        beat(2 * HOUR + 600, 900),
    ]
    assert exceeded(tell(tmp_path, text, trace)) == [HOUR + 1]


def test_a_wall_clock_that_was_years_ahead_does_not_keep_the_budget_spent(tmp_path: Path) -> None:
    text = config('budget.tokens_per_day = 1000\nbudget.on_exceeded = "alert"')
    trace = [
        start("2036-01-01T12:00:00Z"),
        beat(1, 1_001),
        {"t": 10, "start": True, "at": "2026-01-01T12:00:00Z"},
        beat(20, 500),  # the same day, as far as anybody knows
        beat(DAY, 1_001),
    ]
    assert exceeded(tell(tmp_path, text, trace)) == [1, DAY]


# Within one cycle, and over restarts.


def test_who_burns_within_one_cycle_is_stopped_within_it(tmp_path: Path) -> None:
    text = config("budget.tokens_per_cycle = 10000")
    told = tell(tmp_path, text, [beat(1, 1), *(call(2 + n, f"c{n}", 1_000) for n in range(100))])
    assert exceeded(told) == [12]
    assert [line["t"] for line in told.effects("freeze")] == [12]
    [event] = told.events("budget.exceeded")
    assert (event["severity"], event["reason"]) == ("critical", "BUDGET_EXCEEDED")
    assert event["data"]["used"] == 11_000


@pytest.mark.parametrize("action", ["pause", "kill", "alert"])
def test_on_exceeded(tmp_path: Path, action: str) -> None:
    text = config(f'budget.tokens_per_run = 1000\nbudget.on_exceeded = "{action}"')
    told = tell(tmp_path, text, [beat(1, 1_001), beat(2, 1)])
    assert len(exceeded(told)) == 1
    assert bool(told.effects("freeze")) is (action == "pause")
    assert bool(told.effects("kill_tree")) is (action == "kill")
    paused = [event["reason"] for event in told.events("agent.paused")]
    assert paused == ["BUDGET_EXCEEDED"] * (action == "pause")


def test_nothing_resumes_by_itself_and_a_person_overrides_that_budget(tmp_path: Path) -> None:
    text = config("budget.tokens_per_hour = 1000\nbudget.tokens_per_day = 2500")
    trace = [
        beat(1, 1_001),
        resume(3 * HOUR),  # paused until then, over three hours
        beat(3 * HOUR + 1, 1_001),  # this hour's budget holds
        resume(3 * HOUR + 2),
        beat(3 * HOUR + 3, 400),  # overridden
        beat(3 * HOUR + 4, 100),  # the day's holds all the same
    ]
    told = tell(tmp_path, text, trace)
    names = [(event["t"], event["data"]["budget"]) for event in told.events("budget.exceeded")]
    hour = "tokens_per_hour"
    assert names == [(1, hour), (3 * HOUR + 1, hour), (3 * HOUR + 4, "tokens_per_day")]
    assert [event["data"] for event in told.events("agent.resumed")] == [
        {},  # its hour was over long before
        {"overridden": [hour]},
    ]


@pytest.mark.parametrize("lost", [0, 300])
def test_inv11_a_crash_of_the_daemon_loses_at_most_five_seconds(tmp_path: Path, lost: int) -> None:
    text = config("budget.tokens_per_day = 1000")
    trace = [
        beat(1, 300),
        beat(10, lost),  # two seconds before the crash
        {"t": 12, "daemon": "crash"},
        {"t": 20, "daemon": "start"},
        beat(30, 700),
        beat(40, 1),
    ]
    told = tell(tmp_path, text, trace)
    assert exceeded(told) == [40]


def test_a_pause_by_budget_survives_a_crash_of_the_daemon(tmp_path: Path) -> None:
    text = config("budget.tokens_per_day = 1000")
    trace = [
        beat(1, 1_001),
        {"t": 1.001, "daemon": "crash"},
        {"t": 20, "daemon": "start"},
        {"t": 3 * DAY, "end": True},
    ]
    told = tell(tmp_path, text, trace)
    assert [line["t"] for line in told.effects("freeze")] == [1, 20]
    assert not told.effects("thaw")
    assert len(exceeded(told)) == 1


def test_an_override_survives_a_crash_of_the_daemon(tmp_path: Path) -> None:
    text = config("budget.tokens_per_day = 1000")
    trace = [
        beat(1, 1_001),
        resume(2),
        {"t": 3, "daemon": "crash"},
        {"t": 4, "daemon": "start"},
        beat(5, 5_000),
        beat(DAY + 5, 1_000),
        beat(DAY + 6, 1),
    ]
    assert exceeded(tell(tmp_path, text, trace)) == [1, DAY + 6]


def test_a_crash_in_the_middle_of_a_cycle_counts_no_usage_twice(tmp_path: Path) -> None:
    text = config('budget.tokens_per_day = 1000\nbudget.on_exceeded = "alert"')
    trace = [
        call(1, "c1", 600),
        {"t": 10, "daemon": "crash"},
        {"t": 11, "daemon": "start"},
        beat(12, 600),  # ends the cycle of that call
        beat(13, 400),
        beat(14, 1),
    ]
    assert exceeded(tell(tmp_path, text, trace)) == [14]


def test_a_run_goes_on_over_restarts_of_the_agent(tmp_path: Path) -> None:
    text = config("budget.tokens_per_run = 1000")
    trace = [beat(1, 900), {"t": 2, "exit": {"code": 1}}, beat(3, 100), beat(4, 1)]
    assert exceeded(tell(tmp_path, text, trace)) == [4]


def test_a_new_execution_is_a_new_run(tmp_path: Path) -> None:
    text = config("budget.tokens_per_run = 1000")
    fresh = {"cmd": "start", "args": {"select": ["a"], "fresh": True}}
    trace = [beat(1, 900), {"t": 2, "cmd": fresh}, beat(3, 1_000), beat(4, 1)]
    assert exceeded(tell(tmp_path, text, trace)) == [4]


# Dollars.


def test_dollars_come_from_the_prices_of_the_config(tmp_path: Path) -> None:
    prices = '[prices."gpt-x"]\ninput = 3.0\noutput = 15.0\ncache_read = 0.3\n'
    text = config("budget.usd_per_day = 1.0") + prices
    usage = {"input_tokens": 200_000, "cache_read_input_tokens": 100_000, "output_tokens": 10_000}
    line = {"type": "call", "phase": "end", "model": "openai/gpt-x", "usage": usage}
    # 0.30 + 0.03 + 0.15 = $0.48 a call
    trace = [{"t": n, "line": {**line, "call": f"c{n}"}} for n in range(1, 4)]
    told = tell(tmp_path, text, trace)
    assert exceeded(told) == [3]
    assert told.events("budget.exceeded")[0]["data"]["used"] == 1.44


def test_a_cost_that_was_told_wins_over_the_prices(tmp_path: Path) -> None:
    text = config("budget.usd_per_day = 1.0") + '[prices."gpt-x"]\ninput = 3.0\noutput = 15.0\n'
    trace = [call(n, f"c{n}", 10**9, model="gpt-x", cost_usd=0.25) for n in range(1, 7)]
    assert exceeded(tell(tmp_path, text, trace)) == [5]


def test_plain_tokens_have_no_price(tmp_path: Path) -> None:
    text = config("budget.usd_per_day = 1.0") + '[prices."gpt-x"]\ninput = 3.0\noutput = 15.0\n'
    told = tell(tmp_path, text, [beat(n, 10**9, model="gpt-x") for n in range(1, 5)])
    assert not exceeded(told)
    [warned] = told.events("budget.warning")
    assert "gpt-x" in warned["message"]


def test_warn_at_is_a_share_of_each_budget(tmp_path: Path) -> None:
    text = config("budget.tokens_per_day = 1000\nbudget.warn_at = 0.5")
    told = tell(tmp_path, text, [beat(n, 100) for n in range(1, 11)])
    assert told.times("budget.warning") == [5]
    [warned] = told.events("budget.warning")
    assert (warned["severity"], warned["data"]["used"]) == ("warning", 500)
