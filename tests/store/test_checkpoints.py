"""States of agents: durable, bounded, and never given out when they are not what was written."""

import json
import sqlite3
from contextlib import closing

from agentd.core.effects import Forget, Persist, SaveCheckpoint
from agentd.core.records import Action, CheckpointMark, Durable
from agentd.store.backlog import Backlog
from agentd.store.checkpoints import EXECUTIONS_KEPT, KEPT_OF_EXECUTION
from agentd.store.committer import Job
from agentd.store.connection import open_writer
from agentd.store.retention import Bounds, tidy
from agentd.store.snapshots import Moment, carried_over, decode, encode
from tests.store.desk import Desk, event, ids, persist

DAY_MS = 86_400_000


def save(seq: int, state: str = "1", *, agent: str = "a", execution: str = "e1") -> SaveCheckpoint:
    return SaveCheckpoint(agent, execution, seq, f"i{seq}", state)


def kept(desk: Desk, agent: str = "a") -> list[tuple[str, int]]:
    return [(one.execution, one.seq) for one in desk.store.checkpoints(agent, states=False)]


def test_inv10_the_last_one_is_read_back_as_it_was_written(desk: Desk) -> None:
    state = json.dumps(
        {"text": 'é "quoted" \\u0000 \U0001f600', "n": [1.5, None]}, ensure_ascii=False
    )
    assert desk.write(save(1, "0"), save(2, state)).ok
    desk.again()
    found = desk.store.recall("a", "e1").found
    assert found is not None
    assert (found.seq, found.state, found.size_bytes) == (2, state, len(state.encode()))
    assert desk.store.recall("a", "e2").found is None
    assert desk.store.recall("b", "e1").found is None


def test_the_last_five_of_the_last_three_executions_are_kept(desk: Desk) -> None:
    for execution in range(5):
        for number in range(7):
            desk.submit(save(execution * 7 + number, execution=f"e{execution}"))
    desk.write(save(1, agent="b", execution="other"))
    assert len(kept(desk)) == KEPT_OF_EXECUTION * EXECUTIONS_KEPT
    assert kept(desk)[:6] == [*(("e4", seq) for seq in (34, 33, 32, 31, 30)), ("e3", 27)]
    assert kept(desk, "b") == [("other", 1)]


def test_numbers_that_begin_anew_do_not_bury_the_newest(desk: Desk) -> None:
    """An agent that was removed and added again counts from one."""
    for execution, seq in (("e1", 90), ("e2", 95), ("e3", 99), ("e4", 1)):
        desk.write(save(seq, execution=execution))
    assert kept(desk) == [("e4", 1), ("e3", 99), ("e2", 95)]


def test_a_damaged_one_is_passed_over_and_named(desk: Desk) -> None:
    desk.write(save(1, '"good"'), save(2, '"also"'), save(3, '"bad"'))
    desk.close()
    with closing(sqlite3.connect(desk.path)) as connection:
        connection.execute("UPDATE checkpoints SET state = ? WHERE seq = 3", ('"bat"',))
        connection.commit()
    recalled = desk.store.recall("a", "e1")
    assert recalled.damaged == (3,)
    assert recalled.found is not None
    assert recalled.found.state == '"also"'
    assert [one.state for one in desk.store.checkpoints("a", states=True)] == [
        None,
        '"also"',
        '"good"',
    ]


def test_where_all_are_damaged_nothing_is_given_out(desk: Desk) -> None:
    desk.write(save(1), save(2))
    desk.close()
    with closing(sqlite3.connect(desk.path)) as connection:
        connection.execute("UPDATE checkpoints SET state = x'ff'")
        connection.commit()
    recalled = desk.store.recall("a", "e1")
    assert (recalled.found, recalled.damaged) == (None, (2, 1))


def test_it_is_written_together_with_the_mark_that_names_it(desk: Desk) -> None:
    mark = CheckpointMark(1, 5, 3)
    assert desk.write(persist(checkpoint=mark, checkpoints=1), save(1)).ok
    assert desk.again().agents()["a"].durable.checkpoint == mark


def test_those_of_removed_agents_go_after_a_week(desk: Desk) -> None:
    desk.write(persist("a"), persist("b"), save(1), save(1, agent="b"))
    desk.write(Forget("b"))
    desk.close()
    with closing(open_writer(desk.path)) as connection:
        tidy(connection, Bounds(), desk.wall_ms + 7 * DAY_MS)
        assert connection.execute("SELECT count(*) FROM checkpoints").fetchone() == (2,)
        tidy(connection, Bounds(), desk.wall_ms + 7 * DAY_MS + 1)
        assert connection.execute("SELECT agent FROM checkpoints").fetchall() == [("a",)]


def test_states_are_not_paid_for_by_history(desk: Desk) -> None:
    desk.write(*(event(n=number) for number in range(50)), save(1, json.dumps("x" * 500_000)))
    desk.close()
    with closing(open_writer(desk.path)) as connection:
        tidy(connection, Bounds(history_max_bytes=400_000), desk.wall_ms)
    assert len(ids(desk.store)) == 50


def test_a_store_that_is_rebuilt_still_has_them(desk: Desk) -> None:
    desk.write(persist("a"), save(1, '"kept"'))
    desk.close()
    with closing(sqlite3.connect(desk.path)) as connection:
        connection.execute("UPDATE agents SET crc = crc + 1")
        connection.commit()
    assert desk.store.rebuilt
    found = desk.store.recall("a", "e1").found
    assert found is not None
    assert found.state == '"kept"'


def test_what_is_in_flight_is_read_back_and_moves_with_a_reboot() -> None:
    action = Action("k", "a", idempotent=False, begun_at_ms=900_000, incarnation=3, accepted=True)
    durable = Durable(
        unfinished=(action,), checkpoint=CheckpointMark(4, 950_000, 10), paused_at_ms=940_000
    )
    assert decode(encode(durable)) == durable
    written = Moment("boot-1", 1_000_000, 5_000_000)
    after = carried_over(durable, written, Moment("boot-2", 30_000, 5_060_000))
    assert after.unfinished[0].begun_at_ms == 30_000 - 60_000 - 100_000
    assert after.checkpoint is not None
    assert after.checkpoint.at_ms == 30_000 - 60_000 - 50_000
    assert after.paused_at_ms == 30_000 - 60_000 - 60_000


def test_while_the_disk_refuses_a_state_is_not_kept_in_memory() -> None:
    """The agent is told that it was not kept; a megabyte for each attempt would add up."""
    backlog = Backlog(lambda _records, _outcome: None)
    backlog.keep(Job((Persist("a", Durable()), save(2, "x" * 1000)), Moment("b", 0, 0)))
    assert [type(row) for job in backlog.take() for row in job.rows] == [Persist]
