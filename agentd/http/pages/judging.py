"""What needs a person, what doesn't: the group of each agent, and the one sentence that says why.

An agent needs you while something is wrong with it that agentd will not mend by itself and that
nobody has acknowledged. One trouble is shown once: those that only wait for another agent, or
share its incident, are in hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import Final

from agentd.http.pages.context import Document
from agentd.http.pages.slots import Tone
from agentd.reporting.words import duration


class Group(StrEnum):
    """Where an agent stands on the page, the first first."""

    NEEDS = "needs"
    HAND = "hand"
    FINE = "fine"
    REST = "rest"


TITLES: Final = {
    Group.NEEDS: "Needs you",
    Group.HAND: "In hand",
    Group.FINE: "Fine",
    Group.REST: "At rest",
}
EXPLAINED: Final = {
    Group.NEEDS: "it will not mend by itself, and nobody has acknowledged it",
    Group.HAND: "agentd is seeing to it, or somebody knows",
    Group.FINE: "at work and heard of in time",
    Group.REST: "stopped, paused or killed on purpose, or done",
}
Counts = Mapping[str, int]
"""How many rows stand in each group."""
_DOWN: Final = frozenset(("stopped", "completed"))


@dataclass(frozen=True, slots=True)
class Judgement:
    """Where it stands, how bad that is, and why in one sentence (empty: nothing to say)."""

    group: Group
    tone: Tone
    why: str


def judge(agent: Document, incident: Document | None) -> Judgement:
    """Judge one agent by its document and that of its open incident, if that is known."""
    why = _why(agent, incident)
    if _needs_you(agent, incident):
        return Judgement(Group.NEEDS, "bad", why)
    if agent.get("open_incident") is not None:
        return Judgement(Group.HAND, "warn", why)
    if agent.get("intent") != "up" or agent.get("state") in _DOWN:
        return Judgement(Group.REST, "rest", why)
    if agent.get("health") == "healthy" and agent.get("state") == "running":
        return Judgement(Group.FINE, "good", why)
    return Judgement(Group.HAND, "warn", why)


def _needs_you(agent: Document, incident: Document | None) -> bool:
    if incident is not None:
        own = incident.get("agent") in (agent.get("name"), None)
        known = bool(incident.get("acknowledged_by"))
        return own and not known and incident.get("severity") == "critical"
    if agent.get("open_incident") is not None:
        # Of another host only the number is known: what waits for a person shows in its state.
        return agent.get("state") == "escalated" or agent.get("intent_by") == "agentd"
    if agent.get("intent") != "up":
        return False
    waits = agent.get("blocked_by") or agent.get("cooldown_s") is not None
    return agent.get("state") == "escalated" or (agent.get("health") == "unreachable" and not waits)


def _why(agent: Document, incident: Document | None) -> str:
    parts = [_trouble(agent, incident), *_waits(agent)]
    if incident is not None and incident.get("acknowledged_by"):
        parts.append(f"known to {incident['acknowledged_by']}")
    return "; ".join(part for part in parts if part)


def _trouble(agent: Document, incident: Document | None) -> str:
    if incident is not None and incident.get("summary"):
        return str(incident["summary"]).removeprefix(f"{agent.get('name')} ")
    reason, evidence = agent.get("reason"), agent.get("evidence")
    if agent.get("intent") != "up":
        return _intended(agent)
    if reason or evidence:
        return ": ".join(str(part) for part in (reason, evidence) if part)
    if agent.get("no_progress"):
        return str(agent["no_progress"])
    if agent.get("health") == "degraded":
        return "silent for longer than it should be"
    return ""


def _intended(agent: Document) -> str:
    """Say who wanted it so, and why."""
    by, why = agent.get("intent_by"), agent.get("intent_reason")
    told = f"{agent.get('intent')} by {by}" if by else str(agent.get("intent") or "")
    return f"{told}: {why}" if why else told


def _waits(agent: Document) -> list[str]:
    """Say what it waits for."""
    parts = []
    if agent.get("blocked_by"):
        parts.append(f"blocked by {', '.join(map(str, agent['blocked_by']))}")
    if agent.get("parked_s") is not None:
        parts.append(f"parked for {duration(ceil(agent['parked_s']))}")
    if agent.get("held"):
        parts.append(f"held, {agent['held_why']}" if agent.get("held_why") else "held")
    if agent.get("unfinished_actions") and agent.get("pid") is None:
        parts.append(f"{agent['unfinished_actions']} actions begun and not finished")
    return parts


def headline(
    agents: Counts, notices: Counts, lost: Sequence[str], storage: str
) -> tuple[str, Tone]:
    """Say in one sentence whether everything is fine; the worst thing first.

    `agents` and `notices` (incidents that are about no agent) are counted by group; what is
    known of the `lost` hosts themselves is not among the notices.
    """
    rest, working = agents[Group.REST], sum(agents.values()) - agents[Group.REST]
    needs = agents[Group.NEEDS] + notices[Group.NEEDS]
    hand = agents[Group.HAND] + notices[Group.HAND]
    if lost:
        named = ", ".join(lost[:3]) + (f" and {len(lost) - 3} more" if len(lost) > 3 else "")  # noqa: PLR2004 - what a line holds
        also = _also(agents[Group.NEEDS], notices[Group.NEEDS])
        return f"{named} {'is' if len(lost) == 1 else 'are'} lost{also}.", "bad"
    if needs:
        who = _named(agents, notices, Group.NEEDS)
        return f"{who} {'needs' if needs == 1 else 'need'} you.", "bad"
    if storage not in ("", "ok"):
        return f"agentd can't write its state: {storage}.", "bad"
    if hand:
        who = _named(agents, notices, Group.HAND)
        return f"Nothing needs you. {who} {'is' if hand == 1 else 'are'} in hand.", "warn"
    if not rest and not working:
        return "There are no agents yet.", "rest"
    if not working:
        return "Nothing needs you. Every agent is at rest.", "rest"
    every = f"All {_count(working, 'agent')}" if working > 1 else "The one agent"
    return f"{every}{' at work' if rest else ''} {'are' if working > 1 else 'is'} fine.", "good"


def _also(agents: int, notices: int) -> str:
    if not agents + notices:
        return ""
    parts = [_count(agents, "agent")] if agents else []
    parts += [_count(notices, "incident")] if notices else []
    verb = "needs" if agents + notices == 1 else "need"
    return f"; {' and '.join(parts)} beside {verb} you"


def _named(agents: Counts, notices: Counts, group: Group) -> str:
    """Write `1 of 3 agents and 2 incidents`."""
    parts = []
    if agents[group]:
        parts.append(f"{agents[group]} of {_count(sum(agents.values()), 'agent')}")
    if notices[group]:
        parts.append(_count(notices[group], "incident"))
    return " and ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
