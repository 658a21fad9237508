"""What work usually costs, kept over restarts, reboots and damage."""

import sqlite3
from contextlib import closing

import pytest

from agentd.core.effects import Forget, PersistBaseline
from agentd.core.records import Baseline
from agentd.store.schema import STEPS, migrate
from tests.store.desk import Desk, persist

LARGEST = 1 << 62
BASELINE = Baseline(
    at_ms=900_000,
    cycle_tokens=(900, 1_000, LARGEST),
    cycle_picos=(1, LARGEST),
    cycles_seen=(77, 12),
    minutes=((1_440, 900, 0, 3), (0, LARGEST, LARGEST, 0)),
)


def test_a_baseline_survives_a_restart(desk: Desk) -> None:
    assert desk.write(persist(), PersistBaseline("a", BASELINE)).ok
    assert desk.again().baselines() == {"a": BASELINE}


def test_the_latest_one_holds(desk: Desk) -> None:
    desk.write(PersistBaseline("a", BASELINE), PersistBaseline("b", BASELINE))
    desk.write(PersistBaseline("a", Baseline(at_ms=950_000)))
    assert desk.store.baselines() == {"a": Baseline(at_ms=950_000), "b": BASELINE}


@pytest.mark.parametrize(
    ("away_ms", "at_ms"),
    [(0, 5_000 - 100_000), (60_000, 5_000 - 160_000), (-3_600_000, 5_000 - 100_000)],
)
def test_after_a_reboot_the_wall_clock_says_how_old_it_is(
    desk: Desk, away_ms: int, at_ms: int
) -> None:
    desk.write(PersistBaseline("a", BASELINE))
    desk.close()
    desk.boot_id, desk.boottime_ms = "boot-2", 5_000
    desk.wall_ms += away_ms
    assert desk.store.baselines()["a"].at_ms == at_ms


def test_an_agent_that_is_removed_takes_it_along(desk: Desk) -> None:
    desk.write(PersistBaseline("a", BASELINE))
    desk.write(Forget("a"))
    assert desk.store.baselines() == {}


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE baselines SET data = substr(data, 1, 9)",
        "UPDATE baselines SET data = x'00'",
        "UPDATE baselines SET data = 'text'",
    ],
)
def test_one_that_is_damaged_is_learnt_anew(desk: Desk, damage: str) -> None:
    desk.write(PersistBaseline("a", BASELINE))
    desk.close()
    with closing(sqlite3.connect(desk.path)) as connection:
        assert connection.execute(damage).rowcount == 1
        connection.commit()
    assert desk.store.baselines() == {}
    assert desk.write(PersistBaseline("a", BASELINE)).ok
    assert desk.store.baselines() == {"a": BASELINE}


def test_a_store_of_before_gets_the_table(desk: Desk) -> None:
    step = next(number for number, one in enumerate(STEPS) if "baselines" in one[0])
    desk.directory.mkdir(mode=0o700)
    with closing(sqlite3.connect(desk.path, isolation_level=None)) as connection:
        migrate(connection, desk.path, STEPS[:step])
    assert desk.store.baselines() == {}
    assert desk.write(PersistBaseline("a", BASELINE)).ok
