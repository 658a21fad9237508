"""One agent with its recent past: what happened to it, and what it wrote last."""

from typing import Any

from agentd.cli.invocation import Invocation
from agentd.cli.views.details import details
from agentd.cli.views.journal import event_table
from agentd.cli.views.table import plain, without
from agentd.client import AgentdError
from agentd.reporting.words import visible

EVENTS = 8
LOG_LINES = 10


def details_with_past(call: Invocation, agent: dict[str, Any]) -> str:
    """Ask for events and log of an agent and write them below what its status says."""
    width = call.width()
    parts = [details(agent, width)]
    events = call.client.events_page([agent["name"]], limit=EVENTS)["events"]
    if events:
        table = without(event_table(events, call.today()), "AGENT")
        parts.append("recent\n" + _indented(plain(table, width and width - 2)))
    lines = _log(call, agent["name"])
    if lines:
        parts.append("log\n" + _indented("\n".join(lines)))
    return "\n\n".join(parts)


def _log(call: Invocation, name: str) -> list[str]:
    try:
        logs = call.client.logs([name], lines=LOG_LINES)["logs"]
    except AgentdError as error:
        # A viewer may not read what agents write, and external agents have no log.
        if error.code in {"forbidden", "no_such_agent", "unknown_command", "conflict"}:
            return []
        raise
    return [visible(line, tabs=True) for log in logs for line in log["lines"]]


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
