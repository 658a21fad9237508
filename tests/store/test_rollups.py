"""What agents did by the minute, and that folding loses none of it."""

import random
from collections import defaultdict
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.core.records import Rollup
from agentd.store import rollups
from agentd.store.connection import open_reader, open_writer
from agentd.store.retention import Bounds, tidy, used_bytes
from agentd.store.schema import migrate
from tests.store.desk import Desk
from tests.store.history import DAY_MS, HOUR_MS, LATENCIES, MIDNIGHT_MS, MINUTE_MS, minute, saved

EVER = {"since_wall_ms": 0, "until_wall_ms": 1 << 50}


def settle(desk: Desk, bounds: Bounds = Bounds()) -> None:  # noqa: B008 - frozen
    committer = desk.store._writer._committer
    while committer.tidy(bounds, desk.wall_ms):
        pass


def spans(desk: Desk) -> dict[int, int]:
    with closing(open_reader(desk.path)) as connection:
        found = connection.execute("SELECT span, count(*) FROM rollups GROUP BY span").fetchall()
    return dict(found)


def total(found: list[Rollup]) -> dict[str, tuple[object, ...]]:
    """Add up each agent's figures, whatever the spans."""
    sums: dict[str, tuple[object, ...]] = {}
    each = defaultdict(list)
    for one in found:
        each[one.agent].append(asdict(one))
    for agent, ones in each.items():
        names = [
            name
            for name in ones[0]
            if name not in ("agent", "begins_ms", "latency_counts") and "rss" not in name
        ]
        low = [one["rss_min_bytes"] for one in ones if one["rss_min_bytes"] is not None]
        high = [one["rss_max_bytes"] for one in ones if one["rss_max_bytes"] is not None]
        width = max(len(one["latency_counts"]) for one in ones)
        counts = [
            sum((*one["latency_counts"], *[0] * width)[place] for one in ones)
            for place in range(width)
        ]
        added = [sum(one[name] for one in ones) for name in names]
        sums[agent] = (*added, min(low, default=None), max(high, default=None), *counts)
    return sums


def test_a_minute_comes_back_as_it_was_told(desk: Desk) -> None:
    full = Rollup("a", MIDNIGHT_MS, *range(1, 9), LATENCIES, 10, 20, *range(30, 36))
    empty = Rollup("b", MIDNIGHT_MS)
    assert desk.write(saved(full, empty)).ok
    assert desk.store.rollups(**EVER, span="minute") == [full, empty]


def test_two_daemons_may_share_a_minute(desk: Desk) -> None:
    desk.write(saved(minute("a", MIDNIGHT_MS, rss_min_bytes=None, latency_counts=())))
    desk.write(saved(minute("a", MIDNIGHT_MS, rss_max_bytes=None, tokens=5)))
    (found,) = desk.store.rollups(**EVER, span="minute")
    assert (found.heartbeats, found.tokens, found.healthy_ms) == (4, 1_805, 2 * MINUTE_MS)
    assert (found.rss_min_bytes, found.rss_max_bytes) == (100 << 20, 120 << 20)
    assert found.latency_counts == LATENCIES


def test_they_are_found_by_time_agent_and_span(desk: Desk) -> None:
    for number in range(180):
        at_ms = MIDNIGHT_MS + number * MINUTE_MS
        desk.submit(saved(minute("shop-1", at_ms), minute("shop-2", at_ms), minute("x", at_ms)))
    desk.write(saved())
    ask = desk.store.rollups
    hour = {"since_wall_ms": MIDNIGHT_MS + HOUR_MS, "until_wall_ms": MIDNIGHT_MS + 2 * HOUR_MS}
    assert len(ask(**hour, span="minute")) == 180
    assert [(one.agent, one.heartbeats) for one in ask(**hour, agents=("shop-*",))] == [
        ("shop-1", 120),
        ("shop-2", 120),
    ]
    days = ask(**EVER, agents=("x",), span="day")
    assert [(one.begins_ms, one.heartbeats) for one in days] == [(MIDNIGHT_MS, 360)]
    assert days[0].latency_counts == tuple(180 * count for count in LATENCIES)


def test_minutes_become_hours_and_hours_become_days(desk: Desk) -> None:
    for number in range(60 * 30):
        desk.submit(saved(minute("a", MIDNIGHT_MS + number * MINUTE_MS)))
    desk.write(saved())
    before = total(desk.store.rollups(**EVER, span="minute"))
    desk.wall_ms = MIDNIGHT_MS + 2 * DAY_MS + HOUR_MS + MINUTE_MS
    settle(desk)
    assert spans(desk) == {1: 60 * 29, 60: 1}, "an hour is folded when all of it is old enough"
    desk.wall_ms = MIDNIGHT_MS + 62 * DAY_MS - MINUTE_MS
    settle(desk)
    assert spans(desk) == {60: 6, 1440: 1}
    desk.wall_ms += MINUTE_MS
    settle(desk)
    assert spans(desk) == {1440: 2}
    assert total(desk.store.rollups(**EVER)) == before
    assert [one.begins_ms for one in desk.store.rollups(**EVER, span="minute")] == [
        MIDNIGHT_MS,
        MIDNIGHT_MS + DAY_MS,
    ], "what is kept no finer comes as it is"


