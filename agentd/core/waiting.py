"""Whoever waits for agents to be ready, healthy or stopped, and is answered once."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from agentd.core import liveness
from agentd.core.agent import Agent
from agentd.core.dependencies import blockers
from agentd.core.effects import Reply
from agentd.core.events import Requested
from agentd.core.states import Health, Intent, State
from agentd.core.turn import Turn

Goal = Literal["ready", "healthy", "stopped", "paused"]
GOALS: Final[tuple[str, ...]] = get_args(Goal)
WAITERS_MAX: Final = 256
WAIT_MS_DEFAULT: Final = 60_000
# From these nothing comes up by itself, so waiting on would be in vain.
_DEAD_ENDS: Final = (State.ESCALATED, State.PAUSED)


@dataclass(slots=True)
class Waiter:
    """One open `wait`; `until_ms` is when patience ends."""

    request: str
    names: list[str]
    goal: str
    until_ms: int
    watched: int = 0
    """The place in `names` of one that holds the answer back."""


def begin(turn: Turn, waiters: dict[str, Waiter], asked: Requested, names: list[str]) -> None:
    """Let somebody wait, or say why that can't be."""
    goal = str(asked.options.get("for", "ready"))
    wait_ms = asked.options.get("timeout_ms", WAIT_MS_DEFAULT)
    if goal not in GOALS or not isinstance(wait_ms, int):
        hint = f"for: one of {', '.join(GOALS)}"
        turn.do(Reply(asked.request, error=("bad_request", f"no goal {goal!r}", hint)))
    elif len(waiters) >= WAITERS_MAX:
        told = f"{WAITERS_MAX} others wait already"
        turn.do(Reply(asked.request, error=("too_busy", told, "try again")))
    else:
        until_ms = turn.now_ms + wait_ms
        waiters[asked.request] = Waiter(asked.request, names, goal, until_ms)


def judge(agent: Agent, goal: str, now_ms: int) -> tuple[bool, str]:
    """Return (met, why it never will be): an empty reason means that it may still come."""
    if agent.config.external:
        return _judge_external(agent, goal, now_ms)
    if goal == "stopped":
        why = f"survives SIGKILL: {agent.stuck}" if agent.is_given_up else ""
        return (not agent.has_process and agent.state is not State.STARTING, why)
    if goal == "paused":
        why = "" if agent.intent is Intent.PAUSED else f"is {agent.intent}, not paused"
        return (agent.state is State.PAUSED and agent.stop is None, why)
    if agent.state is State.COMPLETED:
        return (True, "")
    if agent.intent is not Intent.UP:
        return (False, f"is {agent.intent}")
    if goal == "ready" and agent.state is State.RUNNING:
        return (True, "")
    if goal == "healthy" and liveness.health_of(agent, now_ms) is Health.HEALTHY:
        return (True, "")
    if agent.state in _DEAD_ENDS or (agent.state is State.STOPPED and not agent.awaiting):
        return (False, _told(agent))
    if agent.state is State.COOLDOWN:
        return (False, _told(agent))
    return (False, "")


def _judge_external(agent: Agent, goal: str, now_ms: int) -> tuple[bool, str]:
    """Of an external agent only what it says is known: it may be heard of at any time."""
    if goal == "ready":
        return (agent.state is State.RUNNING, "")
    if goal == "healthy":
        return (liveness.health_of(agent, now_ms) is Health.HEALTHY, "")
    heard = agent.state is not State.STOPPED
    return (goal == "stopped" and not heard, f"is external: agentd cannot tell that it is {goal}")


def _told(agent: Agent) -> str:
    durable = agent.durable
    state = "in cooldown" if agent.state is State.COOLDOWN else agent.state.value
    why = ", ".join(part for part in (durable.reason, durable.evidence) if part)
    return f"is {state}: {why}" if why else f"is {state}"


def _told_late(agent: Agent, turn: Turn) -> str:
    blocked_by = blockers(agent, turn.fleet, turn.hosts) if agent.awaiting else []
    waits = f", waits for {', '.join(blocked_by)}" if blocked_by else ""
    return f'"{agent.name}" is still {agent.state}{waits}'


def settle(turn: Turn, waiters: dict[str, Waiter]) -> None:
    """Answer every waiter whose goal is met, cannot be met, or whose patience ended."""
    for waiter in list(waiters.values()):
        if turn.now_ms < waiter.until_ms and _is_held_back(turn, waiter):
            continue
        verdicts = {name: _verdict(turn, name, waiter.goal) for name in waiter.names}
        open_names = [name for name, (met, why) in verdicts.items() if not met and not why]
        del waiters[waiter.request]
        turn.do(_answer(turn, waiter, verdicts, open_names))


def _is_held_back(turn: Turn, waiter: Waiter) -> bool:
    """Whether something may still come. One agent is enough for that, so that a hundred others
    need not be judged after each step.
    """
    for _ in waiter.names:
        met, why = _verdict(turn, waiter.names[waiter.watched], waiter.goal)
        if not met and not why:
            return True
        waiter.watched = (waiter.watched + 1) % len(waiter.names)
    return False


def _verdict(turn: Turn, name: str, goal: str) -> tuple[bool, str]:
    agent = turn.fleet.get(name)
    return judge(agent, goal, turn.now_ms) if agent else (goal == "stopped", "was removed")


def _answer(
    turn: Turn, waiter: Waiter, verdicts: dict[str, tuple[bool, str]], open_names: list[str]
) -> Reply:
    failed = {name: why for name, (met, why) in verdicts.items() if not met and why}
    if failed:
        told = "; ".join(f'"{name}" {why}' for name, why in failed.items())
        hint = f"agentctl status {next(iter(failed))}"
        return Reply(waiter.request, error=("conflict", told, hint))
    if open_names:
        late = "; ".join(_told_late(turn.fleet[name], turn) for name in open_names)
        told = f"not {waiter.goal} in time: {late}"
        hint = f"agentctl status {open_names[0]}"
        return Reply(waiter.request, error=("timeout", told, hint))
    agents = [
        {
            "name": name,
            "state": turn.fleet[name].state.value if name in turn.fleet else "stopped",
            "health": liveness.health_of(turn.fleet[name], turn.now_ms).value
            if name in turn.fleet
            else "unknown",
            "met": True,
            "why": "",
        }
        for name in verdicts
    ]
    return Reply(waiter.request, result={"agents": agents})
