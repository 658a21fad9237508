"""The JSON API: what is asked, and what is changed."""

from typing import Final

from starlette.responses import Response

from agentd.config.names import INTERNAL
from agentd.http import parameters
from agentd.http.encoding import Json
from agentd.http.link import Document
from agentd.http.refusals import Refused
from agentd.http.service import Call
from agentd.http.stream import Documents, Wording, last_event_id
from agentd.http.wording import PageWording

EVENTS_DEFAULT: Final = 100
EVENTS_MAX: Final = 1_000
INCIDENTS_DEFAULT: Final = 50
INCIDENTS_MAX: Final = 1_000
LINES_DEFAULT: Final = 200
LINES_MAX: Final = 5_000


async def status(call: Call) -> Response:
    """All agents, and how the daemon fares."""
    return Json(await call.service.status(call))


async def agent(call: Call) -> Response:
    """One agent."""
    return Json(await call.service.agent(call, parameters.agent_name(call.request)))


async def events(call: Call) -> Response:
    """What happened: the first after an id or a time, else the newest."""
    args = {
        "select": parameters.agents(call.request),
        "types": parameters.event_types(call.request),
        "after": parameters.integer(call.request, "after"),
        "since_ms": parameters.moment_ms(call.request, "since"),
        "limit": _limit(call, EVENTS_DEFAULT, EVENTS_MAX),
    }
    return Json(await call.service.read(call, "events", args))


async def incidents(call: Call) -> Response:
    """Incidents, the newest first."""
    args = {
        "select": parameters.agents(call.request),
        "open": parameters.flag(call.request, "open"),
        "limit": _limit(call, INCIDENTS_DEFAULT, INCIDENTS_MAX),
    }
    return Json(await call.service.read(call, "incidents", args))


async def incident(call: Call) -> Response:
    """All about one incident."""
    return Json(await read_incident(call))


async def read_incident(call: Call) -> Document:
    """Return the incident whose number is in the path."""
    wanted = parameters.number(call.request, "id")
    try:
        return await call.service.read(call, "incidents", {"id": wanted})
    except Refused as refused:
        if refused.code == "bad_request":  # all that can be wrong with it is that there is none
            raise Refused("not_found", refused.message, refused.hint) from None
        raise


async def history(call: Call) -> Response:
    """When agents were up and down, and why."""
    args = {
        "select": parameters.agents(call.request),
        "since_ms": parameters.moment_ms(call.request, "since"),
        "series": parameters.flag(call.request, "series"),
        "step_s": parameters.integer(call.request, "step_s"),
    }
    return Json(await call.service.read(call, "history", args))


async def report(call: Call) -> Response:
    """The report of a day."""
    wanted = parameters.date(call.request.query_params.get("date"))
    return Json(await call.service.read(call, "report", {"date": wanted}))


async def logs(call: Call) -> Response:
    """The last lines that an agent wrote; they may hold secrets, so for operators only."""
    if not call.visitor.operates:
        raise Refused("forbidden", "logs are for operators", "set http.operate = true")
    name = parameters.agent_name(call.request)
    tail = parameters.integer(call.request, "tail")
    lines = LINES_DEFAULT if tail is None else min(tail, LINES_MAX)
    answer = await call.service.read(call, "logs", {"select": [name], "lines": lines})
    return Json(answer["logs"][0])


async def change(call: Call) -> Response:
    """Pause, resume, kill … one agent; answered once the operator's word is durable."""
    name = parameters.agent_name(call.request)
    verb = parameters.verb(call.request)
    if name in INTERNAL:
        raise Refused("conflict", f"{name} is agentd's own", "change its table in the config")
    call.service.access.check_write(call.request, call.visitor)  # before the body is read
    args = {"select": [name], "reason": await parameters.reason(call.request)}
    return Json(await call.service.write(call, verb, args))


async def acknowledge(call: Call) -> Response:
    """Say that somebody has an incident in hand: no more reminders."""
    wanted = parameters.number(call.request, "id")
    call.service.access.check_write(call.request, call.visitor)
    args = {"id": wanted, "reason": await parameters.reason(call.request)}
    try:
        return Json(await call.service.write(call, "ack", args))
    except Refused as refused:
        if refused.code == "bad_request":
            raise Refused("not_found", refused.message, refused.hint) from None
        raise


async def stream(call: Call) -> Response:
    """Server-sent events; `view=page` is what our own pages put into their slots."""
    request = call.request
    is_page = request.query_params.get("view") == "page"
    if call.host and not is_page:
        told = "the stream for programs tells of this host alone"
        raise Refused("bad_request", told, f"ask the server of {call.host} itself")
    wording: Wording = PageWording(call) if is_page else Documents(call.service.hub)
    cursor = last_event_id(request.headers.get("last-event-id"))
    return call.service.streams.open(wording, cursor)


def _limit(call: Call, default: int, most: int) -> int:
    asked = parameters.integer(call.request, "limit")
    return default if asked is None else min(asked, most)
