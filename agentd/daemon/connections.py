"""One connection: when it reads, how long it may take, and how it ends.

What it reads goes to its `Conversation`, one call a read. Nothing here waits: a peer that
doesn't read, doesn't finish a line or says too much is told and closed.
"""

import asyncio
import contextlib
import select
import socket
import traceback
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from agentd.daemon.conversation import Conversation
from agentd.daemon.exchange import Exchange
from agentd.daemon.hall import Hall
from agentd.daemon.log import log
from agentd.daemon.outbox import Outbox
from agentd.daemon.peers import RANK, Peer, Role
from agentd.daemon.registry import Incarnation
from agentd.wire import replies
from agentd.wire.limits import LineId
from agentd.wire.lines import Decoded, decode_lines
from agentd.wire.splitter import Splitter

# What one turn of the loop reads from all agents together, as far as each gets its least.
READ_BYTES: Final = 256 << 10
READ_BYTES_MIN: Final = 4 << 10
# What one turn judges of all peers together, as far as each gets its least: a line costs some
# 10 to 40 µs, and the shortest ones come a hundred thousand to a read.
LINES_A_TURN: Final = 1024
LINES_A_TURN_MIN: Final = 32
# Whoever said more than that in one turn is not heard for so long: he may fill his own buffer.
REST_S: Final = 0.02
# What a drain reads at most, so that a peer that never stops can't hold up the loop.
DRAIN_READS_MAX: Final = 16
# A peer that was told why it is closed gets so long to read it.
LINGER_S: Final = 5.0

# One buffer for all: a read is taken out of it before the next one is made.
_buffer: Final = memoryview(bytearray(READ_BYTES))


