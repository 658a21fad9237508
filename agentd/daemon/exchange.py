"""One command on one connection, from its arrival to its answer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentd.daemon.peers import Peer
from agentd.wire.commands import Command

if TYPE_CHECKING:
    from agentd.daemon.connections import Connection


@dataclass(slots=True, eq=False)
class Exchange:
    """A command whose sender may send it, and the way back to whoever waits for the answer.

    The first line sent is the answer; a command that follows may be sent more after that.
    """

    connection: "Connection"
    command: Command
    answered: bool = False
    given_up: bool = False
    """Whoever follows has had enough; the connection goes on."""

    @property
    def peer(self) -> Peer:
        return self.connection.peer

    @property
    def closed(self) -> bool:
        return self.given_up or self.connection.closed

    def send(self, raw: bytes) -> None:
        """Send one line, with its newline. Whoever isn't there any more is sent nothing."""
        if self.given_up:
            return
        first, self.answered = not self.answered, True
        if first:
            self.connection.answered(self, raw)
        else:
            self.connection.send(raw)

    async def drained(self) -> None:
        """Wait until most of what was sent is read, or the peer is gone."""
        await self.connection.drained()
