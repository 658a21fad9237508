"""What selectors and agents are, as far as exit codes depend on it."""

from collections.abc import Sequence
from typing import Any, Final

_GLOB: Final = frozenset("*?[:")


def names_only(select: Sequence[str]) -> bool:
    """Tell whether a selection holds nothing but names: no glob, no tag, not `all`."""
    return all(word != "all" and not _GLOB & set(word) for word in select)


def is_one_name(select: Sequence[str]) -> bool:
    """Tell whether it is one exact name."""
    return len(select) == 1 and names_only(select)


def is_active(agent: dict[str, Any]) -> bool:
    """Tell whether it runs and is meant to: parked with a process is, starting not yet."""
    state = agent.get("state")
    return state == "running" or (state == "parked" and agent.get("pid") is not None)


def is_failed(agent: dict[str, Any]) -> bool:
    """Tell whether it is down or silent against its operator's will."""
    return agent.get("state") in {"cooldown", "escalated"} or agent.get("health") == "unreachable"
