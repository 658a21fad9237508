"""A server of `agentd.http` without a network, and a daemon without one: a table of answers."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from starlette.types import ASGIApp, Message

from agentd.client.aio import NO_ARGS
from agentd.client.errors import AgentdError, NotReachable
from agentd.http.access import Access
from agentd.http.application import application
from agentd.http.hosts import NoHosts
from agentd.http.hub import Hub
from agentd.http.link import Link
from agentd.http.service import Service
from agentd.http.settings import Settings
from agentd.http.stream import Streams
from tests.cli.stub import agent, event, status

Document = dict[str, Any]
TOKEN = "a-token-of-some-length-0123456789"  # noqa: S105 - of these tests alone
HOST = "127.0.0.1:8484"
ORIGIN = f"http://{HOST}"


class FakeDaemon:
    """What an AsyncClient reaches: answers by command, and a journal that can be followed."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Document]] = []
        self.agents = [agent("order-processor"), agent("researcher", health="degraded")]
        self.events = [event(number) for number in range(1, 6)]
        self.incidents: list[Document] = []
        self.answers: dict[str, Callable[[Document], Document]] = {}
        self.is_gone = False
        self.closed = asyncio.Event()
        self._followers: list[asyncio.Queue[Document | None]] = []

    def count(self, cmd: str) -> int:
        return sum(1 for asked, _ in self.asked if asked == cmd)

    def add_event(self, **known: object) -> None:
        self.events.append(event(self.events[-1]["id"] + 1, **known))
        for follower in self._followers:
            follower.put_nowait({"event": self.events[-1]})

    def go(self) -> None:
        """Be gone: every question and stream fails from now on."""
        self.is_gone = True
        self.closed.set()
        for follower in self._followers:
            follower.put_nowait(None)

    async def ask(
        self, cmd: str, args: Mapping[str, object] = NO_ARGS, timeout_s: float = 10.0
    ) -> Document:
        del timeout_s
        if self.is_gone:
            raise NotReachable("no answer from agentd: connection refused", "is it running?")
        self.asked.append((cmd, dict(args)))
        await asyncio.sleep(0)
        if cmd in self.answers:
            return self.answers[cmd](dict(args))
        return getattr(self, f"_{cmd}", self._write)(dict(args))

    async def follow(
        self, cmd: str, args: Mapping[str, object] = NO_ARGS
    ) -> AsyncGenerator[Document]:
        assert cmd == "events"
        lines: asyncio.Queue[Document | None] = asyncio.Queue()
        for each in self.events:
            if each["id"] > args["after"]:
                lines.put_nowait({"event": each})
        self._followers.append(lines)
        while (line := await lines.get()) is not None:
            yield line
        raise NotReachable("agentd went away: connection closed")

    async def close(self) -> None:
        """Nothing is open."""

    def _status(self, args: Document) -> Document:
        wanted = args.get("select")
        found = [one for one in self.agents if not wanted or one["name"] in wanted]
        if wanted and not found:
            raise AgentdError("no_such_agent", f"no agent is called {wanted[0]}", "agentctl status")
        document = status(*found)
        document["daemon"] |= {"rss_bytes": 31457280, "open_fds": 40, "heartbeats": 7}
        return document

    def _events(self, args: Document) -> Document:
        after = args.get("after")
        if after is None:
            page = self.events[-(args.get("limit") or 100) :]
        else:
            page = [one for one in self.events if one["id"] > after][: args.get("limit") or 100]
        last = page[-1]["id"] if page else after or 0
        return {"events": page, "last_id": last}

    def _incidents(self, args: Document) -> Document:
        if args.get("id") is None:
            return {"incidents": self.incidents}
        found = [one for one in self.incidents if one["id"] == args["id"]]
        if not found:
            raise AgentdError("bad_request", f"no incident has the number {args['id']}")
        return found[0]

    def _history(self, args: Document) -> Document:
        return {"agents": [{"name": name, "intervals": []} for name in args.get("select") or ()]}

    def _report(self, _args: Document) -> Document:
        told = {"date": "2026-11-20", "timezone": "UTC", "host": "test", "agents": [], "ok": True}
        return {**told, "slow_problems": []}

    def _logs(self, args: Document) -> Document:
        return {"logs": [{"agent": args["select"][0], "lines": ["one", "two"]}]}

    def _checkpoints(self, _args: Document) -> Document:
        return {"checkpoints": []}

    def _ack(self, args: Document) -> Document:
        return {"id": args["id"], "open": True, "acknowledged_by": "x", "message": "acknowledged"}

    def _write(self, args: Document) -> Document:
        told = {"state": "stopping", "intent": "killed", "message": "killed"}
        return {"agents": [{"name": name, **told} for name in args["select"]]}


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:  # noqa: ANN401 - any document
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return self.json()["error"]["code"]


class Site:
    """One server. A request is a call of its application."""

    def __init__(self, daemon: FakeDaemon | None = None, **known: Any) -> None:  # noqa: ANN401 - of Settings
        self.daemon = daemon or FakeDaemon()
        self.server = "127.0.0.1"
        self.settings = Settings(**{"host": "127.0.0.1", "port": 8484, **known})
        link = Link(self._connect)
        self.hub = Hub(link)
        self.access = Access(self.settings)
        self.service = Service(
            self.settings, link, self.hub, Streams(self.hub), self.access, NoHosts()
        )
        self.app: ASGIApp = application(self.service)

    async def _connect(self) -> Any:  # noqa: ANN401 - what stands for an AsyncClient
        return self.daemon

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.send("GET", path, headers)

    async def post(self, path: str, body: object = None, **headers: str) -> Answer:
        raw = b"" if body is None else json.dumps(body).encode()
        sent = {"content-type": "application/json", **headers}
        return await self.send("POST", path, sent, raw)

    async def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Answer:
        """Send a request; `_` in a header's name stands for `-`."""
        answer = Answer()

        async def take(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            else:
                answer.body += message.get("body", b"")

        await self.app(self.scope(method, path, headers), _sender(body), take)
        return answer

    def scope(self, method: str, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
        plain, _, query = path.partition("?")
        sent = {"host": HOST, **{key.replace("_", "-").lower(): v for key, v in headers.items()}}
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": (self.server, 8484),
            "client": ("127.0.0.1", 50_000),
            "scheme": "http",
            "method": method,
            "root_path": "",
            "path": plain,
            "raw_path": quote(plain).encode(),
            "query_string": query.encode(),
            "headers": [(key.encode(), value.encode()) for key, value in sent.items()],
            "state": {},
        }

    async def sign_in(self) -> tuple[str, str]:
        """Return the Cookie header of a new session, and what its pages repeat."""
        cookie = self.access.sessions.issue()
        return f"agentd_token_8484={cookie}", self.access.sessions.csrf_of(cookie)


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def _sender(body: bytes) -> Callable[[], Any]:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await asyncio.Event().wait()  # whoever asks stays to hear the answer
        raise AssertionError

    return receive
