"""Make the socket that everything comes through, never wider open than it ends up.

The directory is checked and held, a lock says that nobody else is making this socket, an
old socket file is only removed when nobody listens on it, and the mode is set before the
name appears.
"""

import contextlib
import errno
import fcntl
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentd.config.checks import SOCKET_BYTES_MAX

BACKLOG: Final = 128

USER_MODE: Final = 0o600
GROUP_MODE: Final = 0o660
OPEN_MODE: Final = 0o666


class ListenError(Exception):
    """The socket can't be made; the message names the path and what is wrong with it."""


def final_mode(*, system: bool, strangers_connect: bool, operator_gid: int | None) -> int:
    """Return who may connect at all: what they may do then is decided at accept.

    `strangers_connect`: agents run as users of their own, or there is a viewer group.
    """
    if not system:
        return USER_MODE
    if strangers_connect:
        return OPEN_MODE
    return USER_MODE if operator_gid is None else GROUP_MODE


@dataclass(slots=True)
class Listener:
    """A listening socket, its name, and the lock that makes the name ours."""

    sock: socket.socket
    path: Path
    directory_fd: int
    lock_fd: int

    @classmethod
    def open(cls, path: Path, *, mode: int = USER_MODE, gid: int | None = None) -> "Listener":
        """Listen on `path`; it ends up with `mode`, and `gid` as its group.

        `ListenError`: the directory or what stands in the way isn't ours, or somebody else
        listens there. Nothing that is not ours is touched.
        """
        if len(os.fsencode(path)) > SOCKET_BYTES_MAX:
            raise ListenError(
                f"{path}: longer than {SOCKET_BYTES_MAX} bytes, too long for a socket"
            )
        with contextlib.ExitStack() as undo:
            directory_fd = _open_directory(path.parent)
            undo.callback(os.close, directory_fd)
            lock_fd = _lock(path, directory_fd)
            undo.callback(os.close, lock_fd)
            _clear_way(path, directory_fd)
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            undo.callback(sock.close)
            _bind(sock, path, directory_fd, mode, gid)
            undo.pop_all()
        return cls(sock, path, directory_fd, lock_fd)

    @classmethod
    def inherit(cls, path: Path, sock_fd: int, lock_fd: int) -> "Listener":
        """Go on with the socket that the daemon before us handed down; nobody was refused."""
        for fd in (sock_fd, lock_fd):
            os.set_inheritable(fd, False)
        sock = socket.socket(fileno=sock_fd)
        sock.setblocking(False)
        return cls(sock, path, _open_directory(path.parent), lock_fd)

    def admit(self, mode: int, gid: int | None) -> None:
        """Let others connect from now on; OSError: the socket is not in its place any more."""
        _open_up(self.path.name, self.directory_fd, mode, gid)

    def close(self) -> None:
        """Stop listening and take the name away, if it is still ours."""
        with contextlib.suppress(OSError):  # replaced or removed by somebody: leave it alone
            there = os.stat(self.path.name, dir_fd=self.directory_fd, follow_symlinks=False)
            if stat.S_ISSOCK(there.st_mode) and there.st_uid == os.geteuid():
                os.unlink(self.path.name, dir_fd=self.directory_fd)
        self.sock.close()
        os.close(self.directory_fd)
        os.close(self.lock_fd)


def _open_directory(directory: Path) -> int:
    """Open the directory, made where it is missing; it must be ours and nobody else's to write.

    One that root makes can be searched by everybody: an agent with a user of its own may come
    with any reload, and who may connect is the socket's own mode.
    """
    try:
        if not directory.exists():
            directory.mkdir(mode=0o700, parents=True)
            directory.chmod(0o755 if os.geteuid() == 0 else 0o700)  # whatever the umask
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EEXIST):
            raise ListenError(f"{directory}: a symlink or not a directory; refused") from None
        raise ListenError(f"{directory}: {error.strerror}") from None
    found = os.fstat(fd)
    if found.st_uid not in (0, os.geteuid()):
        os.close(fd)
        raise ListenError(f"{directory}: owned by uid {found.st_uid}, who could replace the socket")
    if found.st_mode & 0o022:
        os.close(fd)
        shown = f"{stat.S_IMODE(found.st_mode):04o}"
        raise ListenError(f"{directory}: others can write there (mode {shown}); chmod go-w it")
    return fd


def _lock(path: Path, directory_fd: int) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    name = f"{path.name}.lock"
    try:
        fd = os.open(name, flags, 0o600, dir_fd=directory_fd)
    except OSError as error:
        raise ListenError(f"{path}.lock: {error.strerror}; refused") from None
    refused = ""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        refused = f"{path}: another agentd listens there"
    if os.fstat(fd).st_uid not in (0, os.geteuid()):
        refused = f"{path}.lock: owned by somebody else; refused"
    if refused:
        os.close(fd)
        raise ListenError(refused)
    return fd


def _clear_way(path: Path, directory_fd: int) -> None:
    """Remove a socket that nobody listens on; refuse anything else that has the name."""
    try:
        there = os.stat(path.name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(there.st_mode):
        kind = "a symlink" if stat.S_ISLNK(there.st_mode) else "not a socket"
        raise ListenError(f"{path}: {kind} is in the way; refused")
    if there.st_uid not in (0, os.geteuid()):
        raise ListenError(f"{path}: a socket of uid {there.st_uid} is in the way; refused")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        refused = probe.connect_ex(os.fspath(path))
    if refused != errno.ECONNREFUSED:  # only this proves that nobody listens
        raise ListenError(f"{path}: somebody listens there already")
    os.unlink(path.name, dir_fd=directory_fd)


def _bind(sock: socket.socket, path: Path, directory_fd: int, mode: int, gid: int | None) -> None:
    """Bind and listen. The name appears with mode 0600 and is opened up to `mode` after that."""
    try:
        os.fchmod(sock.fileno(), 0o600)
        sock.bind(os.fspath(path))
        _open_up(path.name, directory_fd, mode, gid)
        sock.listen(BACKLOG)
    except OSError as error:
        raise ListenError(f"{path}: {error.strerror}") from None


def _open_up(name: str, directory_fd: int, mode: int, gid: int | None) -> None:
    """Set the group, then the mode; in a directory of ours nobody else can replace it between."""
    there = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    if not stat.S_ISSOCK(there.st_mode):
        raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK), name)
    if gid is not None and mode & 0o060:
        os.chown(name, -1, gid, dir_fd=directory_fd, follow_symlinks=False)
    os.chmod(name, mode, dir_fd=directory_fd)
