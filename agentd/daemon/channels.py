"""The channels of internal agents: a socket pair each, made for one start and gone with it.

agentd is the parent of what keeps the dashboard and the link of the fleet, and what descends
from it is never more than an agent on the public socket. So each start of an internal agent
gets one end of a socket pair, and agentd serves the other end as a connection whose role the
config has fixed. Nobody else can have that end: it has no name, and it closes with the process.
However agentd ends, the other side reads the end of the file, and exits.
"""

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final

from agentd.config.names import FLEET_AGENT, HTTP_AGENT, INTERNAL
from agentd.config.schema import Config
from agentd.daemon.connections import Connection
from agentd.daemon.hall import Hall
from agentd.daemon.peers import Peer, Role
from agentd.daemon.registry import Incarnation

CHANNEL_ENV: Final = "AGENTD_CHANNEL"
"""Holds the number of the descriptor in the environment of an internal agent."""

# A last command, such as an operator's stop by the dashboard, counts also if its sender is gone.
LAST_LINES_MAX: Final = 256

_Key = tuple[str, int]


def roles_of(config: Config) -> dict[str, Role]:
    """Return what each internal agent may do."""
    return {
        HTTP_AGENT: Role.OPERATOR if config.http.operate else Role.VIEWER,
        FLEET_AGENT: Role.OPERATOR,
    }


class Channels:
    """Our ends of the channels, by agent and incarnation."""

    def __init__(self, hall: Hall, config: Config) -> None:
        self._hall = hall
        self._roles: Mapping[str, Role] = roles_of(config)
        self._waiting: dict[_Key, socket.socket] = {}
        """Ends of starts whose process isn't there yet."""
        self._served: dict[_Key, Connection] = {}
        hall.registry.on_end(self._before_end)

    def use(self, config: Config) -> None:
        """Go by this config: who may do less from now on has less at once, not with its restart."""
        self._roles = roles_of(config)
        for (agent, _), connection in self._served.items():
            connection.restrict(self._roles[agent])

    def open(self, agent: str, ordinal: int) -> int | None:
        """Make the channel of a start; return the child's end, the caller's to close.

        None: this agent gets none. OSError: no descriptor is left.
        """
        if agent not in INTERNAL:
            return None
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._waiting[agent, ordinal] = ours
        return theirs.detach()

    def serve(self, incarnation: Incarnation) -> None:
        """Serve the channel of a process that is there now, in the role that is its agent's."""
        key = (incarnation.agent, incarnation.ordinal)
        sock = self._waiting.pop(key, None)
        if sock is None:
            return
        uid = os.geteuid() if incarnation.uid is None else incarnation.uid
        role, agent = self._roles[incarnation.agent], incarnation.agent
        peer = Peer(incarnation.leader_pid, uid, os.getegid(), role, None, "its channel", agent)
        self._served[key] = Connection(self._hall, sock, peer)

    def call_off(self, agent: str, ordinal: int) -> None:
        """Forget the channel of a start that came to nothing."""
        sock = self._waiting.pop((agent, ordinal), None)
        if sock is not None:
            sock.close()

    def _before_end(self, incarnation: Incarnation) -> None:
        """Close it with the incarnation: what is left of its tree has nothing to say there."""
        key = (incarnation.agent, incarnation.ordinal)
        self.call_off(*key)
        connection = self._served.pop(key, None)
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.drain(LAST_LINES_MAX)
            connection.close()
