"""What happens in one and the same millisecond, in every order: never two copies."""

from itertools import permutations

import pytest

from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.states import State
from tests.core.fleet import Fleet, config

RESTART_AT_MS = 300_000


def cooling_down() -> Fleet:
    """An agent whose restart is due at RESTART_AT_MS; incarnations 1 and 2 are over."""
    fleet = Fleet({"a": config()}).start()
    fleet.end("a", 0, code=1)
    fleet.end("a", 0, code=1)
    assert fleet.state_of("a") is State.COOLDOWN
    fleet.pass_time(RESTART_AT_MS - 1)
    fleet.now_ms = RESTART_AT_MS
    return fleet


def living(fleet: Fleet) -> int:
    """Spawns whose end was never told."""
    spawned = {e.incarnation for _, e in fleet.effects if isinstance(e, do.Spawn)}
    ended = {r.incarnation for r in fleet.told("agent.exited")}
    return len(spawned - ended)


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_a16_a_death_in_the_tick_of_the_restart_leaves_one_process(order: tuple[int, ...]) -> None:
    fleet = cooling_down()
    assert living(fleet) == 0
    at_once: list[ev.Event] = [
        ev.Ticked(),
        ev.Exited("a", 2, code=1),  # told twice, late
        ev.TreeEmpty("a", 2),
        ev.Requested("r", "restart", "ada", ("a",), "", {}),
    ]
    for index in order:
        fleet.tell(at_once[index])
        assert living(fleet) <= 1
    fleet.pass_time(RESTART_AT_MS + 1_000_000)
    assert living(fleet) <= 1


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_k3_a_kill_in_the_tick_of_the_restart_wins_in_every_order(order: tuple[int, ...]) -> None:
    fleet = cooling_down()
    at_once: list[ev.Event] = [
        ev.Ticked(),
        ev.Exited("a", 2, code=1),
        ev.TreeEmpty("a", 2),
        ev.Requested("r", "kill", "ada", ("a",), "", {}),
    ]
    for index in order:
        fleet.tell(at_once[index])
        assert living(fleet) <= 1
    if living(fleet):
        fleet.end("a", signal=9)
    spawns = len(fleet.spawns)
    fleet.pass_time(RESTART_AT_MS + 10_000_000)
    assert len(fleet.spawns) == spawns
    assert (living(fleet), fleet["a"].intent) == (0, "killed")
