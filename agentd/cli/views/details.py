"""All that the status document (CONTRACT 6.1) knows of one agent, a line a subject."""

from typing import Any, Final

from agentd.cli.views.agents import cost as cost_of
from agentd.cli.views.agents import why
from agentd.cli.views.words import (
    NOTHING,
    dollars,
    duration,
    number,
    percent,
    size,
    visible,
    wrapped,
)

Document = dict[str, Any]
INDENT: Final = 13


def details(agent: Document, width: int | None = None) -> str:
    """Write all that is known of one agent, a line a subject; subjects without news left out.

    `width` is that of the terminal; without one, no line is broken.
    """
    lines = [f"{visible(agent['name'])}: {agent.get('state')}, {agent.get('health')}"]
    for subject, parts in _subjects(agent):
        text = visible(", ".join(part for part in parts if part))
        if text:
            told = [text] if width is None else wrapped(text, width - INDENT)
            lines.append(f"  {subject:<{INDENT - 2}}{told[0]}")
            lines += (" " * INDENT + more for more in told[1:])
    return "\n".join(lines)


def _subjects(agent: Document) -> list[tuple[str, list[str]]]:
    return [
        ("intent", [str(agent.get("intent", "")), "held" if agent.get("held") else ""]),
        ("reason", [why(agent), str(agent.get("evidence") or "")]),
        ("process", _process(agent)),
        ("execution", [str(agent.get("execution") or "")]),
        ("restarts", [str(agent.get("restarts", "")), _if(agent, "failures", "{} in this row")]),
        ("last exit", _last_exit(agent.get("last_exit"))),
        ("heartbeat", _heartbeat(agent)),
        ("doing", _doing(agent)),
        ("memory", _memory(agent)),
        ("tokens", _tokens(agent.get("tokens") or {})),
        ("cost", _cost(agent)),
        ("tasks", _tasks(agent.get("tasks") or {})),
        ("budgets", [_budget(budget) for budget in agent.get("budgets") or ()]),
        ("needs", [str(name) for name in agent.get("depends_on") or ()]),
        ("unfinished", [_if(agent, "unfinished_actions", "{} external actions")]),
        ("incident", [_if(agent, "open_incident", "{} (agentctl incident {})")]),
        ("tags", [str(tag) for tag in agent.get("tags") or ()]),
    ]


def _if(agent: Document, key: str, text: str) -> str:
    value = agent.get(key)
    return text.replace("{}", str(value)) if value else ""


def _process(agent: Document) -> list[str]:
    if agent.get("pid") is None:
        return []
    uptime, cpu = agent.get("uptime_s"), agent.get("cpu_percent")
    return [
        f"pid {agent['pid']}",
        "" if uptime is None else f"up {duration(uptime)}",
        "" if cpu is None else f"CPU {cpu:.1f} %",
        _if(agent, "incarnation", "incarnation {}"),
    ]


def _last_exit(ended: Document | None) -> list[str]:
    if not ended:
        return []
    code, signal = ended.get("code"), ended.get("signal")
    return [
        str(ended.get("reason") or ""),
        "" if code is None else f"code {code}",
        "" if signal is None else f"signal {signal}",
        str(ended.get("evidence") or ""),
        str(ended.get("time") or ""),
    ]


def _heartbeat(agent: Document) -> list[str]:
    silence, expected = agent.get("silence_s"), agent.get("expected_silence_s")
    if not agent.get("heartbeats"):
        return ["none yet"] if agent.get("pid") is not None else []
    return [
        "" if silence is None else f"{duration(silence)} ago",
        f"{agent['heartbeats']} in all",
        "" if expected is None else f"silence announced for {duration(expected)}",
        "in an open call" if agent.get("open_call") else "",
    ]


def _doing(agent: Document) -> list[str]:
    named = [_if(agent, key, f"{key} {{}}") for key in ("task", "step", "tool", "goal")]
    progress = agent.get("progress")
    done = "" if progress is None else f"{percent(progress)} done"
    return [str(agent.get("status") or ""), *named, done]


def _memory(agent: Document) -> list[str]:
    rss, limit = agent.get("rss_bytes"), agent.get("memory_limit_bytes")
    if rss is None:
        return []
    forecast = agent.get("memory_forecast_s")
    return [
        size(rss) + (f" of {size(limit)}" if limit else ""),
        "" if forecast is None else f"the limit is {duration(forecast)} away",
    ]


def _tokens(tokens: Document) -> list[str]:
    if not tokens.get("total"):
        return []
    last, rate = tokens.get("last_cycle"), tokens.get("per_minute")
    return [
        f"{number(tokens['total'])} in all",
        "" if last is None else f"{number(last)} in the last cycle",
        "" if rate is None else f"{number(rate)} a minute",
    ]


def _cost(agent: Document) -> list[str]:
    cost = agent.get("cost_usd")
    if not cost or cost_of(agent) == NOTHING:
        return []
    known, day = bool(cost.get("known")), cost.get("day")
    return [
        f"{dollars(cost.get('run'), known=known)} this run",
        "" if day is None else f"{dollars(day, known=known)} today",
    ]


def _tasks(tasks: Document) -> list[str]:
    if not tasks.get("success") and not tasks.get("failure"):
        return []
    latency = tasks.get("latency_ms") or {}
    mean, p95 = latency.get("mean"), latency.get("p95")
    rate = tasks.get("success_rate")
    return [
        f"{tasks.get('success', 0)} done",
        f"{tasks.get('failure', 0)} failed",
        "" if rate is None else f"{percent(rate)} success",
        "" if mean is None else f"mean {mean:.0f} ms",
        "" if p95 is None else f"p95 {p95:.0f} ms",
    ]


def _budget(budget: Document) -> str:
    name = str(budget.get("name", ""))
    write = dollars if name.startswith("usd") else number
    return f"{name} {write(budget.get('used'))} of {write(budget.get('limit'))}"
