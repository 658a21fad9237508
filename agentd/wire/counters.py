"""What of an agent only ever rises, for programs that keep rates: `status` with `counters`.

Tasks, cost and restarts are of its whole recorded life; latencies are counted from the start
of this daemon on, and begin anew with the next. Whoever takes differences has to expect that,
as Prometheus does.
"""

from collections.abc import Mapping
from typing import Any

from agentd.core.agent import Agent
from agentd.core.records import Durable
from agentd.core.states import StopReason
from agentd.core.tally import LATENCY_BOUNDS_MS

Document = dict[str, object]


def with_counters(
    status: Mapping[str, Any], fleet: Mapping[str, Agent], breakers: Document
) -> Document:
    """Return a status document with the counters of its agents, and the breakers of the host."""
    agents = [
        {**shown, "counters": counters_document(fleet[shown["name"]])} for shown in status["agents"]
    ]
    return {**status, "agents": agents, **breakers}


def counters_document(agent: Agent) -> Document:
    """Return the counters of one agent."""
    durable = agent.durable
    return {
        "restarts_by_reason": restarts_by_reason(durable),
        "cost_usd_total": round(durable.cost_micros / 1e6, 6) if durable.priced else None,
        "latency_histogram": _latencies(agent),
        "tasks_success": durable.successes,
        "tasks_failure": durable.failures_told,
    }


def restarts_by_reason(durable: Durable) -> dict[str, int]:
    """Return how many starts followed ends of each reason; together they are `restarts`.

    Those of before reasons were counted are of unknown reason.
    """
    found = dict(durable.restarts_by_reason)
    uncounted = durable.restarts - sum(found.values())
    if uncounted > 0:
        unknown = StopReason.UNKNOWN.value
        found[unknown] = found.get(unknown, 0) + uncounted
    return found


def _latencies(agent: Agent) -> Document:
    """Return a histogram: counts by bucket, not summed up, the last for what took longer."""
    counts = agent.tally.latency_counts_in_all()
    return {
        "bounds_ms": list(LATENCY_BOUNDS_MS),
        "counts": counts,
        "sum_ms": round(agent.tally.latency_sum_ms, 3),
        "count": sum(counts),
    }