class Connection:
    """A peer that was let in. `incarnation` is whose lines its lines are."""

    __slots__ = (
        "_allowance",
        "_backlog",
        "_begun_at_s",
        "_conversation",
        "_eof",
        "_finishing",
        "_goes_on",
        "_hall",
        "_held",
        "_open",
        "_outbox",
        "_quiet",
        "_reading",
        "_sock",
        "_splitter",
        "_timer",
        "closed",
        "following",
        "incarnation",
        "peer",
    )

    def __init__(self, hall: Hall, sock: socket.socket, peer: Peer) -> None:
        self.peer = peer
        self.incarnation: Incarnation | None = peer.incarnation
        self.closed = False
        self.following = 0
        self._hall = hall
        self._sock = sock
        self._splitter = Splitter()
        self._conversation = Conversation(hall, self)
        self._outbox = Outbox(hall.aio, sock, self._written, self._give_up)
        self._open: set[Exchange] = set()
        self._held: Sequence[Decoded] = ()
        self._backlog: list[bytes] = []
        """Lines that were read and not looked at yet."""
        self._allowance: int | None = None
        """How many lines a drain may still take; None: it is no drain."""
        self._goes_on: asyncio.TimerHandle | None = None
        self._quiet = True
        self._eof = False
        self._finishing = False
        self._reading = False
        self._begun_at_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        if not peer.internal:  # ours has its whole start before it, and may have nothing to say
            self._set_timer(hall.first_line_s)
        hall.visitors.enter(self)
        self._read_on()

    # What the conversation and the handler do with it.

    def send(self, raw: bytes) -> None:
        """Send lines; a peer that doesn't read them in time is given up."""
        if not self.closed:
            self._outbox.send(raw)

    async def drained(self) -> None:
        """Wait until most of what was sent is read, or the peer is gone."""
        await self._outbox.drained()

    def become_agent(self) -> None:
        """Be an agent's connection from now on, whatever it was before."""
        self.peer = replace(self.peer, role=Role.AGENT)
        if self._reading:
            self._hall.talking.add(self._sock.fileno())

    def restrict(self, role: Role) -> None:
        """Have no more rights than those of a role from now on, and be counted as who has them."""
        self._hall.visitors.leave(self)
        self.peer = replace(self.peer, role=min(self.peer.role, role, key=RANK.__getitem__))
        self._hall.visitors.enter(self)

    @property
    def waiting(self) -> int:
        """How many of its commands have no answer yet, or go on."""
        return len(self._open)

    def begin(self, exchange: Exchange) -> None:
        """Note that a command waits for its answer."""
        self._open.add(exchange)
        if exchange.command.follow:
            self.following += 1
            self._hall.visitors.followers += 1

    def unfollow(self, line_id: LineId) -> bool:
        """End the stream that a command of this id asked for; False: there is none."""
        for exchange in self._open:
            if exchange.command.follow and exchange.command.id == line_id:
                self._open.discard(exchange)
                exchange.given_up = True
                self.following -= 1
                self._hall.visitors.followers -= 1
                self._hall.handler.left(exchange)
                return True
        return False

    def answered(self, exchange: Exchange, raw: bytes) -> None:
        """Send the answer to a command, and keep it for whoever repeats a change."""
        command = exchange.command
        if command.mutates:
            self._hall.replays.finish(self.peer.uid, command.id, raw)
        self.send(raw)
        if not command.follow:
            self._open.discard(exchange)
        self._end_if_done()

    def hold(self, lines: Sequence[Decoded], wait_ms: int) -> None:
        """Read nothing more until `lines` have waited for their turn."""
        self._held = lines
        self._rest(wait_ms / 1000)

    def finish(self) -> None:
        """Take nothing more, and close once what was sent has been written."""
        if self._finishing or self.closed:
            return
        self._finishing = True
        self._read_no_more()
        if not self._outbox.size:
            self.close()
        else:
            self._set_timer(LINGER_S)

    @property
    def finishing(self) -> bool:
        """Whether nothing more is taken from it."""
        return self._finishing or self.closed

    def close(self) -> None:
        """Let go of the peer at once."""
        if self.closed:
            return
        self.closed = True
        self._read_no_more()
        self._outbox.close()
        if self._timer is not None:
            self._timer.cancel()
        self._sock.close()
        if self._quiet:
            self._hall.counters.connections_empty += 1
        if self._splitter.partial:
            self._hall.counters.lines_unended += 1
        self._hall.visitors.followers -= self.following
        self._hall.visitors.leave(self)
        waiting, self._open = self._open, set()
        for exchange in waiting:
            if not exchange.command.mutates:  # a change is carried out, and its answer kept
                self._hall.handler.left(exchange)

    def hear_out(self, lines_max: int) -> int:
        """Have the peer's next words fail on its side, and take what it said before.

        Nothing that was sent is lost then, and the peer says the rest to whoever follows us.
        Returns as `drain` does.
        """
        with contextlib.suppress(OSError):  # it is gone already
            self._sock.shutdown(socket.SHUT_RD)
        return self.drain(lines_max)

    def drain(self, lines_max: int) -> int:
        """Take what has arrived by now, as before an incarnation is said to have ended.

        At most `lines_max` lines; return how many more it could have been.
        """
        self._allowance = lines_max
        for _ in range(DRAIN_READS_MAX):
            if self._backlog and not self._held and self._allowance:
                self._take_backlog()
            elif not self._allowance or not self._reading or not self._read():
                break
        left, self._allowance = self._allowance, None
        return left

    # Reading.

    def _read_on(self) -> None:
        if not self._reading and not self.finishing and not self._eof:
            self._hall.aio.add_reader(self._sock.fileno(), self._read)
            self._reading = True
            if self.incarnation is not None:
                self._hall.talking.add(self._sock.fileno())

    def _read_no_more(self) -> None:
        if self._reading:
            self._hall.aio.remove_reader(self._sock.fileno())
            self._reading = False
            self._hall.talking.discard(self._sock.fileno())

    def _read(self) -> bool:
        """Read once; False when there is nothing, or nothing more."""
        try:
            size = self._sock.recv_into(_buffer, self._share_bytes())
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            self.close()
            return False
        if not size:
            self._on_eof()
            return False
        lines = self._splitter.feed(bytes(_buffer[:size]))
        if lines:
            self._quiet = False
            self._backlog = lines
            self._take_backlog()
        if not self._end_if_overlong():
            self._watch_line(ended=bool(lines))
        return True

    def _share_bytes(self) -> int:
        """How much it may say in one turn."""
        return max(READ_BYTES_MIN, READ_BYTES // max(1, len(self._hall.talking)))

    def _share_lines(self) -> int:
        """How many lines of it may be judged in one turn."""
        if self._allowance is not None:
            return self._allowance
        return max(LINES_A_TURN_MIN, LINES_A_TURN // max(1, len(self._hall.visitors)))

    def _take_backlog(self) -> None:
        """Have as many lines judged as there is room for; the rest waits, and nothing is read."""
        share = self._share_lines()
        lines, self._backlog = self._backlog[:share], self._backlog[share:]
        if self._allowance is not None:
            self._allowance -= len(lines)
        self._take(decode_lines(lines))
        if self._backlog and not self._held:
            self._rest(REST_S)

    def _rest(self, for_s: float) -> None:
        """Read nothing more for a while."""
        self._read_no_more()
        if self._goes_on is not None:
            self._goes_on.cancel()
        self._goes_on = self._hall.aio.call_later(for_s, self._go_on)

    def _take(self, lines: Sequence[Decoded], *, paid: bool = False) -> None:
        """Have lines judged. An error of ours costs these lines, and not the connection."""
        try:
            self._conversation.take(lines, paid=paid)
        except Exception:  # noqa: BLE001 - one agent's trouble must not become another's
            self._hall.counters.faults += 1
            who = self.incarnation.agent if self.incarnation else self.peer.who
            log.error("connection.fault", who=who, error=traceback.format_exc(limit=-3))

    def _go_on(self) -> None:
        self._goes_on = None
        held, self._held = self._held, ()
        if self.finishing:
            return
        self._read_on()
        if held:
            self._take(held, paid=True)
        if self._backlog and not self._held:
            self._take_backlog()
        self._end_if_overlong()
        self._end_if_done()

    def _end_if_overlong(self) -> bool:
        """Close a peer whose line is too long, once what it said before has been heard."""
        if not self._splitter.overflow:
            return False
        if not self.finishing and not self._held and not self._backlog:
            self._hall.counters.lines_overlong += 1
            told = "a line is longer than 64 KiB (a checkpoint: 1 MiB)"
            self.send(replies.failed(None, "bad_request", told))
            # Closed with something unread, the peer would learn of the reset and not of why.
            with contextlib.suppress(OSError):
                self._sock.recv_into(_buffer)
            self.finish()
        return True

    def _on_eof(self) -> None:
        """The peer says no more: what is open is answered, then it is over."""
        self._eof = True
        self._read_no_more()
        poll = select.poll()
        poll.register(self._sock, 0)
        if poll.poll(0):  # POLLHUP or POLLERR: it doesn't listen either
            self.close()
        self._end_if_done()

    def _end_if_done(self) -> None:
        waits = self._held or self._backlog
        if self._eof and not waits and all(each.answered for each in self._open):
            self.finish()

    def _written(self) -> None:
        if self._finishing:
            self.close()

    def _give_up(self, why: str) -> None:
        if why == "slow":
            self._hall.counters.connections_slow += 1
        self.close()

    # Time.

    def _watch_line(self, *, ended: bool) -> None:
        """Start the clock of a line that has begun; stop it for one that has ended."""
        if not self._splitter.partial:
            self._begun_at_s = None
        elif ended or self._begun_at_s is None:
            self._begun_at_s = self._hall.aio.time()
            if self._timer is None and not self.finishing:
                self._set_timer(self._hall.begun_line_s)

    def _set_timer(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._hall.aio.call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._finishing:
            self.close()
        elif self._quiet:
            self._late("no line came")
        elif self._begun_at_s is not None:
            left_s = self._begun_at_s + self._hall.begun_line_s - self._hall.aio.time()
            if left_s > 0:
                self._set_timer(left_s)
            else:
                self._late("a line did not end")

    def _late(self, why: str) -> None:
        self._hall.counters.connections_late += 1
        self.send(replies.failed(None, "timeout", f"{why} in time"))
        self.finish()
