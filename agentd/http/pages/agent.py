"""The page of one agent: how it is, what it did, what it left open, what it wrote."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from agentd.http.pages import times
from agentd.http.pages.agentrow import agent_row, budget_text, spark_path
from agentd.http.pages.band import band
from agentd.http.pages.context import Context, Document
from agentd.http.pages.evidence import evidence, looks_of, steps_table, table
from agentd.http.pages.fleet import row_attributes, stream_path
from agentd.http.pages.frame import buttons, page, reason_field, section
from agentd.http.pages.incident import incidents_list, moments
from agentd.http.pages.markup import Child, Markup, join, lines, tag
from agentd.http.pages.slots import Row, Writer
from agentd.reporting.words import duration, percent, size

EVENTS_MAX: Final = 60
STATES_MAX: Final = 12


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown beside an agent's status; None: not there, or not for this person.

    `events` of it, the newest last; `incidents` the newest first, those that are open as whole
    documents where their evidence is to be seen; `checkpoints` and `history` as the commands of
    those names answer; `logs` its last lines.
    """

    events: Sequence[Document] = ()
    incidents: Sequence[Document] = ()
    checkpoints: Document | None = None
    history: Document | None = None
    logs: Sequence[str] | None = None


def agent(context: Context, status: Document, name: str, shown: Shown) -> str:
    """Return the page of the agent of that name, which `status` holds."""
    document = next(one for one in status["agents"] if one.get("name") == name)
    now_ms = times.wall_ms(status.get("time"))
    open_one = next(
        (one for one in shown.incidents if one.get("id") == document.get("open_incident")), None
    )
    row = agent_row(document, now_ms=now_ms, incident=open_one, host=_host(context, status))
    writer = Writer(row, now_ms)
    main = [
        _about(context, document, writer),
        reason_field() if context.operates else None,
        _tiles(writer),
        _open_incident(open_one),
        _incidents(context, shown.incidents),
        tag(
            "div",
            tag(
                "div", _states(document, shown.history, name), _log(shown.logs), _identity(document)
            ),
            tag(
                "div",
                _work(row, shown),
                tag(
                    "div",
                    _limits(document),
                    _unfinished(document, shown.checkpoints, name),
                    _events(shown.events),
                    id="kept",
                    class_="stacked",
                    data_refresh=True,
                ),
            ),
            class_="columns",
        ),
    ]
    return page(
        context,
        f"{name} · {document.get('health')} · agentd",
        main,
        kind="agent",
        tone=row.tone,
        stream=stream_path(context),
        where=str(status.get("host") or ""),
    )


def _host(context: Context, status: Document) -> str:
    if context.host:
        return context.host
    return str(status.get("host") or "") if context.hosts else ""


def _about(context: Context, document: Document, writer: Writer) -> Markup:
    slot = writer.slot
    row: Row = writer.row
    return tag(
        "div",
        tag("h1", slot("name"), slot("host", class_="host")),
        tag("p", document.get("description") or None, class_="quiet"),
        tag(
            "p",
            slot("health", class_="health"),
            " ",
            slot("state"),
            " ",
            slot("uptime"),
            " ",
            slot("cpu", class_="quiet"),
        ),
        tag(
            "p",
            slot("incident", element="a"),
            " ",
            slot("why"),
            " ",
            slot("next_start"),
            class_="why",
        ),
        buttons(context, tuple(row.verbs), slot("name")),
        class_="about",
        **row_attributes(row),
    )


def _tiles(writer: Writer) -> Markup:
    """Return the figures, each with its picture of the last hours."""
    slot, meter, quiet = writer.slot, writer.meter, partial(writer.slot, class_="quiet")
    call = tag("span", slot("call"), " ", slot("call_age"), " ", slot("call_left"), class_="call")
    picture = partial(_picture, writer)
    cells = [
        ("Doing", [slot("doing"), quiet("said"), quiet("goal"), call]),
        ("Silence", [slot("silence"), meter("silence"), picture("heartbeats")]),
        ("Memory", [slot("memory"), slot("full"), meter("memory"), picture("memory")]),
        ("Tokens a cycle", [slot("tokens"), quiet("rate"), picture("tokens")]),
        ("Latency", [slot("latency"), quiet("tasks"), picture("latency")]),
        ("Cost", [slot("cost"), quiet("budget"), meter("budget")]),
        ("Restarts", [slot("restarts"), slot("failures")]),
    ]
    return tag(
        "dl",
        [
            tag("div", tag("dt", title), tag("dd", join(parts)), class_="cell")
            for title, parts in cells
        ],
        class_="tiles",
        **row_attributes(writer.row),
    )


def _picture(writer: Writer, kind: str) -> Markup:
    data = writer.row.data
    return tag(
        "img",
        src=spark_path(data["agent"], kind, data["host"]),
        alt=f"{kind} over the last hours",
        width=240,
        height=40,
        data_spark=kind,
    )


def _open_incident(document: Document | None) -> Markup | None:
    """Return what was seen at the trouble that it is in."""
    seen = (document or {}).get("evidence")
    if not seen or not looks_of(seen):
        return None
    return section(
        f"Seen at incident {(document or {}).get('id')}",
        evidence(seen),
        name="seen",
        class_="card",
        data_refresh="",
    )


