"""What the journal is told of deliveries; neither entry is ever an alert itself."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from agentd.core.records import Record
from agentd.daemon.alertplan import Planned, Waiting

# Of a storm not every event is named.
EVENTS_MAX: Final = 20


@dataclass(slots=True)
class _Words:
    """What the journal is told of one message."""

    sink: str
    planned: Planned
    data: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lead = self.planned.lead
        self.data = {
            "sink": self.sink,
            "alert_id": self.planned.newest.uid,
            "kind": self.planned.kind,
            "alerts": len(self.planned.parts),
            "events": [part.delivery.event_id for part in self.planned.parts[:EVENTS_MAX]],
            "attempts": lead.attempts,
        }

    def of(self, record: Record) -> Record:
        """Return an entry with whom it is about."""
        row = self.planned.lead.delivery.row
        if not self.planned.is_digest:
            record.agent, record.incident = row.record.agent, row.incident
        record.data = self.data
        return record

    @property
    def what(self) -> str:
        row, count = self.planned.lead.delivery.row, len(self.planned.parts)
        if self.planned.is_digest:
            return f"a digest of {count} alerts"
        company = f" and {count - 1} more" if count > 1 else ""
        return f"{self.planned.kind} of {row.record.event}{company}"


def delivered(sink: str, planned: Planned, attempts: int) -> Record:
    """Return the entry `alert.sent`; `attempts` are all that it took."""
    words = _Words(sink, planned)
    words.data["attempts"] = attempts
    tries = f" at attempt {attempts}" if attempts > 1 else ""
    return words.of(Record("alert.sent", "info", f'sent to "{sink}"{tries}: {words.what}'))


def not_delivered(sink: str, planned: Planned, given_up: Sequence[Waiting]) -> Record:
    """Return the entry `alert.failed`, after a first failure or on giving up."""
    words, lead = _Words(sink, planned), planned.lead
    words.data |= {"error": lead.error, "given_up": bool(given_up)}
    if given_up:
        told = f'given up after {lead.attempts} attempts at "{sink}": {words.what}; {lead.error}'
    else:
        told = f'not delivered to "{sink}", tried again: {words.what}; {lead.error}'
    return words.of(Record("alert.failed", "warning", told))
