"""All rows of the page from the documents of one moment, and what changed since the last."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from agentd.http.pages.agentrow import agent_row, incident_path
from agentd.http.pages.context import Context, Document, HostView
from agentd.http.pages.judging import TITLES, Counts, Group, headline
from agentd.http.pages.slots import Row, Slot, Tone, moment_ms
from agentd.http.pages.times import wall_ms
from agentd.reporting.words import SENSELESS, number, size

PAGE_KEY: Final = ":page"
NAMED_MAX: Final = 4


@dataclass(frozen=True, slots=True)
class View:
    """Everything that changes on the page, as it was at `now_ms` (milliseconds since 1970)."""

    now_ms: int
    rows: dict[str, Row]

    def group(self, group: Group) -> list[Row]:
        """Return the rows of a group in their order."""
        return sorted(
            (row for row in self.rows.values() if row.group == group), key=lambda row: row.order
        )

    def of_kind(self, kind: str) -> list[Row]:
        """Return the rows of one kind, as they came."""
        return [row for row in self.rows.values() if row.kind == kind]


def live(context: Context, status: Document, incidents: Sequence[Document]) -> View:
    """Judge and write every agent of every host; `incidents` are the open ones of this host."""
    now_ms = wall_ms(status.get("time"))
    rows = list(_own_rows(context, status, incidents, now_ms))
    hosts, seen = [], []
    for told in context.hosts:
        own = told.name == status.get("host")
        host, found = (told, []) if own else _rows_of(told, now_ms)
        seen.append(host)
        hosts.append(_host_row(host))
        rows += found
    context = replace(context, hosts=seen)
    page = _page_row(context, status, [row for row in rows if row.group], now_ms)
    return View(now_ms, {row.key: row for row in (page, *hosts, *rows)})


def changes(before: View | None, after: View) -> dict[str, Any]:
    """Return what the browser is told: rows that are new or differ, and those that are gone.

    Without `before` it is all of it, and the browser drops what it had. Never empty: the time
    alone says that the page is still true.
    """
    old = {} if before is None else before.rows
    return {
        "whole": before is None,
        "now": after.now_ms,
        "rows": {
            key: row.document()
            for key, row in after.rows.items()
            if key not in old or old[key] != row
        },
        "removed": [key for key in old if key not in after.rows],
    }


def _own_rows(
    context: Context, status: Document, incidents: Sequence[Document], now_ms: int
) -> Iterator[Row]:
    host = str(status.get("host") or "") if context.hosts else context.host
    by_number = {incident.get("id"): incident for incident in incidents}
    for agent in status.get("agents") or ():
        incident = by_number.get(agent.get("open_incident"))
        yield agent_row(agent, now_ms=now_ms, incident=incident, host=host)
    for incident in incidents:
        if not incident.get("agent"):
            yield _notice(incident, host)


def _rows_of(host: HostView, now_ms: int) -> tuple[HostView, list[Row]]:
    """Return another host with its agents; of a lost one as they were last heard of.

    A status that makes no sense costs the host that sent it its rows, and nobody else theirs.
    """
    if host.status is None:
        return host, []
    try:
        then_ms = wall_ms(host.status.get("time")) or now_ms
        rows = [
            agent_row(agent, now_ms=then_ms, host=host.name)
            for agent in host.status.get("agents") or ()
        ]
    except SENSELESS:
        return replace(host, state="lost", status=None, error="its status makes no sense"), []
    return host, rows if _is_known(host) else [_unknown(row, host) for row in rows]


def _is_known(host: HostView) -> bool:
    """Whether its status is true now: it isn't while the host, its agentd or the fleet is away."""
    return host.state == "up" and not host.error


def _unknown(row: Row, host: HostView) -> Row:
    """Return the row of an agent of which nothing is heard: what it was isn't claimed to be so."""
    slots = {
        **{name: _still(slot) for name, slot in row.slots.items()},
        "health": Slot("unknown"),
        "state": Slot("not known" if host.state == "up" else "host lost"),
        "why": Slot(f"nothing is heard of {host.name}; what is shown was true before", tone="bad"),
    }
    return Row(
        kind=row.kind,
        key=row.key,
        slots=slots,
        group=Group.HAND,
        order=row.order,
        tone="warn",
        verbs=(),
        data=row.data,
    )


def _still(slot: Slot) -> Slot:
    """Return the slot without running time, meter and tone: nothing that looks like knowledge."""
    runs = slot.since_ms is not None or slot.until_ms is not None
    return Slot("" if runs else slot.text, href=slot.href)


