"""sd_notify from agents: one datagram socket an incarnation, so that the path says who spoke.

The sender's pid proves nothing (a helper sends, or has ended since), its uid must fit. Every
descriptor that comes along is closed, which is what a sender of BARRIER=1 waits for. What
comes this way is readiness and signs of life, never a command.
"""

import array
import contextlib
import os
import socket
import struct
from pathlib import Path
from typing import Final

from agentd.core.lines import Line, Notify
from agentd.daemon import procfs
from agentd.daemon.hall import Hall
from agentd.daemon.peers import Proc, belongs
from agentd.daemon.refusals import Refusal
from agentd.daemon.registry import Incarnation
from agentd.wire.notify import BadDatagram, parse

DATAGRAM_BYTES_MAX: Final = 8192
PATH_BYTES_MAX: Final = 100
READS_A_TURN: Final = 64

_CREDENTIALS: Final = struct.Struct("iII")
_FDS_MAX: Final = 253  # SCM_MAX_FD
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4 * _FDS_MAX)


class NotifySockets:
    """The notify sockets of all living incarnations, in one directory of ours."""

    def __init__(self, hall: Hall, directory: Path, proc: Proc = procfs) -> None:
        self._hall = hall
        self._directory = directory
        self._proc = proc
        self._sockets: dict[Incarnation, socket.socket] = {}
        # Agents of other users must get through to their own socket, and see no others.
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        directory.chmod(0o711)
        hall.registry.on_end(self._before_end)

    def path_of(self, incarnation_id: str) -> str:
        """Return the NOTIFY_SOCKET of an incarnation, before or after it is opened."""
        return os.fspath(self._directory / f"{incarnation_id}.sock")

    def open(self, incarnation: Incarnation) -> str:
        """Listen for an incarnation, and return the path. OSError: it can't be made."""
        path = self.path_of(incarnation.id)
        if len(os.fsencode(path)) > PATH_BYTES_MAX:
            raise OSError(f"{path}: longer than {PATH_BYTES_MAX} bytes, too long for a socket")
        with contextlib.suppress(FileNotFoundError):  # of a daemon that was killed
            Path(path).unlink()
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        sock = socket.socket(socket.AF_UNIX, kind)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            os.fchmod(sock.fileno(), 0o600)
            sock.bind(path)
            if incarnation.uid not in (None, os.geteuid()):
                os.chown(path, incarnation.uid, -1, follow_symlinks=False)
        except OSError:
            sock.close()
            raise
        self._sockets[incarnation] = sock
        self._hall.aio.add_reader(sock.fileno(), self._read, incarnation)
        return path

    def close(self) -> None:
        """Stop listening for everybody. The names stay: a daemon that follows takes them over."""
        for sock in self._sockets.values():
            self._hall.aio.remove_reader(sock.fileno())
            sock.close()
        self._sockets.clear()

    def _before_end(self, incarnation: Incarnation) -> None:
        """Take in the last words of an incarnation, and take its socket away."""
        if incarnation not in self._sockets:
            return
        self._read(incarnation)
        sock = self._sockets.pop(incarnation)
        self._hall.aio.remove_reader(sock.fileno())
        sock.close()
        with contextlib.suppress(OSError):  # gone, or the directory is: there is nothing to do
            Path(self.path_of(incarnation.id)).unlink()

    def _read(self, incarnation: Incarnation) -> None:
        """Take in what has arrived, up to a turn's worth."""
        sock = self._sockets[incarnation]
        lines: list[Line] = []
        for _ in range(READS_A_TURN):
            try:
                data, ancillary, flags, _ = sock.recvmsg(
                    DATAGRAM_BYTES_MAX, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
                )
            except OSError:  # nothing more, for now or for good
                break
            uid, pid = self._open_ancillary(ancillary)
            if uid is None or not self._uid_fits(incarnation, uid):
                self._refuse(incarnation, uid, pid, "a notification of another user")
                continue
            try:
                if flags & socket.MSG_TRUNC:
                    raise BadDatagram  # noqa: TRY301 - one way out for all that is odd
                said = parse(data)
            except BadDatagram:
                self._hall.counters.notifications_bad += 1
                continue
            self._hall.counters.notifications += 1
            said = self._checked(incarnation, said, uid, pid)
            if said != Notify():  # such as a BARRIER alone
                lines.append(said)
        self._deliver(incarnation, lines)

    def _open_ancillary(self, ancillary: list[tuple[int, int, bytes]]) -> tuple[int | None, int]:
        """Return uid and pid of the sender, and close every descriptor that came along."""
        uid, pid = None, 0
        for level, kind, data in ancillary:
            if level != socket.SOL_SOCKET:
                continue
            if kind == socket.SCM_CREDENTIALS and len(data) >= _CREDENTIALS.size:
                pid, uid, _ = _CREDENTIALS.unpack_from(data)
            elif kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
                for fd in fds:
                    os.close(fd)
                self._hall.counters.fds_closed += len(fds)
        return uid, pid

    def _uid_fits(self, incarnation: Incarnation, uid: int) -> bool:
        wanted = os.geteuid() if incarnation.uid is None else incarnation.uid
        return uid in (0, wanted)

    def _checked(self, incarnation: Incarnation, said: Notify, uid: int, pid: int) -> Notify:
        """Return what may be believed: a main process is one of its own tree."""
        if said.mainpid is not None and not self._is_of_tree(incarnation, said.mainpid):
            self._refuse(incarnation, uid, pid, f"MAINPID={said.mainpid} is not of its tree")
            said.mainpid = None
        return said

    def _is_of_tree(self, incarnation: Incarnation, pid: int) -> bool:
        return belongs(pid, incarnation, self._hall.registry, self._proc)

    def _deliver(self, incarnation: Incarnation, lines: list[Line]) -> None:
        """Hand on what is within the agent's rate; readiness and stopping always are."""
        if not lines:
            return
        hall = self._hall
        bucket = hall.visitors.line_bucket(incarnation.agent)
        allowed = bucket.allowed(hall.now_ms())
        kept = [
            line
            for index, line in enumerate(lines)
            if index < allowed or (isinstance(line, Notify) and (line.ready or line.stopping))
        ]
        bucket.take(min(len(kept), allowed))
        hall.counters.lines += len(kept)
        if kept:
            hall.handler.lines(incarnation.agent, incarnation.ordinal, kept)
        if len(kept) < len(lines):
            count = len(lines) - len(kept)
            hall.counters.lines_dropped += count
            hall.handler.dropped(incarnation.agent, incarnation.ordinal, count, [])

    def _refuse(self, incarnation: Incarnation, uid: int | None, pid: int, told: str) -> None:
        self._hall.counters.notifications_refused += 1
        shown_uid = -1 if uid is None else uid
        refusal = Refusal("notify", told, shown_uid, pid, incarnation.agent, incarnation.ordinal)
        self._hall.refusals.add(refusal, self._hall.now_ms())
