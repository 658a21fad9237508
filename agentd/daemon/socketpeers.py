"""What a process's descriptors are open on, and with whom its sockets talk.

Sockets are looked up in the tables of the process's own network namespace, so that those of a
container are found too. Everything is bounded: a process may have a million descriptors.
"""

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from agentd.daemon.unixpeers import UnixEnd, unix_ends

FDS_READ_MAX: Final = 4_096
SOCKETS_MAX: Final = 64
# Of all sockets of a host: beyond this, one that is not found is named as a socket and no more.
ROWS_MAX: Final = 100_000
TARGET_CHARS_MAX: Final = 200

# In the order of the kernel's include/net/tcp_states.h, from 1 on.
_TCP_STATES: Final = (
    *("", "established", "syn-sent", "syn-received", "fin-wait-1", "fin-wait-2", "time-wait"),
    *("closed", "close-wait", "last-ack", "listening", "closing", "new-syn-received"),
)
_UNIX_TYPES: Final = {1: "stream", 2: "datagram", 5: "seqpacket"}
_WORDS_OF_INET: Final = 10
_WORDS_OF_UNIX: Final = 7
_UNIX_LISTENS: Final = 0x10000


@dataclass(frozen=True, slots=True)
class Socket:
    """One open socket; queue sizes are the kernel's, in bytes, None where it tells none."""

    fd: int
    kind: str
    """tcp, udp, unix, or `socket` where no table of its namespace has it."""
    local: str = ""
    peer: str = ""
    state: str = ""
    recv_queue_bytes: int | None = None
    send_queue_bytes: int | None = None

    @property
    def told(self) -> str:
        """Name it in a sentence: `socket to 10.0.0.7:443`."""
        if self.state == "listening":
            return f"listening socket {self.local}".rstrip()
        if self.peer:
            unanswered = " (not connected yet)" if self.state == "syn-sent" else ""
            kind = "unix socket" if self.kind == "unix" else "socket"
            return f"{kind} to {self.peer}{unanswered}"
        if self.kind == "unix":
            return f"unix socket {self.local}" if self.local else "unnamed unix socket"
        return f"{self.kind} socket" if self.kind != "socket" else "socket"

    def document(self) -> dict[str, object]:
        """Return it as the evidence shows it; the peer is an empty string where there is none."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Descriptors:
    """The descriptors of one process. `permitted`: whether they could be listed."""

    targets: dict[int, str]
    """What each is open on, as the link in /proc/PID/fd says: a path, `pipe:[7]`, `socket:[8]`."""
    sockets: dict[int, Socket]
    permitted: bool = True

    def told(self, fd: int) -> str:
        """Name a descriptor in a sentence; empty where it is not known."""
        known = self.sockets.get(fd)
        if known is not None:
            return known.told
        target = self.targets.get(fd, "")
        if target.startswith("pipe:"):
            return "a pipe"
        return f"file {target}" if target.startswith("/") else target


def descriptors_of(pid: int) -> Descriptors:
    """List what a process has open; those that end meanwhile are left out."""
    try:
        numbers = list(_numbers(pid))
    except OSError:
        return Descriptors({}, {}, permitted=False)
    targets = {}
    for fd in numbers:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")  # noqa: PTH115 - 4,096 Paths cost more than the links
        except OSError:  # closed meanwhile
            continue
        targets[fd] = _shown(target)
    inodes = {
        int(target[8:-1]): fd
        for fd, target in sorted(targets.items(), reverse=True)
        if target.startswith("socket:[")
    }
    return Descriptors(targets, _sockets(pid, inodes))


def _numbers(pid: int) -> Iterator[int]:
    with os.scandir(f"/proc/{pid}/fd") as entries:
        for count, entry in enumerate(entries):
            if count >= FDS_READ_MAX:
                return
            yield int(entry.name)


def _sockets(pid: int, inodes: dict[int, int]) -> dict[int, Socket]:
    """Look sockets up by inode; those in no table are named as such."""
    found: dict[int, Socket] = {}
    if inodes:
        for table, kind in (("tcp", "tcp"), ("tcp6", "tcp"), ("udp", "udp"), ("udp6", "udp")):
            for inode, each in _inet(pid, table, kind, inodes):
                found[inodes[inode]] = each
        for inode, each in _unix(pid, inodes):
            found[inodes[inode]] = each
        for fd in inodes.values():
            found.setdefault(fd, Socket(fd, "socket"))
    return dict(sorted(found.items())[:SOCKETS_MAX])


def _inet(pid: int, table: str, kind: str, inodes: dict[int, int]) -> Iterator[tuple[int, Socket]]:
    for words in _rows(pid, table, _WORDS_OF_INET):
        inode = int(words[9])
        if inode not in inodes:
            continue
        send, _, receive = words[4].partition(b":")
        state = int(words[3], 16)
        yield (
            inode,
            Socket(
                inodes[inode],
                kind,
                _address(words[1]),
                _address(words[2]),
                _TCP_STATES[state] if kind == "tcp" and state < len(_TCP_STATES) else "",
                int(receive, 16),
                int(send, 16),
            ),
        )


def _unix(pid: int, inodes: dict[int, int]) -> Iterator[tuple[int, Socket]]:
    ends = unix_ends(pid)
    for words in _rows(pid, "unix", _WORDS_OF_UNIX):
        inode = int(words[6])
        if inode not in inodes:
            continue
        path = words[7].decode(errors="replace") if len(words) > _WORDS_OF_UNIX else ""
        listens = int(words[3], 16) & _UNIX_LISTENS
        kind = _UNIX_TYPES.get(int(words[4], 16), "")
        peer = _unix_peer(ends, inode, inodes)
        state = "listening" if listens else kind
        yield inode, Socket(inodes[inode], "unix", _shown(path), peer, state)


def _unix_peer(ends: dict[int, UnixEnd], inode: int, own: dict[int, int]) -> str:
    """Name the other end: by its path, or as another descriptor of the same process."""
    peer = ends.get(inode, UnixEnd()).peer
    if peer in own:
        return f"its own fd {own[peer]}"
    return ends.get(peer, UnixEnd()).name


def _shown(path: str) -> str:
    """Whatever a file is called, it is one short line here."""
    path = path[:TARGET_CHARS_MAX]
    return path if path.isprintable() else path.encode("unicode_escape", "replace").decode()


def _rows(pid: int, table: str, words_min: int) -> Iterable[list[bytes]]:
    """Yield the rows of a table, its heading and whatever is too short left out."""
    try:
        with Path(f"/proc/{pid}/net/{table}").open("rb") as rows:
            for line in islice(rows, 1, ROWS_MAX):
                words = line.split()
                if len(words) >= words_min:
                    yield words
    except OSError:  # gone, or a kernel without IPv6
        return


def _address(word: bytes) -> str:
    """Read `0100007F:494D`: host order a 32-bit word, then the port; empty for "any"."""
    host, _, port = word.partition(b":")
    raw = bytes.fromhex(host.decode())
    packed = b"".join(struct.pack(">I", each) for (each,) in struct.iter_unpack("=I", raw))
    if not any(packed) and int(port, 16) == 0:
        return ""
    if len(packed) == 4:  # noqa: PLR2004 - IPv4
        return f"{socket.inet_ntop(socket.AF_INET, packed)}:{int(port, 16)}"
    if packed[:12] == b"\0" * 10 + b"\xff\xff":
        return f"{socket.inet_ntop(socket.AF_INET, packed[12:])}:{int(port, 16)}"
    return f"[{socket.inet_ntop(socket.AF_INET6, packed)}]:{int(port, 16)}"
