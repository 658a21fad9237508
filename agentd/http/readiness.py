"""Whether to give new work to an agent: for dispatchers, load balancers and probes.

The reasons are words of ours, never an agent's own: anybody may ask.
"""

from typing import Final

from starlette.responses import Response

from agentd.client.errors import AgentdError
from agentd.http import parameters
from agentd.http.encoding import Json
from agentd.http.link import BUSY_CODE, Document, is_busy
from agentd.http.refusals import Refused, no_such_agent, refused_by_daemon
from agentd.http.service import Call

READY: Final = 200
NOT_READY: Final = 503
STATUS_AGE_S: Final = 1.0
"""All who ask within a second, for whatever names, are told from one status: anybody may ask."""


async def of_daemon(call: Call) -> Response:
    """200 while the daemon answers, else 503."""
    try:
        status = await _status(call)
    except AgentdError as error:
        if is_busy(error):  # which is an answer
            return Json({"ready": True, "reason": None}, READY)
        told = {"ready": False, "reason": "agentd is not reachable"}
        return Json(told, NOT_READY)
    storage = status.get("daemon", {}).get("storage", "ok")
    return Json({"ready": True, "reason": None, "storage": storage}, READY)


async def of_agent(call: Call) -> Response:
    """200 if an agent may be given new work, 503 with the reason if not."""
    name = parameters.agent_name(call.request)
    try:
        agent = await _agent(call, name)
    except Refused as refused:
        # A busy daemon has said nothing about the agent.
        if refused.status != NOT_READY or refused.code == BUSY_CODE:
            raise
        return Json({"agent": name, "ready": False, "reason": refused.message}, NOT_READY)
    why_not = reason_against(agent)
    told = {"agent": name, "ready": why_not is None, "reason": why_not}
    return Json(told, READY if why_not is None else NOT_READY)


async def _agent(call: Call, name: str) -> Document:
    if call.host:
        return await call.service.agent(call, name)
    try:
        status = await _status(call)
    except AgentdError as error:
        raise refused_by_daemon(error) from None
    found: Document | None = next((one for one in status["agents"] if one["name"] == name), None)
    if found is None:
        raise no_such_agent(name)
    return found


async def _status(call: Call) -> Document:
    """Return the status of all agents, internal ones too: whoever names one may ask for it."""
    return await call.service.link.status(STATUS_AGE_S, all=True)


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
