"""The page of one incident: what broke, what was seen, what was done, what to do next."""

from collections.abc import Sequence
from typing import Final

from agentd.http.pages import times
from agentd.http.pages.agentrow import agent_path, incident_path
from agentd.http.pages.context import Context, Document
from agentd.http.pages.evidence import evidence, table
from agentd.http.pages.fleet import stream_path
from agentd.http.pages.frame import buttons, page, reason_field, section
from agentd.http.pages.markup import Child, Markup, tag
from agentd.http.pages.slots import Tone
from agentd.reporting.words import duration

# Steps of a start, between its cause and its outcome; alerts are counted.
_UNTOLD: Final = frozenset(("agent.starting", "agent.started", "agent.ready", "alert.sent"))
SEVERITY_TONE: Final[dict[str, Tone]] = {"critical": "bad", "warning": "warn", "info": "rest"}
MOMENTS_MAX: Final = 200


def incident(context: Context, document: Document) -> str:
    """Return the page of one incident, by its whole document."""
    number, summary = document.get("id"), str(document.get("summary") or "")
    is_open = bool(document.get("open"))
    tone = tone_of(document)
    known = bool(document.get("acknowledged_by"))
    main = [
        tag(
            "div",
            tag(
                "div",
                tag("h1", f"Incident {number}: {_who(document)}"),
                tag("p", summary),
                _state(document),
                _next(document),
                id="what",
                data_refresh=True,
                class_="about",
            ),
            buttons(context, ("ack",) if is_open and not known else ()),
            class_="card",
            data_row=f"incident:{number}",
            data_incident=str(number),
            data_host=context.host,
        ),
        reason_field() if context.operates and is_open and not known else None,
        tag("div", _facts(context, document), _agents_now(context, document), class_="pair"),
        section(
            "Seen",
            evidence(document.get("evidence") or {}),
            name="seen",
            class_="card",
            data_refresh="",
        ),
        tag("div", _timeline(document), _done(document), class_="pair"),
    ]
    return page(
        context,
        f"Incident {number}: {document.get('agent') or context.host or 'agentd'}",
        main,
        kind="incident",
        tone=tone,
        stream=stream_path(context),
    )


def _who(document: Document) -> str:
    more = len(document.get("agents") or ()) - 1
    return f"{document.get('agent') or 'agentd'}{f' and {more} more' if more > 0 else ''}"


def tone_of(document: Document) -> Tone:
    """Return how bad it is now."""
    if not document.get("open"):
        return "good"
    if document.get("acknowledged_by"):
        return "warn"
    return SEVERITY_TONE.get(str(document.get("severity")), "warn")


def incidents_list(context: Context, incidents: Sequence[Document]) -> Markup:
    """Return incidents as a list, those that are open first."""
    found = sorted(incidents, key=lambda one: (not one.get("open"), -int(one.get("id") or 0)))
    return tag("ul", [_listed(context, one) for one in found], class_="incidents")


def _listed(context: Context, document: Document) -> Markup:
    lasted = times.between_s(document.get("opened"), document.get("resolved"))
    number = document.get("id")
    return tag(
        "li",
        tag(
            "p",
            tag("a", f"incident {number}", href=incident_path(number, context.host)),
            severity(document),
            tag("span", str(document.get("cause") or "")),
            times.shown(document.get("opened")),
            tag("span", f"for {duration(lasted)}", class_="quiet") if lasted is not None else None,
        ),
        tag("p", str(document.get("summary") or "")),
    )


def severity(document: Document) -> Markup:
    """Return how bad, or that it is over."""
    word = str(document.get("severity") or "") if document.get("open") else "resolved"
    return tag("span", word, class_="health", data_tone=tone_of(document))


def moments(events: Sequence[Document], *, agents: bool = False) -> Markup:
    """Return events as a list, in the order given."""
    return tag("ol", [_moment(event, agents=agents) for event in events], class_="moments")


