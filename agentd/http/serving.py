"""uvicorn within our own event loop, with bounds on what clients may keep busy."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Generator, Sequence
from typing import Any, Final
from weakref import WeakSet

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from agentd.http.guard import ABORT, HEAD_BYTES_MAX
from agentd.http.settings import Settings, SettingsError

CONNECTIONS_MAX: Final = 256
"""Four times the streams there may be, and with handshakes; one more is closed as it comes."""
HEAD_S: Final = 10.0
"""So long the head of a request may take, from the connection or the answer before it."""
KEEP_ALIVE_S: Final = 5
HANDSHAKE_S: Final = 10.0
GRACE_S: Final = 2
"""So long answers that have begun may take once the server is to end."""
TICK_S: Final = 1.0
"""How often the Date header is written anew."""
BACKLOG: Final = 128


class BoundedListener(socket.socket):
    """A listening socket that has at most CONNECTIONS_MAX connections open.

    They are counted as they are accepted: of one in its handshake no protocol knows yet.
    """

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self._open: WeakSet[socket.socket] = WeakSet()

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection; one too many is closed: `ConnectionAbortedError`."""
        connection, address = super().accept()
        if sum(each.fileno() >= 0 for each in self._open) >= CONNECTIONS_MAX:
            connection.close()
            raise ConnectionAbortedError  # asyncio takes it for one that its client gave up
        self._open.add(connection)
        return connection, address


class BoundedProtocol(H11Protocol):
    """One connection. Whoever sends a byte a second holds it for HEAD_S and no longer."""

    def __init__(self, *args: Any, **known: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **known)
        self.app = _with_abort(self.app, self)
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def on_response_complete(self) -> None:
        # First, for what was sent ahead begins the next request right in there.
        self._await_head()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        loop = asyncio.get_running_loop()
        self._head_timer = loop.call_later(HEAD_S, self._on_head_timer)

    def _on_head_timer(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


def _with_abort(app: ASGIApp, connection: BoundedProtocol) -> ASGIApp:
    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        scope[ABORT] = connection.transport.abort
        await app(scope, receive, send)

    return served


class Server(uvicorn.Server):
    """uvicorn as a guest: signals, logging and the loop are its host's."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def startup(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Listen; other than uvicorn's own, a handshake of TLS has its time, too."""
        await self.lifespan.startup()
        loop, config = asyncio.get_running_loop(), self.config
        handshake_s = HANDSHAKE_S if config.ssl else None

        def protocol() -> asyncio.Protocol:
            return BoundedProtocol(
                config=config, server_state=self.server_state, app_state=self.lifespan.state
            )

        self.servers = [
            await loop.create_server(
                protocol,
                sock=listening,
                ssl=config.ssl,
                ssl_handshake_timeout=handshake_s,
                backlog=BACKLOG,
            )
            for listening in sockets or ()
        ]
        self.started = True

    async def main_loop(self) -> None:
        """Wait for the end; other than uvicorn's own, it doesn't wake ten times a second."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._ending.wait()

    async def ended(self) -> None:
        """Wait until `end` is called."""
        await self._ending.wait()

    def end(self) -> None:
        """Take no more requests, and end once those that have begun are answered."""
        self.should_exit = True
        self._ending.set()


def server_of(app: ASGIApp, settings: Settings) -> Server:
    """Return a server that isn't started; `SettingsError` for a certificate that is no good."""
    config = uvicorn.Config(
        app,
        loop="none",
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        told = f"{settings.tls_cert}, {settings.tls_key}: {error.strerror or error}"
        raise SettingsError(
            told, "tls_cert and tls_key are files of PEM, and belong together"
        ) from None
    return Server(config)


def listening_socket(settings: Settings) -> socket.socket:
    """Return a socket bound to the address asked for; `SettingsError` if that can't be had."""
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listening = BoundedListener(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(BACKLOG)  # from now on whoever was told of it may come
        except OSError:
            listening.close()
            raise
    except OSError as error:
        told = f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}"
        raise SettingsError(told, "is another program there?  ss -ltnp") from None
    return listening
