"""A new configuration: what came, what went, what changed; everything else is untouched."""

from agentd.config.names import INTERNAL
from agentd.core import boot, budgets, ends, lifecycle
from agentd.core.agent import After, Agent
from agentd.core.effects import Forget
from agentd.core.events import Configured
from agentd.core.states import Intent, State, StopReason
from agentd.core.turn import Turn


def apply(turn: Turn, agents: dict[str, Agent], event: Configured) -> None:
    """Bring the fleet in line with the files; settings change, state does not."""
    for name, config in event.config.agents.items():
        agent = agents.get(name)
        if agent is None:
            fate = event.fates.get(name)
            agents[name] = boot.recorded(name, config, fate)
            if fate is None:
                boot.welcome(turn, agents[name])
            else:
                boot.restore(turn, agents[name], fate)
            continue
        if agent.config.memory != config.memory and agent.has_process:
            agent.memory.begin(config.memory, turn.now_ms)
        agent.config = config
        agent.spending.configure(config)
        budgets.watch(agent)
        if agent.stop is not None and agent.stop.after is After.REMOVE:
            lifecycle.begin_stop(turn, agent, StopReason.CONFIG_CHANGED, "", After.AGAIN)
        elif name in event.restart:
            _restart(turn, agent)
        if name in event.restart or name in event.applied:
            turn.touch(agent)
            turn.journal("agent.reconfigured", agent, "its configuration changed")
    if event.remove:
        for name in [name for name in agents if name not in event.config.agents]:
            remove(turn, agents[name])


def _restart(turn: Turn, agent: Agent) -> None:
    if agent.name in INTERNAL and agent.state in (State.COOLDOWN, State.ESCALATED):
        _try_again(turn, agent)
    if not agent.has_process or agent.stop is not None:
        return
    if agent.intent is Intent.UP:
        told = "what is executed changed"
        lifecycle.begin_stop(turn, agent, StopReason.CONFIG_CHANGED, told, After.AGAIN)
    elif agent.intent is Intent.PAUSED:
        agent.durable.outdated = True  # it stays where it stands until it is resumed


def _try_again(turn: Turn, agent: Agent) -> None:
    """Start an internal agent that had failed: its table is all that could be mended about it."""
    ends.forget_failures(agent)
    agent.durable.cooldown_until_ms = agent.durable.cooldown_left_ms = None
    lifecycle.want_start(turn, agent, "its table in the config changed")


def remove(turn: Turn, agent: Agent) -> None:
    """Stop it gracefully where it lives; then it is forgotten, and its history stays."""
    turn.touch(agent)
    if agent.has_process:
        told = "it is no longer in the config"
        lifecycle.begin_stop(turn, agent, StopReason.CONFIG_CHANGED, told, After.REMOVE)
    else:
        agent.durable.removed = True


def forget(turn: Turn, agent: Agent) -> None:
    """The last word about an agent."""
    turn.journal("agent.removed", agent, "removed")
    turn.do(Forget(agent.name))
