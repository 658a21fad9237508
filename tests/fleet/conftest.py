import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from agentd.fleet.settings import FleetSettings
from tests.fleet.server import NatsServer
from tests.fleet.stand_ins import Running, StandIn

# Long enough for a busy machine to give signs of life in, short enough for a test.
TTL_MS = 3_000
Start = Callable[..., Awaitable[Running]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """A NATS server on which everybody may do everything."""
    (tmp_path / "nats").mkdir()
    made = NatsServer(tmp_path / "nats").start()
    yield made
    made.close()


@pytest.fixture
async def start(server: NatsServer, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts the link of a host by its name, connected; all are ended after the test."""
    running: list[Running] = []

    async def link(host: str, daemon: StandIn | None = None, ttl_ms: int = TTL_MS) -> Running:
        settings = FleetSettings((server.url,), host, ttl_ms=ttl_ms)
        made = Running(settings, tmp_path / host, daemon or StandIn(host))
        running.append(made)
        await made.start()
        return await made.connected()

    yield link
    await asyncio.gather(*(one.stop() for one in running))
