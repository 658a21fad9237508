"""The first step of a daemon: recorded agents meet what is found to be true of them."""

from typing import Final

from agentd.config.agent import AgentConfig
from agentd.config.names import INTERNAL
from agentd.config.schema import Config
from agentd.core import budgets, ends, lifecycle, minutes
from agentd.core.agent import After, Agent, Presence, Stop
from agentd.core.effects import Forget, Freeze, KillTree, Thaw
from agentd.core.events import Exited, ExitEvidence, Fate, Started
from agentd.core.exits import End
from agentd.core.records import Durable, Rolled
from agentd.core.states import Intent, State, StopReason
from agentd.core.turn import Turn

_WITH_PROCESS = (State.STARTING, State.RUNNING, State.STOPPING, State.PAUSED, State.PARKED)
# An adopted process goes on in these, whatever it did before.
_GOES_ON = (State.STARTING, State.RUNNING, State.PARKED)
# In these an agent may wait without a process.
_MAY_BE_EMPTY = (State.PAUSED, State.PARKED)
# An agent that was down for one of these was meant to come back with the daemon.
_COME_BACK = (StopReason.DAEMON_STOPPED, StopReason.HOST_REBOOTED)
# So long may the SDK wait before it tries again to connect (`RETRY_S_MAX` there).
RECONNECT_MS: Final = 2_000


def start(turn: Turn, agents: dict[str, Agent], config: Config, event: Started) -> None:
    """Restore what was recorded, adopt what lives, start what is due."""
    count = len(config.agents.keys() - INTERNAL)
    turn.journal("daemon.started", None, f"agentd started with {count} agents")
    for name, agent_config in config.agents.items():
        fate = event.fates.get(name)
        agents[name] = recorded(name, agent_config, fate)
    turn.incidents.restore(event.incidents, event.incident_next, turn.now_ms)
    for name, fate in event.fates.items():
        if name not in agents:
            _without_config(turn, agents, name, fate)
    for agent in list(agents.values()):
        fate = event.fates.get(agent.name)
        if fate is None:
            welcome(turn, agent)
        elif agent.stop is None or agent.stop.after is not After.REMOVE:
            restore(turn, agent, fate)


def recorded(name: str, config: AgentConfig, fate: Fate | None) -> Agent:
    """The agent as it was recorded, or a new one with its initial intent."""
    if fate is not None:
        minutes.begin(fate.durable)
        agent = Agent(name, config, fate.durable)
        if fate.baseline is not None:
            agent.spending.restore(fate.baseline)
        return agent
    intent = Intent.UP if config.autostart or config.external else Intent.STOPPED
    return Agent(name, config, Durable(intent=intent, rolled=Rolled()))


def welcome(turn: Turn, agent: Agent) -> None:
    """An agent that is new here."""
    agent.since_ms = turn.now_ms
    turn.touch(agent)
    turn.journal("agent.added", agent, "added")
    lifecycle.want_start(turn, agent, "autostart")


def _without_config(turn: Turn, agents: dict[str, Agent], name: str, fate: Fate) -> None:
    """It was removed from the files while no daemon ran: end it gracefully, keep its history."""
    if not fate.alive:
        turn.do(Forget(name))
        return
    minutes.begin(fate.durable)
    agent = agents[name] = Agent(name, AgentConfig(), fate.durable)
    agent.presence, agent.pid = Presence.ALIVE, fate.pid
    agent.stop = Stop(
        StopReason.CONFIG_CHANGED,
        "it is no longer in the config",
        After.REMOVE,
        turn.now_ms,
        turn.now_ms + agent.config.stop_timeout_ms,
    )
    turn.touch(agent)
    lifecycle.carry_out_stop(turn, agent)


def restore(turn: Turn, agent: Agent, fate: Fate) -> None:
    """Bring a recorded agent together with what became of it."""
    agent.since_ms = turn.now_ms
    agent.awaiting = agent.durable.awaiting
    turn.touch(agent)
    # Before anything more is spent: what was said of its budgets was said of the old limits.
    budgets.watch(agent)
    if agent.config.external:
        # Nobody's process. One that was heard of must not vanish behind a restart of ours.
        if agent.state is not State.STOPPED:
            agent.alive_at_ms = turn.now_ms + _unheard_ms(agent)
        return
    if fate.alive:
        _adopt(turn, agent, fate)
    elif agent.state in _WITH_PROCESS and (fate.ended or agent.state not in _MAY_BE_EMPTY):
        _book_end(turn, agent, fate)
    elif agent.state is State.PAUSED:
        _stand_still(turn, agent)
    elif agent.state is State.STOPPED and _was_to_come_back(agent):
        lifecycle.want_start(turn, agent, agent.awaiting or "agentd is back")


