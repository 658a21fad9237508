"""One agent of the status document as a row: every figure of it in words, with its bound."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from agentd.http.pages.context import Document
from agentd.http.pages.judging import Group, judge
from agentd.http.pages.slots import EMPTY, Row, Slot, Tone, moment_ms
from agentd.reporting.words import NOTHING, dollars, duration, latency, number, percent, size

HEALTH_TONE: Final[Mapping[str, Tone]] = {
    "healthy": "good",
    "degraded": "warn",
    "unreachable": "bad",
    "killed": "rest",
    "unknown": "",
}
MEMORY_WARN: Final = 0.75
MEMORY_BAD: Final = 0.9
"""From here the daemon itself calls memory critical (event memory.pressure)."""
BUDGET_WARN: Final = 0.8
TOKENS_WARN: Final = 3.0
"""A cycle of so many times the usual tokens is shown as unusual; judging it is the daemon's."""
_RUNS: Final = frozenset(("running", "starting"))


def agent_row(
    agent: Document, *, now_ms: int, incident: Document | None = None, host: str = ""
) -> Row:
    """Return the row of one agent; `host` is named where there are several."""
    judged = judge(agent, incident)
    name = str(agent.get("name") or "")
    number_of = agent.get("open_incident")
    slots = {
        "name": Slot(name, href=agent_path(name, host)),
        "host": Slot(host),
        "health": Slot(
            str(agent.get("health") or ""), tone=HEALTH_TONE.get(str(agent.get("health")), "")
        ),
        "state": Slot(_state(agent)),
        "why": Slot(judged.why, tone=judged.tone),
        "incident": Slot(
            "" if number_of is None else f"incident {number_of}",
            href="" if number_of is None else incident_path(number_of, host),
        ),
        **_work(agent, now_ms),
        "silence": _silence(agent, now_ms),
        **_memory(agent, now_ms),
        **_spending(agent),
        **_counted(agent, now_ms),
    }
    return Row(
        kind="agent",
        key=f"{host}/{name}" if host else name,
        slots=slots,
        group=judged.group,
        order=f"{_rank(judged.group, agent)}{name}",
        tone=judged.tone,
        verbs=verbs(agent, incident),
        data={
            "agent": name,
            "host": host,
            "incident": "" if number_of is None else str(number_of),
            "words": " ".join((name, host, *map(str, agent.get("tags") or ()))).lower(),
        },
    )


def agent_path(name: str, host: str = "") -> str:
    """Return the address of an agent's page."""
    return f"/agents/{quote(name, safe='')}{_on(host)}"


def incident_path(number: object, host: str = "") -> str:
    """Return the address of an incident's page."""
    return f"/incidents/{quote(str(number), safe='')}{_on(host)}"


def spark_path(name: str, kind: str, host: str = "") -> str:
    """Return the address of one of an agent's sparklines."""
    return f"/agents/{quote(name, safe='')}/spark/{kind}.svg{_on(host)}"


def _on(host: str) -> str:
    return f"?{urlencode({'host': host})}" if host else ""


def verbs(agent: Document, incident: Document | None) -> tuple[str, ...]:
    """Return what can be done with it now, in the order of its buttons."""
    state, intent = agent.get("state"), agent.get("intent")
    known = incident is not None and bool(incident.get("acknowledged_by"))
    possible = {
        "ack": agent.get("open_incident") is not None and not known,
        "pause": intent == "up" and state in _RUNS,
        "resume": intent in ("paused", "killed"),
        "start": intent == "stopped" or state in ("escalated", "completed", "cooldown", "parked"),
        "restart": intent == "up" and state == "running",
        "hold": not agent.get("held"),
        "unhold": bool(agent.get("held")),
        "kill": intent != "killed",
    }
    return tuple(verb for verb, can in possible.items() if can)


def _rank(group: Group, agent: Document) -> int:
    """Sort within a group: what is down stands above what still works."""
    return 0 if group is Group.NEEDS and agent.get("health") == "unreachable" else 1


def _state(agent: Document) -> str:
    state, intent = str(agent.get("state") or ""), agent.get("intent")
    if intent == "killed":
        return "killed"
    return state


def _work(agent: Document, now_ms: int) -> dict[str, Slot]:
    parts = [agent.get("task"), agent.get("step"), agent.get("tool")]
    progress, call = agent.get("progress"), agent.get("open_call") or {}
    goal = [
        str(agent.get("goal") or ""),
        "" if progress is None else f"{percent(progress)} done",
    ]
    left_s = call.get("left_s")
    return {
        "doing": Slot(" · ".join(str(part) for part in parts if part) or NOTHING),
        "goal": Slot(" · ".join(part for part in goal if part)),
        "said": Slot(str(agent.get("status") or "")),
        "call": Slot(str(call.get("label") or "")),
        "call_age": Slot(
            " open",
            lead="· ",
            since_ms=moment_ms(call.get("open_s") or 0.0, now_ms),
            tone="warn" if left_s is None else "",
        )
        if call
        else Slot(),
        "call_left": Slot(
            " to its deadline",
            lead="· ",
            until_ms=moment_ms(None if left_s is None else -left_s, now_ms),
        )
        if left_s is not None
        else Slot("· past its deadline" if call else "", tone="warn" if call else ""),
        "next_start": Slot(
            lead="next start in ",
            until_ms=moment_ms(-float(agent["cooldown_s"]), now_ms),
            tone="warn",
        )
        if agent.get("cooldown_s") is not None
        else Slot(),
    }


