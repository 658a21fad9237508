"""The status document of CONTRACT 6.1, from the core's records; times become seconds here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agentd.config.encodable import utc_text
from agentd.core import beating, budgets, liveness
from agentd.core.agent import Agent, Transition
from agentd.core.dependencies import unready
from agentd.core.hosts import Hosts
from agentd.core.records import Action, Durable, Mark
from agentd.core.states import Health, Intent, State
from agentd.core.telemetry import Telemetry

Document = dict[str, object]


@dataclass(slots=True)
class TransitionsShown:
    """Agents' changes of state as they are shown, kept from one status to the next."""

    _kept: dict[str, tuple[int, Transition | None, list[Document]]] = field(default_factory=dict)

    def of(self, agent: Agent, distance_ms: int) -> list[Document]:
        """Return them; `distance_ms` is what wall time is ahead of the core's."""
        last = agent.transitions[-1] if agent.transitions else None
        kept = self._kept.get(agent.name)
        if kept is not None and kept[0] == distance_ms and kept[1] is last:
            return kept[2]
        shown: list[Document] = [
            {
                "time": utc_text(change.at_ms + distance_ms),
                "state": change.state.value,
                "why": change.why,
            }
            for change in agent.transitions
        ]
        self._kept[agent.name] = distance_ms, last, shown
        return shown

    def keep_only(self, fleet: Mapping[str, Agent]) -> None:
        """Forget those of agents that are no more, once there are as many."""
        if len(self._kept) > 2 * len(fleet):
            self._kept = {name: kept for name, kept in self._kept.items() if name in fleet}


def status_document(
    fleet: Mapping[str, Agent],
    names: Iterable[str],
    *,
    now_ms: int,
    wall_ms: int,
    daemon: Document,
    host: str,
    open_incidents: Mapping[str, int],
    hosts: Hosts | None = None,
    transitions: TransitionsShown | None = None,
) -> Document:
    """What `status --json` prints, for the agents named; agent → number of its incident."""
    transitions = transitions or TransitionsShown()
    transitions.keep_only(fleet)
    agents = [
        agent_document(
            fleet[name],
            fleet,
            now_ms,
            wall_ms,
            open_incidents.get(name),
            hosts=hosts,
            transitions=transitions,
        )
        for name in names
    ]
    summary = dict.fromkeys((health.value for health in Health), 0)
    for agent in agents:
        summary[str(agent["health"])] += 1
    return {
        "host": host,
        "time": utc_text(wall_ms),
        "daemon": daemon,
        "summary": summary,
        "agents": agents,
    }


def agent_document(
    agent: Agent,
    fleet: Mapping[str, Agent],
    now_ms: int,
    wall_ms: int,
    open_incident: int | None = None,
    *,
    hosts: Hosts | None = None,
    transitions: TransitionsShown | None = None,
) -> Document:
    """One agent of the status document. What is not known is null, never 0."""
    durable, memory, has_process = agent.durable, agent.memory, agent.has_process
    return {
        "name": agent.name,
        "intent": agent.intent.value,
        "state": agent.state.value,
        "health": liveness.health_of(agent, now_ms).value,
        "pid": agent.pid,
        "incarnation": durable.incarnation_id or None,
        "execution": durable.execution or None,
        "uptime_s": _uptime_s(agent, now_ms),
        "restarts": durable.restarts,
        "failures": durable.failures,
        "cooldown_s": _left_s(durable.cooldown_until_ms, now_ms),
        "reason": durable.reason.value if durable.reason and not _is_well(agent) else None,
        "evidence": durable.evidence if durable.reason and not _is_well(agent) else None,
        "last_exit": _last_exit(agent, now_ms, wall_ms),
        "silence_s": _seconds(liveness.silence_ms(agent, now_ms)),
        "expected_silence_s": _seconds(liveness.expected_silence_ms(agent, now_ms)),
        "heartbeats": durable.heartbeats,
        "no_progress": beating.evidence(agent, now_ms) or None,
        **_work(agent.telemetry),
        "rss_bytes": memory.rss_bytes if has_process else None,
        "memory_limit_bytes": int(agent.config.memory.limit_bytes) or None,
        "memory_forecast_s": _seconds(memory.forecast_ms()) if has_process else None,
        "cpu_percent": memory.cpu_percent if has_process else None,
        "processes": memory.processes if has_process else None,
        "tokens": _tokens(agent, now_ms),
        "cost_usd": _cost(agent.durable),
        "tasks": _tasks(agent),
        "budgets": _budgets(agent, wall_ms),
        "depends_on": list(agent.config.depends_on),
        "blocked_by": _blocked_by(agent, fleet, hosts or Hosts()),
        "unfinished_actions": len(durable.unfinished),
        "unfinished": [_action(each, now_ms) for each in durable.unfinished],
        "open_incident": open_incident,
        "held": durable.held,
        "held_why": durable.held_why or None,
        "parked_s": _left_s(durable.parked_until_ms, now_ms),
        "open_call": _open_call(agent, now_ms),
        "tags": list(agent.config.tags),
        "description": agent.config.description,
        "external": agent.config.external,
        "intent_by": durable.intent_by or None,
        "intent_reason": durable.intent_reason or None,
        "thresholds_s": _thresholds(agent),
        "dropped_lines": agent.telemetry.dropped,
        "transitions": (transitions or TransitionsShown()).of(agent, wall_ms - now_ms),
    }


