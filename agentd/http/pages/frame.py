"""What every page has around it: head, landmarks, the place for what is told, the one question."""

from typing import Final

from agentd.http.pages.context import Context
from agentd.http.pages.markup import Child, Markup, join, tag

VERB_WORDS: Final = {
    "ack": "Acknowledge",
    "pause": "Pause",
    "resume": "Resume",
    "start": "Start",
    "restart": "Restart",
    "hold": "Hold",
    "unhold": "Unhold",
    "kill": "Kill",
}
VERB_MEANS: Final = {
    "ack": "You have seen it: no more reminders",
    "pause": "Hold it where it stands, until resumed",
    "resume": "Let it go on; one that was killed starts anew",
    "start": "Start it now",
    "restart": "Stop it and start it again",
    "hold": "No automatic start any more",
    "unhold": "Automatic starts again",
    "kill": "Stop it, and keep it down until resumed",
}
REASON_CHARS_MAX: Final = 200
ICON: Final = {"good": "good", "warn": "warn", "bad": "bad"}


def page(
    context: Context,
    title: str,
    main: Child,
    *,
    kind: str,
    tone: str = "",
    stream: str = "",
    where: str = "",
    footer: Child = None,
) -> str:
    """Return a whole document; with `stream` it keeps itself up to date from there."""
    body = tag(
        "body",
        tag("a", "Skip to the content", class_="skip", href="#main"),
        _header(context, where, live=bool(stream)),
        tag("div", id="gone", role="alert", hidden=True),
        tag("main", main, id="main", tabindex=-1),
        tag("footer", footer) if footer is not None else None,
        tag("div", id="told", role="status", aria_live="polite"),
        _question() if context.operates else None,
        data_page=kind,
        data_role=context.role,
        data_stream=stream or None,
        data_host=context.host or None,
    )
    html = tag("html", _head(context, title, tone), body, lang="en")
    return f"<!doctype html>{html}"


def _head(context: Context, title: str, tone: str) -> Markup:
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="robots", content="noindex"),
        tag("meta", name="csrf", content=context.csrf),
        tag("title", title),
        tag(
            "link",
            rel="icon",
            type="image/svg+xml",
            href=f"/static/{ICON.get(tone, 'unknown')}.svg",
        ),
        tag("link", rel="stylesheet", href="/static/app.css"),
        tag("script", type="module", src="/static/app.js"),
    )


def _header(context: Context, where: str, *, live: bool) -> Markup:
    return tag(
        "header",
        tag("a", "agentd", tag("small", where or context.host) or None, class_="brand", href="/"),
        tag(
            "nav",
            tag("a", "Fleet", href="/"),
            tag("a", "Report of today", href="/report/today"),
            aria_label="Pages",
        ),
        tag(
            "p",
            tag("span", "connecting…" if live else "", id="live"),
            tag("span", "operator" if context.operates else "view only", class_="role"),
            class_="session",
        ),
        tag(
            "noscript",
            tag("p", "Without scripts this page shows one moment, and does not follow."),
        )
        if live
        else None,
        class_="top",
    )


def reason_field() -> Markup:
    """Return the field whose words go with the next action."""
    return tag(
        "p",
        tag("label", "Reason", for_="reason"),
        tag(
            "input",
            id="reason",
            type="text",
            maxlength=REASON_CHARS_MAX,
            autocomplete="off",
            placeholder="kept in the journal with what you do next",
        ),
        class_="reason",
    )


def buttons(context: Context, verbs: tuple[str, ...], name: Markup | None = None) -> Markup:
    """Return the buttons of a row; `name` is what they are about, for those who can't see it."""
    if not context.operates:
        return Markup("")
    return tag(
        "div",
        [
            tag(
                "button",
                words,
                tag("span", " ", name, class_="unseen") if name is not None else None,
                type="button",
                data_verb=verb,
                title=VERB_MEANS[verb],
                hidden=verb not in verbs,
            )
            for verb, words in VERB_WORDS.items()
        ],
        class_="deeds",
    )


def _question() -> Markup:
    """Return the dialog that asks once before a kill."""
    return tag(
        "dialog",
        tag(
            "form",
            tag("h2", "Kill ", tag("span", id="victim"), "?", id="question"),
            tag("p", "It is stopped at once, and stays down until somebody resumes it."),
            tag("label", "Reason", for_="last-words"),
            tag(
                "input",
                id="last-words",
                type="text",
                maxlength=REASON_CHARS_MAX,
                autocomplete="off",
            ),
            tag(
                "p",
                tag("button", "Cancel", type="submit", value="no", formnovalidate=True),
                tag("button", "Kill", type="submit", value="yes", class_="danger"),
                class_="choice",
            ),
            method="dialog",
        ),
        id="kill",
        aria_labelledby="question",
    )


def section(title: Child, *children: Child, name: str, **attributes: str) -> Markup:
    """Return a landmark with its heading; `name` is its id."""
    return tag(
        "section",
        tag("h2", title, id=f"{name}-title"),
        join(children),
        id=name,
        aria_labelledby=f"{name}-title",
        **attributes,
    )
