"""The inbox and its single consumer: event in, `core.step`, effects out.

Rule 1: nothing else calls `step`. Nothing below awaits; a slow stop of one agent is a
deadline of the core and delays nobody.
Rule 2: what is readable is served before a deadline is judged: a timer that fires only
posts `Ticked` behind everything that the same wake-up brought in.
Rule 3: the loop measures its own gap and tells the core before anything else, so that a
stall of ours is never charged to an agent.
Rule 4: systemd's watchdog is fed from the loop's own tick, and only after a drain went well.
"""

import asyncio
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from agentd.core.effects import Effect, Journal
from agentd.core.events import Event, Gap, Ticked
from agentd.core.records import Record
from agentd.daemon.clock import SuspendMeter, boottime_ms, monotonic_ms
from agentd.daemon.log import log

TICK_MS: Final = 1_000

# Later than this and the loop itself stood still: nobody's silence.
LAG_MS_MAX: Final = 250

# Later than this and the journal says so.
LATE_MS_MAX: Final = 2 * TICK_MS

# After a gap, connections that queued up meanwhile are accepted and read before judging.
CATCH_UP_MS: Final = 100

# Events handled before the sockets get their turn again.
BATCH_MAX: Final = 256

# A source that fills the inbox beyond this does the consumer's work itself, there and then.
INBOX_MAX: Final = 4_096

TRACEBACK_FRAMES: Final = 4

# Lateness is told as the worst of the last minute: nobody asks more seldom who draws a curve.
LAGS_KEPT: Final = 60


class Core(Protocol):
    """What the loop needs of the decision core."""

    def step(self, event: Event, now_ms: int) -> Sequence[Effect]: ...

    def note(self, record: Record, now_ms: int) -> Sequence[Effect]: ...

    def next_deadline_ms(self) -> int | None: ...


class Performing(Protocol):
    """Whoever carries out what a step asked for."""

    def perform(self, event: Event, effects: Sequence[Effect]) -> None: ...


