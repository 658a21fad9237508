"""One connection to the daemon: documents out, documents in, each a line of JSON."""

import json
import os
import socket as sockets
from collections.abc import Mapping
from time import monotonic, sleep
from typing import Any, Final

from agentd.client.errors import AgentdError, NotReachable, TimedOut

CONNECT_S: Final = 4.0
"""A daemon whose backlog stays full for so long does not accept any more: it is stopped."""
REPLY_BYTES_MAX: Final = 64 << 20
SYSTEM_SOCKET: Final = "/run/agentd/agentd.sock"


class Lost(Exception):  # noqa: N818 - caught within this package, never shown
    """The peer ended the connection before it answered."""


def socket_path(env: Mapping[str, str] | None = None, euid: int | None = None) -> str:
    """Tell where the daemon listens, by the rules of CONTRACT 2.

    A user without a daemon of his own is led to the system's, if there is one.
    """
    # os.path and not pathlib: a command line that runs in a loop pays for every import.
    env = os.environ if env is None else env
    if env.get("AGENTD_SOCKET"):
        return env["AGENTD_SOCKET"]
    if (os.geteuid() if euid is None else euid) == 0:
        return SYSTEM_SOCKET
    if env.get("XDG_RUNTIME_DIR"):
        own = f"{env['XDG_RUNTIME_DIR']}/agentd/agentd.sock"
    else:
        home = env.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - as said above
        own = f"{home}/.local/state/agentd/agentd.sock"
    if not os.path.exists(own) and os.path.exists(SYSTEM_SOCKET):  # noqa: PTH110 - as above
        return SYSTEM_SOCKET
    return own


class Channel:
    """A connected stream socket. Moments (`until`) are of `time.monotonic()`, in seconds."""

    def __init__(self, path: str, until: float) -> None:
        self._path = path
        self._socket = _connect(path, until)
        self._buffer = bytearray()
        self._searched = 0

    def close(self) -> None:
        self._socket.close()

    def send(self, document: Mapping[str, object], until: float) -> None:
        """Send one line; `Lost` if the peer is gone, `TimedOut` if it doesn't read."""
        try:
            self._socket.settimeout(_left(until))
            self._socket.sendall(json.dumps(document).encode() + b"\n")
        except TimeoutError:
            raise TimedOut(f"agentd does not read from {self._path}") from None
        except OSError as error:
            raise Lost(error.strerror or str(error)) from None

    def receive(self, until: float) -> dict[str, Any] | None:
        """Return the next document, or None when none has come by then; `Lost` at the end."""
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)
            if self._searched > REPLY_BYTES_MAX:
                raise AgentdError("internal", "an answer of more than 64 MiB was refused")
            try:
                self._socket.settimeout(_left(until))
                chunk = self._socket.recv(1 << 18)
            except (TimeoutError, BlockingIOError):
                return None
            except OSError as error:
                raise Lost(error.strerror or str(error)) from None
            if not chunk:
                raise Lost("connection closed")
            self._buffer += chunk
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return decode(line, self._path)


def decode(line: bytes, path: str) -> dict[str, Any]:
    """Return the document in one line; an `internal` error if whoever speaks isn't agentd."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise AgentdError("internal", f"what listens on {path} does not speak as agentd does")
    return document


def _left(until: float) -> float | None:
    """Seconds until then as a socket's timeout: never 0, which would mean something else."""
    left_s = until - monotonic()
    return None if left_s > 1e8 else max(0.001, left_s)  # noqa: PLR2004 - three years: for ever


def _connect(path: str, until: float) -> sockets.socket:
    until = min(until, monotonic() + CONNECT_S)
    peer = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
    try:
        while True:
            peer.settimeout(_left(until))
            try:
                peer.connect(path)
            except (BlockingIOError, TimeoutError):  # its backlog is full
                if monotonic() >= until:
                    raise TimedOut(
                        f"agentd does not accept connections on {path}",
                        "it is stopped or overloaded",
                    ) from None
                sleep(0.05)
            else:
                return peer
    except BaseException as error:
        peer.close()
        if isinstance(error, OSError):
            raise not_connected(path, error) from None
        raise


def not_connected(path: str, error: OSError) -> AgentdError:
    """Return what to tell about a socket that could not be connected to."""
    if "path too long" in str(error):  # CPython's own word; there is no errno for it
        return NotReachable(f"{path}: too long a path for a socket", "--socket PATH, AGENTD_SOCKET")
    why = (error.strerror or str(error)).lower()
    if isinstance(error, PermissionError):
        hint = "run it as root, or as a member of the operator or viewer group of agentd"
        return AgentdError("forbidden", f"may not connect to agentd on {path}: {why}", hint)
    return NotReachable(f"no answer from agentd on {path}: {why}", start_hint(path))


def start_hint(path: str) -> str:
    """Tell how the daemon of that socket is looked after."""
    if path == SYSTEM_SOCKET:
        return "is it running?  systemctl status agentd"
    return "is it running?  agentd start"
