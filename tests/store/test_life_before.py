"""How agents were at a moment is read by index, however long ago that began."""

from contextlib import closing

from agentd.store.connection import open_reader
from agentd.store.timeline import LIFE_BEFORE, life_before_query
from tests.store.desk import Desk, event


def test_the_last_events_of_each_agent_before_a_moment_are_found(desk: Desk) -> None:
    for minute in range(LIFE_BEFORE + 4):
        desk.wall_ms = 1_000 * minute
        desk.write(event("agent.degraded", "noisy"), event("cost.spike", "noisy"))
    desk.wall_ms = 500_000
    desk.write(event("agent.started", "noisy"))
    desk.wall_ms = 0
    desk.write(event("agent.started", "quiet"), event("agent.started", "other"))
    found = desk.store.life_before(agents=("noisy", "quiet", "new"), wall_ms=400_000)
    assert sum(row.agent == "noisy" for row in found) == LIFE_BEFORE
    assert {row.agent for row in found} == {"noisy", "quiet"}
    assert [row.id for row in found] == sorted(row.id for row in found)
    assert max(row.wall_ms for row in found) == 1_000 * (LIFE_BEFORE + 3)


def test_m3_it_is_read_by_the_index_of_history(desk: Desk) -> None:
    desk.write(event())
    with closing(open_reader(desk.path)) as connection:
        query = f"EXPLAIN QUERY PLAN {life_before_query(2)}"
        plan = [row[-1] for row in connection.execute(query, (1 << 50, "a", "b"))]
    assert any("SEARCH events USING INDEX events_of_life (wall_ms<?)" in step for step in plan)
    assert not any("TEMP B-TREE" in step for step in plan)
