"""What was done about an incident, and who did it, from its events."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

Event = Mapping[str, object]

OURS: Final = "agentd"
PERSON: Final = "operator"

# Events that are deeds; the others only tell what happened.
_DEEDS: Final = frozenset(
    (
        *("agent.stopping", "agent.restarting", "agent.cooldown", "agent.escalated"),
        *("agent.paused", "agent.resumed", "agent.killed", "agent.parked"),
        *("agent.held", "agent.unheld", "agent.stopped"),
        "alert.sent",
    )
)
# Whoever is behind these, it was no policy.
_BY_HAND: Final = ("USER_",)
# How the core names people: `resumed by ann (pid 4711): why`.
_NAMED: Final = re.compile(r"\bby ([^\s:;]{1,64} \(pid \d{1,10}\))")
_ALWAYS_BY_HAND: Final = frozenset(("agent.resumed", "agent.unheld"))


def deeds(events: Sequence[Event]) -> list[dict[str, object]]:
    """Return what agentd and people did, in order: time, agent, by whom, event and words."""
    return [
        {
            "time": event.get("time"),
            "agent": event.get("agent"),
            "by": _actor(event),
            "event": event.get("event"),
            "message": _words(event),
        }
        for event in events
        if event.get("event") in _DEEDS or _acknowledges(event)
    ]


def _words(event: Event) -> str:
    """Return the deed in words; the words of a stop are only why."""
    told = str(event.get("message") or "")
    return f"stopping it: {told}" if event.get("event") == "agent.stopping" else told


def _acknowledges(event: Event) -> bool:
    data = event.get("data")
    told = isinstance(data, Mapping) and data.get("acknowledged_by")
    return event.get("event") == "incident.updated" and bool(told)


def _actor(event: Event) -> str:
    """Return who did it: the name where the event tells it, else a person or agentd."""
    data = event.get("data")
    named = data.get("acknowledged_by") if isinstance(data, Mapping) else None
    if isinstance(named, str) and named:
        return named
    name, reason = event.get("event"), str(event.get("reason") or "")
    found = _NAMED.search(str(event.get("message") or ""))
    if name == "agent.held":  # agentd holds too, and says why in place of a name
        return found[1] if found is not None else OURS
    if name not in _ALWAYS_BY_HAND and not reason.startswith(_BY_HAND):
        return OURS
    return found[1] if found is not None else PERSON
