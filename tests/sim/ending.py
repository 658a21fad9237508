"""What a world that has healed must come to, and what every start of a daemon must."""

from agentd.core.agent import Agent, local_dependencies
from agentd.core.states import Intent, State
from agentd.core.supervisor import Supervisor
from tests.sim.world import Broken, World


def converged(world: World, core: Supervisor | None) -> None:
    """Everything that is meant to be up is up, and nothing else is."""
    if core is None:
        raise Broken("agentd is not running")
    for agent in core.agents.values():
        _recorded(world, agent)
        if agent.config.external:
            continue
        living = list(world.living(agent.name))
        told = f"{agent.name}: {agent.intent}/{agent.state} {agent.presence} {living}"
        if len(living) > 1:
            raise Broken(f"INV1 {told}")
        if agent.intent in (Intent.KILLED, Intent.STOPPED) and living:
            raise Broken(f"INV3 {told}")
        if agent.intent is Intent.PAUSED and agent.state is not State.PAUSED:
            raise Broken(f"INV4 {told}")
        if living and agent.state not in (State.RUNNING, State.PAUSED):
            raise Broken(f"not settled {told}")
        if agent.intent is Intent.UP and any(one.frozen for one in living):
            raise Broken(f"INV2 it stands still {told}")
        if agent.intent is Intent.UP and not living:
            _excused(core, agent.name, told)


def let_go(world: World, core: Supervisor) -> None:
    """P5: what the daemon before this one froze goes on, unless it is on record as paused."""
    for agent in core.agents.values():
        if agent.state is State.PAUSED or agent.stop is not None:
            continue
        for process in world.living(agent.name):
            if process.frozen:
                raise Broken(f"{agent.name}: {agent.state} stands still, and nobody lets it go")


def _recorded(world: World, agent: Agent) -> None:
    """INV5: whatever the disk refused meanwhile, it has it all now."""
    kept, known = world.disk.get(agent.name), agent.durable
    if kept is None:
        raise Broken(f"INV5 {agent.name}: nothing of it is on disk")
    wanted = (known.intent, known.held, known.failures, known.incarnation)
    if (kept.intent, kept.held, kept.failures, kept.incarnation) != wanted:
        raise Broken(f"INV5 {agent.name}: on disk is {kept}, known is {known}")


def _excused(core: Supervisor, name: str, told: str) -> None:
    """INV2: what is meant to be up and is not has a reason that a person can see."""
    agent = core.agents[name]
    resting = agent.state in (State.ESCALATED, State.COMPLETED)
    needs = local_dependencies(agent)
    waits = bool(agent.awaiting) and (
        agent.durable.held or not all(core.agents[one].is_ready for one in needs)
    )
    held = agent.durable.held and agent.state in (State.COOLDOWN, State.STOPPED)
    never = agent.config.restart.policy == "never" and agent.state is State.STOPPED
    if not (resting or waits or held or never):
        raise Broken(f"INV2 {told} awaiting={agent.awaiting!r}")
