"""G14: very many restarts leave nothing behind in the core. `AGENTD_RESTARTS=n` has it do more."""

import gc
import os
from collections.abc import Callable

import pytest

from agentd.config.agent import RestartConfig
from agentd.config.units import Milliseconds
from agentd.core import events as ev
from agentd.core.states import State
from tests.core.fleet import Fleet, config
from tests.faults.measures import MIB, SEEN, memory_of

RESTARTS = int(os.environ.get("AGENTD_RESTARTS", "5000"))
# What is kept of failures and of incidents has a bound, which is reached in the first part.
WARM = RESTARTS // 2
GROWTH_MAX = 1.05
RUN_MS = 2_000
FAILS_EVERY = 7


def restart_often(fleet: Fleet, count: int) -> None:
    """So many runs that end by themselves, some of them with an error."""
    for number in range(count):
        ordinal = fleet["a"].incarnation
        code = 1 if number % FAILS_EVERY == 0 else 0
        fleet.tell(ev.Exited("a", ordinal, code=code), fleet.now_ms + RUN_MS)
        fleet.tell(ev.TreeEmpty("a", ordinal))
        fleet.pass_time(fleet.now_ms + RUN_MS)
        fleet.beat("a", fleet.now_ms + 10)
        fleet.effects.clear()
        fleet.spawns.clear()


def held() -> tuple[int, int]:
    """Objects of this process, and its memory in bytes."""
    gc.collect()
    return len(gc.get_objects()), memory_of(os.getpid())[1]


@pytest.mark.timeout(1200)
def test_g14_very_many_simulated_restarts_leave_nothing_behind(
    record_property: Callable[[str, object], None],
) -> None:
    restart = RestartConfig(policy="always", cooldown_ms=Milliseconds(0), failures_max=RESTARTS)
    fleet = Fleet({"a": config(restart=restart)}).start()
    fleet.beat("a", 1_000)
    restart_often(fleet, WARM)
    objects, held_bytes = held()
    restart_often(fleet, RESTARTS - WARM)
    objects_after, held_bytes_after = held()
    assert fleet.state_of("a") is State.RUNNING
    assert fleet["a"].incarnation == RESTARTS + 1
    record_property(
        SEEN,
        f"{RESTARTS} simulated restarts: {objects} objects at half of them, then "
        f"{objects_after}; {held_bytes / MIB:.1f} and {held_bytes_after / MIB:.1f} MiB",
    )
    assert objects_after <= objects * GROWTH_MAX
    assert held_bytes_after <= held_bytes * GROWTH_MAX + MIB
