import threading
from typing import cast

import pytest

from agentd.core.effects import Forget
from agentd.core.states import Intent
from agentd.store import writer
from agentd.store.retention import Bounds
from agentd.store.rows import (
    Batch,
    Outcome,
    RequestRow,
    Row,
    SpawnEnded,
    SpawnIntent,
    SpawnRow,
)
from tests.store.desk import Desk, event, ids, persist

SPAWNED = SpawnRow("a", 1, "i-1", "token", 42, 99, 7, "boot-1", "/leaf", 1_700_000_000_000)


def test_outcomes_come_in_the_order_of_the_batches(desk: Desk) -> None:
    order: list[int] = []
    for number in range(200):
        batch = Batch((event(),) if number % 3 else (persist(lazy=True),))
        desk.store.submit(batch, lambda _, number=number: order.append(number))
    desk.wait_for(lambda: len(order) == 200)
    assert order == list(range(200))


def test_batches_that_wait_share_a_commit(desk: Desk) -> None:
    held, entered = threading.Event(), threading.Event()

    def hold(_: Outcome) -> None:
        entered.set()
        held.wait(10)

    post = desk.store._writer._post
    desk.store._writer._post = lambda call: call()
    desk.store.submit(Batch((event(),)), hold)
    assert entered.wait(10)
    before = desk.store._writer._committer._group
    desk.store._writer._post = post
    outcomes = [desk.submit(event(), persist()) for _ in range(100)]
    held.set()
    desk.wait_for(lambda: all(outcomes))
    assert desk.store._writer._committer._group == before + 1


def test_a_row_that_is_wrong_in_itself_fails_alone(desk: Desk) -> None:
    wrong = RequestRow(0, "r", "stop", "hash", cast("str", object()), 1)
    outcomes = [
        desk.submit(event()),
        desk.submit(event(), wrong),
        desk.submit(event()),
    ]
    desk.wait_for(lambda: all(outcomes))
    assert [one[0].ok for one in outcomes] == [True, False, True]
    assert ids(desk.store) == [1, 2], "it used up no id"
    assert desk.health == [], "a wrong row is not a broken disk"


def test_counters_wait_for_company_but_are_written_when_it_comes(desk: Desk) -> None:
    assert desk.write(persist("a", lazy=True, tokens=5)).ok
    assert desk.store.agents() == {}
    desk.write(event(agent="b"))
    assert desk.store.agents()["a"].durable.tokens == 5


def test_counters_are_written_alone_after_a_while(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "LAZY_MS", 20)
    desk.submit(persist("a", lazy=True, tokens=5))
    wait = threading.Event()
    for _ in range(1_000):
        if desk.store.agents():
            break
        wait.wait(0.01)
    assert desk.store.agents()["a"].durable.tokens == 5
    assert desk.store.health == "ok"


def test_counters_are_written_at_the_end(desk: Desk) -> None:
    desk.submit(persist("a", lazy=True, tokens=5))
    assert desk.again().agents()["a"].durable.tokens == 5


def test_an_older_counter_never_replaces_a_newer_snapshot(desk: Desk) -> None:
    desk.submit(persist("a", lazy=True, tokens=5))
    desk.write(persist("a", tokens=9, intent=Intent.STOPPED))
    desk.write(event())
    found = desk.again().agents()["a"].durable
    assert (found.tokens, found.intent) == (9, Intent.STOPPED)


def test_a_forgotten_agent_is_gone_and_its_events_stay(desk: Desk) -> None:
    desk.write(persist("a"), event(agent="a"))
    desk.submit(persist("a", lazy=True))
    desk.write(Forget("a"))
    desk.again()
    assert desk.store.agents() == {}
    assert ids(desk.store) == [1]


def test_a_spawn_is_an_intent_then_a_process_then_history(desk: Desk) -> None:
    intent = SpawnIntent("a", 1, "i-1", "start")
    desk.write(intent)
    assert (desk.store.spawn_intents(), desk.store.spawns()) == ({"a": intent}, {})
    desk.write(SPAWNED)
    assert (desk.store.spawn_intents(), desk.store.spawns()) == ({}, {"a": SPAWNED})
    desk.write(SpawnEnded("a", 1))
    assert (desk.store.spawn_intents(), desk.store.spawns()) == ({}, {})
    connection = desk.store._writer._committer._opened
    assert connection.execute("SELECT token, pid FROM spawns").fetchall() == [("", 42)]


def test_k5_answers_to_commands_are_kept_for_ten_minutes(desk: Desk) -> None:
    open_row = RequestRow(1000, "r-1", "stop", "hash", None, desk.wall_ms)
    desk.write(open_row)
    done = RequestRow(1000, "r-1", "stop", "hash", '{"ok":true}', desk.wall_ms)
    desk.write(done)
    other_user = RequestRow(1001, "r-1", "stop", "hash", None, desk.wall_ms)
    desk.write(other_user)
    assert set(desk.again().requests(desk.wall_ms + 599_000)) == {done, other_user}
    assert desk.store.requests(desk.wall_ms + 601_000) == []


def test_a_full_queue_refuses_batches_but_keeps_their_snapshots(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = desk.store
    monkeypatch.setattr(writer, "QUEUE_MAX", 0)
    refused = desk.write(persist("a", tokens=3), event())
    monkeypatch.undo()
    assert "too many" in refused.error
    assert desk.write(event()).ok
    assert store.agents()["a"].durable.tokens == 3


def test_a_batch_after_the_end_is_refused(desk: Desk) -> None:
    store = desk.store
    desk.close()
    outcomes: list[Outcome] = []
    rows: tuple[Row, ...] = (event(),)
    store.submit(Batch(rows), outcomes.append)
    assert outcomes == [Outcome(error="the store is closed")]


@pytest.mark.parametrize(
    ("bounds", "age_days"),
    [(Bounds(history_days=1), 3), (Bounds(history_max_bytes=300_000), 0)],
)
def test_m3_history_is_bounded_by_age_and_by_size(
    desk: Desk, bounds: Bounds, age_days: int
) -> None:
    outcomes = [desk.submit(*(event(blob="x" * 400) for _ in range(500))) for _ in range(6)]
    desk.wait_for(lambda: all(outcomes))
    desk.wall_ms += age_days * 86_400_000
    desk.write(event())
    desk.close()
    large = desk.path.stat().st_size
    store = desk.store
    committer = store._writer._committer
    while committer.tidy(bounds, desk.wall_ms):
        pass
    for _ in range(20):
        committer.tidy(bounds, desk.wall_ms)
    committer.fold()
    left = ids(store)
    assert left[-1] == 3_001, "the newest stays"
    assert len(left) < 3_001
    assert left == list(range(int(str(left[0])), 3_002)), "only the head was cut"
    assert desk.path.stat().st_size < large
    assert desk.write(event()).stamps[0].id == 3_002
