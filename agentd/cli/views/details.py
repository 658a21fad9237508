"""All that the status document (CONTRACT 6.1) knows of one agent, a line a subject."""

import re
from typing import Any, Final

from agentd.cli.views.agents import cost as cost_of
from agentd.cli.views.agents import why
from agentd.cli.views.words import clock, dollars, number, percent, size, wrapped
from agentd.reporting.words import NOTHING, duration, visible

Document = dict[str, Any]
INDENT: Final = 13
UNFINISHED_SHOWN: Final = 3
STATES_SHOWN: Final = 3


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
        ("intent", [_intent(agent), _held(agent)]),
        ("reason", [why(agent), str(agent.get("evidence") or "")]),
        ("process", _process(agent)),
        ("execution", [str(agent.get("execution") or "")]),
        ("restarts", [str(agent.get("restarts", "")), _if(agent, "failures", "{} in this row")]),
        ("last exit", _last_exit(agent.get("last_exit"))),
        ("heartbeat", _heartbeat(agent)),
        ("trouble", [str(agent.get("no_progress") or "")]),
        ("doing", _doing(agent)),
        ("call", _call(agent)),
        ("memory", _memory(agent)),
        ("tokens", _tokens(agent.get("tokens") or {})),
        ("cost", _cost(agent)),
        ("tasks", _tasks(agent.get("tasks") or {})),
        ("budgets", [_budget(budget) for budget in agent.get("budgets") or ()]),
        ("needs", [str(name) for name in agent.get("depends_on") or ()]),
        ("unfinished", _unfinished(agent)),
        ("incident", [_if(agent, "open_incident", "{} (agentctl incident {})")]),
        ("tags", [str(tag) for tag in agent.get("tags") or ()]),
        ("states", _states(agent)),
    ]


def _if(agent: Document, key: str, text: str) -> str:
    value = agent.get(key)
    return text.replace("{}", str(value)) if value else ""


def _intent(agent: Document) -> str:
    """Write `killed by ada, "too dear"`, as far as it is known."""
    by, why = agent.get("intent_by"), agent.get("intent_reason")
    text = str(agent.get("intent", "")) + (f" by {by}" if by else "")
    return f'{text}, "{why}"' if why else text


def _held(agent: Document) -> str:
    why = agent.get("held_why")
    return f"held, {why}" if why else "held" if agent.get("held") else ""


def _unfinished(agent: Document) -> list[str]:
    actions = agent.get("unfinished") or ()
    named = [
        f"{action.get('key')} ({action.get('action')}, "
        f"{'' if action.get('idempotent') else 'not '}idempotent, "
        f"{duration(action.get('age_s'))} old)"
        for action in actions[:UNFINISHED_SHOWN]
    ]
    if len(actions) > len(named):
        named.append(f"{len(actions) - len(named)} more: agentctl checkpoints {agent['name']}")
    return named or [_if(agent, "unfinished_actions", "{} actions")]


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
    evidence = str(ended.get("evidence") or "")
    how = [
        "" if code is None else f"exit code {code}",
        "" if signal is None else f"signal {signal}",
    ]
    return [
        str(ended.get("reason") or ""),
        # Most evidence begins with it.
        *("" if re.search(rf"\b{part}\b", evidence) else part for part in how),
        evidence,
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


def _call(agent: Document) -> list[str]:
    waiting = agent.get("open_call")
    if not waiting:
        return []
    left_s = waiting.get("left_s")
    held = "past its deadline" if left_s is None else f"{duration(left_s)} to its deadline"
    return [str(waiting.get("label", "")), f"open for {duration(waiting.get('open_s'))}", held]


def _states(agent: Document) -> list[str]:
    """The last changes of its state, the latest first."""
    changes = list(agent.get("transitions") or ())[-STATES_SHOWN:]
    return [
        f"{change.get('state')} since {clock(change.get('time'))} ({change.get('why')})"
        for change in reversed(changes)
    ]


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
    latency = tasks.get("latency_ms") or {}
    mean, p95 = latency.get("mean"), latency.get("p95")
    if not tasks.get("success") and not tasks.get("failure") and mean is None:
        return []
    rate = tasks.get("success_rate")
    return [
        f"{tasks.get('success', 0)} done",
        f"{tasks.get('failure', 0)} failed",
        "" if rate is None else f"{percent(rate)} success",
        "" if mean is None else f"mean {mean:.0f} ms",
        "" if p95 is None else f"p95 {p95:.0f} ms",
    ]


def _budget(budget: Document) -> str:
    """Write `usd_per_day $1.40 of $5.00 (overridden; ends in 3h12m)`."""
    name = str(budget.get("name", ""))
    write = dollars if name.startswith("usd") else number
    left_s = budget.get("period_ends_s")
    more = [
        "exceeded" if budget.get("exceeded") else "",
        "overridden" if budget.get("overridden") else "",
        "" if left_s is None else f"ends in {duration(left_s)}",
    ]
    told = "; ".join(part for part in more if part)
    text = f"{name} {write(budget.get('used'))} of {write(budget.get('limit'))}"
    return f"{text} ({told})" if told else text
