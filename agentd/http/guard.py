"""What holds for every request and answer: the Host, the headers, bounds on time and size."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentd.http.encoding import Json
from agentd.http.refusals import Refused

SEND_S: Final = 15.0
"""So long a reader may take to make room for the next piece of an answer."""
HEAD_BYTES_MAX: Final = 32 << 10
ABORT: Final = "agentd.abort"
"""Key of the scope: a function that ends the connection at once, whatever is unsent."""

log = logging.getLogger("agentd.http")

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With "no-referrer" a form would be sent with `Origin: null`.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class SlowReader(Exception):  # noqa: N818 - named after who it is about
    """A reader has made no room for SEND_S; its connection is gone."""


class Guard:
    """Lets a request through to `app` if it is for this server, and bounds its answer.

    A page on the internet can point a name of its own at 127.0.0.1 and read what is there (DNS
    rebinding); its requests carry that name as Host. Taken are only the names that the
    operator gave, loopback's, and the very address that the connection came in on.
    """

    def __init__(self, app: ASGIApp, host_names: frozenset[str]) -> None:
        self._app = app
        self._host_names = host_names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        bounded = _bounded(_with_headers(send), scope.get(ABORT))
        host = Headers(scope=scope).get("host", "")
        refused = None
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEAD_BYTES_MAX:
            told = f"the head of a request has at most {HEAD_BYTES_MAX >> 10} KiB"
            refused = Refused("head_too_large", told)
        elif not self._is_ours(host, scope):
            told = f"this server is not called {host[:80]!r}"
            refused = Refused("wrong_host", told, "add the name to http.allowed_hosts")
        if refused is not None:
            answer = Json(refused.document(), refused.status)
            await answer(scope, receive, bounded)
            return
        try:
            await self._app(scope, receive, bounded)
        except SlowReader:
            log.warning("a reader was too slow and is let go: %r", scope["path"][:80])
            await asyncio.sleep(0)  # the connection's end is noticed before ours

    def _is_ours(self, host: str, scope: Scope) -> bool:
        name = host_name(host)
        address = (scope.get("server") or ("",))[0]
        # What comes over IPv4 to a socket of IPv6 has come in on `::ffff:192.168.1.5`.
        return name in {*self._host_names, address, address.removeprefix("::ffff:")} - {""}


def host_name(host: str) -> str:
    """Return the name in a Host header, without the port, in lower case; empty: none."""
    name, bracket, _ = host.partition("]")
    if bracket and name.startswith("["):
        return name[1:].lower()
    return host.partition(":")[0].rstrip(".").lower()


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending


def _bounded(send: Send, abort: Callable[[], None] | None) -> Send:
    async def sending(message: Message) -> None:
        try:
            async with asyncio.timeout(SEND_S):
                await send(message)
        except TimeoutError:
            # A plain close would wait for the very reader who doesn't read.
            if abort is not None:
                abort()
            raise SlowReader from None

    return sending
