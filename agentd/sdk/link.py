"""The connection to the daemon: lines out, replies and controls in, and nothing ever waits.

Whoever has a line puts it on the queue and then takes a turn: sends and reads what goes at
once. A turn needs the lock, which is only ever tried. Who finds it taken leaves: the holder
looks at the queue once more after letting go, so that no line is left behind. So neither
another thread nor a signal handler in the middle of a beat can ever be held up here.

A queue that is full drops its oldest line and tells how many it dropped, in a later
heartbeat. Lines that wait for an answer have room of their own, and are sent again to a daemon
that came back before it answered them.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, MSG_DONTWAIT, MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM
from _socket import socket as Socket  # noqa: N812 - a class; the module `socket` is 18 ms of import
from _thread import allocate_lock, get_ident
from itertools import count, islice
from time import monotonic

from agentd import __version__
from agentd.sdk.jsontext import parsed, quoted
from agentd.sdk.tally import Tally

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

LINE_BYTES_MAX: Final = 1 << 20
"""The most that the daemon reads as one line, for checkpoints; others stay below 64 KiB."""
QUEUE_BYTES_MAX: Final = 128 << 10
"""Some 1,000 heartbeats, beside what the socket itself holds."""
AWAITED_BYTES_MAX: Final = 2 << 20
"""Of lines that wait for an answer, beside the others; the newest of either kind always fits."""
AWAITED_MAX: Final = 64
CONTROLS_MAX: Final = 16
SEND_BYTES: Final = 32 << 10
READ_BYTES: Final = 16 << 10
SENDS_MAX: Final = 4
"""Sends and reads of one turn: with a long queue a turn must still end within 1 ms."""
RETRY_S_MIN: Final = 0.1
RETRY_S_MAX: Final = 2.0

BEAT: Final = 0
AWAITED: Final = 1
HELLO: Final = 2
BYTES_MAX: Final = (QUEUE_BYTES_MAX, AWAITED_BYTES_MAX, LINE_BYTES_MAX)


class Entry:
    """A whole line that is to be sent."""

    __slots__ = ("drops", "kind", "line")

    def __init__(self, line: bytes, kind: int = BEAT, drops: int = 0) -> None:
        self.line = line
        self.kind = kind
        self.drops = drops
        """How many dropped lines this one tells of."""


class Link:
    """One process's way to the daemon. Without a path it does nothing."""

    def __init__(self, path: str | None, token: str | None) -> None:
        self.path = path
        self.pid = os.getpid()
        self.dropped = 0
        """Lines dropped that no heartbeat has told of yet."""
        self.ignored = 0
        """Wrong arguments left out, and calls that came to nothing through a trouble of ours."""
        self.last_trouble = ""
        self.controls: list[dict[str, Any]] = []
        self.asked_to_stop = False
        self.shutting_down = False
        self.loop_thread = 0
        """Whose heartbeat came first; 0: nobody's yet."""
        self.connections = 0
        self.stack_signal = 0
        self.tally = Tally()
        self.goal: str | None = None
        self.goal_told_on = 0
        """The connection, counted from 1, on which the goal was told last."""
        self.numbers = count(1)
        self.away_since = 0.0
        """Since when nobody has been there, in seconds of `monotonic()`; 0: somebody is."""
        self.mute = False
        """It left a question unanswered and has said nothing since."""
        self.replies: dict[str, dict[str, Any] | None] = {}
        self._token = token
        self._lock = allocate_lock()
        self._inbox: list[Entry] = []
        self._queue: list[Entry] = []
        self._bytes = [0, 0, 0]
        """What is queued of each kind."""
        self._offset = 0
        """So many bytes of the queue's first line are sent already."""
        self._awaited: dict[str, Entry] = {}
        self._read = b""
        self._socket: Socket | None = None
        self._retry_s = RETRY_S_MIN
        self._retry_at = 0.0
        self._connected_at = 0.0

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def trouble(self, what: str) -> None:
        """Count something that an agent must not be bothered with."""
        self.ignored += 1
        self.last_trouble = what

    def is_off_thread(self) -> bool:
        """Tell whether this thread is another than the first heartbeat's."""
        me = get_ident()
        if not self.loop_thread:
            self.loop_thread = me
        return self.loop_thread != me

    def put(self, line: str, kind: int = BEAT, drops: int = 0) -> None:
        """Send a line (without its newline) now, or as soon as it can be."""
        self._inbox.append(Entry(line.encode("utf-8", "replace") + b"\n", kind, drops))
        self.turn()

    def put_awaited(self, line_id: str, line: bytes) -> None:
        """Send a line that has an id, and again after each lost connection until it is answered."""
        entry = Entry(line, AWAITED)
        if len(self._awaited) >= AWAITED_MAX:
            self._awaited.pop(next(iter(self._awaited)), None)
        self._awaited[line_id] = entry
        self._inbox.append(entry)
        self.turn()

    def forget(self, line_id: str) -> None:
        """Wait no longer for an answer to that line."""
        self._awaited.pop(line_id, None)
        self.replies.pop(line_id, None)

    def turn(self, *, at_once: bool = False) -> None:
        """Send and read whatever goes without waiting; `at_once`: connect before the time."""
        while self._lock.acquire(False):
            try:
                self._exchange(at_once=at_once)
            finally:
                self._lock.release()
            if not self._inbox:
                return

    def fileno(self) -> int:
        """Return what to poll for an answer; -1: not connected."""
        sock = self._socket
        return -1 if sock is None else sock.fileno()

    def close(self) -> None:
        """Send what goes, and let go of the socket."""
        self.turn()
        self.let_go()

    def let_go(self) -> None:
        """Close this process's copy of the socket; the connection itself may be another's."""
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()

    # All below is done by who holds the lock.

    def _exchange(self, *, at_once: bool) -> None:
        while self._inbox:
            self._admit(self._inbox.pop(0))
        if self._socket is None and not self._connect(at_once=at_once):
            return
        try:
            self._send()
            self._receive()
        except OSError:
            self._lose()

    def _admit(self, entry: Entry) -> None:
        """Put a line on the queue; the oldest of its kind make room for it, never the newest."""
        self._queue.append(entry)
        self._bytes[entry.kind] += len(entry.line)
        while self._bytes[entry.kind] > BYTES_MAX[entry.kind]:
            index = self._oldest(entry.kind)
            if index is None:
                return
            gone = self._queue.pop(index)
            self._bytes[gone.kind] -= len(gone.line)
            self.dropped += 1 + gone.drops

    def _oldest(self, kind: int) -> int | None:
        """Return the place of the oldest line of a kind that isn't partly sent, nor the newest."""
        for index in range(1 if self._offset else 0, len(self._queue) - 1):
            if self._queue[index].kind == kind:
                return index
        return None

    def _connect(self, *, at_once: bool) -> bool:
        now = monotonic()
        if self.path is None or (now < self._retry_at and not at_once):
            return False
        sock = Socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
        try:
            sock.connect(self.path)
        except OSError:  # nobody there, a full backlog, too long a path
            sock.close()
            self._retry_later(now)
            return False
        self._socket = sock
        self._connected_at = now
        self.away_since = 0.0
        self.connections += 1
        self._greet()
        return True

    def _greet(self) -> None:
        """Put first who we are, then what the daemon before this one did not answer."""
        queued = set(map(id, self._queue))
        again = [entry for entry in self._awaited.values() if id(entry) not in queued]
        first = [Entry(self._hello(), HELLO), *again]
        self._queue[:0] = first
        for entry in first:
            self._bytes[entry.kind] += len(entry.line)

    def _hello(self) -> bytes:
        token = f'"token":{quoted(self._token)},' if self._token else ""
        stacks = f',"stack_signal":{self.stack_signal}' if self.stack_signal else ""
        return f'{{"type":"hello",{token}"sdk":"python/{__version__}"{stacks}}}\n'.encode()

    def _send(self) -> None:
        assert self._socket is not None
        for attempt in range(SENDS_MAX):
            if not self._queue:
                return
            # A line alone first: a daemon that doesn't read would have a chunk made for nothing
            # with every beat.
            chunk = self._chunk() if attempt else self._queue[0].line[self._offset :]
            try:
                sent = self._socket.send(chunk, MSG_DONTWAIT | MSG_NOSIGNAL)
            except (BlockingIOError, InterruptedError):
                return
            self._sent(sent)
            if sent < len(chunk):
                return

    def _chunk(self) -> bytes:
        """Return as many whole lines as make a good write, the sent part of the first left out."""
        lines, size = [self._queue[0].line[self._offset :]], 0
        for entry in islice(self._queue, 1, None):
            size += len(entry.line)
            if size > SEND_BYTES:
                break
            lines.append(entry.line)
        return b"".join(lines)

    def _sent(self, size: int) -> None:
        self._offset += size
        done = 0
        for entry in self._queue:
            if self._offset < len(entry.line):
                break
            self._offset -= len(entry.line)
            self._bytes[entry.kind] -= len(entry.line)
            done += 1
        del self._queue[:done]

    def _receive(self) -> None:
        assert self._socket is not None
        for _ in range(SENDS_MAX):
            try:
                data = self._socket.recv(READ_BYTES, MSG_DONTWAIT)
            except (BlockingIOError, InterruptedError):
                return
            if not data:
                self._lose()
                return
            self.mute = False
            *lines, self._read = (self._read + data).split(b"\n")
            for line in lines:
                self._take(line)
            if len(self._read) > 2 * LINE_BYTES_MAX:
                self._lose()
                return
            if len(data) < READ_BYTES:
                return

    def _take(self, line: bytes) -> None:
        said = parsed(line.decode("utf-8", "replace").strip())
        if said is None:
            return
        if said.get("type") == "control":
            self._heed(said)
            return
        line_id = said.get("id")
        if not isinstance(line_id, str):
            if said.get("ok") is False:
                self.trouble(_message(said))
            return
        self._awaited.pop(line_id, None)
        if line_id in self.replies:
            self.replies[line_id] = said

    def _heed(self, said: dict[str, Any]) -> None:
        action = said.get("action")
        # A pause without that mode is a freeze: the agent is to do nothing about it.
        if action == "stop" or (action == "pause" and said.get("mode") == "checkpoint"):
            self.asked_to_stop = True
        elif action == "resume":
            self.asked_to_stop = False
        self.controls.append({name: said[name] for name in said if name != "type"})
        if len(self.controls) > CONTROLS_MAX:
            self.controls.pop(0)

    def _lose(self) -> None:
        """The connection is gone: a line that was sent in part is sent as a whole again."""
        now = monotonic()
        self.let_go()
        self._read = b""
        self._offset = 0
        if self._queue and self._queue[0].kind == HELLO:
            self._bytes[HELLO] -= len(self._queue.pop(0).line)
        if now - self._connected_at > RETRY_S_MAX:
            self._retry_s = RETRY_S_MIN
        self._retry_later(now)

    def _retry_later(self, now: float) -> None:
        self.away_since = self.away_since or now
        self._retry_at = now + self._retry_s
        self._retry_s = min(self._retry_s * 2, RETRY_S_MAX)


def _message(said: dict[str, Any]) -> str:
    """Return what an error reply says."""
    error = said.get("error")
    return str(error.get("message") if isinstance(error, dict) else error)[:200]


def _of_this_process() -> Link:
    path = os.environ.get("AGENTD_SOCKET") or None
    return Link(path, os.environ.get("AGENTD_TOKEN"))


LINK: Link = _of_this_process()
"""Read it as `link.LINK`: a forked child has another."""


def reset() -> None:
    """Begin anew with what the environment says now."""
    global LINK  # noqa: PLW0603 - one process, one link
    LINK.let_go()
    LINK = _of_this_process()


# In a child nothing of its parent's may be used: not the socket, whose lines would mix, nor
# the queue, whose lines would come twice, nor the lock, which nobody may be left to release.
os.register_at_fork(after_in_child=reset)
