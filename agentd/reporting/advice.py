"""What is left to do about an incident: the next commands to type, and what each is for.

Only what agentd knows: it names the way to look, and the way out of the state that each agent
is in. What is wrong inside an agent is for whoever wrote it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

Document = Mapping[str, object]
Step = dict[str, object]

STEPS_MAX: Final = 6
NAMES_MAX: Final = 12
"""One command may name so many agents; the others are counted."""

# Beginnings of causes, be they stop reasons or the names of events.
_SPENDING: Final = ("BUDGET", "COST", "LOOP", "DRIFT", "RETRY_LIMIT", "TOOL")
_MEMORY: Final = "MEMORY"
_HOST: Final = {
    "breaker.opened": ("agentctl breakers", "which dependency fails, and when it is tried again"),
    "daemon.storage": ("agentctl daemon", "why nothing can be recorded; mend that first"),
    "daemon.fault": ("agentctl daemon", "what is wrong with the daemon itself"),
    "host.lost": ("agentctl fleet status", "which hosts are there; this one is off, or cut off"),
}


@dataclass(frozen=True, slots=True)
class _Todo:
    """A command for whichever agents are in the state that it leads out of."""

    verb: str
    why: str
    options: str = ""
    for_all: bool = True
    """Whether it names every one of them; else the first stands for the others."""


_LOGS: Final = _Todo("logs", "its last words", " -n 50", for_all=False)
_FLIGHT: Final = _Todo("checkpoints", "what was cut off: find out if it was done", for_all=False)


def advice(incident: Document, agents: Sequence[Document]) -> list[Step]:
    """Return the steps of an incident, the most useful first; none: nothing is left to do.

    Of one that is over, what is left is what has befallen its agents since.

    `incident` is its short document, `agents` its agents as they are now. Those that are well
    again need nothing while others don't.
    """
    if not incident["open"]:
        return _since(incident, agents)
    cause = str(incident["cause"])
    named: dict[_Todo, list[str]] = {}
    for agent in [each for each in agents if each.get("health") != "healthy"] or agents:
        for todo in _for_agent(agent, cause):
            named.setdefault(todo, []).append(str(agent["name"]))
    steps = [_step(*_HOST[cause])] if cause in _HOST else []
    steps += [_command(todo, names) for todo, names in list(named.items())[:STEPS_MAX]]
    if not incident["acknowledged_by"]:
        steps.append(_step(f"agentctl ack {incident['id']}", "you have seen it: no more reminders"))
    return steps


def _since(incident: Document, agents: Sequence[Document]) -> list[Step]:
    """Name the other incidents that agents are in by now."""
    named: dict[object, list[str]] = {}
    for agent in agents:
        number = agent.get("incident")
        if number is not None and number != incident["id"]:
            named.setdefault(number, []).append(str(agent["name"]))
    return [
        _step(f"agentctl incident {number}", f"open now: {_few(names)}")
        for number, names in list(named.items())[:STEPS_MAX]
    ]


def _few(names: Sequence[str]) -> str:
    more = len(names) - NAMES_MAX
    return ", ".join(names[:NAMES_MAX]) + (f" and {more} more" if more > 0 else "")


def _command(todo: _Todo, names: Sequence[str]) -> Step:
    """Write one command for several agents."""
    shown = names[: NAMES_MAX if todo.for_all else 1]
    more = len(names) - len(shown)
    alike = f" ({more} more like it)" if more else ""
    return _step(f"agentctl {todo.verb} {' '.join(shown)}{todo.options}", todo.why + alike)


def _for_agent(agent: Document, cause: str) -> list[_Todo]:
    intent = agent.get("intent")
    if agent.get("external"):
        return [_Todo("status", "it is not ours to start: mend it where it runs")]
    if intent == "killed":
        return [_Todo("resume", "it stays down until then")]
    if intent == "paused":
        return [_LOGS, _Todo("resume", "let it go on where it stood")]
    if intent == "stopped":
        return [_Todo("start", "it was stopped by hand, and stays down")]
    if agent.get("held"):
        unhold = _Todo("unhold", "then it may start by itself again")
        return [_FLIGHT, unhold] if agent.get("held_why") else [unhold]
    return _for_wanted(agent, cause)


def _for_wanted(agent: Document, cause: str) -> list[_Todo]:
    """Return the steps for an agent that is wanted up."""
    state = agent.get("state")
    if state == "escalated":
        return [_LOGS, _Todo("start", "once it is mended: restarts have ended")]
    if state == "cooldown":
        return [_LOGS, _Todo("start", "once it is mended, without waiting for the cooldown")]
    if state in ("stopped", "completed"):
        return [_LOGS, _Todo("start", "its policy does not start it again")]
    if state not in ("running", "parked"):
        return [_Todo("status", "what it waits for")]
    if agent.get("health") == "unreachable":
        return [_Todo("restart", "end this run and begin another")]
    kind = cause.upper().replace(".", "_")
    if kind.startswith(_SPENDING):
        return [_Todo("pause", "if it still goes on like that")]
    if kind.startswith(_MEMORY):
        return [_Todo("restart", "at a moment that suits: memory is given back")]
    return [_Todo("status", "it runs again: it is watched until proven well")]


def _step(command: str, why: str) -> Step:
    return {"command": command, "why": why}
