"""What operators and viewers are told of incidents: the list, and one with all that is known.

The store is read in threads. Whatever an agent's own words may have got into is masked once
more, for a secret may have become one since it was written down; viewers see no log text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from agentd.config.encodable import utc_text
from agentd.core.supervisor import Supervisor
from agentd.daemon.clock import Calendar
from agentd.daemon.masks import Masks
from agentd.daemon.offload import Offload
from agentd.reporting.incidents import full_incident_document, incident_document
from agentd.store.rows import EvidenceRow, IncidentRow
from agentd.store.store import Store
from agentd.wire.documents import agent_document

Document = dict[str, object]
Event = Mapping[str, object]

FIRST_EVENTS: Final = 100
LAST_EVENTS: Final = 400
"""An incident that went on for days is told by how it began and by what came last."""

NEWEST_NAMED: Final = 3
"""So many ids are offered to whoever asks for one that isn't there."""

# What may hold an agent's own text is not for viewers, wherever in the evidence it stands.
NOT_FOR_VIEWERS: Final = frozenset(("log_tail", "locals"))


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the store has of one incident."""

    row: IncidentRow
    events: Sequence[Event]
    looks: Sequence[EvidenceRow]


@dataclass(slots=True)
class Incidents:
    """Reads incidents; changes nothing."""

    supervisor: Supervisor
    store: Store
    offload: Offload
    masks: Masks
    calendar: Calendar = field(default_factory=Calendar)

    async def listed(self, agents: Sequence[str], *, open_only: bool, limit: int) -> Document:
        """Return the newest incidents, the newest first; no agents: of all, and the host's own."""
        found = await self.offload.run(
            partial(self.store.incidents, agents=tuple(agents), open_only=open_only, limit=limit)
        )
        document = {"time": self._time(), "incidents": [incident_document(row) for row in found]}
        return self.masks.document(document)

    async def one(self, number: int, *, viewer: bool) -> Document | None:
        """Return all that is known of one incident; None: there is none of that number."""
        kept = await self.offload.run(partial(self._kept, number))
        if kept is None:
            return None
        document = full_incident_document(
            kept.row, events=kept.events, looks=kept.looks, agents=self._now(kept.row)
        )
        document["time"] = self._time()
        if viewer:
            document["evidence"] = _without_log_text(document["evidence"])
        return self.masks.document(document)

    async def newest(self) -> list[int]:
        """Return the newest numbers that there are, the newest first."""
        found = await self.offload.run(partial(self.store.incidents, limit=NEWEST_NAMED))
        return [row.incident.number for row in found]

    def _kept(self, number: int) -> _Kept | None:
        row = self.store.incident(number)
        if row is None:
            return None
        return _Kept(row, self._events(number), self.store.evidence(number))

    def _events(self, number: int) -> list[Event]:
        """Return how it began and what came last; all of it, unless it is very long."""
        last = self.store.events(incident=number, limit=LAST_EVENTS)
        if len(last) < LAST_EVENTS:
            return list(last)
        first = self.store.events(incident=number, after=0, limit=FIRST_EVENTS)
        told = {event["id"] for event in last}
        return [*(event for event in first if event["id"] not in told), *last]

    def _time(self) -> str:
        return utc_text(self.calendar.now()[1])

    def _now(self, row: IncidentRow) -> list[Document]:
        now_ms, wall_ms = self.calendar.now()
        fleet, ill = self.supervisor.agents, self.supervisor.incidents.bound
        hosts = self.supervisor.hosts
        return [
            agent_document(fleet[name], fleet, now_ms, wall_ms, ill.get(name), hosts=hosts)
            for name in row.incident.agents
            if name in fleet
        ]


def _without_log_text(value: object) -> object:
    """Return evidence as viewers may see it."""
    if isinstance(value, Mapping):
        return {
            name: _without_log_text(each)
            for name, each in value.items()
            if name not in NOT_FOR_VIEWERS
        }
    if isinstance(value, list | tuple):
        return [_without_log_text(each) for each in value]
    return value
