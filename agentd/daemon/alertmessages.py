"""From alerts that wait to the message that a sink is given."""

from collections.abc import Mapping
from typing import Final, cast

from agentd.core.records import Record
from agentd.daemon.alertplan import Planned, Waiting
from agentd.sinks.message import Kind, Message, Severity
from agentd.store.rows import Stamp, event_document

# Of a storm each alert is told in one sentence; what led to it stands in the journal.
FULL_EVENTS_MAX: Final = 20

_NEXT: Final = {
    "daemon.storage": "agentctl daemon",
    "daemon.fault": "agentctl daemon",
    "breaker.opened": "agentctl breakers",
    "breaker.half_open": "agentctl breakers",
    "breaker.closed": "agentctl breakers",
}
REPORT: Final = "report"
REPORT_TEXT: Final = "text"


def message_of(planned: Planned, host: str, incident: Mapping[str, object] | None) -> Message:
    """Return the message that tells of all parts; `incident` is that of its lead, if any."""
    lead = planned.lead
    if lead.is_report:
        return _report(lead, host)
    newest = planned.newest
    one_incident = not planned.is_digest
    told = [part for part in planned.parts if part is not lead]
    brief = len(told) > FULL_EVENTS_MAX or not one_incident
    return Message(
        alert_id=newest.uid,
        dedup_key=newest.delivery.row.dedup_key if one_incident else f"{host}/{newest.uid}",
        kind=cast("Kind", planned.kind),
        severity=cast("Severity", lead.delivery.row.severity),
        host=host,
        agent=lead.delivery.row.record.agent if one_incident else None,
        event=event_of(lead, host),
        incident=incident if one_incident else None,
        next=next_of(planned),
        folded=tuple(event_of(part, host, brief=brief) for part in told),
    )


def event_of(part: Waiting, host: str, *, brief: bool = False) -> dict[str, object]:
    """Return its event as CONTRACT 6.2 has it; one that was never recorded has no id."""
    delivery = part.delivery
    stamp = Stamp(delivery.event_id, delivery.wall_ms)
    document = event_document(stamp, delivery.row.record, host)
    if not part.recorded:
        document["id"] = None
        document["message"] = f"{document['message']} (agentd could not record this)"
    if brief:
        document["data"] = {}
    return document


def next_of(planned: Planned) -> str:
    """Return the next command to type."""
    if planned.is_digest:
        return "agentctl incidents --open"
    row = planned.lead.delivery.row
    if row.incident is not None:
        return f"agentctl incident {row.incident}"
    if row.record.agent is not None:
        return f"agentctl status {row.record.agent}"
    return _NEXT.get(row.record.event, "agentctl events")


def report_record(document: Mapping[str, object], text: str, sinks: int) -> Record:
    """Return what the journal has of a daily report; `_report` makes a message of it again."""
    receivers = "1 sink" if sinks == 1 else f"{sinks} sinks"
    told = f"the report of {document.get('date', 'today')} goes to {receivers}"
    data: dict[str, object] = {REPORT: dict(document), REPORT_TEXT: text}
    return Record("report.sent", "info", told, data=data)


def _report(part: Waiting, host: str) -> Message:
    row = part.delivery.row
    report = row.record.data.get(REPORT)
    return Message(
        alert_id=row.uid,
        dedup_key=row.dedup_key,
        kind="digest",
        severity="info",
        host=host,
        agent=None,
        event={},
        next="agentctl report",
        report=report if isinstance(report, dict) else {},
        report_text=str(row.record.data.get(REPORT_TEXT, row.record.message)),
    )
