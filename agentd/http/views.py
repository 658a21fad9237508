"""The pages a person looks at: documents fetched here, written by `agentd.http.pages`."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from agentd.http import pages, parameters
from agentd.http.access import cookie_header
from agentd.http.api import read_incident
from agentd.http.hub import INCIDENTS_MAX
from agentd.http.link import Document
from agentd.http.refusals import Refused, no_such_agent
from agentd.http.service import Call
from agentd.http.wording import page_context

EVENTS_SHOWN: Final = 100
INCIDENTS_SHOWN: Final = 20
LINES_SHOWN: Final = 200
SPARK_HOURS: Final = 6
SPARK_STEP_S: Final = 300
SEE_OTHER: Final = 303


async def fleet(call: Call) -> Response:
    """The fleet on one page."""
    status = await _status(call)
    found = await call.service.read(call, "incidents", {"open": True, "limit": INCIDENTS_MAX})
    return HTMLResponse(pages.fleet(page_context(call), status, found["incidents"]))


async def _status(call: Call, name: str = "") -> Document:
    """Return the status of the host that is meant, under its name in the fleet."""
    status = await call.service.status(call, name)
    return status if call.host else call.service.as_in_fleet(status)


async def agent(call: Call) -> Response:
    """All about one agent."""
    name = parameters.agent_name(call.request)
    status, *shown = await asyncio.gather(
        _status(call, name),
        call.service.read(call, "events", {"select": [name], "limit": EVENTS_SHOWN}),
        call.service.read(call, "incidents", {"select": [name], "limit": INCIDENTS_SHOWN}),
        call.service.read(call, "history", {"select": [name]}),
        _for_operators(call, "checkpoints", {"select": [name]}),
        _for_operators(call, "logs", {"select": [name], "lines": LINES_SHOWN}),
    )
    if not status["agents"]:
        raise no_such_agent(name)  # a host of the fleet that has none of that name
    events, incidents, history, checkpoints, logs = shown
    assert events is not None
    assert incidents is not None
    page = pages.agent(
        page_context(call),
        status,
        name,
        pages.Shown(
            events=events["events"],
            incidents=await _with_evidence(call, status, incidents["incidents"]),
            checkpoints=checkpoints,
            logs=logs["logs"][0]["lines"] if logs else None,
            history=history,
        ),
    )
    return HTMLResponse(page)


async def _with_evidence(
    call: Call, status: Document, incidents: Sequence[Document]
) -> list[Document]:
    """Return the incidents, that which is open with all that was seen."""
    number = status["agents"][0].get("open_incident")
    if number is None:
        return list(incidents)
    whole = await call.service.read(call, "incidents", {"id": number})
    return [whole, *(one for one in incidents if one["id"] != number)]


async def _for_operators(call: Call, cmd: str, args: Mapping[str, object]) -> Document | None:
    """Return what only operators may see; None for all others."""
    return await call.service.read(call, cmd, args) if call.visitor.operates else None


async def incident(call: Call) -> Response:
    """All about one incident."""
    found = await read_incident(call)
    return HTMLResponse(pages.incident(page_context(call), found))


async def report(call: Call) -> Response:
    """The report of a day; without a date of the last whole one."""
    date = parameters.date(call.request.path_params.get("date"))
    found = await call.service.read(call, "report", {"date": date})
    return HTMLResponse(pages.report(page_context(call), found))


async def spark(call: Call) -> Response:
    """One curve over the last hours, as SVG."""
    name, kind = parameters.agent_name(call.request), call.request.path_params["kind"]
    if kind not in pages.SPARKS:
        raise Refused("not_found", f"no curve is called {kind[:40]!r}")
    since_ms = parameters.since_hours_ms(SPARK_HOURS)
    args = {"select": [name], "since_ms": since_ms, "series": True, "step_s": SPARK_STEP_S}
    history = await call.service.read(call, "history", args)
    series: Any = history["agents"][0].get("series") if history["agents"] else None
    drawn = pages.spark(kind, series or {}, f"{kind} of {name}, the last {SPARK_HOURS} hours")
    headers = {"Cache-Control": "private, max-age=60"}
    return Response(drawn, media_type="image/svg+xml", headers=headers)


async def sign_in_page(call: Call) -> Response:
    """Ask for the token; a link with a code signs in at once, and only once."""
    code = call.request.query_params.get("code")
    if not code:
        return HTMLResponse(pages.sign_in(page_context(call)))
    try:
        cookie = call.service.access.follow_link(code)
    except Refused as refused:
        return _sign_in_again(call, refused, "This link has been used, or is too old.")
    if _is_led_here(call.request):
        answer = HTMLResponse(pages.signed_in(page_context(call)), headers={"Refresh": "0; url=/"})
        answer.headers["Set-Cookie"] = cookie_header(call.request, cookie)
        return answer
    return _signed_in(call, cookie)


def _is_led_here(request: Request) -> bool:
    """Whether another page, as the file of `agentctl dashboard --open`, may have led here.

    A browser does not send a cookie that is `SameSite=Strict` along on what such a page began,
    to where it is then redirected either: it has to go on from a page of ours. One that doesn't
    say who began it (an old one, or over HTTP beyond this machine) is taken to be led.
    """
    begun_by = request.headers.get("sec-fetch-site")
    if begun_by is None:
        return "text/html" in request.headers.get("accept", "")
    return begun_by not in {"none", "same-origin"}


async def sign_in(call: Call) -> Response:
    """Take the token from the form and begin a session."""
    access = call.service.access
    access.check_sign_in(call.request)  # before the body is read
    sent = await parameters.token(call.request)
    try:
        cookie = access.sign_in(sent, call.request)
    except Refused as refused:
        return _sign_in_again(call, refused, "That was not the token.")
    return _signed_in(call, cookie)


def _sign_in_again(call: Call, refused: Refused, told: str) -> Response:
    if refused.code != "unauthorized":
        raise refused
    page = pages.sign_in(page_context(call), refused=told)
    return HTMLResponse(page, refused.status, refused.headers)


def _signed_in(call: Call, cookie: str) -> Response:
    answer = RedirectResponse("/", SEE_OTHER)
    answer.headers["Set-Cookie"] = cookie_header(call.request, cookie)
    return answer
