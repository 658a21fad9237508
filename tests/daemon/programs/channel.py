"""Stands for an internal agent: makes its channel reachable to the test, and ends with it.

What comes in on `CONFIG_DIR/NAME.channel` goes out on the channel, and back. A file
`CONFIG_DIR/NAME.mode` says how it misbehaves: `crash` exits with 1 at once, `deaf` hears
neither the end of the channel nor SIGTERM, `stubborn` serves on after SIGTERM, `child` has a
child.
"""

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def adopted() -> socket.socket:
    """Take the channel over, so that no child of ours gets it."""
    fd = int(os.environ.pop("AGENTD_CHANNEL"))
    os.set_inheritable(fd, False)
    return socket.socket(fileno=fd)


def door_at(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(path))
    door.listen()
    return door


def tell(text: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])


def heard(sock: socket.socket) -> bytes:
    try:
        return sock.recv(1 << 16)
    except OSError:
        return b""


def serve(channel: socket.socket, door: socket.socket) -> None:
    """Carry what is said between the channel and the last visitor, until the channel ends."""
    waiting = selectors.DefaultSelector()
    waiting.register(channel, selectors.EVENT_READ)
    waiting.register(door, selectors.EVENT_READ)
    visitor: socket.socket | None = None
    while True:
        ready = [key.fileobj for key, _ in waiting.select()]
        if channel in ready:
            said = heard(channel)
            if not said:
                return
            if visitor is not None:
                visitor.sendall(said)
        if visitor is not None and visitor in ready:
            said = heard(visitor)
            channel.sendall(said)
            if not said:
                waiting.unregister(visitor)
                visitor.close()
                visitor = None
        if door in ready:
            visitor, _ = door.accept()
            waiting.register(visitor, selectors.EVENT_READ)


def main() -> None:
    config = Path(sys.argv[sys.argv.index("--config") + 1])
    base = config.parent / os.environ["AGENTD_AGENT"]
    told = base.with_suffix(".mode")
    mode = told.read_text().strip() if told.exists() else ""
    if mode == "crash":
        sys.exit("it crashes, as it was told to")
    channel, place = adopted(), base.with_suffix(".channel")
    door = door_at(place)
    if mode == "child":
        subprocess.Popen(["sleep", "600"])
    if mode in {"deaf", "stubborn"}:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tell(f"READY=1\nSTATUS=listening on {place}")
    say("it serves")
    while mode == "deaf":
        time.sleep(3600)
    serve(channel, door)
    say("the channel has ended")


if __name__ == "__main__":
    main()
