"""One HTTP request that ends: what every sink that is a web service stands on.

The timeout of a socket holds for each of its operations; a peer that sends a byte a second
outlasts it. So a request runs in a thread of its own, and whoever asked waits for the deadline
and no longer; then the connection is cut, which ends the thread. What comes before there is one
can't be cut (a name look-up, a host that answers at none of its addresses): while that still
hangs, further requests of the same `Http` fail.

Redirects are never followed: a message is for the host that the config names. Of an answer no
more than `ANSWER_BYTES_MAX` is read. The proxies of the daemon's own environment (HTTPS_PROXY,
HTTP_PROXY, NO_PROXY) are honoured, though not for loopback addresses: many a network has no
other way out. No error quotes the URL, or any part of it.
"""

import base64
import contextlib
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, unquote, urlsplit

from agentd import __version__
from agentd.config.hosts import is_loopback, web_host
from agentd.sinks.escaping import on_one_line

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

DEADLINE_S: Final = 10.0
"""From the name look-up to the end of the answer."""
# A thread whose connection was cut ends in no time, on a busy host a little later.
CUT_S: Final = 2.0
ANSWER_BYTES_MAX: Final = 4096
# A part of a URL that is shorter says nothing, and would be found in half of all texts.
_TELLING_LENGTH_MIN: Final = 4
_PORTS: Final = {"http": 80, "https": 443}


