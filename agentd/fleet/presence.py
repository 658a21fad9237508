"""Who is there: judged by when signs of life arrive here, never by what a clock elsewhere says.

A *presence* is one connection of a host's link to the servers, under a random name. Its signs
of life count up from 1. So an old one that is sent again is no sign of life, and one loss has
one name, the same for all who notice it: the presence that ended.

Times are milliseconds of the monotonic clock here. Nothing in this file waits or asks.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

_FORMER_MAX: Final = 8
"""Former presences of a host that are remembered, so that they can't be played again."""
HOSTS_MAX: Final = 20_000


class News(Enum):
    """What a sign of life tells."""

    KNOWN = "known"
    """Nothing: the host was there before."""
    NEW = "new"
    """A host that was never heard of."""
    BACK = "back"
    """A host that was lost."""
    REFUSED = "refused"
    """Sent again, from a presence that was followed by another, or of one host too many."""


@dataclass(slots=True)
class Host:
    """What is known of one host."""

    until_ms: int
    """When its silence is too long."""
    presence: str = ""
    count: int = 0
    is_lost: bool = False
    former: deque[str] = field(default_factory=lambda: deque(maxlen=_FORMER_MAX))


@dataclass(slots=True)
class Presences:
    """All hosts of a fleet as one observer knows them."""

    ttl_ms: int
    hosts: dict[str, Host] = field(default_factory=dict)

    def heard(self, name: str, presence: str, count: int, now_ms: int) -> News:
        """Take a sign of life."""
        host = self.hosts.get(name)
        if host is None:
            if len(self.hosts) >= HOSTS_MAX:
                return News.REFUSED
            self.hosts[name] = Host(now_ms + self.ttl_ms, presence, count)
            return News.NEW
        if presence in host.former or (presence == host.presence and count <= host.count):
            return News.REFUSED
        if host.presence and presence != host.presence:
            host.former.append(host.presence)
        host.presence, host.count = presence, count
        host.until_ms = now_ms + self.ttl_ms
        was_lost, host.is_lost = host.is_lost, False
        return News.BACK if was_lost else News.KNOWN

    def expect(self, name: str, until_ms: int) -> None:
        """Know of a host that was here before; silent until then, it is missed."""
        if name not in self.hosts and len(self.hosts) < HOSTS_MAX:
            self.hosts[name] = Host(until_ms)

    def forgive(self, until_ms: int) -> None:
        """Miss nobody until then: it was us who couldn't hear."""
        for host in self.hosts.values():
            host.until_ms = max(host.until_ms, until_ms)

    def missed(self, now_ms: int) -> list[str]:
        """Return the hosts whose silence has become too long, and isn't told yet."""
        return [
            name
            for name, host in self.hosts.items()
            if not host.is_lost and host.until_ms <= now_ms
        ]

    def lose(self, name: str) -> None:
        """Believe that a host is lost."""
        self.hosts[name].is_lost = True

    def forget(self, name: str) -> None:
        """Know nothing more of a host."""
        self.hosts.pop(name, None)
