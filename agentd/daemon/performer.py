"""Carry out effects in their order, and nothing that touches the world before it is durable.

What a step wants kept goes to the store as one batch. What it wants done waits in one queue
behind that batch; a step that wants nothing kept is done at once when nothing waits before
it. A spawn is durable twice: its intent (the step's `Persist`) before the fork, and its
process (`SpawnRow`) before the child is let go to exec.

While storage fails, supervision goes on in memory: deeds are done, followers see nothing
that a crash could un-happen, and a reply to a command that had to be kept says so.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from agentd.core.effects import (
    Alert,
    Control,
    Diagnose,
    Effect,
    Exit,
    Forget,
    Freeze,
    Journal,
    Judge,
    KillTree,
    Persist,
    PersistBaseline,
    PersistIncident,
    PersistSpending,
    Recall,
    Reply,
    Run,
    SaveCheckpoint,
    SaveEvidence,
    SaveRollups,
    Signal,
    Spawn,
    Thaw,
    Validate,
)
from agentd.core.events import Configured, Event, SpawnFailed, Started, TreeEmpty
from agentd.core.records import Record
from agentd.daemon.log import log
from agentd.daemon.masks import Masks
from agentd.store.rows import AlertRow, Batch, Outcome, Row, SpawnEnded, SpawnIntent

SEVERITIES: Final = {"info": "info", "warning": "warning", "critical": "error"}

# Events that leave a row even where nothing is asked for.
_NEVER_WITHOUT_TRACE: Final = (TreeEmpty, SpawnFailed, Started, Configured)


class Keeping(Protocol):
    """Whoever makes a batch durable and then calls `done`, in order, on the loop."""

    def submit(self, batch: Batch, done: Callable[[Outcome], None]) -> None: ...


class World(Protocol):
    """The processes, as far as effects go; each call returns at once."""

    def spawn(self, effect: Spawn) -> None: ...

    def signal(self, effect: Signal) -> None: ...

    def kill_tree(self, effect: KillTree) -> None: ...

    def freeze(self, effect: Freeze) -> None: ...

    def thaw(self, effect: Thaw) -> None: ...

    def validate(self, effect: Validate) -> None: ...

    def run(self, effect: Run) -> None: ...

    def judge(self, effect: Judge) -> None: ...

    def diagnose(self, effect: Diagnose) -> None: ...


class Voices(Protocol):
    """Who is told: askers, agents, followers."""

    def rows(self, event: Event, effects: Sequence[Effect]) -> list[Row]:
        """Return what has to be kept so that an answer is given only once."""
        ...

    def reply(self, effect: Reply, storage_error: str) -> None: ...

    def control(self, effect: Control) -> None: ...

    def recall(self, effect: Recall) -> None: ...

    def publish(self, records: Sequence[Record], outcome: Outcome) -> None: ...


class Alerting(Protocol):
    """Whoever brings alerts to people."""

    def rows(self, alert: Alert) -> list[AlertRow]:
        """Return what has to be kept before its first attempt; nothing without a sink for it."""
        ...

    def raised(self, rows: Sequence[AlertRow], outcome: Outcome) -> None:
        """Take alerts over: they are in the store now, or (`error`) in nobody's but these hands."""
        ...


class NoAlerts:
    """Nobody is to be told."""

    def rows(self, alert: Alert) -> list[AlertRow]:
        log.debug("alert.dropped", record=alert.record.event, why="no sink")
        return []

    def raised(self, rows: Sequence[AlertRow], outcome: Outcome) -> None:
        """There are none."""


@dataclass(slots=True)
class _Deeds:
    """The deeds of one step, and whether what they stand on is still being written."""

    effects: list[Effect]
    waits: bool
    storage_error: str = ""


