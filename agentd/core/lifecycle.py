"""Starting and stopping one agent: each function takes the turn, and asks for effects."""

from typing import Final

from agentd.config.units import format_duration
from agentd.core import accounts, actions, budgets, liveness
from agentd.core.agent import After, Agent, Presence, Stop
from agentd.core.dependencies import blockers
from agentd.core.effects import Control, KillTree, Reply, Signal, Spawn, Thaw, Validate
from agentd.core.events import AgentAsked, Spawned, SpawnFailed, Validated
from agentd.core.hosts import Remote, remote_dependencies
from agentd.core.records import first_clause
from agentd.core.states import TRANSITIONS, Intent, State, StopReason, Trigger
from agentd.core.turn import WARNING, Turn

# A host that is short of something is asked again after 1, 2, 4 … seconds, at most 30.
SHORTAGE_WAIT_MS_MIN: Final = 1_000
SHORTAGE_WAIT_MS_MAX: Final = 30_000
SHORTAGE_DOUBLINGS_MAX: Final = 10
ENDED: Final = "this incarnation has ended; its lines don't count any more"


def want_start(
    turn: Turn, agent: Agent, cause: str, *, by_hand: bool = False, goes_on: bool = False
) -> None:
    """Start the agent, or remember that a start is due.

    The operator's word is checked here, at the only door to a spawn: nothing starts that is
    meant to be down, and nothing starts by itself that is held. `goes_on`: it ran until now
    and was to run on, so an operator's hold doesn't keep it down; agentd's own does.
    """
    if agent.config.external or agent.intent is not Intent.UP or agent.has_process:
        return
    turn.touch(agent)
    if by_hand:
        agent.durable.automatic = False
        actions.accept(turn, agent, cause)
    else:
        actions.hold(turn, agent)
    blocked_by = ["agentd itself"] if turn.closing else blockers(agent, turn.fleet, turn.hosts)
    held = agent.durable.held and not by_hand and not (goes_on and not agent.durable.held_why)
    if blocked_by or held:
        _wait(turn, agent, cause, blocked_by)
        return
    _tell_unseen(turn, agent)
    _begin(turn, agent, cause)


def _wait(turn: Turn, agent: Agent, cause: str, blocked_by: list[str]) -> None:
    why = f"waiting for {', '.join(blocked_by)}" if blocked_by else "held"
    agent.move(Trigger.END, turn.now_ms, why)
    agent.awaiting = agent.durable.awaiting = cause


def _tell_unseen(turn: Turn, agent: Agent) -> None:
    """Say so where it starts without what it depends on elsewhere: nobody could be asked."""
    hosts = turn.hosts
    if not hosts.configured:
        return
    names = [one for one in remote_dependencies(agent) if hosts.how_is(one) is not Remote.READY]
    if names:
        patience = format_duration(hosts.patience_ms)
        turn.journal(
            "agent.starting",
            agent,
            f"starts without {', '.join(names)}, of which nothing better is known: no word of "
            f"the other hosts for {patience}",
            severity=WARNING,
            data={"depends_on": names},
            alert=False,
        )


def _begin(turn: Turn, agent: Agent, cause: str) -> None:
    durable = agent.durable
    agent.awaiting = durable.awaiting = ""
    agent.shortage_until_ms = None
    if not durable.execution:
        new_execution(turn, agent)
    if agent.state is not State.STARTING:
        afoot = Trigger.START not in TRANSITIONS[agent.state]
        agent.move(Trigger.AGAIN if afoot else Trigger.START, turn.now_ms, cause)
    durable.incarnation += 1
    durable.incarnation_id = turn.new_id()
    durable.ready = False
    durable.spawned_at_ms = None
    if durable.automatic:
        durable.automatic = False
        durable.row += 1
        durable.auto_start_at_ms = turn.now_ms
    durable.cooldown_until_ms = durable.cooldown_left_ms = durable.parked_until_ms = None
    if durable.incarnation > 1:
        durable.restarts += 1
        last = durable.last_exit
        reason = (StopReason.UNKNOWN if last is None else last.reason).value
        by_reason = durable.restarts_by_reason
        durable.restarts_by_reason = {**by_reason, reason: by_reason.get(reason, 0) + 1}
    agent.telemetry.forget_work()
    if durable.first_start:  # also one that the run before told on its way down
        agent.telemetry.goal = None
    budgets.begin_incarnation(agent)
    turn.journal("agent.starting", agent, f"starting: {cause}", data={"cause": cause})
    if agent.config.restart.validate and not durable.first_start:
        agent.presence = Presence.VALIDATING
        turn.do(Validate(agent.name, durable.incarnation))
        return
    _spawn(turn, agent, cause)


