"""One connection to a NATS server: it ends, and then whoever wants to go on makes another.

nats-py would connect again by itself and keep what was meant to be sent until then. Here a lost
connection is an event: what waits fails at once, and nothing old is sent late.
"""

import asyncio
import contextlib
import os
import random
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import AuthorizationError, Error, MaxPayloadError

from agentd.client.errors import AgentdError, NotReachable, TimedOut
from agentd.fleet.credentials import Credentials, read_credentials
from agentd.fleet.settings import FleetSettings

CONNECT_S: Final = 4
CLOSE_S: Final = 0.5
REQUEST_S: Final = 5.0
PING_S: Final = 5
"""A peer that is gone without a word is noticed after three of them, or by a lost beat."""
PENDING_BYTES_MAX: Final = 32 << 20
"""What may wait for one of our own listeners; beyond it messages are dropped."""
_INBOX_BYTES: Final = 12
_NO_RESPONDERS: Final = "503"
_ENDED: Final = ("Broken pipe", "Connection reset", "unexpected EOF")
_VIOLATION: Final = "permissions violation for "


@dataclass(frozen=True, slots=True)
class Message:
    """What came in: `reply` is the inbox for an answer, or empty."""

    subject: str
    data: bytes
    reply: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


Listener = Callable[[Message], None]


