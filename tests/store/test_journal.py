import re
from contextlib import closing

import pytest

from agentd.config.encodable import utc_text
from agentd.config.units import parse_duration, parse_size
from agentd.store.connection import open_reader
from agentd.store.reader import events_query
from agentd.store.rows import Stamp
from tests.store.desk import Desk, event, ids, persist


def test_ids_rise_without_gaps_over_batches_and_restarts(desk: Desk) -> None:
    outcomes = [desk.submit(event(), event()) for _ in range(50)]
    desk.wait_for(lambda: all(outcomes))
    stamps = [stamp.id for one in outcomes for stamp in one[0].stamps]
    assert stamps == list(range(1, 101))
    desk.again()
    assert desk.write(event()).stamps == (Stamp(101, desk.wall_ms),)
    assert ids(desk.store) == list(range(1, 102))


def test_an_event_has_the_form_that_users_are_promised(desk: Desk) -> None:
    desk.wall_ms = 1_795_680_000_007
    desk.write(event("agent.exited", code=3))
    assert desk.store.events() == [
        {
            "id": 1,
            "time": "2026-11-26T08:00:00.007Z",
            "host": "here",
            "agent": "a",
            "incarnation": "i-1",
            "event": "agent.exited",
            "severity": "info",
            "reason": None,
            "message": "it happened",
            "data": {"code": 3},
        }
    ]


def test_times_are_written_in_utc_with_milliseconds() -> None:
    assert utc_text(0) == "1970-01-01T00:00:00.000Z"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", utc_text(1_700_000_000_999))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"limit": 2}, [5, 6]),  # without a cursor: the last ones
        ({"after": 2}, [3, 4, 5, 6]),
        ({"after": 2, "limit": 2}, [3, 4]),  # with one: the next ones
        ({"after": 6}, []),
        ({"agents": ("a",)}, [1, 3, 5]),
        ({"agents": ("a", "b")}, [1, 2, 3, 4, 5]),
        ({"agents": ("[!a]",)}, [2, 4]),
        ({"types": ("agent.*",)}, [1, 2, 5, 6]),
        ({"types": ("memory.leak",), "agents": ("b",)}, [4]),
        ({"agents": ("nobody",)}, []),
        ({"since_ms": 1_003}, [4, 5, 6]),
        ({"since_ms": 1_003, "after": 4, "agents": ("a",)}, [5]),
    ],
)
def test_events_are_found_by_cursor_agent_type_and_time(
    desk: Desk, asked: dict[str, object], expected: list[int]
) -> None:
    names = ["agent.ready", "agent.ready", "memory.leak", "memory.leak", "agent.exited"]
    for moment, name in enumerate(names):
        desk.wall_ms = 1_000 + moment
        desk.write(event(name, "ab"[moment % 2]))
    desk.wall_ms = 1_005
    desk.write(event("agent.added", None))
    assert [one["id"] for one in desk.store.events(**asked)] == expected  # type: ignore[arg-type]


def test_i6_the_order_of_events_is_their_id_though_the_clock_goes_back(desk: Desk) -> None:
    for wall_ms in (5_000, 5_000, 2_000, 6_000):
        desk.wall_ms = wall_ms
        desk.write(event())
    assert ids(desk.store) == [1, 2, 3, 4]
    assert [one["id"] for one in desk.store.events(since_ms=5_000)] == [1, 2, 4]


def test_c7_a_lone_surrogate_is_stored_escaped(desk: Desk) -> None:
    outcome = desk.write(event(task="\ud800x"), persist(intent_reason="\ud800"))
    assert outcome.ok
    assert desk.store.events()[0]["data"] == {"task": "\\ud800x"}
    assert desk.store.agents()["a"].durable.intent_reason == "\\ud800"


def test_a_configured_size_or_duration_is_stored_as_an_integer(desk: Desk) -> None:
    """An int of a class of ours is still an int, which the encoder has to be told."""
    outcome = desk.write(
        event(limit_bytes=parse_size("1K")), persist(cooldown_until_ms=parse_duration("5s"))
    )
    assert outcome.ok
    assert desk.store.events()[0]["data"] == {"limit_bytes": 1024}
    assert desk.store.agents()["a"].durable.cooldown_until_ms == 5_000


def test_data_without_bound_is_dropped_and_said_so(desk: Desk) -> None:
    assert desk.write(event(blob="x" * 300_000)).ok
    assert "dropped" in str(desk.store.events()[0]["data"])


@pytest.mark.timeout(120)
def test_m3_events_are_found_by_index_among_many(desk: Desk) -> None:
    outcomes = [desk.submit(*(event(agent=f"a{n % 50}") for n in range(1_000))) for _ in range(20)]
    desk.wait_for(lambda: all(outcomes))
    for asked, index in (
        ({"after": 5}, "PRIMARY KEY"),
        ({"agents": ("a",)}, "events_by_agent"),
        ({"types": ("agent.ready",)}, "events_by_event"),
        ({"since_ms": 7}, "events_by_time"),
    ):
        full = {"after": None, "agents": (), "types": (), "since_ms": None, **asked}
        query, values = events_query(**full, forward=full["after"] is not None)  # type: ignore[arg-type]
        with closing(open_reader(desk.path)) as connection:
            plan = connection.execute(f"EXPLAIN QUERY PLAN {query}", (*values, 10)).fetchall()
        told = "\n".join(row[-1] for row in plan)
        assert index in told
        assert "SCAN" not in told
        assert "TEMP B-TREE" not in told
