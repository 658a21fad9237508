"""`python -m agentd.fleet --config FILE`: the link process that agentd keeps running.

With an operator's credentials, `--create` makes the streams and buckets of the fleet, once, and
`--forget HOST` has nobody miss a host that is gone for good; both end then.

Exit codes: 0 done, or the daemon is gone; 1 with one line that says why.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Final

from agentd.client.aio import CHANNEL_ENV, AsyncClient
from agentd.client.errors import AgentdError
from agentd.config.load import load
from agentd.config.places import User, places
from agentd.fleet.settings import FleetSettings

MISSING: Final = "agentd.fleet: {name} is missing\n  hint: pip install 'agentd-supervisor[fleet]'"


def main() -> int:
    """Read the configuration, and link or create until done."""
    # asyncio warns of each encrypted connection that a peer has ended; we tell that ourselves.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(prog="agentd.fleet", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--create", action="store_true", help="make the streams, and end")
    parser.add_argument("--replicas", type=int, default=1, help="servers that keep each stream")
    parser.add_argument("--forget", metavar="HOST", help="a host that is gone for good")
    asked = parser.parse_args()
    try:
        settings, state_dir = _configured(asked.config)
        if asked.create or asked.forget:
            return asyncio.run(_administer(settings, asked))
        return asyncio.run(_link(settings, state_dir, _channel()))
    except AgentdError as error:
        return _fail(error.message, error.hint)
    except ModuleNotFoundError as error:
        if error.name not in {"nats", "nkeys"}:
            raise
        sys.stderr.write(MISSING.format(name=error.name) + "\n")
        return 1


def _configured(file: Path) -> tuple[FleetSettings, Path]:
    loaded = load(file)
    if not loaded.is_usable:
        wrong = loaded.errors[0]
        raise AgentdError("invalid_config", wrong.text("").split("\n")[0], wrong.hint)
    user = User(os.environ, os.geteuid(), Path.home())
    directory = places(user, file.absolute(), loaded.config.daemon).state_dir
    return FleetSettings.from_config(loaded.config.fleet, file.absolute().parent), directory


def _channel() -> int:
    number = os.environ.pop(CHANNEL_ENV, "")
    if not number.isdigit():
        raise AgentdError(
            "bad_request",
            f"{CHANNEL_ENV} is not set: agentd itself starts this program",
            "set [fleet] nats, and agentd runs it as internal agent agentd-fleet",
        )
    return int(number)


async def _link(settings: FleetSettings, state_dir: Path, fd: int) -> int:
    # Imported late: what needs the extra is missed with one line, after the configuration.
    from agentd.fleet import link, log  # noqa: PLC0415 - as just said

    daemon = await AsyncClient.adopt(fd)
    linking = asyncio.ensure_future(link.run(daemon, settings, state_dir, log.Log()))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, linking.cancel)
    try:
        await linking
    except asyncio.CancelledError:
        return 0
    finally:
        await daemon.close()
    return 0


async def _administer(settings: FleetSettings, asked: argparse.Namespace) -> int:
    from agentd.fleet import connection, streams  # noqa: PLC0415 - as above

    connected = await connection.Connection.connect(settings)
    try:
        if asked.forget:
            known = await streams.forget(connected, settings, asked.forget)
            sys.stdout.write(f"{asked.forget}: {'forgotten' if known else 'not known'}\n")
            return 0
        made = await streams.ensure(connected, settings, asked.replicas)
    finally:
        await connected.close()
    sys.stdout.write(f"made: {', '.join(made)}\n" if made else "all there\n")
    return 0


def _fail(message: str, hint: str) -> int:
    sys.stderr.write(f"agentd.fleet: {message}\n" + (f"  hint: {hint}\n" if hint else ""))
    return 1


if __name__ == "__main__":
    sys.exit(main())
