"""An agent that beats for a while and then gets into trouble, by the name of the first argument.

stuck: reads from a socket that nobody writes to. spin: works without end. beside: hangs while
a second thread beats. lock: waits for a lock that it holds itself. tls: shakes hands with a peer
that never answers. beside-unmarked, beside-spin: a second thread beats as the loop itself would,
which hangs, or works without end. Each of these notes the moment in the file FILE, if it is given
as =FILE.

loop: one step, over and over, the moment of each in its log. idle: beats, and does nothing else.
leave and drain: say in each beat that they shut down, and do as the two before. They note when,
too.

silence=S: announces it, and is silent. call: opens a call of a model without an answer; tool: one
of a tool. human: waits for a person. parked: was told by its provider when to come back.
print=BYTES: beats on, and prints a numbered line of so many bytes between two beats. deaf: ignores
SIGTERM, as do all its children.
"""

import json
import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

BEATS = 5


def connect() -> socket.socket:
    while True:
        channel = socket.socket(socket.AF_UNIX)
        try:
            channel.connect(os.environ["AGENTD_SOCKET"])
        except OSError:
            channel.close()
            time.sleep(0.05)
        else:
            return channel


def beat(channel: socket.socket, **more: object) -> socket.socket:
    """Send one; after a restart of the daemon, over a new connection, which is returned."""
    line = {"token": os.environ["AGENTD_TOKEN"], "status": "working", "tokens": 10, **more}
    raw = json.dumps(line).encode() + b"\n"
    while True:
        try:
            channel.sendall(raw)
        except OSError:
            channel.close()
            channel = connect()
        else:
            return channel


def beat_on(channel: socket.socket, **more: object) -> None:
    while True:
        channel = beat(channel, **more)
        time.sleep(0.1)


def note(path: str) -> None:
    """Write down when the trouble begins, in seconds of the wall clock; whole or not at all."""
    if path:
        Path(f"{path}.new").write_text(repr(time.time()))
        Path(f"{path}.new").rename(path)


def stuck(_channel: socket.socket, figure: str) -> None:
    note(figure)
    ours, theirs = socket.socketpair()
    ours.recv(1)
    theirs.close()


def lock(_channel: socket.socket, figure: str) -> None:
    held = threading.Lock()
    held.acquire()
    note(figure)
    held.acquire()


def tls(_channel: socket.socket, figure: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = socket.create_connection(silent.getsockname())
        note(figure)
        ssl.create_default_context().wrap_socket(client, server_hostname="provider.example")


def spin(_channel: socket.socket, figure: str) -> None:
    note(figure)
    while True:
        pass


def beside(channel: socket.socket, figure: str) -> None:
    threading.Thread(target=beat_on, args=(channel,), kwargs={"off_thread": True}).start()
    stuck(channel, figure)


def beside_unmarked(channel: socket.socket, figure: str) -> None:
    threading.Thread(target=beat_on, args=(channel,)).start()
    stuck(channel, figure)


def beside_spin(channel: socket.socket, figure: str) -> None:
    threading.Thread(target=beat_on, args=(channel,)).start()
    spin(channel, figure)


def silence(channel: socket.socket, figure: str) -> None:
    beat(channel, silence_s=float(figure))
    time.sleep(600)


def loop(channel: socket.socket, figure: str, status: str = "working") -> None:
    note(figure)
    step = {"type": "step", "tool": "look", "args_fp": "a" * 16, "out_fp": "b" * 16, "out_len": 5}
    while True:
        beat(channel, status=status)
        sys.stdout.write(f"{time.time()}\n")
        sys.stdout.flush()
        channel = beat(channel, **step)
        time.sleep(0.05)


def leave(channel: socket.socket, figure: str) -> None:
    loop(channel, figure, "shutting_down")


def idle(channel: socket.socket, figure: str) -> None:
    note(figure)
    beat_on(channel)


def drain(channel: socket.socket, figure: str) -> None:
    note(figure)
    beat_on(channel, status="shutting_down")


def call(channel: socket.socket, _figure: str) -> None:
    beat(channel, type="call", phase="start", call="c1", op="chat", deadline_s=600)
    time.sleep(600)


def tool(channel: socket.socket, _figure: str) -> None:
    beat(channel, type="call", phase="start", call="c1", op="tool", deadline_s=600)
    time.sleep(600)


def human(channel: socket.socket, _figure: str) -> None:
    beat(channel, status="waiting_human")
    time.sleep(600)


def parked(channel: socket.socket, _figure: str) -> None:
    beat(channel, status="error", retry_after_s=600)
    time.sleep(600)


def print_much(channel: socket.socket, figure: str) -> None:
    number = 0
    while True:
        number += 1
        sys.stdout.write(f"{number} ".ljust(int(figure) - 1, "x") + "\n")
        sys.stdout.flush()
        channel = beat(channel)
        time.sleep(0.1)


TROUBLES: dict[str, Callable[[socket.socket, str], None]] = {
    "stuck": stuck,
    "spin": spin,
    "lock": lock,
    "tls": tls,
    "beside": beside,
    "beside-unmarked": beside_unmarked,
    "beside-spin": beside_spin,
    "silence": silence,
    "loop": loop,
    "leave": leave,
    "idle": idle,
    "drain": drain,
    "call": call,
    "tool": tool,
    "human": human,
    "parked": parked,
    "print": print_much,
}


def grow_deaf() -> None:
    """Ignore SIGTERM, with two children that do, too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(2):
        if os.fork() == 0:
            while True:
                time.sleep(60)


def main() -> None:
    trouble, _, figure = sys.argv[1].partition("=")
    if trouble == "deaf":
        grow_deaf()
    channel = connect()
    for _ in range(BEATS):
        beat(channel, task="order-17", step="fetch", tool="http_get")
        time.sleep(0.1)
    if trouble in TROUBLES:
        TROUBLES[trouble](channel, figure)
    else:
        beat_on(channel)


main()
