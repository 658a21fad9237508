"""The simulator: no seed breaks an invariant, no planted bug survives, no rare branch is missed.

What a seed once found has its own test in tests/simulate/test_found.py: seeds draw other worlds
as soon as worlds hold more.
"""

from collections import Counter
from functools import cache

import pytest

from tests.sim.mutants import MUTANTS, planted
from tests.sim.swarm import Swarm
from tests.sim.world import Broken

SEEDS = 1_000
CHUNK = 50
SEEDS_FOR_MUTANT_MAX = 400

# Branches that some worlds must reach, or the thousand seeds test less than they seem to.
RARE = (
    *("crash before the commit", "crash between deeds", "exit", "trouble reboot"),
    *("agent.escalated", "agent.cooldown", "agent.parked", "agent.adopted", "agent.removed"),
    *("agent.paused", "agent.resumed", "agent.killed", "agent.held", "agent.unheld"),
    *("agent.unreachable", "agent.degraded", "agent.recovered", "agent.completed"),
    *("memory.limit", "memory.pressure", "daemon.stalled", "daemon.stopping"),
    *("exited OOM_KILLED", "exited SPAWN_FAILED", "exited STATE_INVALID", "exited TIMEOUT"),
    *("exited STARTUP_TIMEOUT", "exited MEMORY_LIMIT", "exited HOST_REBOOTED", "exited UNKNOWN"),
    *("exited USER_PAUSED", "exited DEPENDENCY_DOWN", "exited DAEMON_STOPPED"),
    *("Freeze", "Thaw", "KillTree", "Validate", "Run", "Forget"),
    *("budget.warning", "budget.exceeded", "cost.spike", "exited BUDGET_EXCEEDED"),
    *("loop.warning", "loop.detected", "tool.failing", "retry.limit", "drift.warning"),
    *("drift.detected", "judge.failed", "exited LOOP_DETECTED", "trouble clock"),
    *("breaker.opened", "breaker.half_open", "breaker.closed"),
    *("incident.opened", "incident.updated", "incident.resolved", "incident again"),
    *("incident of many", "incident of a breaker", "incident acknowledged"),
    *("incident that cannot be killed", "alert reminder", "alert resolve"),
    *("action.unfinished", "agent.checkpoint", "SaveCheckpoint", "Recall", "Judge"),
)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_world_holds_its_invariants_and_converges(first: int) -> None:
    for seed in range(first, first + CHUNK):
        _run(seed)


@cache  # the same worlds are asked for twice: for their invariants, and for what they reached
def _run(seed: int) -> Counter[str]:
    """Name the seed beside whatever goes wrong, so that `make sim SEED=n` tells the story."""
    try:
        return Swarm(seed).run()
    except Exception as error:
        error.add_note(f"seed {seed}: python -m tests.sim {seed}")
        raise


def test_the_same_seed_tells_the_same_story() -> None:
    stories: list[list[str]] = [[], []]
    for story in stories:
        Swarm(7, story.append).run()
    assert stories[0] == stories[1]
    assert stories[0]


@pytest.mark.timeout(240)
def test_rare_branches_are_reached() -> None:
    sometimes: Counter[str] = Counter()
    for seed in range(250):
        sometimes += _run(seed)
    assert [name for name in RARE if not sometimes[name]] == []


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    with planted(name):
        for seed in range(SEEDS_FOR_MUTANT_MAX):
            try:
                Swarm(seed).run()
            except Broken:  # anything else may be a wrapper that no longer fits what it wraps
                return
    pytest.fail(f"not found in {SEEDS_FOR_MUTANT_MAX} worlds: {name}")
