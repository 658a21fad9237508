"""The alerts document for people: the sinks as a table, and below it what waits or failed."""

from typing import Any, Final

from agentd.cli.views.table import Table, cell, plain
from agentd.cli.views.words import clock
from agentd.reporting.words import visible

Document = dict[str, Any]

COLUMNS: Final = ("SINK", "TYPE", "FROM", ">WAITING", ">SENT", ">FAILED", "NEXT TRY", "LAST ERROR")
QUEUE_COLUMNS: Final = (
    *("RAISED", "SINK", "STATE", ">TRIES", "NEXT TRY", "KIND", "AGENT", "EVENT", ">INCIDENT"),
    "ERROR",
)
STATE_STYLE: Final = {"waiting": "yellow", "failed": "bold red"}


def queue_view(document: Document, today: str = "") -> str:
    """Lay out the sinks, and every alert that has not arrived."""
    if not document["sinks"] and not document["queue"]:
        return "no sink is configured; nobody is told of anything ([[alerts.sinks]])"
    parts = [plain(sinks_table(document, today))]
    if document["queue"]:
        parts.append(plain(queue_table(document, today)))
    return "\n\n".join(parts)


def sinks_table(document: Document, today: str) -> Table:
    """Lay out one row a sink."""
    rows = [
        (
            cell(sink["name"]),
            cell(sink["type"]),
            cell(sink["min_severity"]),
            cell(sink["waiting"]),
            cell(sink["sent"]),
            cell(sink["failed"]),
            cell(_moment(sink.get("next_attempt"), today)),
            cell(sink.get("last_error")),
        )
        for sink in document["sinks"]
    ]
    return Table(COLUMNS, rows, wraps=True)


def queue_table(document: Document, today: str) -> Table:
    """Lay out one row an alert that waits, or was given up."""
    rows = [
        (
            cell(_moment(one["raised"], today)),
            cell(one["sink"]),
            cell(one["state"], STATE_STYLE.get(one["state"], "")),
            cell(one["attempts"]),
            cell(_moment(one.get("next_attempt"), today) or one.get("waits")),
            cell(one["kind"]),
            cell(one["agent"]),
            cell(one["event"]),
            cell(one.get("incident")),
            cell(one.get("error")),
        )
        for one in document["queue"]
    ]
    return Table(QUEUE_COLUMNS, rows, wraps=True)


def _moment(time: object, today: str) -> str | None:
    """Write a moment, without the date that goes without saying."""
    if time is None:
        return None
    return visible(clock(time).removeprefix(f"{today} " if today else ""))