class Unanswered(Exception):  # noqa: N818 - it names what happened
    """No answer came: why, in words that hold nothing of the URL."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, and where it is no 2xx the beginning of what was said."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    said: str = ""
    """On one line, control characters escaped."""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300  # noqa: PLR2004 - what HTTP calls success


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart; `Unanswered` for one that can't be called."""

    parts: SplitResult
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Target":
        host = web_host(url)
        if host is None:
            raise Unanswered("its URL is not one that begins with https:// or http://")
        parts = urlsplit(url)
        return cls(parts, host, parts.port or _PORTS[parts.scheme])

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can read what is sent."""
        return self.parts.scheme == "https" or is_loopback(self.host)

    @property
    def selector(self) -> str:
        """What is asked of the host: path and query."""
        path = self.parts.path or "/"
        return f"{path}?{self.parts.query}" if self.parts.query else path

    @property
    def authority(self) -> str:
        """Host and port as a URL has them, without user and password."""
        return self.parts.netloc.rpartition("@")[2]

    def credentials(self) -> str | None:
        """Return user and password of the URL as the value of a header, if it has any."""
        if self.parts.username is None:
            return None
        pair = f"{unquote(self.parts.username)}:{unquote(self.parts.password or '')}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    def scrubbed(self, text: str) -> str:
        """Return `text` without the parts of this URL."""
        parts = self.parts
        secrets = {self.host, parts.netloc, parts.path, parts.query, parts.fragment}
        secrets |= {parts.username or "", parts.password or "", *parts.path.split("/")}
        for secret in sorted(secrets, key=len, reverse=True):
            if len(secret) >= _TELLING_LENGTH_MIN:
                text = text.replace(secret, "***")
        return text


@dataclass(slots=True)
class Http:
    """Makes requests, from whatever threads; each sink has one of its own."""

    deadline_s: float = DEADLINE_S
    _left_behind: set[threading.Thread] = field(default_factory=set)
    """Those of requests that were given up; they end, unless they never had a connection."""

    def request(
        self, url: str, *, method: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Make a request and return the answer, whatever its status; blocks until the deadline.

        Raises Unanswered; the peer may have taken the request all the same.
        """
        target = Target.of(url)
        if self._is_held_up():
            raise Unanswered(
                "the attempt before still hangs: its host is not found, or does not answer"
            )
        call = _Call(target, method, body, dict(headers or {}), self.deadline_s)
        thread = threading.Thread(target=call.run, name="http-request", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            raise Unanswered("this host has no thread left for the request") from None
        if not call.over.wait(self.deadline_s):
            call.cut()
            self._left_behind.add(thread)
            raise Unanswered(f"no answer within {self.deadline_s:g} s")
        if call.error is not None:
            raise Unanswered(target.scrubbed(_told(call.error, self.deadline_s)))
        assert call.answer is not None
        return call.answer

    def _is_held_up(self) -> bool:
        """Tell whether a thread is left that was not ended by the cut of its connection."""
        end_s = monotonic() + CUT_S
        for thread in tuple(self._left_behind):
            thread.join(max(0.0, end_s - monotonic()))
            if not thread.is_alive():
                self._left_behind.discard(thread)
        return bool(self._left_behind)


@dataclass(slots=True)
class _Call:
    """One request, made in a thread of its own."""

    target: Target
    method: str
    body: bytes
    headers: dict[str, str]
    timeout_s: float
    over: threading.Event = field(default_factory=threading.Event)
    answer: Answer | None = None
    error: Exception | None = None
    _given_up: threading.Event = field(default_factory=threading.Event)
    _connection: "HTTPConnection | None" = None

    def run(self) -> None:
        try:
            self.answer = self._exchange()
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            self.error = error
        finally:
            self.over.set()

    def cut(self) -> None:
        """End the connection: whatever the thread waits for, it waits no longer."""
        self._given_up.set()
        connection = self._connection
        sock = connection.sock if connection is not None else None
        if sock is not None:
            # Not `sock.shutdown`: that of TLS also drops what the thread is reading from.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _exchange(self) -> Answer:
        connection, selector = _connection(self.target, self.headers, self.timeout_s)
        self._connection = connection
        try:
            connection.connect()
            if self._given_up.is_set():
                raise TimeoutError
            fixed = {"User-Agent": f"agentd/{__version__}", "Connection": "close"}
            connection.request(self.method, selector, self.body, {**fixed, **self.headers})
            return self._read(connection.getresponse())
        finally:
            connection.close()

    def _read(self, response: "HTTPResponse") -> Answer:
        headers = {name.lower(): value for name, value in response.getheaders()}
        answer = Answer(response.status, headers)
        if answer.ok:  # taken: nothing that comes after can change that
            return answer
        said = response.read(ANSWER_BYTES_MAX).decode(errors="replace")
        return Answer(response.status, headers, self.target.scrubbed(on_one_line(said)))


def _connection(
    target: Target, headers: dict[str, str], timeout_s: float
) -> "tuple[HTTPConnection, str]":
    """Return a connection that is not made yet, to the host or its proxy, and what to ask."""
    import ssl  # noqa: PLC0415 - 3 MB that a daemon without sinks has no use for
    from http.client import HTTPConnection, HTTPSConnection  # noqa: PLC0415 - the same

    credentials = target.credentials()
    if credentials is not None:
        headers.setdefault("Authorization", credentials)
    proxy = _proxy(target)
    is_tls = target.parts.scheme == "https"
    near = proxy or target
    connection = (
        HTTPSConnection(
            near.host, near.port, timeout=timeout_s, context=ssl.create_default_context()
        )
        if is_tls
        else HTTPConnection(near.host, near.port, timeout=timeout_s)
    )
    if proxy is None:
        return connection, target.selector
    pass_ = proxy.credentials()
    admission = {"Proxy-Authorization": pass_} if pass_ is not None else {}
    if is_tls:
        connection.set_tunnel(target.host, target.port, admission)
        return connection, target.selector
    headers.update(admission)
    return connection, f"http://{target.authority}{target.selector}"


def _proxy(target: Target) -> Target | None:
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 - as above

    found = getproxies().get(target.parts.scheme)
    if not found or is_loopback(target.host) or proxy_bypass(target.host):
        return None
    try:
        proxy = Target.of(found if "://" in found else f"http://{found}")
    except Unanswered:
        proxy = None
    if proxy is None or proxy.parts.scheme != "http":
        raise Unanswered("the proxy in agentd's environment is not an http:// URL")
    return proxy


_NO_TLS: Final = frozenset(("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"))


def _told(error: Exception, deadline_s: float) -> str:
    """Say what went wrong; texts of the library that may quote what was sent are left out."""
    from http.client import HTTPException  # noqa: PLC0415 - as above

    certificate = getattr(error, "verify_message", "")
    if isinstance(error, Unanswered):
        return str(error)
    if certificate:
        return f"its certificate was not accepted: {certificate}"
    if isinstance(error, socket.gaierror):
        return f"its host name was not found: {(error.strerror or '').lower()}"
    if isinstance(error, TimeoutError):
        return f"no answer within {deadline_s:g} s"
    if isinstance(error, HTTPException):  # this one first: some are ConnectionErrors as well
        closed = isinstance(error, ConnectionError)
        return "it closed the connection without an answer" if closed else "its answer is no HTTP"
    if isinstance(error, OSError):
        if getattr(error, "reason", "") in _NO_TLS:
            return "the other side speaks no TLS: is it http://?"
        return (error.strerror or getattr(error, "reason", "") or type(error).__name__).lower()
    return f"the request could not be made ({type(error).__name__})"
