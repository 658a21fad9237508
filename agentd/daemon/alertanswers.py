"""What operators ask of alerts: the queue and its failures, and a test of one sink."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from agentd.config.encodable import utc_text
from agentd.config.suggest import Suggestions
from agentd.daemon.alertattempt import Attempt, attempt
from agentd.daemon.alertprospects import AFTER_OLDER, Prospect
from agentd.daemon.alerts import Alerts, Store
from agentd.daemon.answers import BadArgument
from agentd.daemon.clock import boottime_ms, wall_ms
from agentd.daemon.offload import Offload, TooBusy
from agentd.daemon.requests import Asked
from agentd.sinks.message import Message
from agentd.store.rows import Delivery

QUEUE_MAX: Final = 200
FAILED_MAX: Final = 50

Document = dict[str, object]

_NOT_YET_READ: Final = Prospect(why=AFTER_OLDER)


@dataclass(slots=True)
class AlertAnswers:
    """Answers the command `alerts`."""

    aio: asyncio.AbstractEventLoop
    alerts: Alerts
    store: Store
    offload: Offload
    host: str

    async def asked(self, asked: Asked) -> Mapping[str, object]:
        """Return the queue, or with `test` what came of a message to one sink.

        Raises `BadArgument`, `TooBusy` and what a disk raises.
        """
        name = asked.command.args.get("test")
        if name is None:
            return await self._queue()
        return await self._test(str(name), asked.who)

    async def _queue(self) -> Document:
        counts, waiting, failed = await self.offload.run(self._read)
        now_ms, now_wall_ms = boottime_ms(), wall_ms()
        sinks = []
        known: dict[tuple[str, str], Prospect] = {}
        for name, queue in self.alerts.queues.items():
            known |= {(name, uid): one for uid, one in queue.prospects().items()}
            own, next_ms = counts.get(name, {}), queue.next_attempt_ms
            next_wall_ms = None if next_ms is None else now_wall_ms + next_ms - now_ms
            sinks.append(
                {
                    "name": name,
                    "type": queue.config.type,
                    "min_severity": queue.config.min_severity,
                    "waiting": own.get("waiting", 0),
                    "sent": own.get("sent", 0) + own.get("folded", 0),
                    "failed": own.get("failed", 0),
                    "last_error": queue.last_error or None,
                    "next_attempt": None if next_wall_ms is None else utc_text(next_wall_ms),
                }
            )
        entries = [_entry(one) for one in failed]
        for one in reversed(waiting):
            prospect = known.get((one.state.sink, one.row.uid), _NOT_YET_READ)
            at_ms = prospect.at_ms
            at_wall_ms = None if at_ms is None else now_wall_ms + at_ms - now_ms
            entries.insert(0, _entry(one, at_wall_ms, prospect.why))
        return {"sinks": sinks, "queue": entries}

    def _read(self) -> tuple[dict[str, dict[str, int]], list[Delivery], list[Delivery]]:
        find = partial(self.store.deliveries, sink=None)
        return (
            self.store.alert_counts(),
            find(states=("waiting",), limit=QUEUE_MAX),
            find(states=("failed",), limit=FAILED_MAX),
        )

    async def _test(self, name: str, who: str) -> Document:
        queue = self.alerts.queues.get(name)
        if queue is None:
            names = ", ".join(self.alerts.queues) or "none is configured"
            hint = Suggestions().hint(name, self.alerts.queues) or f"the sinks: {names}"
            raise BadArgument(f"no sink is called {name!r:.80}", hint)
        place = f"test of {name}"
        if self.alerts.threads.free(place) < 1:
            raise TooBusy("this sink is being tested already, several times")
        done: asyncio.Future[Attempt] = self.aio.create_future()
        message, sink = _test_message(self.host, who), queue.sink

        def work() -> partial[None]:
            return partial(_settle, done, attempt(sink, lambda: message))

        self.alerts.threads.begin(place, work)
        ended = await done
        if ended.ok:
            queue.reachable()
        error = queue.masked(ended.error) or None
        return {"sink": name, "type": queue.config.type, "sent": ended.ok, "error": error}


def _settle(done: asyncio.Future[Attempt], ended: Attempt) -> None:
    if not done.done():  # whoever asked may have gone
        done.set_result(ended)


def _entry(one: Delivery, at_wall_ms: int | None = None, why: str = "") -> Document:
    row, state = one.row, one.state
    return {
        "alert_id": row.uid,
        "sink": state.sink,
        "state": state.state,
        "kind": row.kind,
        "severity": row.severity,
        "agent": row.record.agent,
        "event": row.record.event,
        "incident": row.incident,
        "attempts": state.attempts,
        "next_attempt": None if at_wall_ms is None else utc_text(at_wall_ms),
        "waits": why or None,
        "error": state.error or None,
        "raised": utc_text(one.wall_ms),
    }


def _test_message(host: str, who: str) -> Message:
    now_ms = wall_ms()
    uid = f"test-{now_ms}"
    event: Document = {
        "id": None,
        "time": utc_text(now_ms),
        "host": host,
        "agent": None,
        "incarnation": None,
        "event": "alert.sent",
        "severity": "info",
        "reason": None,
        "message": f"a test of this sink, asked for by {who}: nothing is wrong",
        "data": {},
    }
    return Message(
        alert_id=uid,
        dedup_key=f"{host}/{uid}",
        kind="test",
        severity="info",
        host=host,
        agent=None,
        event=event,
        next="agentctl alerts",
    )
