"""The page of the whole fleet: is everything fine, and if not, what needs me?"""

from collections.abc import Sequence
from functools import partial
from typing import Final
from urllib.parse import urlencode

from agentd.http.pages.agentrow import spark_path
from agentd.http.pages.context import Context, Document
from agentd.http.pages.frame import buttons, page, reason_field, section
from agentd.http.pages.judging import EXPLAINED, TITLES, Group
from agentd.http.pages.live import PAGE_KEY, View, live
from agentd.http.pages.markup import Child, Markup, join, tag
from agentd.http.pages.slots import Row, Writer

BLANK: Final = Row(kind="agent", key="", slots={})
STREAM: Final = "/api/v1/stream"


def fleet(context: Context, status: Document, incidents: Sequence[Document]) -> str:
    """Return the page; `status` as of now, `incidents` the open ones."""
    view = live(context, status, incidents)
    whole = view.rows[PAGE_KEY]
    writer = Writer(whole, view.now_ms)
    main = [
        _headline(writer, view),
        _tools(context, many=len(view.rows)),
        _hosts(view) if context.hosts else None,
        [_group(context, view, group) for group in Group],
        tag("template", _agent(context, BLANK, 0), id="row-agent"),
        tag("template", _notice(context, BLANK, 0), id="row-notice"),
        tag("template", _host(BLANK, 0), id="row-host"),
    ]
    return page(
        context,
        whole.data["title"],
        main,
        kind="fleet",
        tone=whole.tone,
        stream=stream_path(context),
        where=str(status.get("host") or ""),
        footer=_footer(writer, str(status.get("host") or "")),
    )


def stream_path(context: Context) -> str:
    """Return where a page gets its changes from."""
    host = {"host": context.host} if context.host else {}
    return f"{STREAM}?{urlencode({'view': 'page', **host})}"


def _headline(writer: Writer, view: View) -> Markup:
    return tag(
        "div",
        writer.slot("headline", element="h1"),
        writer.slot("detail", element="p"),
        tag(
            "ul",
            [
                tag(
                    "li",
                    tag(
                        "a",
                        writer.slot(f"count_{group}", element="strong"),
                        " ",
                        tag("span", TITLES[group]),
                        href=f"#{group}",
                    ),
                    class_=f"count {group}",
                    data_none=not view.group(group),
                )
                for group in Group
            ],
            class_="counts",
            aria_label="How many of each",
        ),
        class_="headline",
        data_row=PAGE_KEY,
        data_tone=writer.row.tone or None,
        aria_live="polite",
    )


def _tools(context: Context, *, many: int) -> Markup:
    """Return the search field, and for operators that of the reason."""
    return tag(
        "div",
        tag(
            "p",
            tag("label", "Find", for_="find"),
            tag(
                "input",
                id="find",
                type="search",
                autocomplete="off",
                placeholder="name, tag or host",
                aria_describedby="found",
            ),
            tag("span", id="found", role="status", class_="unseen"),
            class_="find",
        ),
        reason_field() if context.operates else None,
        class_="tools",
        data_rows=many,
    )


def _group(context: Context, view: View, group: Group) -> Markup:
    rows = view.group(group)
    return section(
        [TITLES[group], " ", tag("small", EXPLAINED[group])],
        tag(
            "ul",
            [
                (_agent if row.kind == "agent" else _notice)(context, row, view.now_ms)
                for row in rows
            ],
            class_="rows",
            data_group=group,
        ),
        name=group,
        class_="group",
        **({} if rows else {"hidden": "hidden"}),
    )


def _agent(context: Context, row: Row, now_ms: int) -> Markup:
    """Return one agent; the blank one is what the browser copies for a new agent."""
    writer = Writer(row, now_ms)
    return tag(
        "li",
        tag(
            "div",
            tag("h3", writer.slot("name", element="a"), writer.slot("host", class_="host")),
            tag(
                "p",
                writer.slot("health", class_="health"),
                " ",
                writer.slot("state", class_="state"),
                " ",
                writer.slot("uptime", class_="quiet"),
            ),
            class_="who",
        ),
        tag(
            "p",
            writer.slot("incident", element="a"),
            " ",
            writer.slot("why"),
            " ",
            writer.slot("next_start"),
            class_="why",
        ),
        _figures(writer),
        buttons(context, tuple(row.verbs), writer.slot("name")),
        class_="row",
        **row_attributes(row),
    )