def _notice(incident: Document, host: str) -> Row:
    """Return the row of an incident that is about no agent: the disk, the daemon, a host."""
    known = incident.get("acknowledged_by")
    tone: Tone = "warn" if known or incident.get("severity") != "critical" else "bad"
    return Row(
        kind="notice",
        key=f"incident:{host}:{incident.get('id')}",
        slots={
            "incident": Slot(
                f"incident {incident.get('id')}", href=incident_path(incident.get("id"), host)
            ),
            "why": Slot(str(incident.get("summary") or incident.get("cause") or ""), tone=tone),
            "known": Slot(f"known to {known}" if known else ""),
        },
        group=Group.NEEDS if tone == "bad" else Group.HAND,
        order=f"0{incident.get('id')}",
        tone=tone,
        verbs=() if known else ("ack",),
        data={
            "incident": str(incident.get("id")),
            "host": host,
            "words": "",
            "subject": str(incident.get("subject") or ""),
        },
    )


def _host_row(host: HostView) -> Row:
    agents = (host.status or {}).get("agents") or ()
    lost, known = host.state != "up", _is_known(host)
    healthy = sum(agent.get("health") == "healthy" for agent in agents)
    return Row(
        kind="host",
        key=f"host:{host.name}",
        slots={
            "name": Slot(host.name),
            "state": Slot("lost" if lost else "up", tone="good" if known else "bad"),
            "seen": Slot(
                " ago" if lost else "",
                lead="last seen " if lost else "",
                since_ms=(wall_ms(host.seen) or None) if lost else None,
            ),
            "agents": Slot(f"{healthy} of {len(agents)} healthy" if known else "not known"),
            "error": Slot(host.error or "", tone="bad"),
        },
        tone="good" if known else "bad",
        data={"host": host.name},
    )


def _page_row(context: Context, status: Document, rows: Sequence[Row], now_ms: int) -> Row:
    counts = _counts(rows)
    lost = [host.name for host in context.hosts if host.state != "up"]
    daemon = status.get("daemon") or {}
    text, tone = headline(
        _counts(row for row in rows if row.kind == "agent"),
        _counts(row for row in rows if row.kind == "notice" and not _is_of(row, lost)),
        lost,
        str(daemon.get("storage") or ""),
    )
    unknown = [
        host.name
        for host in context.hosts
        if not _is_known(host) and host.name != status.get("host")
    ]
    if unknown and tone != "bad":
        more = f" and {len(unknown) - NAMED_MAX} more" if len(unknown) > NAMED_MAX else ""
        text, tone = f"Nothing is heard of {', '.join(unknown[:NAMED_MAX])}{more}.", "bad"
    return Row(
        kind="page",
        key=PAGE_KEY,
        slots={
            "headline": Slot(text, tone=tone),
            "detail": Slot(_detail(rows)),
            **{f"count_{group}": Slot(str(counts[group])) for group in Group},
            **_daemon(daemon, now_ms),
        },
        tone=tone,
        data={
            "title": f"{_title(counts, lost)} · {status.get('host') or 'agentd'}",
            "host": context.host,
        },
    )


def _counts(rows: Iterable[Row]) -> Counts:
    return Counter(row.group for row in rows)


def _is_of(notice: Row, hosts: Sequence[str]) -> bool:
    """Whether the incident is about one of these hosts, and tells nothing beside that."""
    return notice.data["subject"] in {f"host {name}" for name in hosts}


def _detail(rows: Sequence[Row]) -> str:
    """Name who needs you, or else who is in hand."""
    for group in (Group.NEEDS, Group.HAND):
        found = sorted((row for row in rows if row.group == group), key=lambda row: row.order)
        if found:
            named = ", ".join(_name(row) for row in found[:NAMED_MAX])
            more = len(found) - NAMED_MAX
            return f"{TITLES[group]}: {named}" + (f" and {more} more" if more > 0 else "")
    return ""


def _name(row: Row) -> str:
    return row.slots["incident"].text if row.kind == "notice" else row.key


def _title(counts: Counts, lost: Sequence[str]) -> str:
    """Return what a tab in the background shows."""
    if lost:
        return f"{len(lost)} lost"
    if counts[Group.NEEDS]:
        return f"{counts[Group.NEEDS]} need{'s' if counts[Group.NEEDS] == 1 else ''} you"
    return "in hand" if counts[Group.HAND] else "fine"


def _daemon(daemon: Document, now_ms: int) -> dict[str, Slot]:
    return {
        "daemon_version": Slot(f"agentd {daemon.get('version') or '?'}"),
        "daemon_uptime": Slot(lead="up ", since_ms=moment_ms(daemon.get("uptime_s"), now_ms)),
        "daemon_memory": Slot(size(daemon.get("rss_bytes"))),
        "daemon_heartbeats": Slot(f"{number(daemon.get('heartbeats'))} heartbeats"),
        "daemon_storage": Slot(f"storage {daemon.get('storage') or '?'}"),
    }
