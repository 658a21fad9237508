"""What the daemon wants of the agent, read without waiting."""

from __future__ import annotations

from agentd.sdk import link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def control() -> dict[str, Any] | None:
    """Return the oldest control that has not been returned yet, or None.

    It is `{"action": "pause" | "resume" | "stop" | "steer" | "breaker", "reason": …, …}`. An
    agent that heeds none of them is stopped by the operating system where it matters.
    """
    here = link.LINK
    if here.path is None:
        return None
    here.turn()
    try:
        return here.controls.pop(0)
    except IndexError:
        return None


def should_stop() -> bool:
    """Tell whether the agent should commit its work and exit.

    True after `shutting_down()`, after a control `stop`, and after a `pause` that waits for
    the agent to exit; a `resume` takes back the last two.
    """
    here = link.LINK
    if here.path is not None:
        here.turn()
    return here.shutting_down or here.asked_to_stop
