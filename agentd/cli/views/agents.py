"""The status document (CONTRACT 6.1) as a table with a summary line, and as a verdict."""

from math import ceil
from typing import Any, Final

from agentd.cli.views.table import Cell, Table, cell
from agentd.cli.views.words import dollars, latency, number, percent, shortened, size
from agentd.reporting.words import NOTHING, duration, visible

Document = dict[str, Any]

COLUMNS: Final = (
    "AGENT",
    "STATE",
    "HEALTH",
    ">PID",
    ">UPTIME",
    ">RESTARTS",
    ">MEMORY",
    ">BEAT",
    ">COST",
    "TASK/STEP",
    "REASON",
)
TOP_COLUMNS: Final = (
    "AGENT",
    "STATE",
    "HEALTH",
    ">CPU%",
    ">MEMORY",
    ">LIMIT",
    ">TOKENS/MIN",
    ">COST",
    "BUDGET",
    ">BEAT",
    ">RESTARTS",
    ">OK",
    ">P95",
    ">DONE",
    "REASON",
    "TASK/STEP",
    "TOOL/CALL",
)
HEALTHS: Final = ("healthy", "degraded", "unreachable", "killed", "unknown")
HEALTH_STYLE: Final = {
    "healthy": "green",
    "degraded": "yellow",
    "unreachable": "bold red",
    "killed": "magenta",
    "unknown": "dim",
}
STATE_STYLE: Final = {"escalated": "bold red", "cooldown": "yellow", "parked": "yellow"}
TASK_CHARS_MAX: Final = 40
CUT: Final = (("TASK/STEP", 10), ("REASON", 16))
TOP_CUT: Final = (("REASON", 16), ("TASK/STEP", 10), ("TOOL/CALL", 10))
SPARE: Final = (
    ">COST",
    ">PID",
    ">UPTIME",
    ">RESTARTS",
    ">MEMORY",
    ">BEAT",
    "TASK/STEP",
    "REASON",
)
TOP_SPARE: Final = (
    ">LIMIT",
    ">DONE",
    ">P95",
    ">OK",
    "TOOL/CALL",
    ">RESTARTS",
    "BUDGET",
    ">TOKENS/MIN",
    ">COST",
    "TASK/STEP",
    ">BEAT",
    "REASON",
)


def status_table(document: Document) -> Table:
    """Lay out all agents, and below them how many are well."""
    rows = [_row(agent) for agent in document["agents"]]
    return Table(COLUMNS, rows, summary(document), CUT, SPARE)


def top_table(document: Document) -> Table:
    """Lay out what agents use up, in the order they stand in."""
    rows = [_top_row(agent) for agent in document["agents"]]
    return Table(TOP_COLUMNS, rows, summary(document), TOP_CUT, TOP_SPARE)


def summary(document: Document) -> str:
    """Write `2 healthy, 1 killed`."""
    counts = document.get("summary") or {}
    parts = [f"{counts[health]} {health}" for health in HEALTHS if counts.get(health)]
    return ", ".join(parts) or "no agents"


def _row(agent: Document) -> tuple[Cell, ...]:
    return (
        *_who(agent),
        cell(agent.get("pid")),
        cell(duration(agent.get("uptime_s"))),
        cell(agent.get("restarts")),
        cell(size(agent.get("rss_bytes"))),
        cell(duration(agent.get("silence_s"))),
        cell(cost(agent)),
        cell(task(agent)),
        cell(trouble(agent)),
    )


def _top_row(agent: Document) -> tuple[Cell, ...]:
    cpu, tasks = agent.get("cpu_percent"), agent.get("tasks") or {}
    p95_ms = (tasks.get("latency_ms") or {}).get("p95")
    return (
        *_who(agent),
        cell(None if cpu is None else f"{cpu:.1f}"),
        cell(size(agent.get("rss_bytes"))),
        cell(size(agent.get("memory_limit_bytes"))),
        cell(number((agent.get("tokens") or {}).get("per_minute"))),
        cell(cost(agent)),
        cell(budget(agent)),
        cell(duration(agent.get("silence_s"))),
        cell(agent.get("restarts")),
        cell(percent(tasks.get("success_rate"))),
        cell(None if p95_ms is None else latency(p95_ms)),
        cell(percent(agent.get("progress"))),
        cell(trouble(agent)),
        cell(task(agent)),
        cell(shortened(call(agent) or visible(agent.get("tool") or ""), TASK_CHARS_MAX)),
    )


