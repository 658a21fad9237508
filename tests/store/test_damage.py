"""A store that is not what was written: moved aside, built anew, intents saved if they can be."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agentd.core.effects import PersistSpending
from agentd.core.host_views import FleetSpending
from agentd.core.states import Intent
from agentd.store.opening import QUARANTINES_MAX
from agentd.store.rows import SpawnRow
from tests.store.desk import Desk, event, ids, persist
from tests.store.harm import Harm, damaged, flipped, ruin, spoil, truncated, zeroed

SPENDING = FleetSpending(1_795_000_000_000, 4_000_000, 6_000_000, 4)
SPAWNED = SpawnRow("a", 1, "i-1", "token", 42, 99, 7, "boot-1", "/leaf", 1_700_000_000_000)


def furnished(directory: Path) -> Desk:
    """Return a closed store that holds something of everything."""
    desk = Desk(directory)
    for number in range(40):
        desk.write(event(f"agent.e{number % 5}"), persist(f"a{number}", intent=Intent.KILLED))
    desk.write(SPAWNED)
    desk.close()
    return desk


@pytest.mark.timeout(180)
@pytest.mark.parametrize("harm", [truncated, zeroed, flipped])
def test_h5_a_damaged_store_is_replaced_and_never_tells_a_wrong_intent(
    tmp_path: Path, harm: Harm
) -> None:
    furnished(tmp_path / "whole")
    rebuilt = 0
    for desk in damaged(tmp_path / "whole", harm):
        found = desk.store.agents()
        assert all(one.durable.intent is Intent.KILLED for one in found.values())
        if desk.store.rebuilt:
            rebuilt += 1
            assert desk.store.damage
            assert desk.store.salvaged == len(found)
            assert desk.write(event()).stamps[0].id > 40, "no id is used twice"
        else:
            assert len(found) == 40
            assert desk.write(event()).ok
    assert rebuilt, "some of that must have been noticed"


def test_h5_a_flipped_bit_in_a_word_is_noticed_and_the_other_agents_are_saved(
    tmp_path: Path,
) -> None:
    desk = furnished(tmp_path / "state")
    desk.path.write_bytes(desk.path.read_bytes().replace(b'"killed"', b'"paused"', 1))
    store = desk.store
    assert store.rebuilt
    assert store.salvaged == 39
    assert store.spawns() == {"a": SPAWNED}, "what lives can still be recognised"
    assert store.quarantined is not None
    assert b'"paused"' in store.quarantined.read_bytes(), "the damaged file is kept as it was"
    desk.close()


@pytest.mark.parametrize(
    ("table", "column", "row"),
    [
        ("agents", "boottime_ms", "name = 'a7'"),
        ("agents", "wall_ms", "name = 'a7'"),
        ("spawns", "start_time", "agent = 'a'"),
        ("marks", "value", "name <> 'version'"),
        ("events", "wall_ms", "id = 7"),
    ],
)
def test_h5_a_number_that_became_text_is_noticed_though_sqlite_finds_it_in_order(
    tmp_path: Path, table: str, column: str, row: str
) -> None:
    desk = furnished(tmp_path / "state")
    spoil(desk, table, column, row)
    assert desk.store.rebuilt
    assert table in desk.store.damage
    assert desk.store.salvaged == 40
    assert {one.durable.intent for one in desk.store.agents().values()} == {Intent.KILLED}
    assert desk.store.spawns() == ({} if table == "spawns" else {"a": SPAWNED})
    desk.close()


def test_h5_an_operators_word_outlives_a_spoilt_name_of_the_boot(tmp_path: Path) -> None:
    desk = furnished(tmp_path / "state")
    spoil(desk, "agents", "boot_id", "name = 'a7'", "x'626fff'")
    spoil(desk, "marks", "value", "name <> 'version'")
    assert desk.store.rebuilt
    assert desk.store.agents()["a7"].durable.intent is Intent.KILLED
    desk.close()


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_g15_a_store_that_is_gone_is_not_taken_for_a_first_start(
    tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    desk = furnished(tmp_path / "state")
    harm(desk.path)
    assert desk.store.rebuilt
    assert desk.write(event()).stamps[0].id > 40
    desk.close()


def test_g15_a_bad_store_at_each_start_fills_no_disk(tmp_path: Path) -> None:
    desk = furnished(tmp_path / "state")
    for _ in range(QUARANTINES_MAX + 3):
        desk.wall_ms += 1
        desk.path.write_bytes(b"not a database at all" * 500)
        assert desk.store.rebuilt
        desk.close()
    kept = list(desk.directory.glob("*.damaged-*"))
    assert len(kept) == QUARANTINES_MAX
    assert not desk.again().rebuilt, "the new one is whole"
    desk.close()


def test_h5_damage_found_while_running_costs_no_snapshot(desk: Desk) -> None:
    for number in range(20):
        desk.write(persist(f"a{number}", intent=Intent.KILLED), event())
    desk.write(SPAWNED)
    desk.again()
    ruin(desk)
    outcomes = [desk.write(persist("b"), event()) for _ in range(3)]
    assert outcomes[-1].ok
    assert desk.health, "it is told"
    desk.wait_for_health(ok=True)
    found = desk.store.agents()
    assert {f"a{number}" for number in range(20)} <= set(found)
    assert desk.store.spawns() == {"a": SPAWNED}
    assert outcomes[-1].stamps[0].id > 20
    assert desk.write(event()).stamps[0].id == outcomes[-1].stamps[0].id + 1
    assert ids(desk.store)[-1] == outcomes[-1].stamps[0].id + 1


@pytest.mark.parametrize("later", [(), (PersistSpending(replace(SPENDING, own_micros=5_000_000)),)])
def test_h5_damage_found_while_running_costs_nothing_that_all_hosts_had_spent(
    desk: Desk, later: tuple[PersistSpending, ...]
) -> None:
    desk.write(PersistSpending(SPENDING), event())
    desk.again()
    desk.write(*later, event())
    ruin(desk)
    outcomes = [desk.write(persist("b"), event()) for _ in range(3)]
    assert outcomes[-1].ok
    desk.wait_for_health(ok=True)
    assert desk.store.fleet_spending() == (later[0].spending if later else SPENDING)
