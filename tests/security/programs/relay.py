"""Speaks for whoever runs it: what comes in on one socket goes out on a connection of its own.

Arguments: the path to listen on, and the path of the daemon's socket. A test says what it likes
through it, and the daemon sees the process that this is.
"""

import contextlib
import os
import socket
import sys
import threading
from pathlib import Path


def pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while part := source.recv(65536):
            target.sendall(part)
    except OSError:
        pass  # either side has gone: so does the other
    with contextlib.suppress(OSError):  # it has gone already
        target.shutdown(socket.SHUT_WR)


def main() -> None:
    place, unready = Path(sys.argv[1]), Path(sys.argv[1] + ".new")
    listener = socket.socket(socket.AF_UNIX)
    os.umask(0)
    listener.bind(str(unready))
    listener.listen(64)
    unready.rename(place)
    while True:
        client, _ = listener.accept()
        daemon = socket.socket(socket.AF_UNIX)
        daemon.connect(sys.argv[2])
        for ends in ((client, daemon), (daemon, client)):
            threading.Thread(target=pump, args=ends, daemon=True).start()


main()
