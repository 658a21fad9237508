"""Incidents as documents (CONTRACT 6.1): the short one of lists and alerts, and the long one.

The long one tells in order: what broke, what was seen of it, what was done about it and by
whom, how its agents are now, and which commands are left to type.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from agentd.config.encodable import utc_text
from agentd.core.records import IncidentRecord
from agentd.reporting.advice import advice
from agentd.reporting.deeds import deeds

Document = dict[str, object]

# What a look at an agent may tell; null: it was not looked at, or could not be seen.
_EVIDENCE: Final = ("stack", "sockets", "wchan", "syscall", "cpu_s", "last_steps", "log_tail")

# What of an agent's status tells how it is and what leads out of it.
_NOW: Final = (
    *("name", "intent", "state", "health", "reason", "cooldown_s"),
    *("held", "held_why", "external", "incident"),
)


class Incident(Protocol):
    """An incident with its moments by the wall clock, in ms since 1970 (`store.IncidentRow`)."""

    @property
    def incident(self) -> IncidentRecord: ...
    @property
    def began_wall_ms(self) -> int: ...
    @property
    def opened_wall_ms(self) -> int: ...
    @property
    def recovered_wall_ms(self) -> int | None: ...
    @property
    def resolved_wall_ms(self) -> int | None: ...
    @property
    def acknowledged_wall_ms(self) -> int | None: ...


class Look(Protocol):
    """One look at one agent, by the wall clock (`store.EvidenceRow`)."""

    @property
    def agent(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def wall_ms(self) -> int: ...
    @property
    def evidence(self) -> dict[str, object]: ...


def incident_document(found: Incident) -> Document:
    """Return the short document of an incident."""
    incident = found.incident
    return {
        "id": incident.number,
        "agent": incident.agent,
        "agents": list(incident.agents),
        # What it is about where that is no agent: `host machine-3`, `breaker openai`.
        "subject": incident.subject or None,
        "cause": incident.cause,
        "severity": incident.severity,
        "opened": utc_text(found.opened_wall_ms),
        "resolved": _moment(found.resolved_wall_ms),
        "acknowledged_by": incident.acknowledged_by or None,
        "summary": incident.summary,
        "restarts": incident.restarts,
        "open": incident.resolved_at_ms is None,
        "acknowledged": _moment(found.acknowledged_wall_ms),
        "began": utc_text(found.began_wall_ms),
        "recovered": _moment(found.recovered_wall_ms),
        "time_to_detect_s": _seconds(incident.began_at_ms, incident.opened_at_ms),
        "time_to_recover_s": _seconds(incident.began_at_ms, incident.recovered_at_ms),
        "resolution": incident.resolution or None,
        "reopened": incident.reopened,
        "key": incident.key,
    }


def full_incident_document(
    found: Incident,
    *,
    events: Sequence[Mapping[str, object]],
    looks: Sequence[Look],
    agents: Sequence[Mapping[str, object]],
) -> Document:
    """Return all there is to know of an incident.

    `events` are its events in their order (CONTRACT 6.2), `looks` the oldest first, `agents`
    those of its agents that there still are, as the status document shows them now.
    """
    document = incident_document(found)
    now = [_now(agent) for agent in agents]
    return {
        **document,
        "timeline": [_entry(event) for event in events],
        "evidence": evidence_document(looks, found.incident.agent),
        "actions": deeds(events),
        "now": now,
        "next": advice(document, now),
    }


def evidence_document(looks: Sequence[Look], first: str | None) -> Document:
    """Return the first look at the first agent, flat; under `agents` every other look."""
    own = next((look for look in looks if look.agent == first), None)
    own = own or next(iter(looks), None)
    if own is None:
        return {**dict.fromkeys(_EVIDENCE), "agents": []}
    return {
        **dict.fromkeys(_EVIDENCE),
        **_look(own),
        "agents": [_look(look) for look in looks if look is not own],
    }


def _look(look: Look) -> Document:
    return {
        **look.evidence,
        "agent": look.agent,
        "kind": look.kind,
        "time": utc_text(look.wall_ms),
    }


def _entry(event: Mapping[str, object]) -> Document:
    names = ("time", "event", "message", "agent", "severity", "id")
    return {name: event.get(name) for name in names}


def _now(agent: Mapping[str, object]) -> Document:
    return {name: agent.get(name) for name in _NOW}


def _moment(wall_ms: int | None) -> str | None:
    return None if wall_ms is None else utc_text(wall_ms)


def _seconds(since_ms: int, until_ms: int | None) -> float | None:
    """Return what lies between, by the clock that never steps."""
    return None if until_ms is None else max(0, until_ms - since_ms) / 1000
