"""The server on a port of loopback, in a thread with a loop of its own."""

import asyncio
import http.client
import threading
from typing import Any, Self

from agentd.http.running import Running
from agentd.http.settings import Settings
from tests.http.site import FakeDaemon

WAIT_S = 20.0


class Listening:
    """A server while inside; `daemon` is what it asks."""

    def __init__(self, daemon: FakeDaemon | None = None, **known: Any) -> None:  # noqa: ANN401 - of Settings
        self.settings = Settings(**{"host": "127.0.0.1", "port": 0, **known})
        self.daemon = daemon
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(WAIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self.running.end)
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    def call(self, deed: Any, *args: Any) -> None:  # noqa: ANN401 - any function
        """Have something done in the server's own thread."""
        self.loop.call_soon_threadsafe(deed, *args)

    @property
    def url(self) -> str:
        return self.running.url.rstrip("/")

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.rpartition("/")[2].rpartition(":")
        return host, int(port)

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self.address, timeout=WAIT_S)

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.daemon = self.daemon or FakeDaemon()
        self.running = Running(self.settings, self._connect)
        serving = asyncio.create_task(self.running.serve())
        self._up.set()
        await serving

    async def _connect(self) -> Any:  # noqa: ANN401 - what stands for an AsyncClient
        return self.daemon
