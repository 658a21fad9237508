"""History and reports read the journal by index, however long it is."""

from contextlib import closing

import pytest

from agentd.config.event_names import EVENT_NAMES
from agentd.core.effects import Journal
from agentd.core.records import Record
from agentd.store.connection import open_reader
from agentd.store.rows import LifeRow
from agentd.store.timeline import LIFECYCLE, REPORTED, lifecycle_query, report_query
from tests.store.desk import Desk, event

EVER = {"since_wall_ms": 0, "until_wall_ms": 1 << 50}


def plan(desk: Desk, query: str, values: tuple[object, ...]) -> str:
    with closing(open_reader(desk.path)) as connection:
        found = connection.execute(f"EXPLAIN QUERY PLAN {query}", values).fetchall()
    return "\n".join(str(row[-1]) for row in found)


def test_the_words_are_names_of_events() -> None:
    assert set(REPORTED) <= EVENT_NAMES
    assert set(LIFECYCLE) <= set(REPORTED)


def test_m3_history_is_read_by_its_index(desk: Desk) -> None:
    """Were `LIFECYCLE` not the words of the index, SQLite would have no such plan at all."""
    desk.write(event())
    for agents in ((), ("a",), ("shop-*", "b")):
        query, values = lifecycle_query(agents)
        found = plan(desk, query, (0, 1 << 50, *values))
        assert "SEARCH events USING INDEX events_of_life (wall_ms>? AND wall_ms<?)" in found
        assert "TEMP B-TREE" not in found


def test_m3_the_report_reads_its_day_by_index(desk: Desk) -> None:
    desk.write(event())
    found = plan(desk, report_query(), (0, 1 << 50, *REPORTED))
    assert "SEARCH events USING INDEX events_by_time (wall_ms>? AND wall_ms<?)" in found
    assert "TEMP B-TREE" not in found


def test_a_life_is_what_began_ended_or_changed_health(desk: Desk) -> None:
    end = Record(
        "agent.exited", "warning", "it died", "a", 3, "i-3", "CRASHED", {"code": 1}, incident=4
    )
    desk.write(
        event("agent.started"), event("cost.spike"), Journal(end), event("agent.started", "b")
    )
    found = desk.store.lifecycle(**EVER, agents=("a",))
    assert found == [
        LifeRow(1, desk.wall_ms, "a", "agent.started", None, 1, "it happened", None),
        LifeRow(3, desk.wall_ms, "a", "agent.exited", "CRASHED", 3, "it died", 4),
    ]


@pytest.mark.parametrize(
    ("name", "silence", "found"),
    [
        ("agent.unreachable", 5_000, 5_000),
        ("agent.unreachable", None, None),
        ("agent.unreachable", "long", None),
        ("agent.degraded", 5_000, None),
    ],
)
def test_silence_is_known_of_what_became_unreachable(
    desk: Desk, name: str, silence: object, found: int | None
) -> None:
    desk.write(Journal(Record(name, "warning", "silent", "a", data={"silence_ms": silence})))
    [row] = desk.store.lifecycle(**EVER, agents=("a",))
    assert row.silence_ms == found


def test_the_daemons_own_starts_come_with_all_agents_only(desk: Desk) -> None:
    desk.write(event("daemon.started", None), event("agent.started"))
    assert [row.id for row in desk.store.lifecycle(**EVER)] == [1, 2]
    assert [row.id for row in desk.store.lifecycle(**EVER, agents=("*",))] == [2]


def test_a_span_has_its_first_moment_and_not_its_last(desk: Desk) -> None:
    for wall_ms in (1_000, 2_000, 3_000):
        desk.wall_ms = wall_ms
        desk.write(event("agent.started"), event("cost.spike"))
    asked = {"since_wall_ms": 1_000, "until_wall_ms": 3_000}
    assert [row.id for row in desk.store.lifecycle(**asked)] == [1, 3]
    assert [row.id for row in desk.store.report_events(**asked)] == [1, 2, 3, 4]


def test_i6_a_clock_that_goes_back_leaves_the_order_of_events(desk: Desk) -> None:
    for wall_ms in (5_000, 2_000, 4_000):
        desk.wall_ms = wall_ms
        desk.write(event("agent.started"))
    assert [row.id for row in desk.store.lifecycle(**EVER)] == [1, 2, 3]
