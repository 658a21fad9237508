"""Every address of the API, once: who may ask, with what, and what is answered.

The router and the OpenAPI document are both made from this table.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

from starlette.responses import Response

from agentd.http import api, metrics, readiness
from agentd.http.service import Call

Access = Literal["public", "metrics", "view"]
Handler = Callable[[Call], Awaitable[Response]]
Kind = Literal["integer", "boolean", "string", "moment", "date", "names", "types", "host"]
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value of the query."""

    name: str
    kind: Kind
    told: str


@dataclass(frozen=True, slots=True)
class Route:
    """One address. `answer` names a schema of `schemas.py`, or is empty for other than JSON."""

    method: Literal["GET", "POST"]
    path: str
    handler: Handler
    access: Access
    answer: str = ""
    media_type: str = JSON
    query: tuple[Parameter, ...] = ()
    fails: tuple[int, ...] = ()
    """Statuses that only this one answers with, beside those of all."""

    @property
    def told(self) -> str:
        """Return what it does, in one sentence: the first of its handler."""
        return (self.handler.__doc__ or "").partition("\n")[0]

    @property
    def writes(self) -> bool:
        return self.method == "POST"


HOST: Final = Parameter("host", "host", "Another host of the fleet.")
AGENTS: Final = Parameter("agent", "names", "Only these agents; once or often.")
SINCE: Final = Parameter("since", "moment", "ISO 8601, ms since 1970, or so long ago: `24h`.")
LIMIT: Final = Parameter("limit", "integer", "At most so many.")
WRITE_FAILS: Final = (408, 409, 413, 415)

ROUTES: Final = (
    Route("GET", "/api/v1/status", api.status, "view", "Status", query=(HOST,)),
    Route("GET", "/api/v1/agents/{name}", api.agent, "view", "Agent", query=(HOST,)),
    Route(
        *("GET", "/api/v1/events", api.events, "view", "Events"),
        query=(
            Parameter("after", "integer", "Only events with a higher id."),
            Parameter("type", "types", "Only events of these names, or globs; once or often."),
            *(AGENTS, SINCE, LIMIT, HOST),
        ),
    ),
    Route(
        *("GET", "/api/v1/incidents", api.incidents, "view", "Incidents"),
        query=(Parameter("open", "boolean", "Only open ones."), AGENTS, LIMIT, HOST),
    ),
    Route(
        *("GET", "/api/v1/incidents/{id}", api.incident, "view", "Incident"),
        query=(HOST,),
    ),
    Route(
        *("GET", "/api/v1/history", api.history, "view", "History"),
        query=(
            Parameter("series", "boolean", "Figures over time as well."),
            Parameter("step_s", "integer", "Seconds from one figure to the next, or more."),
            *(AGENTS, SINCE, HOST),
        ),
    ),
    Route(
        *("GET", "/api/v1/report", api.report, "view", "Report"),
        query=(Parameter("date", "date", "Or `today`, `yesterday`; the last whole day."), HOST),
    ),
    Route(
        *("GET", "/api/v1/logs/{name}", api.logs, "view", "Log"),
        query=(Parameter("tail", "integer", "Its last lines, so many at most."), HOST),
    ),
    Route(
        *("GET", "/api/v1/stream", api.stream, "view"),
        media_type="text/event-stream",
        query=(
            Parameter("view", "string", "`page`: as our own pages are told it."),
            Parameter("host", "host", "With `view=page` alone: another host of the fleet."),
        ),
    ),
    Route(
        *("POST", "/api/v1/agents/{name}/{verb}", api.change, "view", "Changed"),
        query=(HOST,),
        fails=WRITE_FAILS,
    ),
    Route(
        *("POST", "/api/v1/incidents/{id}/ack", api.acknowledge, "view", "Acknowledged"),
        query=(HOST,),
        fails=WRITE_FAILS,
    ),
    Route("GET", "/metrics", metrics.scrape, "metrics", media_type="text/plain"),
    Route("GET", "/healthz", readiness.of_daemon, "public", "Ready"),
    Route("GET", "/healthz/{name}", readiness.of_agent, "public", "AgentReady", query=(HOST,)),
)
