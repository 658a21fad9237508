"""Events (CONTRACT 6.2) as lines of text."""

from typing import Any, Final

from agentd.cli.views.table import Table, cell
from agentd.cli.views.words import clock
from agentd.reporting.words import visible

SEVERITY_STYLE: Final = {"warning": "yellow", "critical": "bold red"}
COLUMNS: Final = ("TIME", "SEVERITY", "AGENT", "EVENT", "MESSAGE")


def event_line(event: dict[str, Any], today: str = "") -> str:
    """Write one event, aligned as well as a stream allows; one of `today` without its date."""
    return (
        f"{_moment(event, today)}  {visible(event.get('severity', '')):<8}  "
        f"{visible(event.get('agent') or '-'):<16}  {visible(event.get('event', '')):<18}  "
        f"{_message(event)}"
    )


def event_table(events: list[dict[str, Any]], today: str = "") -> Table:
    """Lay out events in the order they came in; those of `today` (ISO) without their date."""
    rows = [
        (
            cell(_moment(event, today)),
            cell(event.get("severity"), SEVERITY_STYLE.get(str(event.get("severity")), "")),
            cell(event.get("agent")),
            cell(event.get("event")),
            cell(_message(event)),
        )
        for event in events
    ]
    return Table(COLUMNS, rows, "" if rows else "no events", spare=("SEVERITY",), wraps=True)


def _moment(event: dict[str, Any], today: str) -> str:
    moment = clock(event.get("time"))
    return moment.removeprefix(f"{today} ") if today else moment


def _message(event: dict[str, Any]) -> str:
    reason, message = event.get("reason"), visible(event.get("message") or "")
    if not reason or str(reason) in message:
        return message
    return f"{visible(reason)}: {message}" if message else visible(reason)
