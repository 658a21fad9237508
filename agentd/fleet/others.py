"""What is known here of the other hosts, and how that is told to the daemon."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from agentd.client.aio import encoded
from agentd.config.names import AGENT_NAME
from agentd.fleet.documents import Alive, Breaker, Spent
from agentd.fleet.encoding import Document
from agentd.fleet.presence import Presences

ARGS_BYTES_MAX: Final = 63 << 10
"""A daemon takes a line of 64 KiB; the rest is for what stands around the arguments."""
BREAKERS_BYTES_MAX: Final = 16 << 10
LOST_NAMES_BYTES_MAX: Final = 32 << 10
"""What the agents of all lost hosts may take: each host has an equal part of it."""
TOLD_HOSTS_MAX: Final = 2_000
TOLD_BREAKERS_MAX: Final = 256
_REASON: Final = re.compile(r"[A-Z_]{1,40}")
_READY_STATES: Final = frozenset(("running", "parked"))


@dataclass(slots=True)
class Others:
    """All other hosts. What one said last stands, also while it, or we, are cut off."""

    own: str
    presences: Presences
    spent: dict[str, Spent] = field(default_factory=dict)
    breakers: dict[str, list[Breaker]] = field(default_factory=dict)
    statuses: dict[str, Document] = field(default_factory=dict)
    """The last status of each host that an agent here depends on."""
    names: dict[str, list[str]] = field(default_factory=dict)
    """The agents of each lost host."""
    announced: set[str] = field(default_factory=set)
    """Lost hosts whose loss is ours to announce."""
    returned: set[str] = field(default_factory=set)
    """Hosts that came back, as long as the daemon may not have heard of it."""

    def take(self, alive: Alive) -> bool:
        """Note what a sign of life carries; return whether the daemon should know at once."""
        before = self.breakers.get(alive.host, [])
        if alive.spent is not None:
            self.spent[alive.host] = alive.spent
        if alive.breakers:
            self.breakers[alive.host] = list(alive.breakers)
        else:
            self.breakers.pop(alive.host, None)
        return before != alive.breakers

    def lost(self, host: str, names: list[str], *, announce: bool) -> None:
        """Note that a host is lost, with the agents that it had."""
        self.names[host] = names
        self.breakers.pop(host, None)
        self.returned.discard(host)
        if announce:
            self.announced.add(host)

    def back(self, host: str) -> None:
        """Note that a lost host is there again."""
        self.announced.discard(host)
        self.returned.add(host)

    def forget(self, host: str) -> None:
        """Know nothing more of a host."""
        self.presences.forget(host)
        self.announced.discard(host)
        self.returned.discard(host)
        for known in (self.spent, self.breakers, self.statuses, self.names):
            known.pop(host, None)

    def document(self, depends_on: Iterable[str], date: str | None) -> Document:
        """Return the arguments of the daemon's command `fleet`, as many hosts as one line takes.

        Those come first of which it must hear: depended on, then lost or back.
        """
        needed: dict[str, set[str]] = {}
        for dependency in depends_on:
            host, _, agent = dependency.partition("/")
            needed.setdefault(host, set()).add(agent)
        breakers = [
            {"host": host, "name": breaker.name, "state": breaker.state}
            for host, breakers in sorted(self.breakers.items())
            for breaker in breakers
        ]
        told: Document = {"connected": True, "hosts": []}
        told["breakers"] = list(_fitting(breakers[:TOLD_BREAKERS_MAX], BREAKERS_BYTES_MAX))
        if date is not None:
            told["spent_usd_day"] = self._spent(date)
        names = sorted(
            self.presences.hosts.keys() - {self.own},
            key=lambda name: (name not in needed, not self._is_news(name), name),
        )
        rows = (self._row(name, needed.get(name, ())) for name in names[:TOLD_HOSTS_MAX])
        told["hosts"] = list(_fitting(rows, ARGS_BYTES_MAX - len(encoded(told))))
        return told

    def _is_news(self, host: str) -> bool:
        return self.presences.hosts[host].is_lost or host in self.returned

    def _row(self, name: str, needed: Collection[str]) -> Document:
        """Return what the daemon reads of a host: whom it depends on, or who is lost with it."""
        is_lost = self.presences.hosts[name].is_lost
        agents: list[Document] = []
        if is_lost and name in self.announced:
            room = LOST_NAMES_BYTES_MAX // len(self.announced)
            agents = list(_fitting(({"name": one} for one in self.names.get(name, ())), room))
        elif not is_lost and name in self.statuses:
            agents = [
                _agent(agent)
                for agent in self.statuses[name]["agents"]
                if agent["name"] in needed and AGENT_NAME.fullmatch(agent["name"])
            ]
        return {
            "name": name,
            "state": "lost" if is_lost else "up",
            "announce": name in self.announced,
            "agents": agents,
        }

    def _spent(self, date: str) -> Document:
        """Return what the others spent on a civil day, and between how many the rest is shared."""
        others = sum(
            spent.own
            for host, spent in self.spent.items()
            if host != self.own and spent.date == date
        )
        hosts = min(len(self.presences.hosts.keys() | {self.own}), TOLD_HOSTS_MAX)
        return {"date": date, "others": round(others, 6), "hosts": hosts}


def _agent(agent: Mapping[str, object]) -> Document:
    """Return of an agent's status what somebody who depends on it needs."""
    state, reason = agent.get("state"), agent.get("reason")
    ready = state == "completed" or (agent.get("intent") == "up" and state in _READY_STATES)
    return {
        "name": agent["name"],
        "ready": ready,
        "reason": reason if isinstance(reason, str) and _REASON.fullmatch(reason) else None,
    }


def _fitting(rows: Iterable[Document], room_bytes: int) -> Iterator[Document]:
    """Yield the rows that have room in a line; one that hasn't keeps out none that follow."""
    for row in rows:
        size = len(encoded(row)) + len(",")
        if size <= room_bytes:
            room_bytes -= size
            yield row
