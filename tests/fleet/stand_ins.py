"""A daemon as its link sees it, without a daemon: a store of events, a status, what it was told."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from agentd.client.errors import AgentdError, NotReachable, TimedOut
from agentd.fleet.link import Link
from agentd.fleet.log import Log
from agentd.fleet.settings import FleetSettings

Document = dict[str, Any]


class StandIn:
    """Answers as a daemon would; `asked` is what it was asked to do, `told` of the other hosts."""

    def __init__(self, host: str, agents: tuple[str, ...] = ("a", "b")) -> None:
        self.closed = asyncio.Event()
        self.host = host
        self.events: list[Document] = []
        self.states = dict.fromkeys(agents, "running")
        self.asked: list[tuple[str, Document]] = []
        self.told: list[Document] = []
        self.reply: Document = {
            "depends_on": [],
            "spent_usd_day": {"date": "2026-11-21", "own": 1.0},
            "breakers": [],
            "budget_usd_per_day": None,
        }
        self.hold: asyncio.Event | None = None
        """While it is there and not set, commands that change something don't come to an end."""
        self.hold_told: asyncio.Event | None = None
        """While it is there and not set, nothing is answered to what is told of other hosts."""
        self.is_stuck = False
        self._bell = asyncio.Condition()

    async def ask(self, cmd: str, args: Mapping[str, Any], timeout_s: float = 10.0) -> Document:
        if self.closed.is_set():
            raise NotReachable("gone")
        match cmd:
            case "status" if self.is_stuck:
                raise TimedOut("no answer in time")
            case "status":
                return self.status()
            case "events":
                after = args.get("after")
                last = self.events[-1]["id"] if self.events else 0
                if after is None:
                    return {"events": self.events[-1:], "last_id": last}
                later = [event for event in self.events if event["id"] > after][: args["limit"]]
                return {"events": later, "last_id": later[-1]["id"] if later else after}
            case "fleet":
                self.told.append(dict(args))
                if self.hold_told is not None:
                    await self.hold_told.wait()
                return self.reply
        self.asked.append((cmd, dict(args)))
        if self.hold is not None:
            await asyncio.wait_for(self.hold.wait(), timeout_s)
        if cmd == "history":
            raise AgentdError("no_such_agent", "no agent", "look")
        return {"cmd": cmd, "log_tail": ["secret"], "rows": [{"locals": "secret", "kept": 1}]}

    async def follow(self, cmd: str, args: Mapping[str, Any]) -> AsyncGenerator[Document]:
        assert cmd == "events"
        after = args["after"]
        while True:
            async with self._bell:
                await self._bell.wait_for(partial(self._has_later, after))
            after = self.events[-1]["id"]
            yield {"event": self.events[-1]}

    def _has_later(self, after: int) -> bool:
        return bool(self.events) and bool(self.events[-1]["id"] > after)

    def status(self) -> Document:
        agents = [
            {"name": name, "intent": "up", "state": state, "health": "healthy", "reason": None}
            for name, state in self.states.items()
        ]
        summary = {"healthy": len(agents)}
        return {"host": "as the system calls it", "summary": summary, "agents": agents}

    async def happen(self, count: int = 1, **facts: object) -> None:
        """Have so many events happen."""
        for _ in range(count):
            number = self.events[-1]["id"] + 1 if self.events else 1
            self.events.append(
                {"id": number, "host": "x", "event": "agent.ready", "message": "", "data": {}}
                | facts
            )
        async with self._bell:
            self._bell.notify_all()

    def view(self) -> defaultdict[str, Document]:
        """Return the hosts as it was last told while connected; of others nothing is known."""
        told = next((one for one in reversed(self.told) if one["connected"]), {"hosts": []})
        rows = {row["name"]: row for row in told["hosts"]}
        return defaultdict(lambda: {"state": "", "announce": False, "agents": []}, rows)

    @property
    def is_connected(self) -> bool:
        return bool(self.told) and bool(self.told[-1]["connected"])


class Running:
    """One link on a stand-in, in this process."""

    def __init__(self, settings: FleetSettings, directory: Path, daemon: StandIn) -> None:
        self.settings = settings
        self.daemon = daemon
        self.log = Log()
        self._directory = directory
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> "Running":
        link = Link(self.daemon, self.settings, self._directory, self.log)  # type: ignore[arg-type]
        self.link = link
        self._task = asyncio.get_running_loop().create_task(link.run())
        return self

    async def connected(self) -> "Running":
        """Wait until it serves; its daemon hears of the others a little later."""
        await until(lambda: self.link._connection)
        return self

    async def stop(self) -> None:
        """End it as a kill would: without a word to anybody."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None


async def until(holds: Callable[[], object], timeout_s: float = 40.0) -> None:
    """Wait until something holds; the bound is for what is broken, not for what is slow."""
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 - what is looked at knows of no event
            await asyncio.sleep(0.02)
