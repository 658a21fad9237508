"""Who is connected: how many of each, and how fast each may speak."""

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final

from agentd.config.schema import DaemonConfig
from agentd.daemon.peers import Peer, Role
from agentd.daemon.rates import Bucket
from agentd.daemon.registry import Incarnation

if TYPE_CHECKING:
    from agentd.daemon.connections import Connection

# Places that only operators get, so that a crowd of agents never locks them out.
RESERVED_MAX: Final = 16
COMMANDS_PER_S: Final = 50.0
BUCKETS_MAX: Final = 4096

Place = tuple[str, int]


class Visitors:
    """All connections, their counts and their rates.

    A connection that is recognised as an agent's counts for that agent; all others count
    for their uid. So agents that share a uid don't use up each other's places.
    """

    def __init__(self, config: DaemonConfig) -> None:
        self.config = config
        """Replaced when the configuration changes."""
        self.followers = 0
        self._all: set[Connection] = set()
        self._by_uid: Counter[int] = Counter()
        self._by_agent: dict[Place, set[Connection]] = {}
        self._lines: OrderedDict[str, Bucket] = OrderedDict()
        self._commands: OrderedDict[int | str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._all)

    def everyone(self) -> list["Connection"]:
        return list(self._all)

    def of(self, incarnation: Incarnation) -> list["Connection"]:
        """Return the connections of one incarnation."""
        return list(self._by_agent.get(_place(incarnation), ()))

    def why_not(self, peer: Peer) -> str:
        """Return why this peer may not come in; empty: it may."""
        most = self.config.connections_max
        if peer.role is not Role.OPERATOR:
            most -= min(RESERVED_MAX, most // 4)
        if len(self._all) >= most:
            return f"{len(self._all)} connections are open, the most there may be"
        if peer.incarnation is not None:
            return self._why_not_agent(peer.incarnation)
        if peer.role is Role.OPERATOR:
            return ""  # they have their reserve
        if self._by_uid[peer.uid] >= self.config.connections_per_uid:
            return f"uid {peer.uid} has {self._by_uid[peer.uid]} connections, the most there may be"
        return ""

    def enter(self, connection: "Connection") -> None:
        """Count a connection; ask `why_not` first."""
        self._all.add(connection)
        if connection.incarnation is not None:
            self._by_agent.setdefault(_place(connection.incarnation), set()).add(connection)
        elif connection.peer.role is not Role.OPERATOR:
            self._by_uid[connection.peer.uid] += 1

    def leave(self, connection: "Connection") -> None:
        """Stop counting a connection."""
        self._all.discard(connection)
        if connection.incarnation is not None:
            place = _place(connection.incarnation)
            mates = self._by_agent.get(place, set())
            mates.discard(connection)
            if not mates:
                self._by_agent.pop(place, None)
        elif connection.peer.role is not Role.OPERATOR:
            uid = connection.peer.uid
            self._by_uid[uid] -= 1
            if not self._by_uid[uid]:
                del self._by_uid[uid]

    def become(self, connection: "Connection", incarnation: Incarnation) -> str:
        """Count a connection for an agent from now on; return why it can't be, or nothing."""
        refused = self._why_not_agent(incarnation)
        if not refused:
            self.leave(connection)
            connection.incarnation = incarnation
            self.enter(connection)
        return refused

    def line_bucket(self, agent: str) -> Bucket:
        """Return how fast an agent may speak, over all its connections."""
        bucket = self._lines.get(agent)
        if bucket is None or bucket.rate != self.config.line_rate:
            bucket = Bucket(self.config.line_rate, 2.0 * self.config.line_rate)
            self._lines[agent] = bucket
            _bound(self._lines)
        return bucket

    def command_bucket(self, peer: Peer) -> Bucket:
        """Return how fast a user may command, or an internal agent, which takes from nobody's."""
        who = peer.internal or peer.uid
        bucket = self._commands.get(who)
        if bucket is None:
            bucket = self._commands[who] = Bucket(COMMANDS_PER_S, 2 * COMMANDS_PER_S)
            _bound(self._commands)
        return bucket

    def _why_not_agent(self, incarnation: Incarnation) -> str:
        count = len(self._by_agent.get(_place(incarnation), ()))
        if count >= self.config.connections_per_agent:
            return f'"{incarnation.agent}" has {count} connections, the most there may be'
        return ""


def _place(incarnation: Incarnation) -> Place:
    return (incarnation.agent, incarnation.ordinal)


def _bound(buckets: OrderedDict[str, Bucket] | OrderedDict[int | str, Bucket]) -> None:
    while len(buckets) > BUCKETS_MAX:
        buckets.popitem(last=False)
