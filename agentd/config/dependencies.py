"""Who depends on whom: names that don't exist, and circles."""

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from agentd.config.agent import AgentConfig
from agentd.config.errors import KeyPath
from agentd.config.names import HOST_AGENT, agent_name_mistake
from agentd.config.suggest import Suggestions

Finding = tuple[str, KeyPath, str, str]
"""The agent, the path below it, what is wrong, and what instead."""

SHOWN_MAX: Final = 8  # names of a circle in its message


def check_dependencies(
    agents: Mapping[str, AgentConfig], known: Collection[str], suggest: Suggestions
) -> Iterator[Finding]:
    """Yield unknown names and circles; `known` also has agents that are wrong otherwise."""
    names = set(known)
    for agent, config in agents.items():
        for index, name in enumerate(config.depends_on):
            if name in names or HOST_AGENT.fullmatch(name) or agent_name_mistake(name):
                continue
            hint = suggest.hint(name, names, besides=agent)
            yield agent, ("depends_on", index), f'there is no agent "{name}"', hint
    for circle in circles(agents):
        shown = circle if len(circle) <= SHOWN_MAX else (*circle[:SHOWN_MAX], "…")
        message = f"waits for itself: {' → '.join((*shown, circle[0]))}"
        for position, agent in enumerate(circle):
            following = circle[(position + 1) % len(circle)]
            index = agents[agent].depends_on.index(following)
            hint = "take one of them out of depends_on"
            yield agent, ("depends_on", index), message, hint


def circles(agents: Mapping[str, AgentConfig]) -> list[tuple[str, ...]]:
    """Return circles of dependencies, none sharing an agent with another of them.

    One walk in depth with a list of its own: a chain of thousands is no deep recursion.
    """
    found: list[tuple[str, ...]] = []
    done: set[str] = set()
    in_a_circle: set[str] = set()
    for start in agents:
        path: list[str] = []
        on_path: dict[str, int] = {}
        open_names = [iter((start,))]
        while open_names:
            name = next(open_names[-1], None)
            if name is None:
                open_names.pop()
                if path:
                    done.add(path[-1])
                    del on_path[path.pop()]
            elif name in on_path:
                circle = tuple(path[on_path[name] :])
                if in_a_circle.isdisjoint(circle):
                    found.append(circle)
                    in_a_circle.update(circle)
            elif name in agents and name not in done:
                on_path[name] = len(path)
                path.append(name)
                open_names.append(iter(agents[name].depends_on))
    return found
