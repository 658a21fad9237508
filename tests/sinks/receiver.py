"""A receiver of alerts on loopback that can be as bad as real ones are; records what it was sent.

    with Receiver() as receiver:
        receiver.mood = Mood.ERROR
        ...POST to receiver.url...
        receiver.mood = Mood.OK
        receiver.wait_for(1, accepted=True)

Every request whose body came whole is recorded before anything is answered.
"""

import enum
import json
import socket
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

HUGE_BYTES = 256 << 20


class Mood(enum.Enum):
    """What it does with a request; `dead` is a method, for then nobody listens."""

    OK = "answers `status` (2xx)"
    ERROR = "answers `error_status`, with `headers`"
    SLOW = "answers `status`, but only after `slow_s` or `release()`"
    DRIP = "answers without end, one byte every `drip_s`"
    RESET = "resets the connection in place of an answer"
    REDIRECT = "answers 307 with `redirect_to`"
    HUGE = "answers 200 with a body of 256 MiB"
    GARBAGE = "answers what is no HTTP"
    CLOSED = "closes the connection without a word"


@dataclass(frozen=True)
class Received:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    at_s: float
    """By time.monotonic()."""
    accepted: bool
    """Whether it is answered with a 2xx."""

    def json(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.body)
        return found


class Receiver:
    """Listens on a port of its own, which it keeps from `dead` to `alive`."""

    def __init__(self) -> None:
        self.mood = Mood.OK
        self.status = 200
        self.error_status = 500
        self.error_said = "no"
        self.headers: dict[str, str] = {}
        """Sent along with each answer, such as Retry-After."""
        self.redirect_to = ""
        self.slow_s = 30.0
        self.drip_s = 1.0
        self.received: list[Received] = []
        self.written_bytes = 0
        """Of the huge body, as far as it was taken."""
        self._changed = threading.Condition()
        self._released = threading.Event()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/hook"

    def at(self, path: str) -> str:
        return f"http://127.0.0.1:{self._port}{path}"

    def alive(self) -> None:
        """Listen; the first time on any free port, then on that one."""
        if self._server is not None:
            return
        self._server = _Server(("127.0.0.1", self._port), _Handler)
        self._server.receiver = self
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def dead(self) -> None:
        """Listen no more: connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def release(self) -> None:
        """Let those that wait in SLOW or DRIP go on at once, and all that follow."""
        self._released.set()

    def accepted(self) -> list[Received]:
        with self._changed:
            return [one for one in self.received if one.accepted]

    def wait_for(
        self, count: int, *, accepted: bool = False, timeout_s: float = 15.0
    ) -> list[Received]:
        """Return what came once `count` requests did; AssertionError if they don't."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._come(accepted=accepted)) >= count, timeout_s)
            found = self._come(accepted=accepted)
        assert len(found) >= count, f"{len(found)} of {count} requests came within {timeout_s} s"
        return found

    def note(self, received: Received) -> None:
        with self._changed:
            self.received.append(received)
            self._changed.notify_all()

    def pause(self, seconds: float) -> bool:
        """Wait so long unless released; True: released."""
        return self._released.wait(seconds)

    def _come(self, *, accepted: bool) -> list[Received]:
        return [one for one in self.received if one.accepted or not accepted]

    def __enter__(self) -> Self:
        self.alive()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self.dead()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    receiver: Receiver

    def handle_error(self, request: object, client_address: object) -> None:
        """The peer went away, which is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        """Tests read `received`."""

    def _serve(self) -> None:
        receiver = self.server.receiver
        mood = receiver.mood
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length)
        if len(body) < length:  # the sender died over it
            self.close_connection = True
            return
        accepted = mood in {Mood.OK, Mood.SLOW, Mood.HUGE}
        headers = {name.lower(): value for name, value in self.headers.items()}
        received = Received(
            self.command, self.path, headers, body, time.monotonic(), accepted=accepted
        )
        self.close_connection = True
        if mood is Mood.SLOW:
            receiver.pause(receiver.slow_s)
        receiver.note(received)
        self._reply(receiver, mood)

    def _reply(self, receiver: Receiver, mood: Mood) -> None:
        match mood:
            case Mood.OK | Mood.SLOW:
                self._answer(receiver.status)
            case Mood.ERROR:
                self._answer(receiver.error_status)
            case Mood.REDIRECT:
                self._answer(307, {"Location": receiver.redirect_to})
            case Mood.RESET:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()
            case Mood.GARBAGE:
                self.wfile.write(b"\x00\xff nothing that you know\r\n\r\n")
            case Mood.DRIP:
                self._drip()
            case Mood.HUGE:
                self._pour()
            case Mood.CLOSED:
                pass

    def _answer(self, status: int, more: Mapping[str, str] | None = None) -> None:
        body = b"ok" if status < 300 else self.server.receiver.error_said.encode()
        self.send_response(status)
        for name, value in {**self.server.receiver.headers, **(more or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _drip(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.server.receiver.pause(self.server.receiver.drip_s):
            self.wfile.write(b"x")
            self.wfile.flush()

    def _pour(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(HUGE_BYTES))
        self.end_headers()
        part = b"x" * (1 << 16)
        while self.server.receiver.written_bytes < HUGE_BYTES:
            self.wfile.write(part)
            self.server.receiver.written_bytes += len(part)
