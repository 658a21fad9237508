"""GET /metrics, in the format that the scraper asks for."""

from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from agentd.client.errors import AgentdError
from agentd.http.exposition import StatusCollector
from agentd.http.link import is_lost
from agentd.http.refusals import refused_by_daemon
from agentd.http.service import Call

SCRAPE_AGE_S: Final = 1.0
"""Scrapes within a second are told the same, so that nobody keeps the daemon busy with them."""
INCIDENTS_MAX: Final = 1_000
"""As many as the daemon tells of at once."""


async def scrape(call: Call) -> Response:
    """All metrics; while the daemon is gone, `agentd_up 0` and nothing about agents."""
    status = open_incidents = None
    try:
        status = await call.service.link.status(SCRAPE_AGE_S, counters=True)
    except AgentdError as error:
        if not is_lost(error):
            raise refused_by_daemon(error) from None
    if status is not None:
        open_incidents = await _open_incidents(call)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StatusCollector(status, open_incidents))
    encode, media_type = choose_encoder(call.request.headers.get("accept", ""))
    return Response(encode(registry), headers={"Content-Type": media_type})


async def _open_incidents(call: Call) -> int | None:
    """Return how many are open, those of no agent too; None: the history can't be read just now."""
    args = {"open": True, "limit": INCIDENTS_MAX}
    try:
        answer = await call.service.link.shared("incidents", SCRAPE_AGE_S, args)
    except AgentdError:
        return None  # `agentd_storage_ok` and its like are needed then more than ever
    return len(answer["incidents"])
