"""One server from its settings to its end."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

from agentd.client.aio import AsyncClient
from agentd.http.access import Access
from agentd.http.application import application
from agentd.http.hosts import Hosts, NoHosts
from agentd.http.hub import Hub
from agentd.http.link import Link
from agentd.http.service import Service
from agentd.http.serving import Server, listening_socket, server_of
from agentd.http.settings import Settings
from agentd.http.stream import Streams

Connect = Callable[[], Awaitable[AsyncClient]]


class Running:
    """A server that listens; `serve` returns when it has ended."""

    def __init__(self, settings: Settings, connect: Connect, hosts: Hosts | None = None) -> None:
        """Raises `SettingsError` if it cannot listen, or its certificate is no good."""
        link = Link(connect)
        hub = Hub(link)
        access = Access(settings)
        self.service = Service(settings, link, hub, Streams(hub), access, hosts or NoHosts())
        self._server: Server = server_of(application(self.service), settings)
        self._listening = listening_socket(settings)

    @property
    def url(self) -> str:
        """Return where it listens, as a browser takes it."""
        return self._url(self.service.settings.host)

    def _url(self, host: str) -> str:
        written = f"[{host}]" if ":" in host else host
        scheme = "https" if self.service.settings.tls_cert else "http"
        return f"{scheme}://{written}:{self._listening.getsockname()[1]}/"

    def sign_in_url(self) -> str:
        """Return a link that signs in once."""
        url = self._url(self.service.settings.link_host)
        return f"{url}sign-in?code={self.service.access.sessions.new_link_code()}"

    def end_on_signals(self) -> None:
        """End in order at SIGTERM and Ctrl-C."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end)

    def end(self) -> None:
        """Let `serve` return soon."""
        self._server.end()

    async def serve(self) -> None:
        """Serve until `end` is called; streams are ended first, for they never end themselves."""
        serving = asyncio.create_task(self._server.serve(sockets=[self._listening]))
        ending = asyncio.create_task(self._server.ended())
        try:
            await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
            await self.service.hub.close()
            self._server.end()
            await serving
        finally:
            ending.cancel()
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(serving, ending, return_exceptions=True)
            await self.service.hosts.close()
            await self.service.link.close()
