"""In which order agents are shown live, and which of them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

Document = dict[str, Any]

ATTENTION: Final = "attention"
"""The default: what needs a person first."""
_NEEDS_A_PERSON, _NOT_WELL, _WELL, _DOWN_BY_WILL = range(4)


def attention(agent: Document) -> int:
    """Rank an agent by whether somebody has to look at it: 0 first, 3 last."""
    state, health = agent.get("state"), agent.get("health")
    if agent.get("open_incident") is not None or state == "escalated" or health == "unreachable":
        return _NEEDS_A_PERSON
    if health == "degraded" or state in {"cooldown", "parked"}:
        return _NOT_WELL
    if agent.get("blocked_by") or agent.get("held"):
        return _NOT_WELL
    if agent.get("intent") != "up" or state == "completed":
        return _DOWN_BY_WILL
    return _WELL


def _largest(figure: Callable[[Document], float | None]) -> Callable[[Document], float]:
    """Make a key that puts the largest first, and what isn't known last."""

    def key(agent: Document) -> float:
        amount = figure(agent)
        return float("inf") if amount is None else -float(amount)

    return key


def _dollars(agent: Document) -> float | None:
    spent = agent.get("cost_usd") or {}
    amount: float | None = spent.get("run") if spent.get("day") is None else spent["day"]
    return amount


SORTS: Final[dict[str, Callable[[Document], Any]]] = {
    ATTENTION: attention,
    "name": lambda agent: agent["name"],
    "state": lambda agent: str(agent.get("state")),
    "memory": _largest(lambda agent: agent.get("rss_bytes")),
    "cpu": _largest(lambda agent: agent.get("cpu_percent")),
    "tokens": _largest(lambda agent: (agent.get("tokens") or {}).get("per_minute")),
    "cost": _largest(_dollars),
    "silence": _largest(lambda agent: agent.get("silence_s")),
    "restarts": _largest(lambda agent: agent.get("restarts")),
}
"""What `--sort` takes, and what the key `s` goes through; equals stand by name."""


def ordered(agents: Iterable[Document], sort: str, *, reverse: bool = False) -> list[Document]:
    """Return the agents in this order; `reverse`: the other way round."""
    key = SORTS[sort]
    return sorted(agents, key=lambda agent: (key(agent), agent["name"]), reverse=reverse)


def matching(agents: Iterable[Document], words: str) -> list[Document]:
    """Return the agents in which each of the words occurs, as people see them in the table."""
    wanted = words.lower().split()
    return [agent for agent in agents if all(word in _text(agent) for word in wanted)]


def _text(agent: Document) -> str:
    tags: Sequence[object] = agent.get("tags") or ()
    parts = (
        agent.get(key) for key in ("name", "state", "health", "reason", "task", "step", "tool")
    )
    return " ".join(str(part) for part in (*parts, *tags) if part).lower()
