"""What a service manager does for agentd beside starting it: it keeps descriptors over a kill.

As systemd does with FileDescriptorStoreMax=: what agentd sends with FDSTORE=1 is kept by name,
and handed to the next start as LISTEN_FDS.
"""

import contextlib
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Final

from tests.daemon.harness import HAND_OVER

FDS_MAX: Final = 8
SETTLED: Final = "SETTLED=1"
SETTLE_S_MAX: Final = 30.0


class Keeper:
    """Listens on a notify socket of its own; `handed` and `kept` are for one thread alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._kept: dict[str, int] = {}
        self._settled = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def kept(self) -> set[str]:
        """The names of what is kept: of agentd's, the incarnations that aren't over.

        All that was sent before is taken in; whoever sends has been killed.
        """
        self._settled.clear()
        self._tell(SETTLED)
        assert self._settled.wait(SETTLE_S_MAX), "the keeper's thread has ended"
        return set(self._kept)

    def handed(self, command: list[str]) -> tuple[list[str], dict[str, str], list[int]]:
        """The words, further variables and descriptors by which it is started with all of them."""
        names = sorted(self.kept())
        fds = [self._kept[name] for name in names]
        more = {"NOTIFY_SOCKET": str(self.path)}
        if not fds:
            return command, more, fds
        more |= {"LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": ":".join(names)}
        given = ",".join(map(str, fds))
        # It executes our interpreter, which is that of agentd's program.
        return [sys.executable, "-S", "-c", HAND_OVER, given, sys.executable, *command], more, fds

    def close(self) -> None:
        """Let go of everything; a second time, of nothing."""
        if self._thread.is_alive():
            self._tell("")
            self._thread.join()
            self._socket.close()
        while self._kept:
            os.close(self._kept.popitem()[1])

    def _tell(self, word: str) -> None:
        """Say something to the thread, behind all that it hasn't heard yet."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as voice:
            voice.sendto(word.encode(), str(self.path))

    def _listen(self) -> None:
        while True:
            raw, fds, _, _ = socket.recv_fds(self._socket, 4096, FDS_MAX)
            if not raw:
                return
            if raw == SETTLED.encode():
                self._settled.set()
            told = dict(line.partition("=")[::2] for line in raw.decode().splitlines())
            if "FDSTORE" in told and fds:
                self._drop(told["FDNAME"])
                self._kept[told["FDNAME"]] = fds.pop()
            elif "FDSTOREREMOVE" in told:
                self._drop(told["FDNAME"])
            for fd in fds:
                os.close(fd)

    def _drop(self, name: str) -> None:
        with contextlib.suppress(KeyError):
            os.close(self._kept.pop(name))
