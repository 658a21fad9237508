"""Nothing touches the world before what it stands on is durable, and order is kept."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from agentd.core.effects import (
    Control,
    Effect,
    Exit,
    Journal,
    Persist,
    Recall,
    Reply,
    SaveCheckpoint,
    Signal,
    Spawn,
)
from agentd.core.events import Event, Started, Ticked, TreeEmpty
from agentd.core.records import Durable, Record
from agentd.daemon.performer import Performer
from agentd.store.rows import Batch, Outcome, Row, SpawnEnded, SpawnIntent, Stamp

TICK = Ticked()
SIGNAL = Signal("a", 1, "SIGTERM")
PERSIST = Persist("a", Durable())
SPAWN = Spawn("a", 2, "id2", "why")


class Script:
    """Store, world and voices that write down what was asked of them."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.batches: list[Batch] = []
        self.dones: list[Callable[[Outcome], None]] = []
        self.published: list[tuple[Sequence[Record], Outcome]] = []
        self.performer = Performer(self, self, self, lambda: self.told.append("exit"))

    def submit(self, batch: Batch, done: Callable[[Outcome], None]) -> None:
        self.batches.append(batch)
        self.dones.append(done)

    def durable(self, error: str = "") -> None:
        """The store answers the oldest batch."""
        journals = [row for row in self.batches[-len(self.dones)].rows if isinstance(row, Journal)]
        stamps = () if error else tuple(Stamp(n, 0) for n in range(len(journals)))
        self.dones.pop(0)(Outcome(stamps, error))

    def rows(self, event: Event, effects: Sequence[Effect]) -> list[Row]:
        assert event is not None
        assert effects is not None
        return []

    def reply(self, effect: Reply, storage_error: str) -> None:
        self.told.append((effect.request, storage_error))

    def publish(self, records: Sequence[Record], outcome: Outcome) -> None:
        self.published.append((records, outcome))

    def note(self, effect: object) -> None:
        self.told.append(effect)

    spawn = signal = kill_tree = freeze = thaw = validate = run = control = recall = note


def test_a_signal_waits_for_the_intent_that_causes_it() -> None:
    script = Script()
    script.performer.perform(TICK, [PERSIST, SIGNAL])
    assert script.told == []
    script.durable()
    assert script.told == [SIGNAL]


def test_a_deed_with_nothing_to_keep_is_done_at_once_unless_something_waits() -> None:
    script = Script()
    script.performer.perform(TICK, [SIGNAL])
    assert script.told == [SIGNAL]
    script.performer.perform(TICK, [PERSIST, SPAWN])
    script.performer.perform(TICK, [Control("a", 1, "stop", "X")])
    assert script.told == [SIGNAL]
    script.durable()
    assert script.told[1:] == [SPAWN, Control("a", 1, "stop", "X")]


def test_counters_hold_up_nobody() -> None:
    script = Script()
    lazy = Persist("a", Durable(), lazy=True)
    script.performer.perform(TICK, [lazy, SIGNAL])
    assert script.told == [SIGNAL]
    assert script.batches[0].rows == (lazy,)


def test_a_later_batch_that_is_answered_does_not_overtake_an_earlier_one() -> None:
    script = Script()
    script.performer.perform(TICK, [PERSIST, SIGNAL])
    script.performer.perform(TICK, [PERSIST, Exit()])
    late = script.dones.pop(1)
    late(Outcome())
    assert script.told == []
    script.durable()
    assert script.told == [SIGNAL, "exit"]


def test_a_spawn_is_wished_on_record_before_the_fork() -> None:
    script = Script()
    script.performer.perform(TICK, [PERSIST, SPAWN])
    assert SpawnIntent("a", 2, "id2", "why") in script.batches[0].rows


def test_inv7_an_end_is_closed_in_the_transaction_that_decides_on_it() -> None:
    script = Script()
    script.performer.perform(TreeEmpty("a", 1), [PERSIST])
    assert script.batches[0].rows == (SpawnEnded("a", 1), PERSIST)


def test_what_recovery_found_goes_with_the_step_on_its_fates_and_no_other() -> None:
    script = Script()
    script.performer.carry([SpawnEnded("a", 1)])
    script.performer.perform(TICK, [PERSIST])
    script.performer.perform(Started(), [PERSIST])
    script.performer.perform(Started(), [PERSIST])
    ended = [SpawnEnded("a", 1) in batch.rows for batch in script.batches]
    assert ended == [False, True, False]


def test_followers_see_a_record_once_it_is_durable_and_never_one_that_is_not() -> None:
    script = Script()
    record = Record("agent.ready", "info", "ready", "a")
    script.performer.perform(TICK, [Journal(record)])
    assert script.published == []
    script.durable()
    assert [records for records, _ in script.published] == [[record]]
    script.performer.perform(TICK, [Journal(record)])
    script.durable(error="disk full")
    assert len(script.published) == 1


def test_h1_supervision_goes_on_when_nothing_can_be_kept_and_the_asker_is_told() -> None:
    script = Script()
    script.performer.perform(TICK, [PERSIST, SIGNAL, Reply("7", {})])
    script.durable(error="disk full")
    assert script.told == [SIGNAL, ("7", "disk full")]


def test_a_deed_that_fails_does_not_take_the_next_along() -> None:
    script = Script()

    def broken(effect: object) -> None:
        raise OSError(effect)

    script.signal = broken  # type: ignore[method-assign]
    script.performer.perform(TICK, [SIGNAL, SPAWN])
    assert script.told == [SPAWN]


def test_a_question_for_a_state_waits_until_the_state_before_it_is_durable() -> None:
    script = Script()
    save = SaveCheckpoint("a", "e1", 1, "i1", "{}")
    recall = Recall("agent-2", "a", "e1", ())
    script.performer.perform(TICK, [PERSIST, save, Reply("agent-1", {})])
    script.performer.perform(TICK, [recall])
    assert script.batches[0].rows == (PERSIST, save)
    assert script.told == []
    script.durable()
    assert script.told == [("agent-1", ""), recall]


@pytest.mark.parametrize("error", ["", "disk full"])
async def test_whoever_asks_whether_all_is_recorded_hears_of_what_went_before(error: str) -> None:
    script = Script()
    failures = script.performer.failures
    script.performer.perform(TICK, [PERSIST])
    asked = asyncio.create_task(script.performer.recorded(failures))
    await asyncio.sleep(0)
    script.durable(error)
    await asyncio.sleep(0)
    assert not asked.done()
    script.durable()  # the question itself has nothing to write
    assert await asked == error


async def test_whether_all_is_recorded_is_hidden_by_no_batch_that_came_between() -> None:
    script = Script()
    script.performer.perform(TICK, [PERSIST])
    script.durable("disk full")
    failures = script.performer.failures
    told = []
    for errors in (("disk full", ""), ("", "")):
        for _ in errors:
            script.performer.perform(TICK, [PERSIST])
        asked = asyncio.create_task(script.performer.recorded(failures))
        await asyncio.sleep(0)
        for error in (*errors, ""):
            script.durable(error)
        told.append(await asked)
        failures = script.performer.failures
    assert told == ["disk full", ""]
