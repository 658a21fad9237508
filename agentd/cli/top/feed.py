"""What the live view knows of the daemon: asked in a thread, so that keys never wait for it."""

import os
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from agentd.cli import operate
from agentd.cli.top.state import NOT_REACHABLE, Order
from agentd.client import AgentdError, Client

Document = dict[str, Any]

INCIDENTS_MAX: Final = 50
INCIDENTS_EVERY: Final = 5
"""Incidents without an agent, as of a host that is short of something, show in no status."""

PASSING: Final = {
    "not_reachable": NOT_REACHABLE,
    "timeout": NOT_REACHABLE,
    "too_busy": "TOO BUSY",
    "storage_unavailable": "NOT READABLE",
}
"""Errors that time may mend, and what the daemon is called until then; any other is an end."""


class Heard(NamedTuple):
    """The daemon has answered."""

    status: Document
    incidents: tuple[Document, ...]
    host: str


class Lost(NamedTuple):
    """It has not, or not with a status, for this reason; `how` is one of `PASSING`."""

    how: str
    why: str


class Told(NamedTuple):
    """What came of an order, as a line."""

    message: str


class Failed(NamedTuple):
    """The feed itself has ended, of a fault of ours or an error that time does not mend."""

    error: Exception


News = Heard | Lost | Told | Failed


class Feed:
    """Asks every `interval_s` and carries orders out; `fd` is readable while there are news."""

    def __init__(
        self,
        client: Client,
        select: tuple[str, ...],
        interval_s: float,
        host: Callable[[], str],
    ) -> None:
        self._client = client
        self._select = select
        self._interval_s = interval_s
        self._host = host
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._incidents: tuple[Document, ...] = ()
        self._numbers: set[int] = set()
        self._looks = 0
        self.fd, self._bell = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._bell, False)

    def look(self) -> Heard:
        """Ask how agents are, once, and raise `AgentdError`; before `start`."""
        status = self._client.status(self._select)
        numbers = {agent["open_incident"] for agent in status["agents"]
                   if agent.get("open_incident") is not None}  # fmt: skip
        if numbers != self._numbers or self._looks % INCIDENTS_EVERY == 0:
            found = self._client.incidents(self._select, open_only=True, limit=INCIDENTS_MAX)
            self._incidents = tuple(found["incidents"])
            self._numbers = numbers
        self._looks += 1
        return Heard(status, self._incidents, self._host())

    def start(self) -> None:
        """Go on by itself until the process ends."""
        threading.Thread(target=self._run, daemon=True, name="feed").start()

    def order(self, order: Order) -> None:
        """Have an order carried out; what came of it is `Told`."""
        self._orders.put(order)

    def news(self) -> Iterator[News]:
        """Yield what came since the last time."""
        try:
            os.read(self.fd, 4096)
        except BlockingIOError:  # nothing rang
            return
        while True:
            try:
                yield self._news.get_nowait()
            except queue.Empty:
                return

    def _run(self) -> None:
        try:
            while True:
                self._once()
        except Exception as error:  # noqa: BLE001 - raised where the terminal is given back
            self._say(Failed(error))

    def _once(self) -> None:
        try:
            order = self._orders.get(timeout=self._interval_s)
        except queue.Empty:
            pass  # then it is time to look
        else:
            self._say(Told(self._carried_out(order)))
        try:
            self._say(self.look())
        except AgentdError as error:
            if error.code not in PASSING:
                raise
            self._say(Lost(PASSING[error.code], error.message))

    def _carried_out(self, order: Order) -> str:
        """Return the daemon's word on it; it is recorded then, and comes true in the table."""
        try:
            write = getattr(self._client, order.verb)
            document = write([order.agent], order.reason)
        except AgentdError as error:
            return f"{error.message}{f' ({error.hint})' if error.hint else ''}"
        errors = [agent["error"]["message"] for agent in document.get("agents", ())
                  if agent.get("error")]  # fmt: skip
        return "; ".join(errors) or operate.lines(document).replace("\n", "; ")

    def _say(self, news: News) -> None:
        self._news.put(news)
        try:
            os.write(self._bell, b"!")
        except BlockingIOError:  # it has rung often enough
            return
