"""What the commands that change agents have in common: send, wait, tell what came of it."""

from typing import Any, Final

from agentd.cli.exits import FAILED, CommandError
from agentd.cli.invocation import Invocation
from agentd.reporting.words import visible

Document = dict[str, Any]

MARGIN_S: Final = 10.0
WAIT_S_MAX: Final = 3_600.0

# What an agent's own configuration allows for each state that can be waited for.
_TIMEOUTS: Final = {
    "stopped": ("stop_timeout",),
    "paused": ("pause.checkpoint_timeout", "stop_timeout"),
    "ready": ("stop_timeout", "startup_timeout"),
    "healthy": ("stop_timeout", "startup_timeout"),
}
# Remarks that announce what has come true once it was waited for.
_FULFILLED: Final = frozenset(
    {"starts", "stops", "restarts", "paused", "on its way down, then paused"}
)


def carry_out(call: Invocation, document: Document, until: str | None = None) -> None:
    """Tell what a write came to; with `until`, first wait for that state of its agents.

    `document` is the daemon's answer to the write. An agent that was refused, or did not get
    there, is a failure, after the words about the others were printed.
    """
    names = [agent["name"] for agent in document.get("agents", ()) if _is_under_way(agent)]
    if until is not None and names:
        patience_s = call.left_s() or MARGIN_S + _needed_s(call, names, until)
        document = merged(document, call.client.wait(names, until, patience_s))
    call.confirm(document, lines)
    _refuse_refused(document)
    refuse_unmet(document, until or "done")


def _is_under_way(agent: Document) -> bool:
    """Tell whether there is something to wait for: not refused, and not a matter of minutes."""
    return not (agent.get("error") or agent.get("skipped") or agent.get("state") == "cooldown")


def _refuse_refused(document: Document) -> None:
    """Raise for agents to which the daemon did not do what was asked for."""
    errors = [agent["error"] for agent in document.get("agents", ()) if agent.get("error")]
    if errors:
        told = "; ".join(error["message"] for error in errors)
        raise CommandError(FAILED, told, errors[0].get("hint", ""))


def _needed_s(call: Invocation, names: list[str], until: str) -> float:
    """Return how long the agents' own configuration lets it take, one after the other."""
    from agentd.config.units import parse_duration  # noqa: PLC0415 - decimal costs 2 ms

    keys = _TIMEOUTS[until]
    shown = call.client.show(names).get("agents", {})
    values = (options.get(key, {}).get("value", "0s") for options in shown.values() for key in keys)
    return min(sum(parse_duration(value) for value in values) / 1000, WAIT_S_MAX)


def merged(written: Document, waited: Document) -> Document:
    """Join the answers to a write and to the wait after it, agent by agent."""
    by_name = {agent["name"]: agent for agent in waited.get("agents", ())}
    agents = [{**agent, **by_name.get(agent["name"], {})} for agent in written["agents"]]
    for agent in agents:
        if agent.get("met") and agent.get("message") in _FULFILLED:
            agent["message"] = ""
    return {**written, "agents": agents}


def lines(document: Document) -> str:
    """Write a line an agent: its state, and the daemon's remark on it."""
    return "\n".join(
        f"{visible(agent['name'])}: {visible(agent.get('state', '?'))}"
        + (f" ({visible(agent['message'])})" if _has_remark(agent) else "")
        for agent in document.get("agents", ())
    )


def _has_remark(agent: Document) -> bool:
    """Tell whether the daemon's message is one: why it refused goes to stderr."""
    return bool(agent.get("message")) and not agent.get("error")


def refuse_unmet(document: Document, until: str) -> None:
    """Raise for agents whose `met` is false."""
    unmet = [agent for agent in document.get("agents", ()) if agent.get("met") is False]
    if unmet:
        name = unmet[0]["name"]
        raise CommandError(
            FAILED,
            "; ".join(f'"{agent["name"]}" is not {until}: {_why(agent)}' for agent in unmet),
            f"agentctl status {name}; agentctl logs {name}",
        )


def _why(agent: Document) -> str:
    return str(agent.get("why") or f"it is {agent.get('state', 'in an unknown state')}")