class Loop:
    """One consumer of one inbox, with one timer and one tick."""

    performer: Performing
    """Set once, before `start`: it needs what posts to this very loop."""

    def __init__(self, aio: asyncio.AbstractEventLoop, core: Core) -> None:
        self._aio = aio
        self._core = core
        self._inbox: deque[Event] = deque()
        self._scheduled = False
        self._draining = False
        self._ends_when_empty = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_ms: int | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._suspends = SuspendMeter()
        self._alive_ms = self._tick_due_ms = monotonic_ms()
        self._no_judging_before_ms = 0
        self._put_off_ms: int | None = None
        """The deadline that was met too late, and waits once for what has arrived meanwhile."""
        self._chores: list[Callable[[], None]] = []
        self.ended: asyncio.Future[None] = aio.create_future()
        self._taken = 0
        """Events that were taken out of the inbox."""
        self.lag_ms_max = 0
        self._worst_ms = 0
        """How late it was since the last tick."""
        self._lags_ms: deque[int] = deque(maxlen=LAGS_KEPT)
        self.stalls = 0
        self.faults = 0
        self.events = 0

    @property
    def lag_ms(self) -> int:
        """How late the worst of the last minute's ticks was."""
        return max(self._lags_ms, default=0)

    def start(self) -> None:
        """Begin to tick; events posted before are handled now."""
        self._alive_ms = monotonic_ms()
        self._tick_due_ms = self._alive_ms + TICK_MS
        self._tick = self._aio.call_at(self._tick_due_ms / 1000, self._on_tick)
        self._schedule()

    def each_tick(self, chore: Callable[[], None]) -> None:
        """Do `chore` once a second, after the inbox was seen to be alive."""
        self._chores.append(chore)

    def post(self, event: Event) -> None:
        """Hand in an event, from the loop's own thread."""
        self._inbox.append(event)
        if len(self._inbox) > INBOX_MAX and not self._draining:
            self._drain()
        else:
            self._schedule()

    async def caught_up(self) -> None:
        """Wait until everything that was posted by now is handled, or the loop has ended."""
        end = self._taken + len(self._inbox)
        while self._taken < end and not self.ended.done():  # noqa: ASYNC110 - for turns of this loop
            await asyncio.sleep(0)

    def note(self, record: Record) -> None:
        """Write an entry of the shell's own into the journal."""
        try:
            effects = self._core.note(record, boottime_ms())
        except Exception as error:  # noqa: BLE001 - what is told of a bug must not be lost by it
            log.error("daemon.fault", event=record.event, error=repr(error))
            effects = [Journal(record)]
        self.performer.perform(Ticked(), effects)

    def end_when_empty(self) -> None:
        """End once everything that was posted by now is handled."""
        self._ends_when_empty = True
        self._schedule()

    def end(self) -> None:
        """Stop ticking and let whoever awaits `ended` go on; later events are not handled."""
        for handle in (self._timer, self._tick):
            if handle is not None:
                handle.cancel()
        if not self.ended.done():
            self.ended.set_result(None)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._aio.call_soon(self._drain)

    def _drain(self) -> None:
        self._scheduled = False
        if self._draining or self.ended.done():
            return
        self._draining = True
        try:
            self._measure()
            for _ in range(BATCH_MAX):
                if not self._inbox:
                    break
                self._taken += 1
                self._handle(self._inbox.popleft())
        finally:
            self._draining = False
        if self._inbox:
            self._schedule()
        elif self._ends_when_empty:
            self.end()
            return
        self._arm()

    def _handle(self, event: Event) -> None:
        """Handle one event; an exception is that event's alone and becomes a fault."""
        self.events += 1
        try:
            self.performer.perform(event, self._core.step(event, boottime_ms()))
        except Exception as error:  # noqa: BLE001 - one agent's bug must not end the loop
            self._fault(type(event).__name__, getattr(event, "agent", None), error)

    def _fault(self, kind: str, agent: str | None, error: Exception) -> None:
        """Log and journal an exception in handling one thing."""
        self.faults += 1
        frames = traceback.extract_tb(error.__traceback__)[-TRACEBACK_FRAMES:]
        where = " < ".join(f"{f.name}:{f.lineno}" for f in reversed(frames))
        what = f"{type(error).__name__}: {error}"
        log.error("daemon.fault", agent=agent, event=kind, error=what, where=where)
        record = Record(
            event="daemon.fault",
            severity="critical",
            message=f"a bug of agentd in handling {kind}; {what}",
            agent=agent,
            data={"where": where},
        )
        try:
            self.note(record)
        except Exception as second:  # noqa: BLE001 - it stands in the log already
            log.error("daemon.fault", agent=agent, event=kind, error=repr(second))

    def _measure(self) -> None:
        """Find out how long the loop itself stood still, and tell the core first of all.

        Not before `start`: a slow start is no stall, and nobody is adopted yet.
        """
        if self._tick is None:
            return
        now_ms = monotonic_ms()
        late_ms = now_ms - self._tick_due_ms
        slept_ms = self._suspends.slept_ms()
        if late_ms > LAG_MS_MAX:
            told = late_ms > LATE_MS_MAX
            self.stalls += told
            # A long one counts from the last sign of life: the tick's own second was lost, too.
            gap_ms = now_ms - self._alive_ms if late_ms > TICK_MS else late_ms
            self._handle(Gap(gap_ms, "stall" if told else "lag"))
            self._no_judging_before_ms = now_ms + CATCH_UP_MS
            self._tick_due_ms = now_ms + TICK_MS
        if slept_ms:
            self._handle(Gap(slept_ms, "suspend"))
            self._no_judging_before_ms = now_ms + CATCH_UP_MS
        self.lag_ms_max = max(self.lag_ms_max, late_ms)
        self._worst_ms = max(self._worst_ms, late_ms)
        self._alive_ms = now_ms

    def _on_tick(self) -> None:
        self._measure()
        self._lags_ms.append(self._worst_ms)
        self._worst_ms = 0
        self._tick_due_ms = self._alive_ms + TICK_MS
        self._tick = self._aio.call_at(self._tick_due_ms / 1000, self._on_tick)
        for chore in self._chores:
            try:
                chore()
            except Exception as error:  # noqa: BLE001 - a chore that fails is not the loop's end
                self._fault("a tick", None, error)
        self._arm()

    def _arm(self) -> None:
        """Set the one timer; deadlines further off than the next tick are left to it."""
        due_ms = self._core.next_deadline_ms()
        if due_ms == self._timer_due_ms and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_due_ms = due_ms
        if due_ms is None:
            return
        wait_ms = max(due_ms - boottime_ms(), self._no_judging_before_ms - self._alive_ms, 1)
        if wait_ms > 2 * TICK_MS:
            self._timer_due_ms = None
            return
        self._timer = self._aio.call_later(wait_ms / 1000, self._on_deadline)

    def _on_deadline(self) -> None:
        """Judge, unless we are late: whoever was stopped has woken up with nothing read yet."""
        due_ms = self._timer_due_ms
        self._timer = self._timer_due_ms = None
        if due_ms is None or due_ms == self._put_off_ms or boottime_ms() - due_ms <= LAG_MS_MAX:
            # A wake-up by a signal tells of no socket. One turn that reads what is ready comes
            # first, and the next one judges.
            self._aio.call_soon(self._aio.call_soon, self.post, Ticked())
            return
        self._put_off_ms = self._timer_due_ms = due_ms
        self._timer = self._aio.call_later(CATCH_UP_MS / 1000, self._on_deadline)