def _silence(agent: Document, now_ms: int) -> Slot:
    """Return how long it has been silent, against the silence that makes it unreachable."""
    silence_s, bounds = agent.get("silence_s"), agent.get("thresholds_s") or {}
    bound_s = bounds.get("unreachable")
    if silence_s is None or agent.get("state") not in _RUNS:
        return EMPTY  # whoever is stopped or held back is not expected to say anything
    explained = agent.get("expected_silence_s") is not None or agent.get("open_call")
    tone = HEALTH_TONE.get(str(agent.get("health")), "")
    of = f" of {duration(bound_s)}" if bound_s else ""
    return Slot(
        f"{of}{', announced' if explained else ''}",
        since_ms=moment_ms(silence_s, now_ms),
        full_s=bound_s,
        tone=tone,
    )


def _memory(agent: Document, now_ms: int) -> dict[str, Slot]:
    rss, limit = agent.get("rss_bytes"), agent.get("memory_limit_bytes")
    if rss is None:
        return {"memory": EMPTY, "full": Slot()}
    share = min(1.0, rss / limit) if limit else None
    forecast_s = agent.get("memory_forecast_s")
    tone: Tone = ""
    if share is not None:
        tone = "bad" if share >= MEMORY_BAD else "warn" if share >= MEMORY_WARN else "good"
    full = Slot()
    if forecast_s is not None:
        full = Slot(lead="full in ", until_ms=moment_ms(-forecast_s, now_ms), tone="bad")
    text = f"{size(rss)} of {size(limit)}" if limit else size(rss)
    return {"memory": Slot(text, share=share, tone=tone), "full": full}


def _spending(agent: Document) -> dict[str, Slot]:
    tokens, cost = agent.get("tokens") or {}, agent.get("cost_usd") or {}
    last, usual, rate = (tokens.get(key) for key in ("last_cycle", "baseline", "per_minute"))
    much = bool(last and usual and last > TOKENS_WARN * usual)
    told = number(last)
    if last is None and tokens.get("total"):
        told = f"{number(tokens['total'])} in all"
    return {
        "tokens": Slot(
            told if last is None or not usual else f"{told}, usually {number(usual)}",
            tone="warn" if much else "",
        ),
        "rate": Slot(f"{number(rate)} a minute" if rate else ""),
        "cost": Slot(_cost(cost, tokens)),
        "budget": _budget(agent),
    }


def _cost(cost: Document, tokens: Document) -> str:
    day, run, known = cost.get("day"), cost.get("run"), bool(cost.get("known"))
    amount = run if day is None else day
    if not known and not amount and not tokens.get("total"):
        return NOTHING
    return f"{dollars(amount, known=known)} {'this run' if day is None else 'today'}"


def _budget(agent: Document) -> Slot:
    """Return the budget of which the largest share is spent."""
    shares = [
        (one["used"] / one["limit"], one)
        for one in agent.get("budgets") or ()
        if one.get("used") is not None and one.get("limit")
    ]
    if not shares:
        return Slot()
    share, budget = max(shares, key=lambda each: each[0])
    tone: Tone = "bad" if share >= 1 else "warn" if share >= BUDGET_WARN else "good"
    return Slot(budget_text(budget), share=min(1.0, share), tone=tone)


def budget_text(budget: Mapping[str, Any]) -> str:
    """Write `$0.41 of $0.40 usd_per_run`."""
    name = str(budget.get("name") or "")
    write = dollars if name.startswith("usd") else number
    told = f"{write(budget.get('used'))} of {write(budget.get('limit'))} {name}"
    return f"{told}, overridden" if budget.get("overridden") else told


def _counted(agent: Document, now_ms: int) -> dict[str, Slot]:
    tasks, restarts = agent.get("tasks") or {}, agent.get("restarts")
    p95_ms = (tasks.get("latency_ms") or {}).get("p95")
    rate, done = tasks.get("success_rate"), tasks.get("success") or 0
    uptime_s, cpu = agent.get("uptime_s"), agent.get("cpu_percent")
    return {
        "latency": Slot(NOTHING if p95_ms is None else f"{latency(p95_ms)} p95"),
        "tasks": Slot("" if rate is None else f"{number(done)} done, {percent(rate)} good"),
        "restarts": Slot(number(restarts), tone="warn" if agent.get("failures") else ""),
        "failures": Slot(
            f"{agent['failures']} in a row" if agent.get("failures") else "", tone="warn"
        ),
        "uptime": Slot(since_ms=moment_ms(uptime_s, now_ms), lead="up ")
        if uptime_s is not None
        else Slot(),
        "cpu": Slot("" if cpu is None else f"{cpu:.1f} % CPU"),
    }
