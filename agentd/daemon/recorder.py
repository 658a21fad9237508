"""The recorder: what the core was told, kept for a while, so that it can be told another policy.

On the loop an event costs an append to a list. A thread of its own writes, compresses and
deletes; it may fall behind or fail, and supervision never waits for it: what is too much is
dropped, counted, and said in the trace. What it holds is what a trace can say (CONTRACT 6.3);
states of checkpoints, details of actions and what agents print are not in it.
"""

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from agentd.core.effects import Effect
from agentd.core.events import AgentAsked, Event, LinesDropped, LinesReceived, Started
from agentd.core.records import Record
from agentd.core.supervisor import Supervisor
from agentd.daemon import record_entries
from agentd.daemon.clock import boottime_ms, wall_ms
from agentd.daemon.log import log
from agentd.daemon.masks import Masks
from agentd.daemon.record_entries import Entry
from agentd.daemon.record_segments import BOOT_BYTES, Segments, SegmentsRefused, Span

# So often what was recorded goes to disk, and sooner where it is much.
EVERY_TICKS: Final = 5
HASTE_LINES: Final = 1_000
# So often it is recorded that we live, whatever else happens: when we died is known from that.
ALIVE_TICKS: Final = 60
# What may wait for the thread; beyond that it is dropped. In a second nobody honest says more.
LINES_MAX: Final = 5_000
BYTES_MAX: Final = 16 << 20
# Batches that the thread may be behind.
BATCHES_MAX: Final = 2
# After a failure of the disk it is tried again so much later.
RETRY_MS: Final = 60_000
CLOSE_S: Final = 2.0
FLUSH_S: Final = 5.0

