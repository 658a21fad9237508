"""Commands on hosts of the fleet, over NATS: the very same commands, with another client."""

import asyncio
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from agentd.cli.exits import FAILED, CommandError
from agentd.cli.invocation import Document, Invocation
from agentd.cli.remote.answers import Answer, refused
from agentd.cli.remote.configured import fleet_config
from agentd.cli.remote.hosts import Host
from agentd.cli.remote.words import Asked
from agentd.client import AgentdError, Client

if TYPE_CHECKING:
    from agentd.fleet.connection import Connection
    from agentd.fleet.settings import FleetSettings

Result = TypeVar("Result")

CONNECT_S: Final = 10.0
READ_S: Final = 10.0
REQUEST_S_MAX: Final = 299.0
"""A link takes no request that may last longer than five minutes."""
MISSING: Final = "pip install 'agentd-supervisor[fleet]'"


class Fleet:
    """A connection to the fleet's servers, in a thread of its own; any thread may ask."""

    def __init__(self, settings: "FleetSettings") -> None:
        self.settings = settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="nats")
        self._thread.start()
        self._connection: Connection | None = None
        self._connecting = threading.Lock()
        self._lock = threading.Lock()
        self._running: set[Future[Any]] = set()
        self._is_over = False

    def run(self, doing: Coroutine[Any, Any, Result]) -> Result:
        """Have something done in that thread, and return what comes of it.

        Raises `CancelledError` when it is ended by `end`, `CommandError` when that came before.
        """
        with self._lock:
            if self._is_over:
                doing.close()
                raise CommandError(FAILED, "interrupted")
            running = asyncio.run_coroutine_threadsafe(doing, self._loop)
            self._running.add(running)
        try:
            return running.result()
        finally:
            with self._lock:
                self._running.discard(running)

    def end(self) -> None:
        """Let nobody wait for what is being done, and do nothing any more: we are leaving."""
        with self._lock:
            self._is_over = True
            running = list(self._running)
        for each in running:
            each.cancel()

    @property
    def connection(self) -> "Connection":
        """Return the connection, made when first needed; raises `AgentdError`."""
        from agentd.fleet.connection import Connection  # noqa: PLC0415 - imports nats

        with self._connecting:
            if self._connection is None or self._connection.closed.is_set():
                self._connection = self.run(Connection.connect(self.settings))
            return self._connection

    def ask(self, host: str, cmd: str, args: Document, timeout_s: float) -> Document:
        """Ask one host's daemon, and return its result; raises `AgentdError`."""
        from agentd.fleet.commands import request  # noqa: PLC0415 - imports nats

        doing = request(self.connection, self.settings, host, cmd, args, timeout_s=timeout_s)
        return self.run(doing)

    def carried_out(
        self, asked: Asked, host: Host, limited_s: float, left_s: float | None
    ) -> Answer:
        """Carry a command out as if the host's daemon were ours; returns what it comes to.

        `limited_s` bounds each request, `left_s` is what `--timeout` leaves of the whole.
        """
        recording = Recording(FleetClient(self, host.address, limited_s), left_s)
        exit_code, error = 0, None
        try:
            with click.Context(asked.command, info_name=asked.name, obj=recording) as ctx:
                ctx.params = dict(asked.params)
                asked.command.invoke(ctx)
        except click.exceptions.Exit as ended:
            exit_code = ended.exit_code
        except (AgentdError, CommandError) as failure:
            why = refused(host.label, failure)
            exit_code, error = why.exit_code, why.error
        return Answer(host.label, recording.document, exit_code, error)


class FleetClient(Client):
    """A client whose daemon is another host's: each command goes through the fleet."""

    def __init__(self, fleet: Fleet, host: str, timeout_s: float) -> None:
        super().__init__("/", timeout_s)
        self._fleet = fleet
        self._host = host

    def ask(
        self, cmd: str, args: Document | None = None, *, timeout_s: float | None = None
    ) -> Document:
        """Send one command to the host; the time is bounded by that of the whole."""
        wanted_s = READ_S if timeout_s is None else timeout_s
        limited_s = min(wanted_s, self.timeout, REQUEST_S_MAX)
        try:
            return self._fleet.ask(self._host, cmd, args or {}, limited_s)
        except AgentdError as error:
            error.message = error.message.removeprefix(f"{self._host}: ")  # every row says so
            raise


class Recording(Invocation):
    """A call whose answer is kept instead of printed."""

    def __init__(self, client: Client, left_s: float | None) -> None:
        super().__init__()
        self._client = client
        self.json = True
        self.timeout_s = left_s
        self.document: Document | None = None

    def print_json(self, document: object) -> None:
        """Keep the document."""
        if isinstance(document, dict):
            self.document = document

    def note(self, message: str) -> None:
        """Say nothing: what matters stands in the document."""


@cache
def fleet_of_config() -> Fleet:
    """Return the fleet of the user's configuration, once."""
    return Fleet(settings_of())


def settings_of(
    servers: tuple[str, ...] = (), credentials: str = "", ca: str = "", prefix: str = ""
) -> "FleetSettings":
    """Return `[fleet]` of the user's configuration, under what the command line says."""
    needs_extra()
    from pathlib import Path  # noqa: PLC0415 - with the rest of it

    import msgspec  # noqa: PLC0415 - as above

    from agentd.fleet.settings import FleetSettings  # noqa: PLC0415 - as above

    table, directory = fleet_config()
    here = Path.cwd()
    changes: dict[str, Any] = {
        "nats": list(servers),
        "credentials_file": str(here / credentials) if credentials else "",
        "tls_ca": str(here / ca) if ca else "",
        "prefix": prefix,
    }
    table = msgspec.structs.replace(table, **{key: word for key, word in changes.items() if word})
    try:
        return FleetSettings.from_config(table, directory)
    except AgentdError as error:
        where = 'agentctl fleet --nats tls://HOST:4222, or [fleet] nats = ["…"] in your agentd.toml'
        raise CommandError(FAILED, error.message, error.hint if table.nats else where) from None


def needs_extra() -> None:
    """Raise where the extra `fleet` is not installed."""
    if find_spec("nats") is None:
        raise CommandError(FAILED, "commands over NATS need nats-py", MISSING)
    # What asyncio remarks on the end of a TLS connection is nothing to the person who looks on.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