def row_attributes(row: Row) -> dict[str, str]:
    """Return what the browser needs to find, sort and filter a row."""
    told = {f"data_{name}": text for name, text in row.data.items()}
    return {
        "data_row": row.key,
        "data_kind": row.kind,
        "data_order": row.order,
        **({"data_tone": row.tone} if row.tone else {}),
        **told,
    }


def _figures(writer: Writer) -> Markup:
    slot, meter, quiet = writer.slot, writer.meter, partial(writer.slot, class_="quiet")
    call = tag("span", slot("call"), " ", slot("call_age"), " ", slot("call_left"), class_="call")
    return tag(
        "dl",
        _cell("Doing", slot("doing"), quiet("goal"), call, kind="doing"),
        _cell(
            "Silence",
            slot("silence"),
            meter("silence"),
            _spark(writer, "heartbeats"),
            kind="silence",
        ),
        _cell(
            "Memory",
            slot("memory"),
            slot("full"),
            meter("memory"),
            _spark(writer, "memory"),
            kind="memory",
        ),
        _cell(
            "Tokens a cycle", slot("tokens"), quiet("rate"), _spark(writer, "tokens"), kind="tokens"
        ),
        _cell("Cost", slot("cost"), quiet("budget"), meter("budget"), kind="cost"),
        _cell(
            "Latency", slot("latency"), quiet("tasks"), _spark(writer, "latency"), kind="latency"
        ),
        _cell("Restarts", slot("restarts"), slot("failures"), kind="restarts"),
    )


def _cell(title: str, *parts: Child, kind: str) -> Markup:
    return tag("div", tag("dt", title), tag("dd", join(parts)), class_=f"cell {kind}")


def _spark(writer: Writer, kind: str) -> Markup:
    """Return a picture of the last hours; the figure above it is what it ends with."""
    name, host = writer.row.data.get("agent", ""), writer.row.data.get("host", "")
    return tag(
        "img",
        src=spark_path(name, kind, host) if name else None,
        alt=f"{kind} over the last hours",
        width=120,
        height=24,
        loading="lazy",
        decoding="async",
        data_spark=kind,
    )


def _notice(context: Context, row: Row, now_ms: int) -> Markup:
    """Return an incident that belongs to no agent."""
    writer = Writer(row, now_ms)
    return tag(
        "li",
        tag(
            "p",
            writer.slot("incident", element="a"),
            " ",
            writer.slot("why"),
            " ",
            writer.slot("known", class_="quiet"),
            class_="why",
        ),
        buttons(context, tuple(row.verbs), writer.slot("incident")),
        class_="row notice",
        **row_attributes(row),
    )


def _hosts(view: View) -> Markup:
    return section(
        "Hosts",
        tag(
            "ul",
            [_host(row, view.now_ms) for row in view.of_kind("host")],
            class_="hosts",
            data_group="hosts",
        ),
        name="hosts",
    )


def _host(row: Row, now_ms: int) -> Markup:
    writer = Writer(row, now_ms)
    return tag(
        "li",
        writer.slot("name", element="strong"),
        " ",
        writer.slot("state", class_="health"),
        " ",
        writer.slot("agents"),
        " ",
        writer.slot("seen", class_="quiet"),
        " ",
        writer.slot("error"),
        **row_attributes(row),
    )


def _footer(writer: Writer, host: str) -> Markup:
    names = ("version", "uptime", "memory", "heartbeats", "storage")
    told: list[Child] = [host]
    for name in names:
        told += [" · ", writer.slot(f"daemon_{name}")]
    return tag("p", told, data_row=PAGE_KEY, data_tone=writer.row.tone or None)