def _spawn(turn: Turn, agent: Agent, cause: str) -> None:
    durable = agent.durable
    durable.first_start = False
    agent.presence = Presence.SPAWNING
    turn.do(Spawn(agent.name, durable.incarnation, durable.incarnation_id, cause))


def new_execution(turn: Turn, agent: Agent) -> None:
    """Begin a new logical run; the one before it is history."""
    if agent.durable.execution:
        actions.end_execution(turn, agent, "a new execution begins")
    agent.durable.execution = turn.new_id()
    agent.durable.first_start = True
    accounts.begin_run(agent.durable)


def on_validated(turn: Turn, agent: Agent, event: Validated) -> str | None:
    """Go on to the spawn; where the command refused, return why."""
    if agent.presence is not Presence.VALIDATING:
        return None
    turn.touch(agent)
    if event.ok:
        _spawn(turn, agent, "validated")
        return None
    agent.presence = Presence.NONE
    return event.evidence


def on_spawned(turn: Turn, agent: Agent, event: Spawned) -> None:
    """The process runs; a stop that overtook the spawn is carried out on it now."""
    if agent.presence is not Presence.SPAWNING:
        return
    turn.touch(agent)
    agent.presence = Presence.ALIVE
    agent.pid = event.pid
    agent.shortages = 0
    agent.durable.spawned_at_ms = agent.alive_at_ms = turn.now_ms
    agent.memory.begin(agent.config.memory, turn.now_ms)
    agent.work.begin()
    turn.journal("agent.started", agent, f"started as pid {event.pid}", data={"pid": event.pid})
    if agent.stop is not None:
        carry_out_stop(turn, agent)
    elif agent.config.ready_by == "spawn":
        on_ready(turn, agent, "spawned")


def on_ready(turn: Turn, agent: Agent, by: str) -> None:
    """It is ready: what waits for it may start."""
    if agent.state is not State.STARTING or agent.presence is not Presence.ALIVE:
        return
    turn.touch(agent)
    agent.durable.ready = True
    agent.alive_at_ms = turn.now_ms
    agent.move(Trigger.READY, turn.now_ms, f"ready: {by}")
    turn.journal("agent.ready", agent, f"ready: {by}")


def refuse_early(turn: Turn, agent: Agent) -> None:
    """No news of its spawn will come: whoever asked before it is answered all the same."""
    for each in agent.early:
        if isinstance(each, AgentAsked):
            turn.do(Reply(each.request, error=("forbidden", ENDED, "")))
    agent.early.clear()


def on_shortage(turn: Turn, agent: Agent, event: SpawnFailed) -> None:
    """The host could not spare a process; that is no failure of the agent."""
    agent.shortages += 1
    doublings = min(agent.shortages - 1, SHORTAGE_DOUBLINGS_MAX)
    wait_ms = min(SHORTAGE_WAIT_MS_MAX, SHORTAGE_WAIT_MS_MIN * 2**doublings)
    agent.presence = Presence.NONE
    refuse_early(turn, agent)
    agent.shortage_until_ms = turn.now_ms + wait_ms
    turn.touch(agent)
    if agent.shortages == 1:
        turn.journal(
            "agent.starting",
            agent,
            f"it can't be started now, which is tried again: {event.error}",
            severity=WARNING,
            alert=False,
        )


def retry_spawn(turn: Turn, agent: Agent) -> None:
    """Ask for the process again, after a shortage."""
    agent.shortage_until_ms = None
    agent.durable.incarnation += 1
    agent.durable.incarnation_id = turn.new_id()
    turn.touch(agent)
    _spawn(turn, agent, "the host was short of something")


def begin_stop(turn: Turn, agent: Agent, reason: StopReason, evidence: str, after: After) -> None:
    """Ask a living agent to stop: stop_signal, grace, then SIGKILL to the whole tree."""
    assert agent.has_process, agent.name
    if agent.stop is not None:
        _overtake(turn, agent, reason, evidence, after)
        return
    grace_ms = agent.config.stop_timeout_ms
    agent.stop = Stop(reason, evidence, after, turn.now_ms, turn.now_ms + grace_ms)
    _record_stop(agent)
    agent.move(Trigger.STOP, turn.now_ms, reason.value)
    turn.touch(agent)
    told = first_clause(evidence) if after is After.POLICY else evidence  # by hand: as it was put
    turn.journal("agent.stopping", agent, told or f"stopping: {reason}", reason=reason)
    if agent.presence is not Presence.SPAWNING:
        carry_out_stop(turn, agent)


