"""Checkpoints and actions in flight as a table."""

from typing import Any, Final

from agentd.cli.views.table import Cell, Table, cell
from agentd.cli.views.words import clock, size
from agentd.reporting.words import duration

Document = dict[str, Any]
COLUMNS: Final = ("AGENT", "WHAT", "TIME", ">SIZE", "INCARNATION", "REMARK")


def checkpoint_table(document: Document, today: str = "") -> Table:
    """Lay out what is in flight, then what is kept, agent by agent."""
    rows: list[list[Cell]] = []
    for agent in document["agents"]:
        rows += [_action(agent, action, today) for action in agent.get("unfinished", ())]
        rows += [_kept(agent, kept, today) for kept in agent.get("checkpoints", ())]
    footer = "" if rows else "no checkpoints, and nothing in flight"
    return Table(COLUMNS, rows, footer, spare=("INCARNATION", ">SIZE"), wraps=True)


def _action(agent: Document, action: Document, today: str) -> list[Cell]:
    repeat = "idempotent" if action.get("idempotent") else "not idempotent"
    flight = "cut off" if action.get("cut_off") else "in flight"
    remark = f"{action.get('action', '')}, {repeat}, {flight} for {duration(action.get('age_s'))}"
    if action.get("accepted"):
        remark += ", accepted"
    style = "yellow" if action.get("cut_off") and not action.get("accepted") else ""
    return [
        cell(agent["name"]),
        cell(f"action {action.get('key', '')}"),
        cell(_moment(action.get("at"), today)),
        cell("-"),
        cell(action.get("incarnation") or f"run {action.get('run', '?')}"),
        cell(remark, style),
    ]


def _kept(agent: Document, kept: Document, today: str) -> list[Cell]:
    remark = "current" if kept.get("current") else ""
    if kept.get("execution") != agent.get("execution"):
        remark = "of an execution that has ended"
    return [
        cell(agent["name"]),
        cell(f"checkpoint {kept.get('seq', '?')}"),
        cell(_moment(kept.get("time"), today)),
        cell(size(kept.get("bytes"))),
        cell(kept.get("incarnation")),
        cell(remark),
    ]


def _moment(time: object, today: str) -> str:
    moment = clock(time)
    return moment.removeprefix(f"{today} ") if today else moment
