"""Warnings about what speaks of other machines and is heard by none of them."""

from collections.abc import Iterable, Iterator, Sequence

from agentd.config.agent_tables import AgentTable
from agentd.config.errors import ConfigError
from agentd.config.names import HOST_AGENT
from agentd.config.network_checks import own_name
from agentd.config.problems import Place, Problems
from agentd.config.schema import Config
from agentd.config.sources import Source


def fleet_warnings(config: Config, main: Source, tables: Sequence[AgentTable]) -> list[ConfigError]:
    """Return a warning for a budget of all machines, and for agents of other machines that are
    depended on, where this config makes them mean nothing.
    """
    problems = Problems()
    budget = ("fleet", "budget", "usd_per_day")
    if config.fleet.budget.usd_per_day_micros is not None and not config.fleet.nats:
        message = "bounds nothing: no machine hears what others spend without fleet.nats"
        hint = "set fleet.nats, or budget.usd_per_day for agents of this machine"
        problems.add(budget, [Place(main, budget)], message, hint)
    own = own_name(config.fleet)
    for places, name in _awaited(config, main, tables):
        host, _, agent = name.rpartition("/")
        if not config.fleet.nats:
            message = f"{name} is not waited for: nothing is heard of {host} without fleet.nats"
            hint = "set fleet.nats on both machines, or take it out of depends_on"
        elif host == own:
            message = f"waits without end: {own} is this machine, and hears of others only"
            hint = f'write "{agent}"'
        else:
            continue
        problems.add(places[0].path, places, message, hint)
    return problems.errors()


def _awaited(
    config: Config, main: Source, tables: Iterable[AgentTable]
) -> Iterator[tuple[list[Place], str]]:
    """Yield each agent of a machine that is depended on, and where that may be written."""
    for table in tables:
        agent = config.agents.get(table.name)
        for index, name in enumerate(agent.depends_on if agent else ()):
            if HOST_AGENT.fullmatch(name):
                below = ("depends_on", index)
                own = Place(table.source, (*table.path, *below))
                yield [own, Place(main, ("defaults", *below))], name
