"""Who waits for whom: starts in order, stops in the other, outages shown on the dependants."""

from collections.abc import Collection, Mapping

from agentd.core.agent import Agent, local_dependencies
from agentd.core.hosts import Hosts, remote_dependencies
from agentd.core.states import Intent, State


def blockers(agent: Agent, fleet: Mapping[str, Agent], hosts: Hosts) -> list[str]:
    """Dependencies of it that a start waits for: not ready here, or on another host."""
    there = [name for name in remote_dependencies(agent) if hosts.holds_back(name)]
    return _out_here(agent, fleet) + there


def unready(agent: Agent, fleet: Mapping[str, Agent], hosts: Hosts) -> list[str]:
    """Dependencies of it that aren't ready, as people are shown them: waited for or not.

    Of one elsewhere of which nothing is known, that is shown only while a start waits for it.
    """
    out = hosts.outages(agent)
    waited = [one for one in remote_dependencies(agent) if hosts.holds_back(one)]
    unknown = [one for one in waited if agent.awaiting and one not in out]
    return _out_here(agent, fleet) + out + unknown


def outages(agent: Agent, fleet: Mapping[str, Agent], hosts: Hosts) -> list[str]:
    """Dependencies that are out, each with the reason of its last end where there is one."""
    told = []
    for name in _out_here(agent, fleet):
        last = fleet[name].durable.last_exit if name in fleet else None
        told.append(f"{name} ({last.reason})" if last is not None else name)
    return told + [hosts.why_out(name) for name in hosts.outages(agent)]


def _out_here(agent: Agent, fleet: Mapping[str, Agent]) -> list[str]:
    """Dependencies on this host that aren't ready."""
    return [
        name for name in local_dependencies(agent) if name not in fleet or not fleet[name].is_ready
    ]


def dependants(name: str, fleet: Mapping[str, Agent]) -> list[Agent]:
    """Agents that name it in `depends_on`."""
    return [agent for agent in fleet.values() if name in agent.config.depends_on]


def may_stop(agent: Agent, leaving: Collection[str], fleet: Mapping[str, Agent]) -> bool:
    """Whether no dependant of it that is on its way down too still lives, as far as one waits."""
    return not any(
        other.has_process
        and not other.is_given_up
        and (other.name in leaving or other.stop is not None)
        for other in dependants(agent.name, fleet)
    )


def is_due(agent: Agent, fleet: Mapping[str, Agent], hosts: Hosts) -> bool:
    """Whether a start that was put off can be made now."""
    return (
        bool(agent.awaiting)
        and agent.intent is Intent.UP
        and agent.state is State.STOPPED
        and not agent.has_process
        and not agent.durable.held
        and not blockers(agent, fleet, hosts)
    )