def _was_to_come_back(agent: Agent) -> bool:
    return bool(agent.awaiting) or agent.durable.reason in _COME_BACK or not agent.incarnation


def _adopt(turn: Turn, agent: Agent, fate: Fate) -> None:
    agent.presence, agent.pid = Presence.ALIVE, fate.pid
    agent.memory.begin(agent.config.memory, turn.now_ms)
    agent.alive_at_ms = turn.now_ms + _unheard_ms(agent)
    told = f"adopted as pid {fate.pid}, {agent.state}"
    data: dict[str, object] = {"pid": fate.pid}
    if fate.unrecorded:
        told += "; its start is not on record"
        data["unrecorded"] = True
    turn.journal("agent.adopted", agent, told, data=data)
    if fate.stands and agent.state in _GOES_ON:
        # That daemon ended between the word and the deed, or could not write down its pause.
        turn.do(Thaw(agent.name, agent.incarnation))
    if agent.state is State.STARTING:
        agent.durable.spawned_at_ms = turn.now_ms
        if agent.config.ready_by == "spawn":
            lifecycle.on_ready(turn, agent, "spawned")
    elif agent.state is State.STOPPING:
        _take_up_stop(turn, agent)
        if agent.stop is None or agent.stop.ask_until_ms is None:
            lifecycle.carry_out_stop(turn, agent)
    elif agent.state is State.PAUSED:
        _stand_still(turn, agent)
        turn.do(Freeze(agent.name, agent.incarnation))
    elif agent.state not in _WITH_PROCESS:
        # The record says that nothing lives. Whatever this is, it is not to be doubled.
        after = After.AGAIN if agent.intent is Intent.UP else After.STAY
        agent.stop = Stop(StopReason.UNKNOWN, "left over", after, turn.now_ms, None)
        turn.do(KillTree(agent.name, agent.incarnation))
    if agent.intent is Intent.STOPPED and agent.stop is None:
        # Its stop was promised, and waited for its dependants when that daemon ended.
        turn.leaving[agent.name] = (StopReason.USER_STOPPED, f"by {agent.durable.intent_by}")


def _unheard_ms(agent: Agent) -> int:
    """How long from now silence is ours: nobody listened, and it may yet wait to connect."""
    return max(agent.config.heartbeat.interval_ms, RECONNECT_MS)


def _stand_still(turn: Turn, agent: Agent) -> None:
    """Its clocks have stood still since it was paused, whoever kept them."""
    if agent.paused_at_ms is None:
        agent.paused_at_ms = turn.now_ms


def _take_up_stop(turn: Turn, agent: Agent) -> None:
    """Go on with the stop that the last daemon had begun, with its patience whole again."""
    durable = agent.durable
    after = After(durable.stop_after) if durable.stop_after else After.STAY
    if durable.stop_reason is StopReason.DAEMON_STOPPED:
        after = After.AGAIN  # that daemon is gone, and this one is here
    elif after is After.REMOVE:
        after = After.AGAIN  # its file was gone when that was decided, and is back
    agent.stop = Stop(
        durable.stop_reason or StopReason.UNKNOWN,
        durable.stop_evidence,
        after,
        turn.now_ms,
        None if agent.intent is Intent.KILLED else turn.now_ms + agent.config.stop_timeout_ms,
    )
    if durable.stop_asks and agent.intent is not Intent.KILLED:
        # Asked again as soon as it is heard of: it does not know this daemon yet.
        agent.stop.kill_at_ms = None
        agent.stop.ask_until_ms = turn.now_ms + agent.config.pause.checkpoint_timeout_ms


def _book_end(turn: Turn, agent: Agent, fate: Fate) -> None:
    """It ended while nobody watched; decided once, like any other end."""
    if agent.durable.stop_reason is not None:
        _take_up_stop(turn, agent)
    if not fate.ended and agent.state is State.STARTING and agent.stop is None:
        lifecycle.want_start(turn, agent, "its start was interrupted")
        return
    agent.presence = Presence.LEADERLESS
    if fate.rebooted and agent.stop is None:
        after = After.AGAIN
        agent.stop = Stop(StopReason.HOST_REBOOTED, fate.evidence, after, turn.now_ms, None)
        told = fate.evidence or "the host rebooted"
        ends.finish_run(turn, agent, End(StopReason.HOST_REBOOTED, told, failed=False))
        return
    seen = ExitEvidence(note=fate.evidence)
    agent.ended = Exited(agent.name, agent.incarnation, fate.code, fate.signal, seen)
    ends.on_tree_empty(turn, agent)
