"""The hosts of a fleet as tables: one row an agent, or one row a host."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from agentd.cli.views.agents import (
    COLUMNS,
    CUT,
    HEALTHS,
    SPARE,
    status_table,
    summary,
    verdict,
)
from agentd.cli.views.journal import event_table
from agentd.cli.views.table import Cell, Table, cell
from agentd.cli.views.words import clock
from agentd.reporting.words import SENSELESS, visible

Document = dict[str, Any]
Shown = TypeVar("Shown")

HOST_COLUMNS: Final = (
    "HOST",
    "STATE",
    "SEEN",
    ">AGENTS",
    "HEALTH",
    ">INCIDENTS",
    "VERSION",
    "ERROR",
)
STATE_STYLE: Final = {"up": "green", "lost": "bold red"}


def fleet_table(hosts: Sequence[Document]) -> Table:
    """Lay out all agents of all hosts. Of a lost one nothing is shown as if it were so still."""
    return _bearing(_fleet_table, hosts)


def _fleet_table(hosts: Sequence[Document]) -> Table:
    rows: list[Sequence[Cell]] = []
    for host in hosts:
        if host["state"] == "up" and host.get("status"):
            shown = status_table(host["status"]).rows
            rows += [(cell(host["host"]), *row) for row in shown]
            if not shown:
                rows.append(_row(host, "no agents"))
        else:
            rows.append(_row(host, _why(host)))
    return Table(("HOST", *COLUMNS), rows, footer(hosts), CUT, SPARE, wraps=_has_trouble(hosts))


def hosts_table(hosts: Sequence[Document]) -> Table:
    """Lay out a row a host."""
    return _bearing(_hosts_table, hosts)


def _hosts_table(hosts: Sequence[Document]) -> Table:
    rows = [_host_row(host) for host in hosts]
    return Table(HOST_COLUMNS, rows, footer(hosts), spare=("VERSION", "SEEN"), wraps=True)


def footer(hosts: Sequence[Document]) -> str:
    """Write `4 hosts, 1 lost; 15 healthy`; agents of lost hosts are not counted as anything."""
    if not hosts:
        return "no hosts"
    lost = sum(host["state"] != "up" for host in hosts)
    counts = [
        (host["status"] or {}).get("summary") or {} for host in hosts if host["state"] == "up"
    ]
    total = {name: sum(int(one.get(name) or 0) for one in counts) for name in HEALTHS}
    told = f"{len(hosts)} hosts" if len(hosts) > 1 else "1 host"
    return f"{told}{f', {lost} lost' if lost else ''}; {summary({'summary': total})}"


def fleet_verdict(hosts: Sequence[Document]) -> tuple[int, str]:
    """Judge the fleet as a monitoring plugin: a lost host is critical, its agents aren't known."""
    return _bearing(_fleet_verdict, hosts) if hosts else (3, "agentd UNKNOWN: no hosts")


def _fleet_verdict(hosts: Sequence[Document]) -> tuple[int, str]:
    level, said = 0, []
    ranks = (0, 3, 1, 2)
    for host in hosts:
        if host["state"] != "up":
            code, text = 2, _why(host)
        elif not host.get("status"):
            code, text = 3, _why(host)
        else:
            code, line = verdict(host["status"])
            text = line.partition(": ")[2]
        level = max(level, code, key=ranks.index)
        if code:
            said.append(f"{host['host']}: {text}")
    name = ("OK", "WARNING", "CRITICAL", "UNKNOWN")[level]
    return level, visible(f"agentd {name}: {'; '.join(said) or footer(hosts)}")


def fleet_events(events: Sequence[Document], today: str = "") -> Table:
    """Lay out events of all hosts."""
    table = event_table(list(events), today)
    rows = [(cell(event.get("host")), *row) for event, row in zip(events, table.rows, strict=True)]
    return table._replace(columns=("HOST", *table.columns), rows=rows)


def _bearing(show: Callable[[Sequence[Document]], Shown], hosts: Sequence[Document]) -> Shown:
    """Return what is shown of all hosts; a status that makes no sense costs its own host alone."""

    def borne(host: Document) -> Document:
        try:
            show([host])
        except SENSELESS:
            return {**host, "status": None, "error": "its status makes no sense"}
        return host

    try:
        return show(hosts)
    except SENSELESS:
        return show([borne(host) for host in hosts])


def _row(host: Document, remark: str) -> list[Cell]:
    state = str(host["state"])
    between = [cell(None)] * (len(COLUMNS) - 3)
    styled = Cell(visible(state), STATE_STYLE.get(state, "") if state != "up" else "")
    return [cell(host["host"]), cell(None), styled, *between, cell(remark)]


def _why(host: Document) -> str:
    known = len((host.get("status") or {}).get("agents") or ())
    last = f"{known} agents when it was last seen" if known and host["state"] != "up" else ""
    return (
        ", ".join(part for part in (str(host.get("error") or ""), last) if part) or "no status yet"
    )


def _host_row(host: Document) -> tuple[Cell, ...]:
    status = host.get("status") or {}
    agents = status.get("agents") or ()
    is_up = host["state"] == "up"
    open_ones = {one["open_incident"] for one in agents if one.get("open_incident") is not None}
    return (
        cell(host["host"]),
        cell(host["state"], STATE_STYLE.get(str(host["state"]), "")),
        cell(clock(host["seen"]) if host.get("seen") else None),
        cell(len(agents) if status else None),
        cell(summary(status) if is_up and status else None),
        cell(len(open_ones) if is_up and status else None),
        cell((status.get("daemon") or {}).get("version")),
        cell(host.get("error")),
    )


def _has_trouble(hosts: Sequence[Document]) -> bool:
    return any(host["state"] != "up" or not host.get("status") for host in hosts)
