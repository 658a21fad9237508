"""The inbox and its consumer, with a core that only remembers what it was told."""

import asyncio
import os
from collections.abc import Callable, Sequence

import pytest

from agentd.core.effects import Effect, Journal
from agentd.core.events import Event, Gap, ReaderLeft, Ticked
from agentd.daemon import loop as loops
from agentd.daemon.clock import boottime_ms
from agentd.daemon.loop import Loop


class Remembering:
    """A core and a performer in one."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.done: list[tuple[Event, Sequence[Effect]]] = []
        self.deadline_ms: int | None = None
        self.on_step: Callable[[Event], None] = lambda _: None

    def step(self, event: Event, now_ms: int) -> Sequence[Effect]:
        assert now_ms <= boottime_ms()
        self.told.append(event)
        if isinstance(event, Ticked):
            self.deadline_ms = None
        self.on_step(event)
        return []

    def next_deadline_ms(self) -> int | None:
        return self.deadline_ms

    def perform(self, event: Event, effects: Sequence[Effect]) -> None:
        self.done.append((event, effects))


async def until(look: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not look():  # noqa: ASYNC110 - what is looked at tells nobody
            await asyncio.sleep(0.005)


def started(core: Remembering) -> Loop:
    loop = Loop(asyncio.get_running_loop(), core)
    loop.performer = core
    loop.start()
    return loop


async def test_events_are_handled_in_the_order_they_came() -> None:
    core = Remembering()
    loop = started(core)
    events = [ReaderLeft(str(number)) for number in range(1_000)]
    for event in events:
        loop.post(event)
    await until(lambda: len(core.told) == len(events))
    assert core.told == events
    loop.end()


async def test_a_source_that_floods_the_inbox_does_the_work_itself() -> None:
    core = Remembering()
    loop = started(core)
    for number in range(loops.INBOX_MAX + 2):
        loop.post(ReaderLeft(str(number)))
    assert core.told, "nobody waited, and yet some were handled"
    await until(lambda: len(core.told) == loops.INBOX_MAX + 2)
    loop.end()


async def test_what_is_readable_is_handled_before_a_deadline_is_judged() -> None:
    core = Remembering()
    loop = started(core)
    aio = asyncio.get_running_loop()
    ours, theirs = os.pipe()

    def readable() -> None:
        os.read(ours, 100)
        loop.post(ReaderLeft("line"))

    aio.add_reader(ours, readable)
    core.deadline_ms = boottime_ms() + 30
    loop.post(ReaderLeft("arms the timer"))
    await until(lambda: core.told)
    os.write(theirs, b"x")
    # The loop itself blocks until both the line and the deadline are due.
    while boottime_ms() < core.deadline_ms + 5:
        pass
    await until(lambda: len(core.told) == 3)
    assert core.told[1:] == [ReaderLeft("line"), Ticked()]
    aio.remove_reader(ours)
    os.close(ours)
    os.close(theirs)
    loop.end()


async def test_p5_a_stall_of_the_loop_is_told_before_anything_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    core = Remembering()
    loop = started(core)
    late_ms = loops.monotonic_ms() + 60_000
    monkeypatch.setattr(loops, "monotonic_ms", lambda: late_ms)
    loop.post(ReaderLeft("waited in the inbox"))
    await until(lambda: len(core.told) == 2)
    gap, after = core.told
    assert isinstance(gap, Gap)
    assert (gap.kind, after) == ("stall", ReaderLeft("waited in the inbox"))
    assert 59_000 < gap.gap_ms <= 61_000
    assert loop.stalls == 1
    loop.end()


async def test_a_slow_start_is_no_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    core = Remembering()
    loop = Loop(asyncio.get_running_loop(), core)
    loop.performer = core
    late_ms = loops.monotonic_ms() + 60_000
    monkeypatch.setattr(loops, "monotonic_ms", lambda: late_ms)
    loop.post(ReaderLeft("before the start"))
    await until(lambda: core.told == [ReaderLeft("before the start")])
    loop.start()
    loop.post(ReaderLeft("after it"))
    await until(lambda: len(core.told) == 2)
    assert loop.stalls == 0
    loop.end()


@pytest.mark.parametrize(
    ("late_ms", "kind", "gap_ms"),
    [
        (loops.LAG_MS_MAX, None, 0),
        (loops.LAG_MS_MAX + 1, "lag", loops.LAG_MS_MAX + 1),
        (loops.TICK_MS, "lag", loops.TICK_MS),
        # From here on all since the last sign of life counts.
        (loops.TICK_MS + 1, "lag", 2 * loops.TICK_MS + 1),
        (loops.LATE_MS_MAX, "lag", loops.LATE_MS_MAX + loops.TICK_MS),
        (loops.LATE_MS_MAX + 1, "stall", loops.LATE_MS_MAX + loops.TICK_MS + 1),
    ],
)
async def test_p5_lateness_is_nobodys_silence_and_only_a_long_one_is_told(
    monkeypatch: pytest.MonkeyPatch, late_ms: int, kind: str | None, gap_ms: int
) -> None:
    core = Remembering()
    monkeypatch.setattr(loops, "monotonic_ms", lambda: 1_000_000)
    loop = started(core)
    now_ms = 1_000_000 + loops.TICK_MS + late_ms
    monkeypatch.setattr(loops, "monotonic_ms", lambda: now_ms)
    loop.post(ReaderLeft("late"))
    await until(lambda: ReaderLeft("late") in core.told)
    gaps = [(event.kind, event.gap_ms) for event in core.told if isinstance(event, Gap)]
    assert gaps == ([(kind, gap_ms)] if kind else [])
    assert loop.stalls == (kind == "stall")
    loop.end()


async def test_a_deadline_met_too_late_waits_once_for_what_has_arrived() -> None:
    core = Remembering()
    loop = started(core)
    core.deadline_ms = boottime_ms() - loops.LAG_MS_MAX - 100
    loop.post(ReaderLeft("arms the timer"))
    met_ms = boottime_ms()
    aio = asyncio.get_running_loop()
    # What a wake-up without events leaves to be read by the next one.
    aio.call_later(0.02, loop.post, ReaderLeft("had arrived"))
    await until(lambda: Ticked() in core.told)
    assert core.told[-2:] == [ReaderLeft("had arrived"), Ticked()]
    assert boottime_ms() - met_ms >= loops.CATCH_UP_MS - 5
    loop.end()


async def test_p13_an_exception_costs_its_event_and_becomes_a_record() -> None:
    core = Remembering()

    def break_once(event: Event) -> None:
        if event == ReaderLeft("bad"):
            raise ZeroDivisionError("a bug")

    core.on_step = break_once
    loop = started(core)
    for word in ("bad", "good"):
        loop.post(ReaderLeft(word))
    await until(lambda: len(core.told) == 2)
    journals = [effect for _, effects in core.done for effect in effects]
    assert [type(effect) for effect in journals] == [Journal]
    record = journals[0].record  # type: ignore[union-attr]
    assert (record.event, record.severity) == ("daemon.fault", "critical")
    assert "ZeroDivisionError: a bug" in record.message
    assert "break_once" in str(record.data["where"])
    assert loop.faults == 1
    loop.end()


async def test_nothing_is_handled_after_the_end() -> None:
    core = Remembering()
    loop = started(core)
    loop.end()
    loop.post(ReaderLeft("late"))
    await asyncio.sleep(0)
    await loop.ended
    assert core.told == []
