"""Whoever waits for agents to be ready, healthy or stopped, and is answered once."""

from dataclasses import dataclass, field

from agentd.core import liveness
from agentd.core.agent import Agent
from agentd.core.effects import Reply
from agentd.core.states import Health, Intent, State
from agentd.core.turn import Turn

GOALS = ("ready", "healthy", "stopped", "paused")
WAITERS_MAX = 256
# From these nothing comes up by itself, so waiting on would be in vain.
_DEAD_ENDS = (State.ESCALATED, State.PAUSED)


@dataclass(slots=True)
class Waiter:
    """One open `wait`; `until_ms` is when patience ends."""

    request: str
    names: list[str]
    goal: str
    until_ms: int
    missed: dict[str, str] = field(default_factory=dict)


def judge(agent: Agent, goal: str, now_ms: int) -> tuple[bool, str]:
    """Return (met, why it never will be): an empty reason means that it may still come."""
    if goal == "stopped":
        return (not agent.has_process and agent.state is not State.STARTING, "")
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


def _told(agent: Agent) -> str:
    reason = f": {agent.durable.reason}" if agent.durable.reason else ""
    return f"is {agent.state}{reason}"


def settle(turn: Turn, waiters: dict[str, Waiter]) -> None:
    """Answer every waiter whose goal is met, cannot be met, or whose patience ended."""
    for waiter in list(waiters.values()):
        verdicts = {
            name: judge(turn.fleet[name], waiter.goal, turn.now_ms)
            if name in turn.fleet
            else (waiter.goal == "stopped", "was removed")
            for name in waiter.names
        }
        open_names = [name for name, (met, why) in verdicts.items() if not met and not why]
        if open_names and turn.now_ms < waiter.until_ms:
            continue
        del waiters[waiter.request]
        turn.do(_answer(turn, waiter, verdicts, open_names))


def _answer(
    turn: Turn, waiter: Waiter, verdicts: dict[str, tuple[bool, str]], open_names: list[str]
) -> Reply:
    failed = {name: why for name, (met, why) in verdicts.items() if not met and why}
    if failed:
        told = "; ".join(f'"{name}" {why}' for name, why in failed.items())
        hint = f"agentctl status {next(iter(failed))}"
        return Reply(waiter.request, error=("conflict", told, hint))
    if open_names:
        told = f"{', '.join(open_names)}: not {waiter.goal} in time"
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