@dataclass(slots=True)
class Performer:
    """Effects in, deeds out."""

    store: Keeping
    world: World
    voices: Voices
    on_exit: Callable[[], None]
    masks: Masks = field(default_factory=Masks)
    """Applied to what is written down and told."""
    alerts: Alerting = field(default_factory=NoAlerts)
    _queue: deque[_Deeds] = field(default_factory=deque)
    _carried: list[Row] = field(default_factory=list)
    failures: int = 0
    """Batches that did not get to the disk."""
    _failed: str = ""
    """Why the last of those did not."""

    def carry(self, rows: Sequence[Row]) -> None:
        """Have rows go into the store with what the core decides on the fates just posted."""
        self._carried.extend(rows)

    def perform(self, event: Event, effects: Sequence[Effect]) -> None:
        """Take over what one step asked for; `event` is what it was asked about."""
        if not effects and not isinstance(event, _NEVER_WITHOUT_TRACE):
            return
        effects = [self.masks.effect(effect) for effect in effects]
        rows = self._rows_about(event, effects)
        deeds = _Deeds([], waits=False)
        records: list[Record] = []
        alerts: list[AlertRow] = []
        for effect in effects:
            if isinstance(effect, PersistBaseline | PersistSpending | SaveEvidence | SaveRollups):
                rows.append(effect)
            elif isinstance(effect, Persist | Forget | Journal | SaveCheckpoint | PersistIncident):
                rows.append(effect)
                deeds.waits = deeds.waits or not (isinstance(effect, Persist) and effect.lazy)
                if isinstance(effect, Journal):
                    records.append(effect.record)
                    _log_record(effect.record)
            elif isinstance(effect, Alert):
                alerts += self.alerts.rows(effect)
            else:
                deeds.effects.append(effect)
        rows += alerts
        if deeds.effects and (deeds.waits or self._queue):
            self._queue.append(deeds)
        elif deeds.effects:
            self._do(deeds)
        if rows:
            done = partial(self._written, deeds, records, alerts)
            self.store.submit(Batch(tuple(rows)), done)

    def tell(self, record: Record, rows: Sequence[Row]) -> None:
        """Write an entry of the shell's own, and with it, as one, rows that belong to it."""
        journal = self.masks.effect(Journal(record))
        assert isinstance(journal, Journal)
        _log_record(journal.record)
        alerts = [row for row in rows if isinstance(row, AlertRow)]
        done = partial(self._written, _Deeds([], waits=False), [journal.record], alerts)
        self.store.submit(Batch((journal, *rows)), done)

    async def recorded(self, failures: int) -> str:
        """Wait until whatever was decided by now is on disk; return why it isn't, else "".

        `failures` is what the count of them was before that was decided.
        """
        answered = asyncio.get_running_loop().create_future()

        def done(_: Outcome) -> None:
            if not answered.done():  # nobody may wait any more
                answered.set_result(None)

        self.store.submit(Batch(()), done)  # batches are answered in their order
        await answered
        return self._failed if self.failures > failures else ""

    def _rows_about(self, event: Event, effects: Sequence[Effect]) -> list[Row]:
        """Return what is to be kept beside what the core asks to be kept."""
        rows = self.voices.rows(event, effects)
        if isinstance(event, Started | Configured):
            rows += self._carried
            self._carried = []
        elif isinstance(event, TreeEmpty | SpawnFailed):
            # With the decision that follows in one transaction: no exit is charged twice.
            rows.append(SpawnEnded(event.agent, event.incarnation))
        wishes = (effect for effect in effects if isinstance(effect, Spawn))
        rows += (
            SpawnIntent(one.agent, one.incarnation, one.incarnation_id, one.reason)
            for one in wishes
        )
        return rows

    def _written(
        self, deeds: _Deeds, records: list[Record], alerts: list[AlertRow], outcome: Outcome
    ) -> None:
        """Go on with what waited for a batch: it is durable now, or never will be."""
        deeds.waits = False
        if outcome.error:
            self.failures += 1
            self._failed = outcome.error
        if alerts:
            self.alerts.raised(alerts, outcome)
        deeds.storage_error = outcome.error
        if records and not outcome.error:
            self.voices.publish(records, outcome)
        while self._queue and not self._queue[0].waits:
            self._do(self._queue.popleft())

    def _do(self, deeds: _Deeds) -> None:
        for effect in deeds.effects:
            try:
                if isinstance(effect, Reply):
                    self.voices.reply(effect, deeds.storage_error)
                else:
                    self._do_one(effect)
            except Exception as error:  # noqa: BLE001 - one deed that fails is not the next one's
                agent = getattr(effect, "agent", None)
                log.error("effect.failed", agent=agent, effect=effect, error=repr(error))

    def _do_one(self, effect: Effect) -> None:
        match effect:
            case Signal():
                self.world.signal(effect)
            case KillTree():
                self.world.kill_tree(effect)
            case Freeze():
                self.world.freeze(effect)
            case Thaw():
                self.world.thaw(effect)
            case Control():
                self.voices.control(effect)
            case Recall():
                self.voices.recall(effect)
            case Exit():
                self.on_exit()
            case _:
                self._begin(effect)

    def _begin(self, effect: Effect) -> None:
        """Set a new process going."""
        match effect:
            case Spawn():
                self.world.spawn(effect)
            case Validate():
                self.world.validate(effect)
            case Run():
                self.world.run(effect)
            case Judge():
                self.world.judge(effect)
            case Diagnose():
                self.world.diagnose(effect)
            case _:
                raise AssertionError(effect)


def _log_record(record: Record) -> None:
    """One line a record, for whoever reads the daemon's log instead of `agentctl events`."""
    facts: dict[str, object] = {}
    if record.agent is not None:
        facts["agent"] = record.agent
    if record.incarnation is not None:
        facts["incarnation"] = record.incarnation
    if record.reason is not None:
        facts["reason"] = record.reason
    log.write(SEVERITIES[record.severity], record.event, {**facts, "message": record.message})
