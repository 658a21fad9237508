"""The pages on documents made up by a test: a server that says whatever fleet it is told to.

What is under test is what a browser makes of the documents; where they come from is proved with
a real daemon beside this.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from agentd.http import pages
from agentd.http.application import STATIC

Document = dict[str, Any]
TIME = "2026-11-21T08:00:00.000Z"
CONTEXT = pages.Context(role="operator", csrf="c")


def agent(name: str, /, **changes: object) -> Document:
    """One agent that is well, or as changed."""
    document: Document = {
        "name": name,
        "intent": "up",
        "state": "running",
        "health": "healthy",
        "pid": 4242,
        "uptime_s": 7521.0,
        "restarts": 0,
        "failures": 0,
        "silence_s": 3.2,
        "heartbeats": 27,
        "task": "ticket-918",
        "step": "17",
        "tool": "web_search",
        "rss_bytes": 104_857_600,
        "memory_limit_bytes": 536_870_912,
        "tokens": {"total": 88_000, "last_cycle": 900, "baseline": 850.0, "per_minute": 1700.0},
        "cost_usd": {"run": 0.12, "day": 1.4, "known": True},
        "tasks": {"success": 40, "failure": 2, "success_rate": 0.952, "latency_ms": {"p95": 410.0}},
        "budgets": [{"name": "usd_per_day", "limit": 5.0, "used": 1.4}],
        "thresholds_s": {"interval": 30.0, "degraded": 90.0, "unreachable": 300.0},
        "tags": ["shop"],
    }
    return {**document, **changes}


def incident(number: int, name: str | None, **changes: object) -> Document:
    """One open incident, of an agent or of the host."""
    document: Document = {"id": number, "agent": name, "severity": "critical", "open": True}
    return {**document, **changes}


def status(*agents: Document, **daemon: object) -> Document:
    """A status document of these agents."""
    facts = {"version": "1", "uptime_s": 3600.0, "rss_bytes": 1, "heartbeats": 2, "storage": "ok"}
    return {"host": "stage", "time": TIME, "daemon": {**facts, **daemon}, "agents": list(agents)}


class Stage:
    """The server, in a thread; `show` tells every open page."""

    def __init__(self, shown: Document, incidents: list[Document] | None = None) -> None:
        self.shown, self.incidents = shown, incidents or []
        self.internal: list[Document] = []
        """Agents that have a page, and of which the stream tells nothing."""
        self._news: list[asyncio.Queue[str]] = []
        app = Starlette(
            routes=[
                Route("/", self._page),
                Route("/agents/{name}", self._agent),
                Route("/incidents/{number:int}", self._incident),
                Route("/api/v1/stream", self._stream),
                Route("/agents/{name}/spark/{kind}.svg", self._spark),
                Mount("/static", StaticFiles(directory=STATIC)),
            ]
        )
        self._server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
        self._server.config.load()
        self._socket = self._server.config.bind_socket()
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._server.serve(sockets=[self._socket]))

    def show(self, shown: Document, incidents: list[Document] | None = None) -> None:
        """Let this be true from now on."""
        self.shown, self.incidents = shown, incidents or []
        self._tell("status")

    def lose(self) -> None:
        """Say that the daemon doesn't answer, until something is shown again."""
        self._tell("daemon")

    def _tell(self, news: str) -> None:
        for each in self._news:
            self._loop.call_soon_threadsafe(each.put_nowait, news)

    def end(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)

    async def _page(self, _request: Request) -> Response:
        return HTMLResponse(pages.fleet(CONTEXT, self.shown, self.incidents))

    async def _agent(self, request: Request) -> Response:
        name = request.path_params["name"]
        there = {**self.shown, "agents": [*self.shown["agents"], *self.internal]}
        if all(one["name"] != name for one in there["agents"]):
            told = pages.error(CONTEXT, 404, "Not there", f"no agent is called {name}")
            return HTMLResponse(told, 404)
        return HTMLResponse(pages.agent(CONTEXT, there, name, pages.Shown()))

    async def _incident(self, request: Request) -> Response:
        number = request.path_params["number"]
        found = next(one for one in self.incidents if one["id"] == number)
        return HTMLResponse(pages.incident(CONTEXT, found))

    async def _spark(self, _request: Request) -> Response:
        return Response(pages.spark("memory", {}, "memory"), media_type="image/svg+xml")

    async def _stream(self, _request: Request) -> Response:
        return StreamingResponse(self._told(), media_type="text/event-stream")

    async def _told(self) -> AsyncIterator[str]:
        news: asyncio.Queue[str] = asyncio.Queue()
        self._news.append(news)
        before = None
        while True:
            after = pages.live(CONTEXT, self.shown, self.incidents)
            name = "snapshot" if before is None else "status"
            yield f"event: {name}\ndata: {json.dumps(pages.changes(before, after))}\n\n"
            before = after
            while await news.get() == "daemon":
                before = None
                yield f"event: daemon\ndata: {json.dumps({'reachable': False})}\n\n"