def _states(document: Document, history: Document | None, name: str) -> Markup:
    changes = list(document.get("transitions") or ())[-STATES_MAX:]
    rows = (
        [times.shown(one.get("time")), str(one.get("state") or ""), str(one.get("why") or "")]
        for one in reversed(changes)
    )
    return section(
        "States",
        band(history, name) if history else None,
        table(("since", "state", "why"), rows),
        name="states",
        class_="card",
        data_refresh="",
    )


def _work(row: Row, shown: Shown) -> Markup:
    """Return the steps of the last look at it, and below them those that come from now on."""
    looks = (one.get("evidence") or {} for one in shown.incidents)
    steps: Sequence[Mapping[str, Any]] = next(
        (look["last_steps"] for look in looks if look.get("last_steps")), ()
    )
    return section(
        "Recent steps",
        steps_table(steps) if steps else None,
        # The browser adds to it; it isn't fetched again.
        tag("ol", tag("li", row.slots["doing"].text), id="walk", class_="walk"),
        tag("p", "New ones come while this page is open.", class_="quiet"),
        name="steps",
        class_="card",
    )


def _limits(document: Document) -> Markup | None:
    budgets, needs = document.get("budgets"), document.get("depends_on")
    if not budgets and not needs:
        return None
    return section(
        "Budgets" if budgets else "Depends on",
        table(("budget", "spent", "", "period"), map(_budget, budgets)) if budgets else None,
        tag("p", f"Depends on {', '.join(map(str, needs))}.") if needs else None,
        name="budgets",
        class_="card",
    )


def _budget(budget: Document) -> list[Child]:
    known = budget.get("limit") and budget.get("used") is not None
    ends_s = budget.get("period_ends_s")
    return [
        budget_text(budget),
        percent(budget["used"] / budget["limit"]) if known else "",
        "exceeded" if budget.get("exceeded") else "",
        "" if ends_s is None else f"ends in {duration(ends_s)}",
    ]


def _unfinished(document: Document, checkpoints: Document | None, name: str) -> Markup | None:
    """Return what is in flight and what is kept, if there is any of it."""
    kept: Document = next(
        (one for one in (checkpoints or {}).get("agents") or () if one.get("name") == name), {}
    )
    actions = kept.get("unfinished") or document.get("unfinished") or ()
    saved = kept.get("checkpoints") or ()
    if not actions and not saved:
        return None
    return section(
        "Unfinished actions and checkpoints",
        table(("action", "key", "", "age"), map(_action, actions)) if actions else None,
        table(("checkpoint", "time", "size", ""), map(_saved, saved)) if saved else None,
        name="unfinished",
        class_="card",
    )


def _action(one: Document) -> list[Child]:
    age = duration(one.get("age_s"))
    return [str(one.get("action") or ""), str(one.get("key") or ""), _remark(one), age]


def _saved(one: Document) -> list[Child]:
    current = "current" if one.get("current") else ""
    return [str(one.get("seq", "?")), times.shown(one.get("time")), size(one.get("bytes")), current]


def _remark(action: Document) -> str:
    repeat = "may be repeated" if action.get("idempotent") else "must not be repeated"
    return f"{repeat}{', cut off' if action.get('cut_off') else ''}"


def _incidents(context: Context, incidents: Sequence[Document]) -> Markup:
    return section(
        "Incidents",
        incidents_list(context, incidents)
        if incidents
        else tag("p", "None on record.", class_="quiet"),
        name="incidents",
        class_="card",
        data_refresh="",
    )


def _log(texts: Sequence[str] | None) -> Markup:
    if texts is None:
        told = tag("p", "What it writes is for operators: it may hold secrets.", class_="quiet")
    elif texts:
        told = tag("pre", lines(texts), tabindex=0, role="log", aria_label="Last lines of its log")
    else:
        told = tag("p", "It has written nothing.", class_="quiet")
    return section("Log", told, name="log", class_="card", data_refresh="")


def _events(events: Sequence[Document]) -> Markup:
    newest_first = list(reversed(events))[:EVENTS_MAX]
    return section(
        "Events",
        moments(newest_first) if newest_first else tag("p", "None on record.", class_="quiet"),
        name="events",
        class_="card",
    )


def _identity(document: Document) -> Markup:
    ended = document.get("last_exit") or {}
    told: list[tuple[str, Child]] = [
        ("Process", "" if document.get("pid") is None else f"pid {document['pid']}"),
        ("Incarnation", str(document.get("incarnation") or "")),
        ("Execution", str(document.get("execution") or "")),
        ("Model", str(document.get("model") or "")),
        ("Tags", ", ".join(map(str, document.get("tags") or ()))),
        (
            "Last exit",
            [
                " ".join(str(ended[key]) for key in ("reason", "evidence") if ended.get(key)),
                " ",
                times.shown(ended.get("time")),
            ]
            if ended
            else "",
        ),
    ]
    facts = [
        tag("div", tag("dt", title), tag("dd", value), class_="fact")
        for title, value in told
        if value
    ]
    return section(
        "Identity",
        tag("dl", facts, class_="facts"),
        name="identity",
        class_="card",
        data_refresh="",
    )
