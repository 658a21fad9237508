"""The alerts that wait for one sink: read from the store, sent, and marked there.

The store is the queue: what is here is a page of it, the oldest first. A delivery is tried
until it is marked, so that a crash at any point costs a repetition and never an alert. While
the store takes nothing, alerts are kept here alone, a bounded number of them.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from agentd.config.schema import SinkConfig
from agentd.core.records import Record
from agentd.daemon.alertattempt import Attempt, attempt
from agentd.daemon.alertplan import (
    GATHER_MS,
    MINUTE_MS,
    Planned,
    Rules,
    Traffic,
    Waiting,
    backoff_ms,
    is_too_old,
    plan,
)
from agentd.daemon.alertprospects import Prospect, prospects
from agentd.daemon.alertthreads import AttemptThreads
from agentd.daemon.alertwords import delivered, not_delivered
from agentd.daemon.log import log
from agentd.daemon.offload import Offload, TooBusy
from agentd.sinks.message import Message, Sink
from agentd.store.rows import Batch, Delivery, DeliveryRow, Outcome

# Read at once, in a thread; a queue of any length costs no more, unless all of a page has to
# wait: what one agent can't get rid of must not hide what others have to tell.
PAGE: Final = 500
PAGE_MAX: Final = 4_000
# Kept while nothing can be recorded; of more, the oldest are lost, and that is told.
UNRECORDED_MAX: Final = 200
SETTLED_MAX: Final = 5_000
UNMARKED_MAX: Final = 5_000
READ_AGAIN_MS: Final = 1_000
MARK_AGAIN_MS: Final = 5_000
ERROR_LENGTH_MAX: Final = 300

KEEPS_INCIDENTS: Final = frozenset(("pagerduty",))
"""Sinks whose receiver opens and closes incidents by our word, see `alertplan`."""


class Keeping(Protocol):
    """Where deliveries are kept."""

    def submit(self, batch: Batch, done: Callable[[Outcome], None]) -> None: ...

    def deliveries(
        self, *, states: Sequence[str], sink: str | None, limit: int
    ) -> list[Delivery]: ...


@dataclass(frozen=True, slots=True)
class Shared:
    """What all queues share."""

    aio: asyncio.AbstractEventLoop
    store: Keeping
    offload: Offload
    threads: AttemptThreads
    now_ms: Callable[[], int]
    wall_ms: Callable[[], int]
    jitter: Callable[[], float]
    note: Callable[[Record], None]
    prepare: Callable[[Planned], Message]
    """Makes the message; runs in the thread of the attempt, and may read the store."""
    mask: Callable[[str], str]
    freed: Callable[[], None]
    """Called when an attempt has ended: another queue may have waited for a thread."""


class SinkQueue:
    """One sink, and what waits for it."""

    def __init__(self, shared: Shared, config: SinkConfig, sink: Sink, digest_after: int) -> None:
        self.config = config
        self.last_error = ""
        """Of the last attempt; empty: it was delivered."""
        self._shared = shared
        self.sink = sink
        self._digest_after = digest_after
        self._waiting: dict[str, Waiting] = {}
        self._on_their_way: list[Planned] = []
        self._settled: dict[str, bool] = {}
        """What has ended here, and whether the store has it so; it is not begun again."""
        self._unmarked: deque[DeliveryRow] = deque(maxlen=UNMARKED_MAX)
        self._sent_ms: deque[int] = deque()
        self._storm_ms: int | None = None
        self._criticals: deque[tuple[int, frozenset[tuple[str, str]]]] = deque()
        self._delivered_ms: int | None = None
        self._read_due = True
        self._more = False
        self._page = PAGE
        self._made = 0
        self._newest_event = 0
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms = 0
        self._task = shared.aio.create_task(self._run())
        self.wake()

    @property
    def next_attempt_ms(self) -> int | None:
        """Return when something is tried next (BOOTTIME); None: nothing waits for its time."""
        moments = [one.at_ms for one in self.prospects().values() if one.at_ms is not None]
        return min(moments, default=None)

    def prospects(self) -> dict[str, Prospect]:
        """Return when each alert is tried next, by its id; of a long queue the oldest."""
        on_their_way = {part.uid for one in self._on_their_way for part in one.parts}
        waiting, now_ms = self._waiting.values(), self._shared.now_ms()
        return prospects(waiting, on_their_way, self._storm_ms, now_ms)

    def configure(self, config: SinkConfig, sink: Sink, digest_after: int) -> None:
        """Go on by another config; if it differs, what failed is tried again at once."""
        if config != self.config:
            self._hurry()
        self.config, self.sink, self._digest_after = config, sink, digest_after
        self.wake()

    def raised(self) -> None:
        """Something new waits in the store; it is read when company has had its time."""
        self._read_due = True
        self._arm(self._shared.now_ms() + GATHER_MS)

    def keep(self, delivery: Delivery) -> None:
        """Take an alert that the store did not take."""
        unrecorded = [uid for uid, one in self._waiting.items() if not one.recorded]
        if len(unrecorded) >= UNRECORDED_MAX:
            del self._waiting[unrecorded[0]]
            log.error("alert.lost", sink=self.config.name, why="too many wait unrecorded")
        one = self._made_of(delivery)
        one.recorded = False
        self._waiting[one.uid] = one
        self._arm(one.due_ms)

    def wake(self) -> None:
        """Look at once at what there is to do."""
        self._changed.set()

    def reachable(self) -> None:
        """It was seen to take a message: what failed is tried again at once."""
        self._hurry()
        self.wake()

    def masked(self, error: str) -> str:
        """Return an error as it may be shown."""
        return self._shared.mask(error)[:ERROR_LENGTH_MAX]

    def close(self) -> None:
        """Begin nothing any more; what waits is in the store."""
        self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()

    # --- the loop of one sink

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                if self._read_due:
                    await self._read()
                self._mark_again()
                self._send()
            except Exception as error:  # noqa: BLE001 - one mistake must not silence a sink
                log.error("alert.fault", sink=self.config.name, error=repr(error))
                self._read_due = True
                self._arm(self._shared.now_ms() + READ_AGAIN_MS)

    def _arm(self, at_ms: int) -> None:
        """Wake up then at the latest."""
        if self._timer is not None:
            if self._timer_ms <= at_ms:
                return
            self._timer.cancel()
        self._timer_ms = at_ms
        wait_s = max(0, at_ms - self._shared.now_ms()) / 1000
        self._timer = self._shared.aio.call_later(wait_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.wake()

    async def _read(self) -> None:
        """Read the oldest page of what waits; what is known already keeps its state."""
        shared, name = self._shared, self.config.name
        self._read_due = False
        # Marks that are durable by now are seen by this reading, others not yet.
        self._settled = {uid: durable for uid, durable in self._settled.items() if not durable}
        question = partial(
            shared.store.deliveries, states=("waiting",), sink=name, limit=self._page
        )
        try:
            page = await shared.offload.run(question)
        except (sqlite3.Error, TooBusy) as error:
            log.warning("alert.unread", sink=name, error=error)
            self._read_due = True
            self._arm(shared.now_ms() + READ_AGAIN_MS)
            return
        self._more = len(page) == self._page
        if len(page) < PAGE:
            self._page = PAGE
        on_their_way = {part.uid for one in self._on_their_way for part in one.parts}
        found = {
            uid: one
            for uid, one in self._waiting.items()
            if not one.recorded or uid in on_their_way
        }
        for delivery in page:
            uid = delivery.row.uid
            if uid not in self._settled:
                found[uid] = self._waiting.get(uid) or self._made_of(delivery)
        self._waiting = dict(sorted(found.items(), key=lambda item: item[1].order))

    def _made_of(self, delivery: Delivery) -> Waiting:
        """Begin to care for a delivery; what an earlier daemon tried is tried at once."""
        now_ms, fresh = self._shared.now_ms(), delivery.state.attempts == 0
        age_ms = self._shared.wall_ms() - delivery.wall_ms
        left_ms = min(max(0, GATHER_MS - age_ms), GATHER_MS) if fresh else 0
        self._made += 1
        self._newest_event = max(self._newest_event, delivery.event_id)
        return Waiting(
            delivery,
            due_ms=now_ms + left_ms,
            attempts=delivery.state.attempts,
            error=delivery.state.error,
            order=(delivery.event_id or self._newest_event, self._made),
        )

    def _send(self) -> None:
        """Begin what is due and has a thread, and set the timer for what follows."""
        now_ms = self._shared.now_ms()
        while self._sent_ms and now_ms - self._sent_ms[0] >= MINUTE_MS:
            self._sent_ms.popleft()
        while self._criticals and now_ms - self._criticals[0][0] >= MINUTE_MS:
            self._criticals.popleft()
        on_their_way = {part.uid for one in self._on_their_way for part in one.parts}
        planned = plan(
            [one for one in self._waiting.values() if one.uid not in on_their_way],
            [key for one in self._on_their_way for key in one.keys],
            Traffic(tuple(self._sent_ms), self._storm_ms, tuple(self._criticals)),
            Rules(
                self._digest_after,
                apart=self.config.type in KEEPS_INCIDENTS,
                free=self._shared.threads.free(self.config.name),
            ),
            now_ms,
        )
        for one in planned.send:
            self._begin(one, now_ms)
        if planned.wake_ms is not None:
            self._arm(planned.wake_ms)
        if self._more and not self._on_their_way and self._page < PAGE_MAX:
            self._page = min(2 * self._page, PAGE_MAX)
            self._read_due = True
            self.wake()

    def _begin(self, planned: Planned, now_ms: int) -> None:
        sink, prepare = self.sink, partial(self._shared.prepare, planned)

        def work() -> Callable[[], None]:
            return partial(self._ended, planned, now_ms, attempt(sink, prepare))

        # Its end comes over the loop: what follows here is done before.
        self._shared.threads.begin(self.config.name, work)
        self._on_their_way.append(planned)
        if planned.storm:
            self._storm_ms = now_ms
        if not planned.lead.is_report:
            self._sent_ms.append(now_ms)
        if planned.criticals:
            self._criticals.append((now_ms, planned.criticals))

    # --- what came of an attempt

    def _ended(self, planned: Planned, begun_ms: int, ended: Attempt) -> None:
        self._on_their_way.remove(planned)
        if ended.ok:
            self._delivered(planned)
        else:
            if begun_ms in self._sent_ms:
                self._sent_ms.remove(begun_ms)
            if (begun_ms, planned.criticals) in self._criticals:
                self._criticals.remove((begun_ms, planned.criticals))
            if self._storm_ms == begun_ms:
                self._storm_ms = None
            self._failed(planned, ended)
        if self._more and len(self._waiting) < PAGE // 2:
            self._read_due = True
        self.wake()
        self._shared.freed()

    def _delivered(self, planned: Planned) -> None:
        self._delivered_ms = self._shared.now_ms()
        if self.last_error:
            self._hurry()
        self.last_error = ""
        newest, rows = planned.newest, []
        for part in planned.parts:
            state = "sent" if part is newest else "folded"
            rows.append(self._row(part, state, part.attempts + 1))
            self._settle(part)
        self._mark(rows)
        self._shared.note(delivered(self.config.name, planned, planned.lead.attempts + 1))

    def _failed(self, planned: Planned, ended: Attempt) -> None:
        shared, first = self._shared, planned.lead.attempts == 0
        now_ms, wall_ms = shared.now_ms(), shared.wall_ms()
        self.last_error = self.masked(ended.error)
        rows, given_up = [], []
        for part in planned.parts:
            part.attempts += 1
            part.error = self.last_error
            wait_ms = max(backoff_ms(part.attempts, shared.jitter()), ended.retry_after_ms)
            part.due_ms = now_ms + wait_ms
        self._align(planned)
        for part in planned.parts:
            hopeless = ended.permanent and self._is_hopeless(planned, part, now_ms)
            over = hopeless or is_too_old(part.delivery.wall_ms, wall_ms)
            row = self._row(part, "failed" if over else "waiting", part.attempts)
            rows.append(row)
            if over:
                given_up.append(part)
                self._settle(part)
        self._mark(rows)
        if given_up or first:
            shared.note(not_delivered(self.config.name, planned, given_up))

    def _align(self, planned: Planned) -> None:
        """Try again together what was sent together."""
        due_ms = max(part.due_ms for part in planned.parts)
        for part in planned.parts:
            part.due_ms = due_ms

    def _is_hopeless(self, planned: Planned, part: Waiting, now_ms: int) -> bool:
        """Whether the message is at fault: refused by itself, while others were taken."""
        if len(planned.parts) > 1:
            part.alone = True
            return False
        if part.refused_ms is None:
            part.refused_ms = now_ms
            return False
        return self._delivered_ms is not None and self._delivered_ms > part.refused_ms

    def _hurry(self) -> None:
        """It is reachable, or another one: nothing waits for its next try."""
        now_ms = self._shared.now_ms()
        for one in self._waiting.values():
            one.due_ms = min(one.due_ms, now_ms) if one.attempts else one.due_ms

    # --- marks

    def _row(self, part: Waiting, state: str, attempts: int) -> DeliveryRow:
        shared = self._shared
        next_wall_ms = shared.wall_ms() + max(0, part.due_ms - shared.now_ms())
        error = "" if state in ("sent", "folded") else part.error
        return DeliveryRow(part.uid, self.config.name, state, attempts, next_wall_ms, error)

    def _settle(self, part: Waiting) -> None:
        self._waiting.pop(part.uid, None)
        self._settled[part.uid] = False
        while len(self._settled) > SETTLED_MAX:
            del self._settled[next(iter(self._settled))]

    def _mark(self, rows: Sequence[DeliveryRow]) -> None:
        def done(outcome: Outcome) -> None:
            if not outcome.ok:
                self._unmarked.extend(rows)
                self._arm(self._shared.now_ms() + MARK_AGAIN_MS)
                return
            for row in rows:
                if row.uid in self._settled:
                    self._settled[row.uid] = True

        self._shared.store.submit(Batch(tuple(rows)), done)

    def _mark_again(self) -> None:
        """Write what a failing store did not take; the latest word of each alert counts."""
        if self._unmarked:
            rows = {row.uid: row for row in self._unmarked}
            self._unmarked.clear()
            self._mark(list(rows.values()))
