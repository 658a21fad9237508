"""Whom a unix socket is connected to; /proc/net/unix tells only what each end is called itself.

Asked of the kernel by sock_diag (sock_diag(7)), which answers for our own network namespace.
"""

import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST_DUMP: Final = 0x301
_NLMSG_DONE: Final = 3
_NLMSG_ERROR: Final = 2
_ALL_STATES: Final = 0xFFFFFFFF
# Of include/uapi/linux/unix_diag.h: what is asked for, and as which attributes it comes.
_SHOW_NAME_AND_PEER: Final = 0x1 | 0x4
_NAME, _PEER = 0, 2
_HEADER: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBHIIIII")
_ANSWER: Final = struct.Struct("=BBBBIII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_ANSWER_S_MAX: Final = 0.3
_READS_MAX: Final = 512
_NAME_BYTES_MAX: Final = 108


@dataclass(frozen=True, slots=True)
class UnixEnd:
    """One end of a unix socket. `peer`: the inode of the other end; 0: it has none."""

    name: str = ""
    peer: int = 0


def unix_ends(pid: int) -> dict[int, UnixEnd]:
    """Return all ends by inode; nothing where the kernel doesn't tell, or tells of others."""
    try:
        ours = Path("/proc/self/ns/net").stat().st_ino
        if Path(f"/proc/{pid}/ns/net").stat().st_ino != ours:
            return {}
        return _dump()
    except OSError:
        return {}


def _dump() -> dict[int, UnixEnd]:
    found: dict[int, UnixEnd] = {}
    body = _REQUEST.pack(
        socket.AF_UNIX, 0, 0, _ALL_STATES, 0, _SHOW_NAME_AND_PEER, 0xFFFFFFFF, 0xFFFFFFFF
    )
    size = _HEADER.size + len(body)
    header = _HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_ANSWER_S_MAX)
        kernel.sendto(header + body, (0, 0))
        for _ in range(_READS_MAX):
            if _take(kernel.recv(1 << 16), found):
                break
    return found


def _take(raw: bytes, found: dict[int, UnixEnd]) -> bool:
    """Take the messages of one reading; True: these were the last."""
    at = 0
    while at + _HEADER.size <= len(raw):
        size, kind, *_ = _HEADER.unpack_from(raw, at)
        if kind in (_NLMSG_DONE, _NLMSG_ERROR) or size < _HEADER.size:
            return True
        begin = at + _HEADER.size
        _, _, _, _, inode, _, _ = _ANSWER.unpack_from(raw, begin)
        found[inode] = _end(raw[begin + _ANSWER.size : at + size])
        at += _aligned(size)
    return not raw


def _end(attributes: bytes) -> UnixEnd:
    name, peer, at = "", 0, 0
    while at + _ATTRIBUTE.size <= len(attributes):
        size, kind = _ATTRIBUTE.unpack_from(attributes, at)
        if size < _ATTRIBUTE.size:
            break
        value = attributes[at + _ATTRIBUTE.size : at + size]
        if kind == _NAME:
            name = _shown(value[:_NAME_BYTES_MAX])
        elif kind == _PEER and len(value) >= 4:  # noqa: PLR2004 - an inode of 32 bits
            (peer,) = struct.unpack_from("=I", value)
        at += _aligned(size)
    return UnixEnd(name, peer)


def _aligned(size: int) -> int:
    return (size + 3) & ~3


def _shown(raw: bytes) -> str:
    """Write a name as others do: an abstract one begins with @."""
    text = raw.decode(errors="backslashreplace")
    text = "@" + text[1:] if text.startswith("\0") else text.rstrip("\0")
    return text if text.isprintable() else text.encode("unicode_escape").decode()