_LINES: Final = (LinesReceived, LinesDropped)


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes to disk in one frame."""

    entries: Sequence[Entry]
    span: Span
    secrets: Sequence[str]
    bytes_max: int
    fleet: Entry
    """What is wanted of each agent, for a segment that begins with this frame."""
    lines: int
    missed: int
    """Lines that were dropped before it, which its entries tell of."""


class Recorder:
    """Takes events in on the loop, and has a thread write them; off until it may take disk."""

    def __init__(
        self,
        aio: asyncio.AbstractEventLoop,
        state_dir: Path,
        boot_id: str,
        *,
        agents: record_entries.Agents,
        masks: Masks,
        note: Callable[[Record], None],
    ) -> None:
        self._aio = aio
        self.state_dir = state_dir
        self._boot = hashlib.blake2b(boot_id.encode(), digest_size=BOOT_BYTES).digest()
        self._agents = agents
        self._masks = masks
        self._note = note
        self._bytes_max = 0
        self._segments = Segments(state_dir)
        self._entries: list[Entry] = []
        self._lines = 0
        self._weight_bytes = 0
        self._missed = 0
        """Dropped since that was last said in the trace."""
        self._fleet: Mapping[str, str] = {}
        self._behind = 0
        self._ticks = 0
        self._retry_at_ms: int | None = None
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self.lines = 0
        self.dropped = 0
        self.faults = 0

    # -- on the loop ---------------------------------------------------------

    def take(self, event: Event, now_ms: int) -> None:
        """Take in what the core is about to be told. Whatever goes wrong here stays here."""
        if not self._bytes_max:
            return
        try:
            kind = type(event)
            if kind is LinesReceived or kind is LinesDropped:
                assert isinstance(event, _LINES)
                self._take_lines(event, now_ms)
            elif kind is AgentAsked:
                assert isinstance(event, AgentAsked)
                said = LinesReceived(event.agent, event.incarnation, (event.line,))
                self._take_lines(said, now_ms)
            else:
                entry = record_entries.about(event, now_ms, self._agents)
                if entry is not None:
                    self._add(entry, 1, 0)
        except Exception as error:  # noqa: BLE001 - the core must hear of it all the same
            self.faults += 1
            if self.faults == 1:
                log.error("recorder.fault", event=type(event).__name__, error=repr(error))

    def take_fleet(self, now_ms: int) -> None:
        """Take in what is wanted of each agent as the daemon begins."""
        if self._bytes_max:
            self._fleet = record_entries.fleet(self._agents)
            self._add((now_ms, "fleet", self._fleet), 1, 0)

    def tick(self) -> None:
        """Once a second: hand over what has come in, if it is time or much."""
        self._ticks += 1
        if self._bytes_max and self._ticks % ALIVE_TICKS == 0:
            self._add((boottime_ms(), "alive"), 1, 0)
        if self._ticks % EVERY_TICKS == 0 or self._lines >= HASTE_LINES:
            self._hand_over()

    def set_max(self, bytes_max: int) -> None:
        """Keep at most so much from now on; 0 ends the recording and deletes what there is."""
        if bytes_max != self._bytes_max:
            self._bytes_max, self._retry_at_ms = bytes_max, None
        if not bytes_max:
            self._forget()
            self._do(self._segments.clear)

    @property
    def is_on(self) -> bool:
        return self._bytes_max > 0

    async def flushed(self) -> None:
        """Return when all that was taken in is on disk, or could not be brought there in time."""
        self._hand_over()
        done: asyncio.Future[None] = self._aio.create_future()

        def tell() -> None:
            if not done.done():
                done.set_result(None)

        self._do(lambda: self._back(tell))
        await asyncio.wait([done], timeout=FLUSH_S)

    def count(self) -> Mapping[str, int]:
        """Return counters for `agentctl daemon`."""
        return {
            "lines": self.lines,
            "dropped": self.dropped,
            "faults": self.faults,
            "bytes": self._segments.used_bytes,
        }

    def close(self) -> None:
        """Write what there is, if the disk takes it soon."""
        if self._bytes_max:
            self._add((boottime_ms(), "ended"), 1, 0)
            self._hand_over()
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(CLOSE_S)

    def _take_lines(self, event: LinesReceived | LinesDropped, now_ms: int) -> None:
        lines = event.lines
        if lines:
            weight_bytes = record_entries.weight_bytes(lines)
            entry = record_entries.lines_entry(now_ms, event.agent, event.incarnation, lines)
            self._add(entry, len(lines), weight_bytes)

    def _add(self, entry: Entry, lines: int, weight_bytes: int) -> None:
        if self._lines + lines > LINES_MAX or self._weight_bytes + weight_bytes > BYTES_MAX:
            self._missed += lines
            self.dropped += lines
            return
        self._entries.append(entry)
        self._lines += lines
        self._weight_bytes += weight_bytes

    def _hand_over(self) -> None:
        """Give the thread all there is, unless it is too far behind or waits for the disk."""
        if not self._bytes_max:
            return
        now_ms = boottime_ms()
        if self._retry_at_ms is not None and now_ms < self._retry_at_ms:
            self._miss_all()
            return
        fleet = record_entries.fleet(self._agents)
        told: Entry = (now_ms, "fleet", fleet)
        if self._behind >= BATCHES_MAX or not (self._entries or fleet != self._fleet):
            return
        if not self._begin():
            return  # what there is waits for the next batch
        if fleet != self._fleet:
            self._fleet = fleet
            self._entries.append(told)
        missed, self._missed = self._missed, 0
        if missed:
            self._entries.append((now_ms, "dropped", missed))
        begins_ms = self._entries[0][0]
        assert isinstance(begins_ms, int)
        span = Span(self._boot, begins_ms, now_ms, wall_ms() - now_ms)
        secrets = tuple(self._masks.secrets)
        batch = Batch(self._entries, span, secrets, self._bytes_max, told, self._lines, missed)
        self.lines += self._lines
        self._behind += 1
        self._forget()
        self._do(lambda: self._write(batch))

    def _forget(self) -> None:
        self._entries, self._lines, self._weight_bytes = [], 0, 0

    def _miss_all(self) -> None:
        """The disk takes nothing: what has come meanwhile is not kept."""
        self._missed += self._lines
        self.dropped += self._lines
        self._forget()

    def _written(self, batch: Batch, trouble: str) -> None:
        """The thread is done with a batch."""
        self._behind -= 1
        if trouble:
            self._missed += batch.lines + batch.missed
            self.dropped += batch.lines
            if self._retry_at_ms is None:
                told = f"the recorder pauses, {trouble}; agents are not affected"
                self._note(Record("daemon.storage", "warning", told))
            self._retry_at_ms = boottime_ms() + RETRY_MS
        elif self._retry_at_ms is not None:
            self._retry_at_ms = None
            self._note(Record("daemon.storage", "info", "the recorder records again"))

    # -- in the thread -------------------------------------------------------

    def _do(self, work: Callable[[], None]) -> None:
        self._begin()
        self._queue.put(work)

    def _begin(self) -> bool:
        """Have the thread run; False: the host has none left."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="recorder", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                log.error("host.short", thread=thread.name, error=error)
                return False
            self._thread = thread
        return True

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - told, and the next one is tried
                log.error("recorder.fault", error=repr(error))
        self._segments.close()

    def _write(self, batch: Batch) -> None:
        """Write one frame; what comes of it is told on the loop."""
        trouble = "a mistake of its own"
        try:
            payload = record_entries.encoded(batch.entries, batch.secrets)
            first = record_entries.encoded([batch.fleet], batch.secrets)
            kept = self._segments.append(batch.span, payload, batch.bytes_max, first)
            trouble = "" if kept else "daemon.recorder_max is less than it records in seconds"
        except (OSError, SegmentsRefused) as error:
            trouble = str(error)
        finally:
            self._back(lambda: self._written(batch, trouble))

    def _back(self, work: Callable[[], None]) -> None:
        """Do something on the loop, if there still is one."""
        with contextlib.suppress(RuntimeError):  # it was closed
            self._aio.call_soon_threadsafe(work)


@dataclass(slots=True)
class RecordedCore:
    """The core, with the recorder listening to all that it is told."""

    core: Supervisor
    recorder: Recorder

    def step(self, event: Event, now_ms: int) -> Sequence[Effect]:
        self.recorder.take(event, now_ms)
        effects = self.core.step(event, now_ms)
        if type(event) is Started:
            self.recorder.take_fleet(now_ms)
        return effects

    def note(self, record: Record, now_ms: int) -> Sequence[Effect]:
        return self.core.note(record, now_ms)

    def next_deadline_ms(self) -> int | None:
        return self.core.next_deadline_ms()
