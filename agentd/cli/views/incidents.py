"""Incidents (CONTRACT 6.1): the list as a table, and one as it is read at 3 a.m."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from agentd.cli.views.evidence import evidence_text
from agentd.cli.views.table import Cell, Table, cell, plain, without
from agentd.cli.views.words import clock, shortened, wrapped
from agentd.reporting.words import duration, visible

Document = dict[str, Any]

COLUMNS: Final = (">ID", "SEVERITY", "AGENT", "CAUSE", "OPENED", ">FOR", "STATE", "SUMMARY")
SPARE: Final = ("CAUSE", ">FOR", "SEVERITY", "OPENED")
SEVERITY_STYLE: Final = {"warning": "yellow", "critical": "bold red"}
AGENTS_SHOWN: Final = 6
SUMMARY_CHARS_MAX: Final = 110
"""In the list; all of it is shown with its incident."""
QUOTED_CHARS_MIN: Final = 24
"""Shorter messages are no burden to read again."""

COMMAND_CHARS_MAX: Final = 40
"""Beside longer commands the reasons of the others would be pushed off the screen."""
FIRST_ROWS: Final = 20
LAST_ROWS: Final = 30
"""Of a long incident this much is a screen or two; `--json` has the rest."""

# Steps of a start, between its cause and its outcome, and alerts, which are counted below.
_UNTOLD: Final = frozenset(("agent.starting", "agent.started", "agent.ready", "alert.sent"))
INDENT: Final = 2
SUBJECT: Final = 13


def incidents_table(document: Document, today: str = "") -> Table:
    """Lay out incidents, the newest first; those of `today` (ISO) without their date."""
    incidents = document["incidents"]
    rows = [_row(incident, str(document.get("time") or ""), today) for incident in incidents]
    return Table(COLUMNS, rows, _footer(incidents), spare=SPARE, wraps=True)


def _row(incident: Document, now: str, today: str) -> list[Cell]:
    severity = str(incident.get("severity", ""))
    return [
        cell(incident.get("id")),
        cell(severity, SEVERITY_STYLE.get(severity, "") if incident.get("open") else ""),
        cell(_who(incident)),
        cell(incident.get("cause")),
        cell(_moment(incident.get("opened"), today)),
        cell(_lasted(incident, now)),
        cell(_state(incident)),
        cell(shortened(visible(incident.get("summary") or ""), SUMMARY_CHARS_MAX)),
    ]


def _footer(incidents: Sequence[Document]) -> str:
    if not incidents:
        return "no incidents"
    still_open = [incident for incident in incidents if incident.get("open")]
    first = (still_open or incidents)[0].get("id")
    told = f"{len(still_open)} open, {len(incidents) - len(still_open)} resolved"
    return f"{told}; agentctl incident {first}"


def _who(incident: Document) -> str:
    """Name the first agent, or what it is about where that is none: a host, a dependency."""
    agent = incident.get("agent")
    more = len(incident.get("agents") or ()) - bool(agent)
    return f"{agent or incident.get('subject') or '-'}{f' +{more}' if more > 0 else ''}"


def _state(incident: Document) -> str:
    if not incident.get("open"):
        return "resolved"
    return "acknowledged" if incident.get("acknowledged_by") else "open"


def _lasted(incident: Document, now: str) -> str:
    return duration(_between_s(incident.get("opened"), incident.get("resolved") or now))


def _between_s(since: object, until: object) -> float | None:
    from datetime import datetime  # noqa: PLC0415 - only here

    try:
        lasted = datetime.fromisoformat(str(until)) - datetime.fromisoformat(str(since))
    except ValueError:
        return None
    return max(0.0, lasted.total_seconds())


def _moment(time: object, today: str) -> str:
    moment = clock(time) if time else "-"
    return moment.removeprefix(f"{today} ") if today else moment


def incident_text(incident: Document, width: int | None = None) -> str:
    """Write all about one incident; `width` is that of the terminal, None: break no line."""
    parts = [
        _head(incident, width),
        _section("seen", evidence_text(incident.get("evidence") or {}, _inner(width))),
        _section("timeline", _timeline(incident, width)),
        _section("done", _done(incident, width)),
        _section("now", _all_now(incident.get("now") or ())),
        _section("next", _next(incident)),
    ]
    return "\n\n".join(part for part in parts if part)


def _inner(width: int | None) -> int | None:
    return None if width is None else width - INDENT


def _section(title: str, text: str) -> str:
    if not text:
        return ""
    return "\n".join([title, *(" " * INDENT + line for line in text.splitlines())])


def _head(incident: Document, width: int | None) -> str:
    """Write what broke, since when, and whether somebody knows."""
    now = str(incident.get("time") or "")
    lasted = _lasted(incident, now)
    state = f"open for {lasted}" if incident.get("open") else f"resolved after {lasted}"
    severity = visible(incident.get("severity", ""))
    lines = [f"incident {incident.get('id')}: {visible(_who(incident))}, {severity}, {state}"]
    for subject, text in _subjects(incident):
        if text:
            shown = visible(text)
            told = [shown] if width is None else wrapped(shown, width - SUBJECT)
            lines.append(f"{' ' * INDENT}{subject:<{SUBJECT - INDENT}}{told[0]}")
            lines += (" " * SUBJECT + more for more in told[1:])
    return "\n".join(lines)


def _subjects(incident: Document) -> list[tuple[str, str]]:
    detected, recovered = incident.get("time_to_detect_s"), incident.get("time_to_recover_s")
    agents = incident.get("agents") or ()
    known = incident.get("acknowledged_by")
    return [
        ("what", str(incident.get("summary") or "")),
        ("cause", str(incident.get("cause") or "")),
        ("agents", _named(agents) if len(agents) > 1 else ""),
        (
            "began",
            f"{_moment(incident.get('began') or incident.get('opened'), '')}"
            + (f", noticed after {duration(detected)}" if detected else ", noticed at once"),
        ),
        (
            "recovered",
            f"{_moment(incident['recovered'], '')}, after {duration(recovered)}"
            if incident.get("recovered")
            else "",
        ),
        (
            "resolved",
            f"{_moment(incident['resolved'], '')}: {incident.get('resolution') or 'well again'}"
            if incident.get("resolved")
            else "",
        ),
        ("restarts", str(incident.get("restarts") or "")),
        ("reopened", _times(incident.get("reopened") or 0)),
        ("known to", str(known) if known else "nobody yet" if incident.get("open") else ""),
    ]


def _times(count: int) -> str:
    return "" if not count else "once" if count == 1 else f"{count} times"


def _named(agents: Sequence[object]) -> str:
    more = len(agents) - AGENTS_SHOWN
    named = ", ".join(map(str, agents[:AGENTS_SHOWN]))
    return f"{named} and {more} more" if more > 0 else named


def _timeline(incident: Document, width: int | None) -> str:
    entries = [
        entry for entry in incident.get("timeline") or () if entry.get("event") not in _UNTOLD
    ]
    rows = [
        [
            cell(_moment(entry.get("time"), _day(incident))),
            cell(entry.get("agent")),
            cell(entry.get("event")),
            cell(message),
        ]
        for entry, message in _briefly(entries)
    ]
    table = Table(("TIME", "AGENT", "EVENT", "MESSAGE"), _ends_of(rows), wraps=True)
    return plain(_alone(table, incident), _inner(width))


def _ends_of(rows: list[list[Cell]]) -> list[list[Cell]]:
    """Return the rows, or of very many the first and the last, with a word on those between."""
    between = len(rows) - FIRST_ROWS - LAST_ROWS
    if between <= 0:
        return rows
    gap = [*(cell("...") for _ in rows[0][:-1]), cell(f"{between} more: --json has them")]
    return [*rows[:FIRST_ROWS], gap, *rows[-LAST_ROWS:]]


def _done(incident: Document, width: int | None) -> str:
    """Write what was done and by whom, and below it how often people were told."""
    deeds = incident.get("actions") or ()
    alerts = [deed for deed in deeds if deed.get("event") == "alert.sent"]
    rows = [
        [
            cell(_moment(same[0].get("time"), _day(incident))),
            cell(_of_all(same)),
            cell(same[0].get("by")),
            # The first clause says it; what follows is evidence, which stands in the timeline.
            cell(str(same[0].get("message") or "").split("; ")[0]),
        ]
        for same in _alike(deed for deed in deeds if deed not in alerts)
    ]
    table = Table(("TIME", "AGENT", "BY", "WHAT"), _ends_of(rows), wraps=True)
    lines = [plain(_alone(table, incident), _inner(width))] if rows else []
    if alerts:
        last = _moment(alerts[-1].get("time"), _day(incident))
        count = f"{len(alerts)} alerts" if len(alerts) > 1 else "1 alert"
        lines.append(f"{count} sent, the last {last}: agentctl alerts")
    return "\n".join(lines)


def _alike(deeds: Iterable[Document]) -> Iterator[list[Document]]:
    """Yield deeds, those together that follow each other and differ in nothing but the agent."""
    same: list[Document] = []
    agents: set[object] = set()
    for deed in deeds:
        differs = same and any(deed.get(name) != same[0].get(name) for name in ("by", "message"))
        if differs or deed.get("agent") in agents:
            yield same
            same, agents = [], set()
        same.append(deed)
        agents.add(deed.get("agent"))
    if same:
        yield same


def _of_all(deeds: Sequence[Document]) -> str:
    more = len(deeds) - 1
    return f"{deeds[0].get('agent') or '-'}{f' +{more}' if more > 0 else ''}"


def _briefly(entries: Iterable[Document]) -> Iterator[tuple[Document, str]]:
    """Yield entries with their messages; a long one is not said again by those that quote it."""
    said = ""
    for entry in entries:
        message = str(entry.get("message") or "")
        if said and said in message:
            yield entry, message.replace(said, "(as above)")
            continue
        if len(message) >= QUOTED_CHARS_MIN:
            said = message
        yield entry, message


def _alone(table: Table, incident: Document) -> Table:
    """Leave the agents out where there is but one."""
    return table if len(incident.get("agents") or ()) > 1 else without(table, "AGENT")


def _day(incident: Document) -> str:
    """Return the day on which it began, which goes without saying below the headline."""
    return clock(incident.get("began") or incident.get("opened"))[:10]


def _all_now(agents: Sequence[Document]) -> str:
    """Write how they are, those who are not well first; of many the first few."""
    ill_first = sorted(agents, key=lambda agent: agent.get("health") == "healthy")
    lines = [_now(agent) for agent in ill_first[:AGENTS_SHOWN]]
    rest = ill_first[AGENTS_SHOWN:]
    if rest:
        well = sum(agent.get("health") == "healthy" for agent in rest)
        lines.append(f"and {len(rest)} more, {well} of them healthy: agentctl status")
    return "\n".join(lines)


def _now(agent: Document) -> str:
    waits = agent.get("cooldown_s")
    parts = [
        str(agent.get("state")),
        str(agent.get("health")),
        "" if agent.get("intent") == "up" else f"meant to be {agent.get('intent')}",
        str(agent.get("reason") or ""),
        "" if waits is None else f"next start in {duration(waits)}",
        "held" if agent.get("held") else "",
    ]
    return f"{visible(agent.get('name'))}: {visible(', '.join(part for part in parts if part))}"


def _next(incident: Document) -> str:
    steps = incident.get("next") or ()
    if not steps:
        return "" if incident.get("open") else "nothing: it is over"
    wide = min(max(len(str(step.get("command"))) for step in steps), COMMAND_CHARS_MAX)
    return "\n".join(
        f"{visible(step.get('command')):<{wide}}  {visible(step.get('why') or '')}"
        for step in steps
    )
