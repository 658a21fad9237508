"""Selectors: names, globs, `tag:NAME` and `all`, in one place."""

import difflib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

from agentd.config.names import INTERNAL
from agentd.core.agent import Agent

Thing = TypeVar("Thing")


class SelectError(Exception):
    """A selector that matches nothing; `hint` names the nearest agent, where there is one."""

    def __init__(self, word: str, names: Iterable[str]) -> None:
        super().__init__(f'no agent matches "{word}"')
        near = difflib.get_close_matches(word, list(names), n=1)
        self.hint = f'did you mean "{near[0]}"?' if near else "agentctl status lists all agents"


def select(
    fleet: Mapping[str, Agent], words: Iterable[str], *, internal: bool = False
) -> list[str]:
    """Return the names that the words choose, in the fleet's order, each once.

    No words choose nothing. A word that matches nothing is a `SelectError`, and nothing
    is chosen at all; `all` of an empty fleet is fine. An internal agent is meant by its whole
    name alone; with `internal`, also by `all`, globs and tags.
    """
    chosen: set[str] = set()
    meant = fleet if internal else without_internal(fleet)
    for word in words:
        matches = {word} if word in fleet else _matches(meant, word)
        if not matches and word != "all":
            raise SelectError(word, fleet)
        chosen |= matches
    return [name for name in fleet if name in chosen]


def without_internal(named: Mapping[str, Thing]) -> dict[str, Thing]:
    """Return what is of agents that somebody has configured: all but our internal ones."""
    return {name: thing for name, thing in named.items() if name not in INTERNAL}


def _matches(fleet: Mapping[str, Agent], word: str) -> set[str]:
    if word == "all":
        return set(fleet)
    if word.startswith("tag:"):
        tag = word.removeprefix("tag:")
        return {name for name, agent in fleet.items() if tag in agent.config.tags}
    if any(sign in word for sign in "*?["):
        return {name for name in fleet if fnmatchcase(name, word)}
    return set()
