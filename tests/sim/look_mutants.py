# ruff: noqa: ANN401 - a wrapper takes whatever the function under it takes
"""Bugs planted in the look before the axe; see mutants.py, which lists all of them."""

from collections.abc import Callable, Mapping
from typing import Any

from agentd.core import diagnosis
from agentd.core.agent import Agent

Wrap = Callable[[Any], Any]


def _nobody_deserves_one(_deserves: Any) -> Any:
    return lambda *_: False


def _never_ends(settle: Any) -> Any:
    """Only an answer ends a look; one that is lost never comes."""

    def wrapped(agent: Agent, health: Any, now_ms: int) -> None:
        settle(agent, health, now_ms)
        if agent.look is not None and agent.look.until_ms <= now_ms:
            agent.look.until_ms = now_ms + 1_000

    return wrapped


def _never_asks_of_a_start(_is_awaited: Any) -> Any:
    return lambda *_: False


def _never_ends_of_a_start(is_awaited: Any) -> Any:
    """Only an answer ends a look at a start; one that is lost never comes."""

    def wrapped(turn: Any, agent: Agent) -> Any:
        if agent.look is not None and agent.look.until_ms <= turn.now_ms:
            agent.look.until_ms = turn.now_ms + 1_000
        return is_awaited(turn, agent)

    return wrapped


LOOK_MUTANTS: Mapping[str, tuple[tuple[object, str, Wrap], ...]] = {
    "nobody looks before the axe": ((diagnosis, "_deserves_a_look", _nobody_deserves_one),),
    "a look is over as it begins": ((diagnosis, "DIAGNOSIS_MS_MAX", lambda _ms: 0),),
    "a look without an answer never ends": ((diagnosis, "settle", _never_ends),),
    "nobody looks before a start is ended": (
        (diagnosis, "is_start_awaited", _never_asks_of_a_start),
    ),
    "a look at a start without an answer never ends": (
        (diagnosis, "is_start_awaited", _never_ends_of_a_start),
    ),
}
