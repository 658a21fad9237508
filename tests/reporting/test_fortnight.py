"""The report of a simulated fortnight names what is slowly going wrong, and nothing else."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.core.lines import Heartbeat
from tests.reporting.fortnight import DAYS, Fortnight, Plan, usual
from tests.reporting.lives import DAY_MS, HOUR_MS, MINUTE_MS
from tests.store.desk import Desk

# Sixteen thousand heartbeats and their rows: some seconds where nothing else runs.
pytestmark = pytest.mark.timeout(300)

# Nights of the last week in which it is killed for memory shortly after three.
NIGHTS = (8, 9, 11, 12)
# On the last of the fourteen days clocks go forward, so a night before it is an hour later.
NIGHT_MS = 3 * HOUR_MS + 2 * MINUTE_MS


def plain(_day: int, hour: int, dice: random.Random) -> Heartbeat:
    return usual(dice, hour=hour)


def dearer(day: int, hour: int, dice: random.Random) -> Heartbeat:
    return usual(dice, hour=hour, tokens=900 * 1.03 ** (day + hour / 24))


def worse(day: int, hour: int, dice: random.Random) -> Heartbeat:
    return usual(dice, hour=hour, fails=0.02 + 0.01 * day)


def planted_plans() -> dict[str, Plan]:
    """Three agents that slowly go wrong, and one that doesn't."""
    nights = tuple(day * DAY_MS + NIGHT_MS for day in NIGHTS)
    return {
        "dearer": Plan(dearer),
        "nightly": Plan(plain, nights),
        "worse": Plan(worse),
        "steady": Plan(plain),
    }


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fortnight]:
    desk = Desk(_directory(tmp_path_factory.mktemp("planted")))
    fortnight = Fortnight(desk, planted_plans())
    fortnight.play()
    yield fortnight
    desk.close()


def _directory(path: Path) -> Path:
    path.chmod(0o700)
    return path


def test_the_report_of_a_fortnight_names_each_slow_problem_and_no_other(
    planted: Fortnight,
) -> None:
    report = planted.report()
    told = {(each["agent"], each["kind"]): each["message"] for each in report["slow_problems"]}
    assert set(told) == {
        ("dearer", "tokens_drift"),
        ("nightly", "restarts_same_time"),
        ("worse", "success_fall"),
    }
    assert "tokens per cycle +3." in told["dearer", "tokens_drift"]
    assert "at about 03:00 on 4 of the last 7 days" in told["nightly", "restarts_same_time"]
    assert "points a day" in told["worse", "success_fall"]
    assert not report["ok"]


def test_the_report_of_a_clean_fortnight_names_none(tmp_path: Path) -> None:
    desk = Desk(_directory(tmp_path))
    # Restarts there are, at no time of day.
    deaths = (2 * DAY_MS + 5 * HOUR_MS, 9 * DAY_MS + 14 * HOUR_MS, 11 * DAY_MS + 22 * HOUR_MS)
    fortnight = Fortnight(desk, {"one": Plan(plain), "two": Plan(plain, deaths)}, seed=2)
    fortnight.play()
    report = fortnight.report()
    desk.close()
    assert report["slow_problems"] == []
    assert report["ok"], report
    assert [agent["alive_all_day"] for agent in report["agents"]] == [True, True]


def test_history_and_the_day_of_a_restart_agree(planted: Fortnight) -> None:
    history = {each["name"]: each for each in planted.history()["agents"]}
    assert history["steady"]["availability"] == 1.0
    assert history["nightly"]["restarts"] == len(NIGHTS)
    assert history["nightly"]["downs"] == len(NIGHTS)
    assert history["nightly"]["mttr_s"] > 0
    days = history["nightly"]["days"]
    assert [day["restarts"] for day in days] == [int(day in NIGHTS) for day in range(DAYS)]
    assert sum(day["up_s"] for day in days) == pytest.approx(history["nightly"]["up_s"])
    assert days[-1]["up_s"] == 23 * 3600, "clocks went forward"
    spent = history["dearer"]["cost_usd"]
    assert sum(day["cost_usd"] for day in days) < spent, "it became dearer"
    assert planted.fleet["dearer"].durable.cost_micros == pytest.approx(spent * 1e6)
    assert history["nightly"]["intervals"][0]["from"] == "2026-03-15T23:00:00.000Z"
