"""The socket of the daemon: whoever comes is looked at, let in or turned away.

server = SocketServer(hall, Listener.open(path), access)
server.start()
...
server.close()
"""

import asyncio
import contextlib
import errno
import os
import socket
from typing import Final

from agentd.core.effects import Control
from agentd.daemon import procfs
from agentd.daemon.connections import Connection
from agentd.daemon.hall import Hall
from agentd.daemon.listener import BACKLOG, Listener
from agentd.daemon.log import log
from agentd.daemon.peers import Access, Proc, recognise
from agentd.daemon.registry import Incarnation
from agentd.wire import replies

# The whole backlog: looking at a peer takes some 0.1 ms, and one that ends before it is looked
# at can only be known by a token.
ACCEPTS_A_TURN: Final = BACKLOG
PAUSE_S: Final = 1.0
# Lines that are heard of an incarnation when it ends: 40 seconds of all that it may say.
LAST_LINES_MAX: Final = 8192
_SHORTAGES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class SocketServer:
    """Accepts connections, and finds those of an agent."""

    def __init__(self, hall: Hall, listener: Listener, access: Access, proc: Proc = procfs) -> None:
        self.hall = hall
        self.listener = listener
        self.access = access
        self._proc = proc
        self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._resume: asyncio.TimerHandle | None = None
        self._accepting = False
        hall.registry.on_end(self._before_end)

    def admit(self, access: Access, mode: int) -> None:
        """Judge by `access` from now on, and let those knock whom `mode` lets; raises OSError."""
        self.access = access
        self.listener.admit(mode, access.operator_gid)

    def start(self) -> None:
        """Let connections in."""
        if not self._accepting:
            self.hall.aio.add_reader(self.listener.sock.fileno(), self._accept_some)
            self._accepting = True

    def stop(self) -> None:
        """Let nobody in any more; who is in may stay."""
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        if self._accepting:
            self.hall.aio.remove_reader(self.listener.sock.fileno())
            self._accepting = False

    def hear_out(self) -> None:
        """Let nobody in any more, and take what everybody has said until now.

        Whoever knocks meanwhile waits for the next image, which gets the same socket.
        """
        self.stop()
        left = LAST_LINES_MAX
        for connection in self.hall.visitors.everyone():
            left = connection.hear_out(left)

    def close(self) -> None:
        """Let go of everybody and take the socket away."""
        self.stop()
        for connection in self.hall.visitors.everyone():
            connection.close()
        self.listener.close()
        if self._reserve >= 0:
            os.close(self._reserve)

    def control(self, effect: Control) -> int:
        """Send a control line on every connection of an agent; return on how many."""
        speaker = self.hall.registry.get(effect.agent, effect.incarnation)
        reached = self.hall.visitors.of(speaker) if speaker is not None else []
        for connection in reached:
            connection.send(replies.control(effect.action, effect.reason, **effect.data))
        return len(reached)

    def _before_end(self, incarnation: Incarnation) -> None:
        """Hear an incarnation out before it ends: its last words may say that it is done."""
        if self._accepting:
            self._accept_some()
        left = LAST_LINES_MAX
        for connection in self.hall.visitors.everyone():
            if connection.incarnation in (incarnation, None):
                left = connection.drain(left)

    def _accept_some(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                sock, _ = self.listener.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _SHORTAGES:
                    log.error("socket.accept", error=str(error))
                self._turn_away_and_pause()
                return
            self._receive(sock)

    def _receive(self, sock: socket.socket) -> None:
        """Look at who came, and let it in or tell it why not."""
        sock.setblocking(False)
        counters, visitors = self.hall.counters, self.hall.visitors
        try:
            peer = recognise(sock, self.access, self.hall.registry, self._proc)
        except OSError:
            sock.close()
            return
        except Exception as error:  # noqa: BLE001 - on doubt less: nobody gets in by a bug of ours
            counters.faults += 1
            log.error("peer.fault", error=repr(error))
            sock.close()
            return
        refused = visitors.why_not(peer)
        if refused:
            counters.connections_refused += 1
            _tell_and_close(sock, replies.failed(None, "too_busy", refused, "try again later"))
            return
        counters.connections_accepted += 1
        Connection(self.hall, sock, peer)

    def _turn_away_and_pause(self) -> None:
        """No descriptor is left: give up the reserve to turn one away, then rest a while."""
        self.hall.counters.accept_pauses += 1
        if self._reserve >= 0:
            os.close(self._reserve)
        with contextlib.suppress(OSError):  # even that may have gone to another thread
            sock, _ = self.listener.sock.accept()
            self.hall.counters.connections_refused += 1
            told = "the daemon has no file descriptor left"
            _tell_and_close(sock, replies.failed(None, "too_busy", told, "try again later"))
        try:
            self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # another thread was faster; there is none to spare until the next time
            self._reserve = -1
        self.stop()
        self._resume = self.hall.aio.call_later(PAUSE_S, self.start)


def _tell_and_close(sock: socket.socket, raw: bytes) -> None:
    sock.setblocking(False)
    with sock, contextlib.suppress(OSError):  # it may be gone already
        sock.send(raw)
