"""Held back and let go: pause and resume by freezing, kill, parking, and policy's own hand."""

from agentd.core import actions, budgets, lifecycle
from agentd.core.agent import After, Agent, Presence
from agentd.core.dependencies import may_stop
from agentd.core.effects import Control, Freeze, Signal, Thaw
from agentd.core.events import Froze
from agentd.core.records import first_clause
from agentd.core.states import Intent, State, StopReason, Trigger
from agentd.core.turn import CRITICAL, INFO, WARNING, Turn


def pause(
    turn: Turn,
    agent: Agent,
    reason: StopReason,
    who: str,
    evidence: str,
    *,
    data: dict[str, object] | None = None,
    told: bool = True,
) -> None:
    """Hold it back where it stands; what it was to do waits with it.

    Not `told`: people have heard already of what made policy do it.
    """
    by_policy = reason is not StopReason.USER_PAUSED
    why = first_clause(evidence) if by_policy else evidence
    _note_intent(agent, Intent.PAUSED, reason, who, evidence)
    turn.touch(agent)
    turn.journal(
        "agent.paused",
        agent,
        f"paused by {who}" + (f": {why}" if why else ""),
        severity=CRITICAL if by_policy else INFO,
        reason=reason,
        data=data,
        alert=by_policy and told,
    )
    if agent.presence is Presence.ALIVE and agent.stop is not None:
        return  # it is on its way down, and is paused at the end of that
    if agent.presence is Presence.ALIVE and agent.config.pause.mode == "checkpoint":
        lifecycle.ask_to_exit(turn, agent, reason, evidence or f"paused by {who}")
    elif agent.presence is Presence.ALIVE:
        agent.move(Trigger.PAUSE, turn.now_ms, reason.value)
        agent.paused_at_ms = turn.now_ms
        turn.do(Control(agent.name, agent.incarnation, "pause", reason.value))
        turn.do(Freeze(agent.name, agent.incarnation))
    elif agent.presence is Presence.SPAWNING:
        # Let the spawn come to its end: a stop that ends in a pause.
        lifecycle.begin_stop(turn, agent, reason, evidence, After.STAY)
    elif not agent.has_process:
        agent.presence = Presence.NONE
        agent.shortage_until_ms = None
        _stop_cooldown(agent, turn.now_ms)
        agent.move(Trigger.HELD_BACK, turn.now_ms, reason.value)
        agent.paused_at_ms = turn.now_ms


def _stop_cooldown(agent: Agent, now_ms: int) -> None:
    """Keep what is left of a cooldown; as a length of time it outlives the daemon and the boot."""
    durable = agent.durable
    if durable.cooldown_until_ms is not None:
        durable.cooldown_left_ms = max(0, durable.cooldown_until_ms - now_ms)
        durable.cooldown_until_ms = None


def resume(turn: Turn, agent: Agent, who: str, why: str) -> str:
    """Let it go on; returns what became of it, for the person who asked.

    One that is on its way down comes to its end first, and starts again then.
    """
    durable = agent.durable
    was = agent.intent
    durable.intent, durable.intent_by, durable.intent_reason = Intent.UP, who, why
    durable.forget_wish()
    agent.work.pardon(turn.now_ms)
    agent.spending.spikes.end_row()
    turn.touch(agent)
    told = f"resumed by {who}"
    if was is Intent.KILLED:
        lifecycle.new_execution(turn, agent)
        told += " after a kill, as a new execution"
    over = override_budgets(turn, agent, told)
    if agent.has_process and agent.state is State.STOPPING:
        asked = f"by {who}" + (f": {why}" if why else "")
        lifecycle.begin_stop(turn, agent, StopReason.USER_RESTARTED, asked, After.AGAIN)
        return f"starts again as soon as it has stopped{over}"
    if was is Intent.KILLED:
        lifecycle.want_start(turn, agent, f"resumed by {who}", by_hand=True)
        return f"was killed: a new execution begins{over}"
    return _go_on(turn, agent, who) + over


def override_budgets(turn: Turn, agent: Agent, told: str) -> str:
    """A person's word outranks the budgets that are exceeded by now; say so, here and there."""
    names = budgets.override(agent, turn.hosts)
    over = budgets.word_on(names)
    data: dict[str, object] = {"overridden": names} if names else {}
    turn.journal("agent.resumed", agent, f"{told}{over}", data=data)
    return over


def _go_on(turn: Turn, agent: Agent, who: str) -> str:
    durable = agent.durable
    held_ms = turn.now_ms - agent.paused_at_ms if agent.paused_at_ms is not None else 0
    agent.paused_at_ms = None
    if durable.auto_start_at_ms is not None:
        # From start to start without the pause: it is charged to no cooldown.
        durable.auto_start_at_ms = min(turn.now_ms, durable.auto_start_at_ms + held_ms)
    if agent.presence is Presence.ALIVE and agent.state is State.PAUSED:
        if durable.outdated:
            told = "what is executed changed while it was paused"
            lifecycle.begin_stop(turn, agent, StopReason.CONFIG_CHANGED, told, After.AGAIN)
            return f"restarts: {told}"
        _let_go(turn, agent, held_ms)
        return "goes on where it stood"
    if _is_parked(agent, turn.now_ms) and not agent.has_process:
        agent.move(Trigger.WAIT_PARKED, turn.now_ms, "resumed, its provider's wait is not over")
        return "goes on waiting for its provider"
    if durable.cooldown_left_ms is not None:
        durable.cooldown_until_ms = turn.now_ms + durable.cooldown_left_ms
        durable.cooldown_left_ms = None
        agent.move(Trigger.RETRY, turn.now_ms, "resumed into its cooldown")
        return "goes on with its cooldown"
    lifecycle.want_start(turn, agent, f"resumed by {who}", by_hand=True)
    return "starts"