class Connection:
    """Connected, until `closed` is set; `reason` says why it was."""

    def __init__(self, client: Client, credentials: Credentials, server: str) -> None:
        """Private: `connect` makes one."""
        self.server = server
        self.closed = asyncio.Event()
        self.reason = ""
        self.dropped = 0
        """Messages that came faster than they were taken, or that a listener failed at."""
        self._client = client
        self._inbox = f"{credentials.inbox}.{os.urandom(_INBOX_BYTES).hex()}"
        self._waiting: dict[str, tuple[str, asyncio.Future[Message]]] = {}

    @classmethod
    async def connect(cls, settings: FleetSettings) -> Self:
        """Connect to the first server that answers, in an order drawn anew each time.

        `NotReachable`: none did; `forbidden`: the credentials are refused; `invalid_config`:
        the files named in `[fleet]` are wrong.
        """
        servers = random.sample(settings.servers, len(settings.servers))
        errors: list[AgentdError] = []
        for server in servers:
            try:
                return await cls._connect_to(server, settings)
            except AgentdError as error:
                errors.append(error)
        # A refusal says more than another server that happens to be down.
        raise next((error for error in errors if error.code == "forbidden"), errors[-1])

    @classmethod
    async def _connect_to(cls, server: str, settings: FleetSettings) -> Self:
        credentials = read_credentials(settings.credentials_file, server)
        client = Client()
        made = cls(client, credentials, _without_secret(server))
        try:
            async with asyncio.timeout(CONNECT_S):
                await client.connect(
                    [server],
                    name=f"agentd {settings.host}",
                    error_cb=made._hear_error,
                    closed_cb=made._end,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=CONNECT_S,
                    ping_interval=PING_S,
                    inbox_prefix=credentials.inbox,
                    **_tls(settings, server),
                    **credentials.options,
                )
                await made.listen(f"{made._inbox}.*", made._hear_answer)
        except (Error, OSError, TimeoutError) as error:
            await made.close()
            raise made._failure(error) from None
        return made

    async def close(self) -> None:
        """End it; what waits fails with `NotReachable`."""
        with contextlib.suppress(Error, OSError, TimeoutError, AttributeError):
            # nats-py flushes first, and waits for the end of TLS: a peer that is gone has none.
            await asyncio.wait_for(self._client.close(), CLOSE_S)
        await self._end()

    async def publish(
        self,
        subject: str,
        data: bytes,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a message; nobody says whether it arrived. `NotReachable`, `too_large`."""
        if self.closed.is_set():
            raise self._lost()
        try:
            await self._client.publish(subject, data, reply, dict(headers) if headers else None)
        except MaxPayloadError:
            raise AgentdError(
                "too_large", f"{len(data)} bytes are too many for the server"
            ) from None
        except (Error, OSError) as error:
            raise NotReachable(f"{self.server}: {error}") from None

    async def request(
        self,
        subject: str,
        data: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = REQUEST_S,
    ) -> Message:
        """Send a message and return its answer.

        `NotReachable`: nobody listens, or the connection ended; `forbidden`: we may not;
        `TimedOut` after `timeout_s`: whether it was heard isn't known then.
        """
        answer, token = self._expect(subject)
        try:
            async with asyncio.timeout(timeout_s):
                await self.publish(subject, data, f"{self._inbox}.{token}", headers)
                message = await answer
        except TimeoutError:
            raise TimedOut(f"no answer in time to {subject}") from None
        finally:
            self._waiting.pop(token, None)
        if message.headers.get("Status") == _NO_RESPONDERS:
            raise NotReachable(f"nobody answers on {subject}")
        return message

    async def listen(self, subject: str, listener: Listener) -> None:
        """Have each message on a subject handed to `listener`, in order."""

        async def hear(message: Msg) -> None:
            try:
                listener(_taken(message))
            except Exception:
                # nats-py would only write it down; a listener that fails is our bug.
                self.dropped += 1
                raise

        try:
            await self._client.subscribe(subject, cb=hear, pending_bytes_limit=PENDING_BYTES_MAX)
            await self._client.flush(int(REQUEST_S))
        except (Error, OSError, TimeoutError) as error:
            raise self._failure(error) from None
        if self.reason and subject.lower() in self.reason:
            raise AgentdError("forbidden", self.reason)

    def _expect(self, subject: str) -> tuple["asyncio.Future[Message]", str]:
        # Every host may publish into inboxes. Whoever was asked knows where that one answer goes,
        # and must not guess where another host's will.
        token = os.urandom(_INBOX_BYTES).hex()
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[token] = subject, answer
        return answer, token

    def _hear_answer(self, message: Message) -> None:
        waiting = self._waiting.get(message.subject.rpartition(".")[2])
        if waiting is not None and not waiting[1].done():
            waiting[1].set_result(message)

    async def _hear_error(self, error: Exception) -> None:
        """Take what nats-py says; a refused subject fails those who wait for it."""
        text = str(error)
        self.reason = text
        if "slow consumer" in text:
            self.dropped += 1
        if _VIOLATION not in text.lower():
            return
        for subject, answer in self._waiting.values():
            if f'"{subject.lower()}"' in text.lower() and not answer.done():
                answer.set_exception(
                    AgentdError(
                        "forbidden",
                        f"these credentials may not use {subject}",
                        "ask for other credentials: the NATS server's configuration has the roles",
                    )
                )

    async def _end(self) -> None:
        self.closed.set()
        for _, answer in list(self._waiting.values()):
            if not answer.done():
                answer.set_exception(self._lost())
                answer.exception()  # whoever asked may have gone: nothing to warn of

    def _lost(self) -> NotReachable:
        return NotReachable(f"the connection to {self.server} ended: {self.reason or 'closed'}")

    def _failure(self, error: BaseException) -> AgentdError:
        said = self.reason or str(error) or "no answer in time"
        if isinstance(error, AuthorizationError) or "authorization" in said.lower():
            return AgentdError(
                "forbidden",
                f"{self.server} refuses these credentials",
                "[fleet] credentials_file, and the users in the server's configuration",
            )
        if any(end in said for end in _ENDED):
            # It may have said why, but the end of the connection overtook that.
            return NotReachable(
                f"{self.server} ended the connection at once", "are the credentials right?"
            )
        return NotReachable(f"no NATS server on {self.server}: {said}")


def _taken(message: Msg) -> Message:
    return Message(message.subject, message.data, message.reply, message.headers or {})


def _tls(settings: FleetSettings, server: str) -> dict[str, Any]:
    """Return the options for an encrypted connection; without `tls://` and `tls_ca`, none."""
    if settings.tls_ca is None and not server.startswith("tls://"):
        return {}
    try:
        return {"tls": ssl.create_default_context(cafile=settings.tls_ca)}
    except (OSError, ssl.SSLError) as error:
        raise AgentdError(
            "invalid_config", f"fleet.tls_ca: {settings.tls_ca}: {error.strerror or error}"
        ) from None


def _without_secret(server: str) -> str:
    """Return a URL without the user and password that may stand in it."""
    scheme, _, rest = server.rpartition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if scheme else rest.rpartition("@")[2]
