"""Whether to give new work to an agent: for dispatchers, load balancers and probes.

The reasons are words of ours, never an agent's own: anybody may ask.
"""

from starlette.responses import Response

from agentd.client.errors import AgentdError
from agentd.http import parameters
from agentd.http.encoding import Json
from agentd.http.link import Document
from agentd.http.refusals import Refused, refused_by_daemon
from agentd.http.service import Call

READY = 200
NOT_READY = 503


async def of_daemon(call: Call) -> Response:
    """200 while the daemon answers, else 503."""
    try:
        status = await call.service.link.status()
    except AgentdError:
        told = {"ready": False, "reason": "agentd is not reachable"}
        return Json(told, NOT_READY)
    storage = status.get("daemon", {}).get("storage", "ok")
    return Json({"ready": True, "reason": None, "storage": storage}, READY)


async def of_agent(call: Call) -> Response:
    """200 if an agent may be given new work, 503 with the reason if not."""
    name = parameters.agent_name(call.request)
    try:
        agent = await call.service.agent(call, name)
    except AgentdError as error:
        raise refused_by_daemon(error) from None
    except Refused as refused:
        if refused.status != NOT_READY:
            raise
        return Json({"agent": name, "ready": False, "reason": refused.message}, NOT_READY)
    why_not = reason_against(agent)
    told = {"agent": name, "ready": why_not is None, "reason": why_not}
    return Json(told, READY if why_not is None else NOT_READY)


def reason_against(agent: Document) -> str | None:
    """Return why an agent should be given no new work; None: it may be."""
    state = agent.get("state")
    if agent.get("health") == "killed":
        return "killed"
    if agent.get("held") and state != "running":
        return "held"
    if state == "parked" or agent.get("parked_s") is not None:
        return "parked"
    if state != "running":
        return str(state)
    if agent.get("health") == "unreachable":
        return "unreachable"
    if agent.get("status") in {"shutting_down", "draining", "done"}:
        return "draining"
    for budget in agent.get("budgets") or ():
        limit, used = budget.get("limit"), budget.get("used")
        if limit is not None and used is not None and used >= limit:
            return f"over budget: {budget.get('name')}"
    return None