def ask_to_exit(turn: Turn, agent: Agent, reason: StopReason, evidence: str) -> None:
    """Ask a living agent to commit and exit; a stop follows where it does not."""
    patience_ms = agent.config.pause.checkpoint_timeout_ms
    agent.stop = Stop(reason, evidence, After.STAY, turn.now_ms, None)
    agent.stop.ask_until_ms = turn.now_ms + patience_ms
    _record_stop(agent)
    agent.move(Trigger.STOP, turn.now_ms, reason.value)
    turn.touch(agent)
    told = f"asked to commit and exit within {format_duration(patience_ms)}"
    turn.journal("agent.stopping", agent, told, reason=reason)
    ask_again(turn, agent)


def ask_again(turn: Turn, agent: Agent) -> None:
    """Say it (once more) to all its connections, with what is left of the time for it."""
    stop = agent.stop
    if stop is None or stop.ask_until_ms is None:
        return
    left_ms = max(0, stop.ask_until_ms - turn.now_ms)
    asked = {"mode": "checkpoint", "timeout_s": round(left_ms / 1000, 3)}
    turn.do(Control(agent.name, agent.incarnation, "pause", stop.reason.value, asked))
    stop.heard_since_asked = True


def stop_asked(turn: Turn, agent: Agent, why: str) -> None:
    """It was asked to commit and exit, and now it is stopped."""
    assert agent.stop is not None
    agent.stop.ask_until_ms = None
    agent.stop.kill_at_ms = turn.now_ms + agent.config.stop_timeout_ms
    _record_stop(agent)
    turn.touch(agent)
    turn.journal("agent.stopping", agent, why, reason=agent.stop.reason)
    carry_out_stop(turn, agent)


def _overtake(turn: Turn, agent: Agent, reason: StopReason, evidence: str, after: After) -> None:
    """A later word on what follows wins; the stop that is under way goes on."""
    assert agent.stop is not None
    agent.stop.reason, agent.stop.after = reason, after
    agent.stop.evidence = evidence or agent.stop.evidence
    _record_stop(agent)
    turn.touch(agent)
    if agent.stop.ask_until_ms is not None and after is not After.AGAIN:
        stop_asked(turn, agent, f"no longer waited for: {evidence or reason}")


def _record_stop(agent: Agent) -> None:
    assert agent.stop is not None
    agent.durable.stop_reason = agent.stop.reason
    agent.durable.stop_evidence = agent.stop.evidence
    agent.durable.stop_after = agent.stop.after.value
    agent.durable.stop_asks = agent.stop.ask_until_ms is not None


def carry_out_stop(turn: Turn, agent: Agent) -> None:
    """Send what the stop under way calls for; a frozen tree is let go to hear it."""
    assert agent.stop is not None
    if agent.intent is Intent.KILLED or agent.stop.kill_at_ms is None:
        kill_tree(turn, agent)
        return
    name, incarnation = agent.name, agent.incarnation
    turn.do(Control(name, incarnation, "stop", agent.stop.reason.value))
    turn.do(Signal(name, incarnation, agent.config.stop_signal))
    if agent.paused_at_ms is not None:
        turn.do(Thaw(name, incarnation))


def kill_tree(turn: Turn, agent: Agent) -> None:
    """SIGKILL to every process of it, at once."""
    if agent.stop is not None:
        agent.stop.kill_at_ms = agent.stop.ask_until_ms = None
        agent.stop.killed_at_ms, agent.stop.given_up_at_ms = turn.now_ms, None
        agent.durable.stop_asks = False
    if agent.presence is not Presence.SPAWNING:
        turn.do(KillTree(agent.name, agent.incarnation))


def on_heard(turn: Turn, agent: Agent) -> None:
    """The first heartbeat makes it ready, where that is what it takes."""
    if agent.state is State.STARTING and agent.config.ready_by == "heartbeat":
        on_ready(turn, agent, "first heartbeat")


def shift_after_gap(agent: Agent, gap_ms: int, now_ms: int) -> None:
    """Silence moves with a gap of ours; cooldowns do not."""
    liveness.shift(agent, gap_ms, now_ms)
    agent.tally.skip(gap_ms, now_ms)
    if agent.state is State.STARTING and agent.durable.spawned_at_ms is not None:
        agent.durable.spawned_at_ms = min(now_ms, agent.durable.spawned_at_ms + gap_ms)
