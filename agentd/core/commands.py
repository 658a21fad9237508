"""What an operator may ask of agents, one function a command; the table is at the end.

A function changes one agent and returns one line for the person who asked; what cannot
be done is a `Conflict` that says why, and what could be done instead.
"""

from collections.abc import Callable, Mapping
from typing import Final

from agentd.core import actions, budgets, ends, lifecycle, pausing
from agentd.core.agent import After, Agent, Signalled
from agentd.core.dependencies import blockers
from agentd.core.effects import Signal
from agentd.core.events import Requested
from agentd.core.states import Intent, State, StopReason
from agentd.core.turn import Turn


class Conflict(Exception):  # noqa: N818 - named after the code that the user sees
    """The agent's state does not allow it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


Command = Callable[[Turn, Agent, Requested], str]


def start(turn: Turn, agent: Agent, asked: Requested) -> str:
    """Start it; one that runs already is left alone, unless `fresh` asks for a new execution."""
    _refuse_external(agent)
    _refuse_held_back(agent, "start")
    fresh = bool(asked.options.get("fresh"))
    if fresh:
        lifecycle.new_execution(turn, agent)
        turn.touch(agent)
    over = _come_up(turn, agent, asked, "started")
    turn.touch(agent)
    _clear_escalation(agent)
    if agent.has_process:
        if agent.stop is not None:
            lifecycle.begin_stop(turn, agent, StopReason.USER_RESTARTED, _by(asked), After.AGAIN)
            return f"starts again as soon as it has stopped{over}"
        if fresh:
            lifecycle.begin_stop(turn, agent, StopReason.USER_RESTARTED, _by(asked), After.AGAIN)
            return f"restarts as a new execution{over}"
        return f"runs already{over}"
    if agent.state is State.STARTING:
        return f"starts already{over}"
    lifecycle.want_start(turn, agent, f"started {_by(asked)}", by_hand=True)
    return _told_start(turn, agent) + over


def restart(turn: Turn, agent: Agent, asked: Requested) -> str:
    """Stop it gracefully and start it again; by hand is never a failure."""
    _refuse_external(agent)
    _refuse_held_back(agent, "restart")
    _clear_escalation(agent)
    over = _come_up(turn, agent, asked, "restarted")
    turn.touch(agent)
    if agent.has_process:
        lifecycle.begin_stop(turn, agent, StopReason.USER_RESTARTED, _by(asked), After.AGAIN)
        return f"restarts{over}"
    if agent.state is State.STARTING:
        return f"starts already{over}"
    lifecycle.want_start(turn, agent, f"restarted {_by(asked)}", by_hand=True)
    return _told_start(turn, agent) + over


def stop(turn: Turn, agent: Agent, asked: Requested) -> str:
    """Stop it gracefully; it stays down until somebody starts it."""
    _refuse_external(agent)
    if agent.intent is Intent.KILLED:
        return "is killed and stays down"
    durable = agent.durable
    down = not agent.has_process and agent.state in (State.STOPPED, State.COMPLETED)
    durable.intent, durable.intent_by, durable.intent_reason = (
        Intent.STOPPED,
        asked.who,
        asked.reason,
    )
    turn.touch(agent)
    if not down:
        pausing.bring_down(turn, agent, StopReason.USER_STOPPED, _by(asked))
        if not agent.has_process:  # of one that runs, the end of its run tells
            told = f"stopped {_by(asked)}"
            turn.journal("agent.stopped", agent, told, reason=StopReason.USER_STOPPED)
    elif agent.awaiting:
        agent.awaiting = durable.awaiting = ""
    return "is down already" if down else "stops"


def kill(turn: Turn, agent: Agent, asked: Requested) -> str:
    """End the whole tree at once; sticky until somebody resumes it."""
    _refuse_external(agent)
    if agent.intent is Intent.KILLED and not agent.has_process:
        return "is killed already"
    pausing.kill(turn, agent, StopReason.USER_KILLED, asked.who, asked.reason)
    return "killed; stays down"


def pause(turn: Turn, agent: Agent, asked: Requested) -> str:
    """Hold it back where it stands."""
    _refuse_external(agent)
    if agent.intent is Intent.PAUSED:
        return "is paused already"
    if agent.intent is not Intent.UP or agent.state is State.COMPLETED:
        shown = agent.state if agent.intent is Intent.UP else agent.intent
        verb = "resume" if agent.intent is Intent.KILLED else "start"
        raise Conflict(
            f'"{agent.name}" is {shown}; there is nothing to pause', f"agentctl {verb} {agent.name}"
        )
    pausing.pause(turn, agent, StopReason.USER_PAUSED, asked.who, asked.reason)
    return "paused" if agent.state is State.PAUSED else "on its way down, then paused"


def resume(turn: Turn, agent: Agent, asked: Requested) -> str:
    """Let a paused or killed agent go on."""
    _refuse_external(agent)
    down = agent.state in (State.STOPPED, State.ESCALATED) and not agent.awaiting
    if agent.intent is Intent.STOPPED or (agent.intent is Intent.UP and down):
        raise Conflict(
            f'"{agent.name}" is {agent.state}, not paused', f"agentctl start {agent.name}"
        )
    if agent.intent is Intent.UP:
        return "is neither paused nor killed"
    _clear_escalation(agent)
    return pausing.resume(turn, agent, asked.who, asked.reason)


def hold(turn: Turn, agent: Agent, asked: Requested) -> str:
    """No automatic start while held."""
    if agent.durable.held:
        return "is held already"
    agent.durable.held = True
    turn.touch(agent)
    turn.journal("agent.held", agent, f"held {_by(asked)}: no automatic start")
    return "held: no automatic start"


def unhold(turn: Turn, agent: Agent, asked: Requested) -> str:
    """Automatic starts are allowed again; one that is due is made."""
    if not agent.durable.held:
        return "is not held"
    if not agent.durable.held_why:
        turn.journal("agent.unheld", agent, f"let go {_by(asked)}")
    actions.accept(turn, agent, _by(asked))
    agent.durable.held = False
    turn.touch(agent)
    return "no longer held"


def reset(turn: Turn, agent: Agent, asked: Requested) -> str:
    """Forget failures and cooldown; what waited for either starts."""
    waited = agent.state in (State.COOLDOWN, State.ESCALATED)
    ends.forget_failures(agent)
    agent.durable.cooldown_until_ms = agent.durable.cooldown_left_ms = None
    turn.touch(agent)
    if waited and agent.intent is Intent.UP:
        lifecycle.want_start(turn, agent, f"reset {_by(asked)}", by_hand=True)
        return "failures forgotten; starts"
    return "failures forgotten"


def signal(turn: Turn, agent: Agent, asked: Requested) -> str:
    """Send a plain signal to the leader."""
    _refuse_external(agent)
    name = str(asked.options.get("signal", ""))
    if not agent.has_process:
        raise Conflict(f'"{agent.name}" has no process', f"agentctl start {agent.name}")
    agent.signalled = Signalled(name, asked.who, turn.now_ms)
    turn.do(Signal(agent.name, agent.incarnation, name))
    return f"{name} sent"


def _by(asked: Requested) -> str:
    return f"by {asked.who}" + (f": {asked.reason}" if asked.reason else "")


def _clear_escalation(agent: Agent) -> None:
    """By hand an escalation ends, also one that a pause, a stop or a kill has covered."""
    if agent.durable.failures >= agent.config.restart.failures_max:
        ends.forget_failures(agent)


def _come_up(turn: Turn, agent: Agent, asked: Requested, done: str) -> str:
    """It is meant to be up; returns which budgets that overrides, after the journal says so."""
    durable = agent.durable
    durable.intent, durable.intent_by, durable.intent_reason = Intent.UP, asked.who, asked.reason
    durable.forget_wish()
    if not turn.closing:  # a stop that waits for its dependants is called off
        turn.leaving.pop(agent.name, None)
    if not budgets.is_over(agent, turn.hosts):
        return ""
    return pausing.override_budgets(turn, agent, f"{done} {_by(asked)}")


def _told_start(turn: Turn, agent: Agent) -> str:
    blocked_by = blockers(agent, turn.fleet, turn.hosts)
    return f"waits for {', '.join(blocked_by)}" if blocked_by else "starts"


def _refuse_held_back(agent: Agent, verb: str) -> None:
    if agent.intent in (Intent.KILLED, Intent.PAUSED):
        durable = agent.durable
        why = f', "{durable.intent_reason}"' if durable.intent_reason else ""
        raise Conflict(
            f'"{agent.name}" is {agent.intent} (by {durable.intent_by}{why}); '
            f"a {verb} would not bring it back",
            f"agentctl resume {agent.name}",
        )


def passes_over(agent: Agent, asked: Requested) -> bool:
    """Whether `all`, a glob or a tag chose an agent that is not ours to start or to stop."""
    if asked.cmd in ("hold", "unhold", "reset"):
        return False
    return agent.config.external and agent.name not in asked.select


def _refuse_external(agent: Agent) -> None:
    if agent.config.external:
        raise Conflict(
            f'"{agent.name}" is external: agentd did not start it and cannot stop it',
            "start and stop it where it runs",
        )


COMMANDS: Final[Mapping[str, Command]] = {
    "start": start,
    "restart": restart,
    "stop": stop,
    "kill": kill,
    "pause": pause,
    "resume": resume,
    "hold": hold,
    "unhold": unhold,
    "reset": reset,
    "signal": signal,
}