def _is_parked(agent: Agent, now_ms: int) -> bool:
    """Whether its provider still wants it to wait: that wait is not ours to stop."""
    until_ms = agent.durable.parked_until_ms
    return until_ms is not None and until_ms > now_ms


def _let_go(turn: Turn, agent: Agent, held_ms: int) -> None:
    agent.move(Trigger.RESUME if agent.durable.ready else Trigger.AGAIN, turn.now_ms, "resumed")
    lifecycle.shift_after_gap(agent, held_ms, turn.now_ms)
    if _is_parked(agent, turn.now_ms):
        agent.move(Trigger.PARK, turn.now_ms, "its provider's wait is not over")
    turn.do(Thaw(agent.name, agent.incarnation))
    turn.do(Control(agent.name, agent.incarnation, "resume", "resumed"))


def kill(turn: Turn, agent: Agent, reason: StopReason, who: str, evidence: str) -> None:
    """The whole tree at once, and it stays down until somebody resumes it."""
    by_policy = reason is not StopReason.USER_KILLED
    told = first_clause(evidence) if by_policy else evidence
    _note_intent(agent, Intent.KILLED, reason, who, evidence)
    turn.touch(agent)
    turn.journal(
        "agent.killed",
        agent,
        f"killed by {who}" + (f": {told}" if told else ""),
        severity=CRITICAL if by_policy else INFO,
        reason=reason,
        alert=by_policy,
    )
    actions.end_execution(turn, agent, f"killed by {who}", by_policy=by_policy)
    agent.troubled = by_policy
    bring_down(turn, agent, reason, evidence or f"killed by {who}", hard=True)


def bring_down(
    turn: Turn, agent: Agent, reason: StopReason, evidence: str, *, hard: bool = False
) -> None:
    """End whatever there is of it; what follows is up to its intent.

    A graceful stop waits for the dependants that are on their way down too.
    """
    agent.awaiting = agent.durable.awaiting = ""
    agent.shortage_until_ms = None
    turn.touch(agent)
    if agent.has_process:
        if not hard and not may_stop(agent, turn.leaving, turn.fleet):
            return
        turn.leaving.pop(agent.name, None)
        afoot = agent.stop is not None
        lifecycle.begin_stop(turn, agent, reason, evidence, After.STAY)
        if hard and afoot:
            lifecycle.kill_tree(turn, agent)
        return
    turn.leaving.pop(agent.name, None)
    agent.presence = Presence.NONE
    agent.paused_at_ms = None
    agent.durable.cooldown_until_ms = agent.durable.cooldown_left_ms = None
    agent.durable.parked_until_ms = None
    agent.durable.reason, agent.durable.evidence = reason, evidence
    agent.move(Trigger.END, turn.now_ms, reason.value)


def park(turn: Turn, agent: Agent, wait_ms: int, evidence: str) -> None:
    """Its provider said when to come back; until then nothing it does is a failure."""
    if agent.state not in (State.RUNNING, State.PARKED, State.STARTING):
        return
    wait_ms = int(min(wait_ms, agent.config.heartbeat.max_silence_ms))
    if agent.state is not State.PARKED:
        agent.move(Trigger.PARK, turn.now_ms, evidence)
        turn.journal("agent.parked", agent, f"parked: {evidence}", data={"parked_ms": wait_ms})
    agent.durable.ready = True
    agent.durable.parked_until_ms = turn.now_ms + wait_ms
    turn.touch(agent)


def unpark(turn: Turn, agent: Agent) -> None:
    """The wait is over: a living process goes on, a dead one is started."""
    until_ms, agent.durable.parked_until_ms = agent.durable.parked_until_ms, None
    turn.touch(agent)
    if agent.has_process or agent.config.external:
        agent.move(Trigger.UNPARK, turn.now_ms, "no longer parked")
        if until_ms is not None and until_ms <= turn.now_ms:
            agent.alive_at_ms = turn.now_ms
    else:
        lifecycle.want_start(turn, agent, "its provider's wait is over")


def on_froze(turn: Turn, agent: Agent, event: Froze) -> None:
    """Say so where the tree could not be made to stand still."""
    if event.error and agent.state is State.PAUSED:
        turn.journal(
            "agent.paused",
            agent,
            f"could not be frozen: {event.error}; stopped by signal instead",
            severity=WARNING,
            alert=False,
        )
        turn.do(Signal(agent.name, agent.incarnation, "SIGSTOP", tree=True))


def act(turn: Turn, agent: Agent, action: str, reason: StopReason, evidence: str) -> None:
    """Carry out what the config says about a verdict: alert, restart, pause or kill.

    Never on an agent that is meant to be down: its operator's word stands.
    """
    if agent.intent is not Intent.UP:
        return
    if action == "pause":
        pause(turn, agent, reason, "agentd", evidence)
    elif action == "kill":
        kill(turn, agent, reason, "agentd", evidence)
    elif action == "restart" and agent.has_process and agent.stop is None:
        lifecycle.begin_stop(turn, agent, reason, evidence, After.POLICY)


def _note_intent(agent: Agent, intent: Intent, reason: StopReason, who: str, why: str) -> None:
    durable = agent.durable
    durable.intent, durable.intent_by, durable.intent_reason = intent, who, why
    durable.reason, durable.evidence = reason, why or f"by {who}"