def _moment(event: Document, *, agents: bool) -> Markup:
    tone = SEVERITY_TONE.get(str(event.get("severity")), "")
    name = str(event.get("agent") or "") if agents else ""
    return tag(
        "li",
        times.shown(event.get("time")),
        tag("span", f"{name} " if name else "", str(event.get("event") or ""), class_="word"),
        str(event.get("message") or ""),
        data_tone=tone or None,
    )


def _state(document: Document) -> Markup:
    state: list[Child] = [severity(document)]
    if document.get("open"):
        lasted = times.between_s(document.get("opened"), document.get("time"))
        told = "" if lasted is None else f" for {duration(lasted)}"
        by = document.get("acknowledged_by")
        state.append(f" · open{told} · {f'known to {by}' if by else 'nobody has acknowledged it'}")
    else:
        lasted = times.between_s(document.get("opened"), document.get("resolved"))
        how = document.get("resolution") or "well again"
        state.append(f" after {duration(lasted)}: {how}")
    return tag("p", state)


def _facts(context: Context, document: Document) -> Markup:
    named: list[Child] = []
    for name in document.get("agents") or ():
        named += [tag("a", name, href=agent_path(str(name), context.host)), " "]
    detected = document.get("time_to_detect_s")
    told: list[tuple[str, Child]] = [
        ("Cause", str(document.get("cause") or "")),
        ("Agents", named),
        ("Began", times.shown(document.get("began") or document.get("opened"))),
        ("Noticed", f"after {duration(detected)}" if detected else "at once"),
        ("Recovered", _if_known(document.get("recovered"))),
        ("Resolved", _if_known(document.get("resolved"))),
        ("Restarts", str(document.get("restarts") or 0)),
        ("Reopened", str(document.get("reopened") or 0)),
    ]
    facts = [
        tag("div", tag("dt", title), tag("dd", value), class_="fact")
        for title, value in told
        if value
    ]
    return section(
        "Facts", tag("dl", facts, class_="facts"), name="facts", class_="card", data_refresh=""
    )


def _if_known(time: object) -> Child:
    return times.shown(time) if time else None


def _agents_now(context: Context, document: Document) -> Markup:
    rows = (
        [
            tag("a", one.get("name"), href=agent_path(str(one.get("name")), context.host)),
            " · ".join(
                str(part)
                for part in (
                    one.get("state"),
                    one.get("health"),
                    one.get("reason"),
                    "held" if one.get("held") else None,
                )
                if part
            ),
        ]
        for one in document.get("now") or ()
    )
    return section("Now", table(("agent", "is"), rows), name="now", class_="card", data_refresh="")


def _next(document: Document) -> Markup | None:
    steps = document.get("next") or ()
    if not steps:
        return None
    return tag(
        "ul",
        [
            tag(
                "li", tag("code", step.get("command")), tag("span", step.get("why"), class_="quiet")
            )
            for step in steps
        ],
        class_="steps",
    )


def _timeline(document: Document) -> Markup:
    events = [one for one in document.get("timeline") or () if one.get("event") not in _UNTOLD]
    many = len(document.get("agents") or ()) > 1
    return section(
        "Timeline",
        moments(events[:MOMENTS_MAX], agents=many),
        name="timeline",
        class_="card",
        data_refresh="",
    )


def _done(document: Document) -> Markup:
    deeds = [one for one in document.get("actions") or () if one.get("event") != "alert.sent"]
    alerts = len(document.get("actions") or ()) - len(deeds)
    rows = (
        [times.shown(one.get("time")), str(one.get("by") or ""), str(one.get("message") or "")]
        for one in deeds[:MOMENTS_MAX]
    )
    return section(
        "Done",
        table(("time", "by", "what"), rows) if deeds else tag("p", "Nothing yet.", class_="quiet"),
        tag("p", f"{alerts} alerts sent.", class_="quiet") if alerts else None,
        name="done",
        class_="card",
        data_refresh="",
    )