def _who(agent: Document) -> tuple[Cell, Cell, Cell]:
    state, health = str(agent.get("state", "")), str(agent.get("health", ""))
    return (
        cell(agent["name"]),
        cell(state, STATE_STYLE.get(state, "")),
        cell(health, HEALTH_STYLE.get(health, "")),
    )


def cost(agent: Document) -> str:
    """Write the day's cost, or the run's where days aren't counted.

    `-` for an agent that never said anything about tokens or cost.
    """
    spent = agent.get("cost_usd")
    if not spent:
        return NOTHING
    amount = spent.get("run") if spent.get("day") is None else spent["day"]
    if not spent.get("known") and not amount and not (agent.get("tokens") or {}).get("total"):
        return NOTHING
    return dollars(amount, known=bool(spent.get("known")))


def budget(agent: Document) -> str:
    """Write `28 % usd_per_day`: the budget of which the largest share is spent."""
    shares = [
        (one["used"] / one["limit"], str(one["name"]))
        for one in agent.get("budgets") or ()
        if one.get("used") is not None and one.get("limit")
    ]
    if not shares:
        return NOTHING
    share, name = max(shares)
    return f"{percent(share)} {name}"


def task(agent: Document) -> str:
    """Write `ticket-918/17`, or what of it there is."""
    parts = [visible(part) for part in (agent.get("task"), agent.get("step")) if part]
    return shortened("/".join(parts), TASK_CHARS_MAX)


def call(agent: Document) -> str:
    """Write the call it waits in, and for how long: `chat openai gpt-x 42s`; empty: in none."""
    waiting = agent.get("open_call")
    if not waiting:
        return ""
    late = "" if waiting.get("left_s") is not None else ", past its deadline"
    return f"{visible(waiting.get('label', ''))} {duration(waiting.get('open_s'))}{late}"


def why(agent: Document) -> str:
    """Write the reason an agent is down for, and what it waits for."""
    parts = [str(agent["reason"])] if agent.get("reason") else []
    if agent.get("cooldown_s") is not None:
        parts.append(f"next start in {duration(ceil(agent['cooldown_s']))}")
    if agent.get("parked_s") is not None:
        parts.append(f"parked for {duration(ceil(agent['parked_s']))}")
    if agent.get("blocked_by"):
        parts.append(f"blocked by {', '.join(agent['blocked_by'])}")
    if agent.get("held"):
        parts.append("held")
    return ", ".join(parts)


def trouble(agent: Document) -> str:
    """Write its open incident, which is the next thing to read, and then why it is as it is."""
    number = agent.get("open_incident")
    parts = ["" if number is None else f"incident {number}", why(agent)]
    return ", ".join(part for part in parts if part)


def verdict(document: Document) -> tuple[int, str]:
    """Judge the fleet as a monitoring plugin: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, and a line.

    What its operator has stopped, killed or paused is as it should be. A worse thing that is
    known outweighs one that isn't known.
    """
    troubles: dict[int, list[str]] = {1: [], 2: [], 3: []}
    for agent in document["agents"]:
        level = _level(agent)
        if level:
            what = agent.get("state") if agent.get("state") == "escalated" else agent.get("health")
            because = trouble(agent)
            text = f"{agent['name']} {what}" + (f" ({because})" if because else "")
            troubles[level].append(visible(text))
    if not document["agents"]:
        return 3, "agentd UNKNOWN: no agents"
    level = next((level for level in (2, 1, 3) if troubles[level]), 0)
    name = ("OK", "WARNING", "CRITICAL", "UNKNOWN")[level]
    named = [text for level in (2, 1, 3) for text in troubles[level]]
    return level, f"agentd {name}: {'; '.join(named) or summary(document)}"


def _level(agent: Document) -> int:
    if agent.get("open_incident") is not None or agent.get("state") == "escalated":
        return 2
    if agent.get("intent") != "up" or agent.get("state") == "completed":
        return 0
    return {"healthy": 0, "degraded": 1, "unreachable": 2}.get(str(agent.get("health")), 3)
