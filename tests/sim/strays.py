"""Processes of which no record tells: they were started while the disk refused the record.

What the recovery of a daemon makes of them (agentd/daemon/recovery.py), in small.
"""

from collections.abc import Iterable
from dataclasses import replace

from agentd.core import events as ev
from agentd.core.records import Durable
from agentd.core.states import State
from tests.sim.world import Broken, Process, World


def found(world: World, configured: Iterable[str]) -> dict[str, ev.Fate]:
    """Return the fates of agents that live without a record."""
    strays = {one.agent: one for one in world.processes.values() if _is_stray(world, one)}
    if strays and not world.rates.commit_fails:
        raise Broken(f"{strays}: alive without a record, and no commit ever failed")
    fates: dict[str, ev.Fate] = {}
    for name, stray in strays.items():
        durable = world.disk.get(name)
        if durable is None and name in configured:
            # Nobody is left to say otherwise.
            durable = Durable(state=State.RUNNING, first_start=False, execution=stray.run)
        if durable is None:
            # Of no agent that anybody knows: it is left alone and told of, and a person ends it.
            stray.leader, stray.survivors = False, 0
            continue
        # Who outlived its leader leads, as far as anybody can tell.
        stray.leader, stray.survivors = True, 0
        if durable.incarnation_id != stray.run:
            following = durable.incarnation + 1
            durable = replace(durable, incarnation=following, incarnation_id=stray.run)
        stray.incarnation = durable.incarnation
        baseline = world.baselines.get(name)
        fates[name] = ev.Fate(
            replace(durable), True, stray.pid, stands=stray.frozen, baseline=baseline
        )
    return fates


def _is_stray(world: World, process: Process) -> bool:
    return (
        process.lives and not process.gated and world.rows.get(process.agent) != process.incarnation
    )
