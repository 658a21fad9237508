"""The agent's own saved state, which the daemon keeps over crashes and restarts."""

from __future__ import annotations

import json

from agentd.sdk import link, questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T")


def checkpoint(state: object, *, timeout_s: float = questions.TIMEOUT_S) -> bool:
    """Save a state that JSON can hold; true: it is on disk.

    False: nobody answered in time, it is larger than 1 MiB, or it is no JSON (NaN is none).
    The checkpoint before it stands then.
    """
    if link.LINK.path is None:
        return False
    try:
        text = json.dumps(state, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        reply = questions.ask(f'"type":"checkpoint.put","state":{text}', timeout_s)
    except Exception as error:  # noqa: BLE001 - nothing is raised into the agent
        link.LINK.trouble(f"checkpoint: {type(error).__name__}")
        return False
    return questions.accepted(reply)


def restored(
    *, timeout_s: float = questions.TIMEOUT_S, unanswered: T | None = None
) -> Any | T | None:  # noqa: ANN401 - the state is whatever was saved
    """Return the last state that was saved in this execution; None: there is none.

    `unanswered` is returned where the daemon did not answer, so that "nothing saved" can be
    told from "nobody knows".
    """
    found = _asked(timeout_s)
    return unanswered if found is None else found.get("state")


def unfinished(
    *, timeout_s: float = questions.TIMEOUT_S, unanswered: T | None = None
) -> list[dict[str, Any]] | T:
    """Return the actions that were begun and never ended, each {key, action, idempotent, at}.

    `unanswered` (an empty list, if not said) is returned where the daemon did not answer.
    """
    found = _asked(timeout_s)
    if found is None:
        return [] if unanswered is None else unanswered
    actions = found.get("unfinished")
    return actions if isinstance(actions, list) else []


def _asked(timeout_s: float) -> dict[str, Any] | None:
    if link.LINK.path is None:
        return None
    try:
        return questions.result(questions.ask('"type":"checkpoint.get"', timeout_s))
    except Exception as error:  # noqa: BLE001 - nothing is raised into the agent
        link.LINK.trouble(f"checkpoint.get: {type(error).__name__}")
        return None
