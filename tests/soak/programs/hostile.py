"""A client that means no good: `python hostile.py SOCKET DEED FIGURE [TOKEN]`; what came of it.

The deeds: `flood` beats as fast as they are taken, `mutate` valid lines with bytes changed by the
seed FIGURE, `visit` connect and close, `hold` connections for two seconds, `endless` a line
without an end, `claim` to be another agent, `command` as an agent, `unknown` commands, `stranger`
as uid nobody, `storm` more commands a second than anybody may send, `half` a command whose answer
nobody waits for.
"""

import contextlib
import json
import os
import random
import socket
import sys
import time
from collections.abc import Callable

VALID = [
    b'{"status":"ok","tokens":900,"task":"ticket-918","progress":0.3}',
    b'{"type":"call","phase":"start","call":"c77","op":"chat","deadline_s":600}',
    b'{"type":"step","step":17,"tool":"web_search","out_len":5120,"lines":["deadbeef"],"ok":true}',
    b'{"status":"error","retry_after_s":2,"latency_ms":[1,2,3]}',
    b'{"id":"3","type":"checkpoint.get"}',
]
ODD = [b"[" * 100, b"9" * 5000, b"NaN", b"1e999", b'"\\ud800"', b"\x00", b"\x1b[2J", b"-1", b"{}"]
LINES = 300
NOBODY = 65534
PATH, FIGURE, TOKEN = sys.argv[1], int(sys.argv[3]), [*sys.argv, ""][4]


def connect() -> socket.socket:
    end = time.monotonic() + 10
    while True:
        channel = socket.socket(socket.AF_UNIX)
        channel.settimeout(5)
        try:
            channel.connect(PATH)
        except (BlockingIOError, ConnectionRefusedError, FileNotFoundError):
            channel.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return channel


def send(channel: socket.socket, document: object) -> None:
    channel.sendall(json.dumps(document).encode() + b"\n")


def hear(channel: socket.socket) -> str:
    """The code of the next answer's error, `ok`, or `closed`."""
    raw = b""
    while not raw.endswith(b"\n"):
        part = channel.recv(65536)
        if not part:
            return "closed"
        raw += part
    answer = json.loads(raw.splitlines()[0])
    return "ok" if answer["ok"] else str(answer["error"]["code"])


def as_agent() -> socket.socket:
    channel = connect()
    send(channel, {"type": "hello", "token": TOKEN, "id": "hello"})
    hear(channel)
    return channel


def flood() -> str:
    channel = as_agent()
    part = b'{"status":"ok"}\n' * 500
    for _ in range(FIGURE // 500):
        channel.sendall(part)
    return "taken"


def mutate() -> str:
    rng = random.Random(FIGURE)  # noqa: S311 - dice, not secrets
    channel = as_agent()
    channel.setblocking(True)
    for _ in range(LINES):
        try:
            channel.sendall(mutated(rng) + b"\n")
            with contextlib.suppress(BlockingIOError):
                while channel.recv(65536, socket.MSG_DONTWAIT):
                    pass
        except (ConnectionError, TimeoutError):
            channel.close()
            channel = as_agent()
            channel.setblocking(True)
    return "survived"


def mutated(rng: random.Random) -> bytes:
    """A valid line with bytes changed, cut, or replaced with what parsers stumble over."""
    line = bytearray(rng.choice(VALID))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(line))
        line[at : at + rng.randint(0, 6)] = rng.choice([bytes([rng.randrange(256)]), *ODD])
    return bytes(line).replace(b"\n", b" ")


def visit() -> str:
    for _ in range(FIGURE):
        connect().close()
    return "counted"


def hold() -> str:
    held = [connect() for _ in range(FIGURE)]
    time.sleep(2)
    return f"{'held' if held else 'none'}"


def endless() -> str:
    channel = as_agent()
    with contextlib.suppress(ConnectionError):
        channel.sendall(b"x" * 200_000)
    return hear(channel)


def claim() -> str:
    channel = as_agent()
    send(channel, {"id": "1", "agent": "innocent", "status": "ok"})
    return hear(channel)


def command() -> str:
    channel = as_agent()
    send(channel, {"id": "1", "cmd": "kill", "args": {"select": ["innocent"]}})
    return hear(channel)


def unknown() -> str:
    channel, told = connect(), set()
    for number in range(FIGURE):
        send(channel, {"id": f"u{number}", "cmd": f"a.b{number}", "args": {}})
        told.add(hear(channel))
    return " ".join(sorted(told))


def stranger() -> str:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    try:
        channel = connect()
    except PermissionError:
        return "EACCES"
    send(channel, {"id": "1", "cmd": "kill", "args": {"select": ["innocent"]}})
    return hear(channel)


def storm() -> str:
    channel, told = connect(), set()
    for number in range(FIGURE):
        send(channel, {"id": f"s{os.getpid()}-{number}", "cmd": "status", "args": {}})
        told.add(hear(channel))
    return " ".join(sorted(told))


def half() -> str:
    for number in range(FIGURE):
        channel = connect()
        send(channel, {"id": f"h{os.getpid()}-{number}", "cmd": "events", "args": {"limit": 1000}})
        channel.close()
    return "gone"


def main() -> None:
    deeds: dict[str, Callable[[], str]] = {
        one.__name__: one
        for one in (
            flood,
            mutate,
            visit,
            hold,
            endless,
            claim,
            command,
            unknown,
            stranger,
            storm,
            half,
        )
    }
    try:
        said = deeds[sys.argv[2]]()
    except (OSError, ValueError) as error:
        said = type(error).__name__
    sys.stdout.write(said)


main()