def test_what_comes_late_is_added_to_what_was_folded(desk: Desk) -> None:
    desk.wall_ms = MIDNIGHT_MS + 10 * DAY_MS
    for _ in range(2):
        desk.write(saved(minute("a", MIDNIGHT_MS + MINUTE_MS)))
        settle(desk)
    assert spans(desk) == {60: 1}
    assert desk.store.rollups(**EVER)[0].heartbeats == 4


ROLLUPS = st.builds(
    Rollup,
    agent=st.sampled_from("abc"),
    begins_ms=st.integers(0, 120 * 1_440).map(lambda one: MIDNIGHT_MS + one * MINUTE_MS),
    heartbeats=st.integers(0, 1 << 40),
    tokens=st.integers(0, 1 << 40),
    cost_micros=st.integers(0, 1 << 40),
    latency_counts=st.lists(st.integers(0, 1 << 30), max_size=4).map(tuple),
    rss_min_bytes=st.none() | st.integers(0, 1 << 40),
    rss_max_bytes=st.none() | st.integers(0, 1 << 40),
    down_ms=st.integers(0, 60_000),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(ROLLUPS, max_size=40),
    st.lists(st.integers(0, 200), max_size=6),
    st.integers(1, 5),
)
def test_no_order_of_folding_changes_a_sum(told: list[Rollup], days: list[int], chunk: int) -> None:
    with closing(open_writer(":memory:")) as connection, pytest.MonkeyPatch.context() as patch:  # type: ignore[arg-type]
        migrate(connection, "memory")  # type: ignore[arg-type]
        patch.setattr(rollups, "FOLD_CHUNK", chunk)
        for number, one in enumerate(told):
            rollups.save(connection, saved(one))
            if number < len(days):
                while rollups.fold(connection, MIDNIGHT_MS + days[number] * DAY_MS):
                    pass
        query, values = rollups.rollups_query(())
        found = connection.execute(query, (1_440, 0, 1 << 40, *values)).fetchall()
    assert total([rollups._rollup(row) for row in found]) == total(told)


def test_a_crash_in_the_middle_of_folding_loses_and_doubles_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        desk.submit(saved(minute("a", MIDNIGHT_MS + number * MINUTE_MS)))
    desk.write(saved())
    before = total(desk.store.rollups(**EVER, span="minute"))
    monkeypatch.setattr(rollups, "_FOLDED", "DELETE FROM nothing WHERE ? AND ? AND ?")
    desk.wall_ms = MIDNIGHT_MS + 3 * DAY_MS
    assert not desk.store._writer._committer.tidy(Bounds(), desk.wall_ms)
    monkeypatch.undo()
    assert total(desk.again().rollups(**EVER, span="minute")) == before
    settle(desk)
    assert spans(desk) == {60: 5}
    assert total(desk.store.rollups(**EVER)) == before


def test_days_are_kept_as_long_as_history_is(desk: Desk) -> None:
    for day in range(10):
        desk.submit(saved(minute("a", MIDNIGHT_MS + day * DAY_MS)))
    desk.wall_ms = MIDNIGHT_MS + 100 * DAY_MS
    desk.write(saved())
    settle(desk, Bounds(history_days=95))
    assert [one.begins_ms for one in desk.store.rollups(**EVER)] == [
        MIDNIGHT_MS + day * DAY_MS for day in range(5, 10)
    ]


def test_m3_rollups_are_found_by_their_key(desk: Desk) -> None:
    desk.write(saved())
    query, values = rollups.rollups_query(("a",))
    with closing(open_writer(desk.path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {query}", (60, 0, 1, *values)).fetchall()
    assert "SEARCH rollups USING PRIMARY KEY (span=? AND begins>? AND begins<?)" in str(plan)


@pytest.mark.timeout(180)
def test_m3_what_is_kept_of_agents_for_a_year_stays_far_below_the_bound(tmp_path: Path) -> None:
    """Two agents for 100 days, folded as it comes; fifty for a year by the bytes of a row."""
    draw = random.Random(4)  # noqa: S311 - chance, not secrets
    agents = ("researcher-eu-west", "shop-assistant-17")
    path = tmp_path / "year.db"
    with closing(open_writer(path)) as connection:
        migrate(connection, path)
        for day in range(100):
            connection.execute("BEGIN IMMEDIATE")
            for number in range(1_440):
                at_ms = MIDNIGHT_MS + day * DAY_MS + number * MINUTE_MS
                busy = [draw.randrange(40) for _ in LATENCIES]
                told = [
                    minute(agent, at_ms, tokens=draw.randrange(90_000), latency_counts=tuple(busy))
                    for agent in agents
                ]
                rollups.save(connection, saved(*told))
            connection.execute("COMMIT")
            while tidy(connection, Bounds(), MIDNIGHT_MS + (day + 1) * DAY_MS):
                pass
        rows = connection.execute("SELECT count(*) FROM rollups").fetchone()[0]
        row_bytes = used_bytes(connection) / rows
    assert rows == 2 * (2 * 1_440 + 58 * 24 + 40), "two days, two months, and the rest"
    year = 50 * (2 * 1_440 + 58 * 24 + 305)
    assert year * row_bytes < Bounds().history_max_bytes / 5
