"""The page of one day: what needs you, what is going wrong slowly, what happened, the figures."""

from collections.abc import Iterator
from typing import Final

from agentd.http.pages import times
from agentd.http.pages.agentrow import agent_path, incident_path
from agentd.http.pages.context import Context, Document
from agentd.http.pages.evidence import table
from agentd.http.pages.frame import page, section
from agentd.http.pages.markup import Child, Markup, tag
from agentd.reporting.words import NOTHING, dollars, duration, number, percent

LISTED_MAX: Final = 6


def report(context: Context, document: Document) -> str:
    """Return the page of a report."""
    fine = bool(document.get("ok"))
    date = str(document.get("date") or "")
    title = f"{date}: {'all is well' if fine else 'some of it wants attention'}"
    main = [
        tag(
            "div",
            tag("h1", title),
            tag(
                "p",
                f"{document.get('host') or ''}, {document.get('timezone') or ''}, ",
                times.shown(document.get("from")),
                " to ",
                times.shown(document.get("to")),
            ),
            class_="headline",
            data_tone="good" if fine else "warn",
        ),
        _needs(context, document),
        _slow(context, document),
        _happened(context, document),
        _figures(context, document),
    ]
    return page(context, f"Report of {date} · agentd", main, kind="report")


def _needs(context: Context, document: Document) -> Markup | None:
    """Return what waits for a person, each incident once."""
    needs = [(None, need) for need in document.get("needs_human") or ()]
    for agent in document.get("agents") or ():
        needs += [(agent.get("name"), need) for need in agent.get("needs_human") or ()]
    rows, told = [], set()
    for name, need in needs:
        incident = need.get("incident")
        if incident is not None and incident in told:
            continue
        told.add(incident)
        shown: Child = NOTHING
        if incident is not None:
            path = incident_path(incident, context.host)
            shown = tag("a", f"incident {incident}", href=path)
        what = str(need.get("message") or "")
        command = tag("code", need.get("next") or NOTHING)
        rows.append([_agent(context, name) if name else NOTHING, shown, what, command])
    if not rows:
        return None
    return section(
        "Needs you", table(("agent", "", "what", "next"), rows), name="needs", class_="card"
    )


def _slow(context: Context, document: Document) -> Markup | None:
    slow = document.get("slow_problems") or ()
    if not slow:
        return None
    rows = ([_agent(context, one.get("agent")), str(one.get("message") or "")] for one in slow)
    return section("Slow problems", table(("agent", "what"), rows), name="slow", class_="card")


def _happened(context: Context, document: Document) -> Markup | None:
    rows = [
        [_agent(context, agent.get("name")), tag("ul", [tag("li", line) for line in lines])]
        for agent in document.get("agents") or ()
        if (lines := list(_lines(agent)))
    ]
    if not rows:
        return None
    return section("What happened", table(("agent", "what"), rows), name="happened", class_="card")


def _lines(agent: Document) -> Iterator[Child]:
    downs, restarts = agent.get("downs") or (), agent.get("restarts") or ()
    for down in downs[:LISTED_MAX]:
        lasted = duration(down.get("duration_s"))
        yield [
            "down ",
            times.shown(down.get("from")),
            f" for {lasted}: {down.get('reason') or '?'}",
        ]
    if len(downs) > LISTED_MAX:
        yield f"and {len(downs) - LISTED_MAX} more times down"
    if restarts:
        reasons = ", ".join(sorted({str(one.get("reason")) for one in restarts}))
        yield f"{len(restarts)} restarts: {reasons}"
    for kind in ("loops", "budgets", "recovered"):
        for one in (agent.get(kind) or ())[:LISTED_MAX]:
            yield [times.shown(one.get("time") or one.get("from")), f" {one.get('message') or ''}"]


def _figures(context: Context, document: Document) -> Markup:
    rows = (
        [
            _agent(context, agent.get("name")),
            _alive(agent),
            number(len(agent.get("restarts") or ())),
            number((agent.get("cost") or {}).get("tokens")),
            _dollars(agent.get("cost") or {}),
            _per_cycle(agent.get("cost") or {}),
            percent((agent.get("cost") or {}).get("success_rate")),
        ]
        for agent in document.get("agents") or ()
    )
    heads = ("agent", "alive", "restarts", "tokens", "cost", "tokens a cycle", "tasks good")
    return section("Figures", table(heads, rows), name="figures", class_="card")


def _alive(agent: Document) -> str:
    if agent.get("alive_all_day"):
        return "all day"
    parts = [("down", agent.get("downtime_s")), ("at rest", agent.get("paused_s"))]
    return ", ".join(f"{word} {duration(span_s)}" for word, span_s in parts if span_s) or NOTHING


def _dollars(cost: Document) -> str:
    """Return a day's cost; nothing spent is nothing, not an unknown."""
    if not cost.get("tokens") and not cost.get("usd"):
        return NOTHING
    return dollars(cost.get("usd"), known=bool(cost.get("known")))


def _per_cycle(cost: Document) -> str:
    told = number(cost.get("per_cycle"))
    if cost.get("baseline") is not None:
        told += f", usually {number(cost['baseline'])}"
    return f"{told}, unusual" if cost.get("outside_baseline") else told


def _agent(context: Context, name: object) -> Markup:
    return tag("a", str(name or NOTHING), href=agent_path(str(name), context.host))
