"""Where new trouble belongs: to the open incident that explains it, or to one of before.

In this order: the incident of what the agent depends on, here or on another host; that of the
breaker that explains its end, or of the fleet's budget; the one that it left too early; that of
agents that failed alike just now.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Final

from agentd.core import incident as rules
from agentd.core.agent import Agent, local_dependencies
from agentd.core.breaker import Breakers
from agentd.core.hosts import Hosts, remote_dependencies
from agentd.core.incident import Trouble
from agentd.core.records import IncidentRecord, Record

# Agents that fail alike so shortly one after the other have one cause: the host's, most likely.
ALIKE_MS: Final = 2_000
# What is no agent has no `stable_after`; its default is taken.
SUBJECT_STABLE_MS: Final = 900_000


@dataclass(frozen=True, slots=True)
class Ended:
    """The part that an agent had in an incident, and when that was over."""

    number: int
    at_ms: int
    kinds: frozenset[str]


@dataclass(slots=True)
class Causes:
    """What is known of who has part in which incident, now and before."""

    fleet: Mapping[str, Agent]
    breakers: Breakers
    hosts: Hosts
    opened: Mapping[int, IncidentRecord]
    bound: dict[str, int] = field(default_factory=dict)
    """Agent (or subject) → the open incident that it is part of."""
    ended: dict[str, Ended] = field(default_factory=dict)
    alike: dict[tuple[object, ...], tuple[int, int]] = field(default_factory=dict)
    """Signature → the incident that it was part of last, and when."""

    def find(
        self, record: Record, agent: Agent | None, name: str, trouble: Trouble, now_ms: int
    ) -> int | None:
        """Return the incident that new trouble belongs to, open or not; None: to none."""
        found = None
        if agent is not None and rules.may_be_explained(record, trouble):
            found = self._of_dependency(agent)
        if found is None and agent is not None and rules.is_explained(record):
            found = self._of_breaker(agent, now_ms)
        if found is None and rules.is_of_fleet_budget(record):
            found = self.bound.get(rules.FLEET_BUDGET_SUBJECT)
        if found is None:
            found = self._of_before(agent, name, trouble, now_ms)
        return found if found is not None else self._of_alike(record, now_ms)

    def note_alike(self, record: Record, number: int, now_ms: int) -> None:
        """Remember how somebody failed, for those who fail in the same way right after."""
        mark = rules.signature(record)
        if mark is not None:
            recent = {key: one for key, one in self.alike.items() if now_ms - one[1] <= ALIKE_MS}
            self.alike = recent | {mark: (number, now_ms)}

    def note_end(self, name: str, ended: Ended) -> None:
        """Remember what somebody left last."""
        before = self.ended.get(name)
        if before is None or before.at_ms <= ended.at_ms:
            self.ended[name] = ended

    def forget_old(self) -> Container[int]:
        """Keep of the past what an agent that is here, or a breaker, may come back to."""
        here = {f"breaker {name}" for name in self.breakers.known}
        here |= {rules.host_subject(name) for name in self.hosts.here | self.hosts.lost}
        here.add(rules.FLEET_BUDGET_SUBJECT)
        self.ended = {
            name: each
            for name, each in self.ended.items()
            if name in self.fleet or name in here or name.startswith("daemon ")
        }
        return {each.number for each in self.ended.values()}

    def _of_dependency(self, agent: Agent) -> int | None:
        """Find what it depends on, directly or not, and is in trouble."""
        seen, coming = {agent.name}, list(local_dependencies(agent))
        out = self.hosts.outages(agent)
        while coming:
            name = coming.pop(0)
            if name in seen:
                continue
            seen.add(name)
            if name in self.bound:
                return self.bound[name]
            if name in self.fleet:
                coming += local_dependencies(self.fleet[name])
                out += self.hosts.outages(self.fleet[name])
        found = (self._of_remote(name, agent) for name in out)
        return next((number for number in found if number is not None), None)

    def _of_remote(self, dependency: str, agent: Agent) -> int | None:
        """Find the incident of its host, or that of others here whom the same outage made ill."""
        number = self.bound.get(rules.host_subject(dependency.partition("/")[0]))
        if number is not None:
            return number
        for name, number in self.bound.items():
            other = self.fleet.get(name)
            if other is None or other is agent or dependency not in remote_dependencies(other):
                continue
            members = self.opened[number].members
            if any(one.agent == name and rules.is_ill(one) for one in members):
                return number
        return None

    def _of_breaker(self, agent: Agent, now_ms: int) -> int | None:
        failing = self.breakers.failing_for(agent.name, now_ms)
        numbers = (self.bound.get(f"breaker {breaker.name}") for breaker in failing)
        return next((number for number in numbers if number is not None), None)

    def _of_before(
        self, agent: Agent | None, name: str, trouble: Trouble, now_ms: int
    ) -> int | None:
        """Find the incident that it left too early: what returned is of the same kind."""
        ended = self.ended.get(name)
        if ended is None or trouble.kind not in ended.kinds:
            return None
        stable_ms = agent.config.restart.stable_after_ms if agent is not None else SUBJECT_STABLE_MS
        row = agent is not None and (agent.durable.failures > 0 or agent.durable.row > 0)
        return ended.number if row or now_ms - ended.at_ms <= stable_ms else None

    def _of_alike(self, record: Record, now_ms: int) -> int | None:
        mark = rules.signature(record)
        number, at_ms = self.alike.get(mark, (0, 0)) if mark is not None else (0, 0)
        return number if number in self.bound.values() and now_ms - at_ms <= ALIKE_MS else None