def _action(action: Action, now_ms: int) -> Document:
    return {
        "key": action.key,
        "action": action.action,
        "idempotent": action.idempotent,
        "age_s": _seconds(max(0, now_ms - action.begun_at_ms)),
    }


def _thresholds(agent: Agent) -> Document:
    beat = agent.config.heartbeat
    return {
        "interval": beat.interval_ms / 1000,
        "degraded": beat.degraded_after_ms / 1000,
        "unreachable": beat.unreachable_after_ms / 1000,
    }


def _is_well(agent: Agent) -> bool:
    """Whether the last reason is history: it runs, or its start is under way by hand."""
    return agent.intent is Intent.UP and agent.state in (State.RUNNING, State.PARKED)


def _uptime_s(agent: Agent, now_ms: int) -> float | None:
    if not agent.has_process or agent.durable.spawned_at_ms is None:
        return None
    return _seconds(max(0, now_ms - agent.durable.spawned_at_ms))


def _seconds(duration_ms: int | None) -> float | None:
    return None if duration_ms is None else round(duration_ms / 1000, 3)


def _left_s(until_ms: int | None, now_ms: int) -> float | None:
    return _seconds(until_ms - now_ms) if until_ms is not None and until_ms > now_ms else None


def _last_exit(agent: Agent, now_ms: int, wall_ms: int) -> Document | None:
    last = agent.durable.last_exit
    if last is None:
        return None
    return {
        "code": last.code,
        "signal": last.signal,
        "reason": last.reason.value,
        "evidence": last.evidence,
        "time": utc_text(wall_ms - (now_ms - last.at_ms)),
    }


def _work(telemetry: Telemetry) -> Document:
    return {
        "status": telemetry.status.value if telemetry.status is not None else None,
        "task": telemetry.task,
        "step": telemetry.step,
        "tool": telemetry.tool,
        "goal": telemetry.goal,
        "progress": telemetry.progress,
        "model": telemetry.model,
    }


def _tokens(agent: Agent, now_ms: int) -> Document:
    spending = agent.spending
    return {
        "total": agent.durable.tokens,
        "last_cycle": spending.cycle_tokens,
        "baseline": spending.spikes.baseline_tokens(),
        "per_minute": spending.runaways.rate_tokens(now_ms),
    }


def _cost(durable: Durable) -> Document:
    """What its run and its day have cost; null where nothing of it is known."""
    told = durable.run.unpriced
    if durable.day is not None:
        told = min(told, durable.day.unpriced)
    untold = durable.cycle_unpriced or durable.unpriced > told
    return {
        "run": _spent_usd(durable, durable.run),
        "day": _spent_usd(durable, durable.day) if durable.day is not None else None,
        "known": bool(durable.priced) and not untold,
    }


def _spent_usd(durable: Durable, mark: Mark) -> float | None:
    """Dollars spent since `mark`; None where cost was never told, or none of what was spent."""
    told = durable.priced > mark.priced
    untold = durable.unpriced > mark.unpriced or durable.cycle_unpriced > 0
    if not durable.priced or (untold and not told):
        return None
    return round((durable.cost_micros - mark.micros) / 1e6, 6)


def _budgets(agent: Agent, wall_ms: int) -> list[Document]:
    """Its budgets, with what is spent of each in its running period; null: nobody knows."""
    durable, documents = agent.durable, []
    for limit in budgets.standing(agent):
        used: float | None = budgets.used(durable, limit)
        amount: float = limit.amount
        if limit.in_dollars:
            known = budgets.is_known(durable, limit)
            used = round(used / 1e6, 6) if used is not None and known else None
            amount = round(amount / 1e6, 6)
        ends_ms = budgets.mark_of(durable, limit.period).ends_ms
        documents.append(
            {
                "name": limit.name,
                "limit": amount,
                "used": used,
                "exceeded": limit.name in durable.budgets_exceeded,
                "overridden": limit.name in durable.budgets_overridden,
                "period_ends_s": _left_s(ends_ms, wall_ms) if ends_ms is not None else None,
            }
        )
    return documents


def _tasks(agent: Agent) -> Document:
    done, failed = agent.durable.successes, agent.durable.failures_told
    mean_ms, p95_ms = agent.telemetry.latency_mean_ms(), agent.telemetry.latency_p95_ms()
    return {
        "success": done,
        "failure": failed,
        "success_rate": round(done / (done + failed), 3) if done + failed else None,
        "latency_ms": {
            "mean": round(mean_ms, 3) if mean_ms is not None else None,
            "p95": round(p95_ms, 3) if p95_ms is not None else None,
        },
    }


def _blocked_by(agent: Agent, fleet: Mapping[str, Agent], hosts: Hosts) -> list[str]:
    if not agent.config.depends_on or agent.intent is not Intent.UP:
        return []
    return unready(agent, fleet, hosts)


def _open_call(agent: Agent, now_ms: int) -> Document | None:
    """The call that has been open longest, with what is left of its deadline."""
    call = next(iter(agent.calls.values()), None)
    if call is None:
        return None
    return {
        "label": call.label,
        "open_s": _seconds(now_ms - call.begun_at_ms),
        "left_s": _left_s(call.until_ms, now_ms),
    }
