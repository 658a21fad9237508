"""The server as an internal agent: its settings from the config, its life from the channel."""

import asyncio
import logging
import sys
from pathlib import Path
from typing import Final

from agentd.client.aio import AsyncClient
from agentd.client.notify import tell
from agentd.config.load import load
from agentd.http import from_fleet
from agentd.http.running import Running
from agentd.http.settings import SettingsError, from_config

END_S: Final = 0.3
"""So long answers that have begun may take once the daemon is gone."""


async def run(config_file: Path, fd: int) -> int:
    """Serve until the channel ends; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    channel = await AsyncClient.adopt(fd)
    config = load(config_file).config

    async def connected() -> AsyncClient:
        return channel

    try:
        settings = from_config(config.http, config_file.parent)
        hosts = await from_fleet.hosts_of(config.fleet, config_file.parent)
        running = Running(settings, connected, hosts)
    except SettingsError as error:
        print(f"agentd-http: {error.message}\n  hint: {error.hint}", file=sys.stderr)  # noqa: T201 - to its log
        await channel.close()
        return 1
    running.end_on_signals()
    print(f"agentd-http: listening on {running.url}", file=sys.stderr)  # noqa: T201 - as above
    tell("READY=1", f"STATUS=listening on {running.url}")
    serving = asyncio.create_task(running.serve())
    leaving = asyncio.create_task(channel.closed.wait())
    await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    running.end()
    await asyncio.wait({serving}, timeout=END_S)
    return 0
