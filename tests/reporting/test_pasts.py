"""What is read from the store to tell the past, and that telling it is pure."""

import ast
from pathlib import Path

import agentd.reporting
from agentd.core.effects import SaveRollups
from agentd.core.records import Rollup
from agentd.daemon.past import Pasts
from agentd.reporting.intervals import Unwatched
from tests.reporting.lives import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from tests.store.desk import Desk, event

BEGINS_MS = 1_700_006_400_000

# What would make a report say something else tomorrow, or on another host.
IMPURE = {"asyncio", "os", "random", "select", "signal", "socket", "sqlite3", "subprocess",
          "threading", "time", "secrets", "uuid", "logging", "pathlib"}  # fmt: skip


def test_the_layer_reads_no_clock_and_no_file() -> None:
    for path in Path(agentd.reporting.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & IMPURE, path
            told = isinstance(node, ast.Attribute) and node.attr in {"now", "today", "utcnow"}
            assert not told, f"{path}: now comes in as an argument"


def write(desk: Desk, at_ms: int, *told: tuple[str, str | None]) -> None:
    desk.wall_ms = BEGINS_MS + at_ms
    assert desk.write(*(event(name, agent) for name, agent in told)).ok


def watch(desk: Desk, until_ms: int) -> None:
    """Let a daemon have told of every minute up to here."""
    minutes = range(0, until_ms, MINUTE_MS)
    rollups = tuple(Rollup("a", BEGINS_MS + at_ms, heartbeats=2) for at_ms in minutes)
    assert desk.write(SaveRollups(rollups)).ok


def test_what_a_dead_daemon_did_not_see_begins_with_the_last_minute_that_it_told(
    desk: Desk,
) -> None:
    write(desk, 0, ("daemon.started", None), ("agent.started", "a"), ("agent.ready", "a"))
    watch(desk, 30 * MINUTE_MS)
    back_ms = 45 * MINUTE_MS + 20 * SECOND_MS
    write(desk, back_ms, ("daemon.started", None), ("agent.exited", "a"), ("agent.started", "a"))
    write(desk, back_ms + SECOND_MS, ("agent.ready", "a"))
    past = Pasts(desk.store).lives(["a"], BEGINS_MS, BEGINS_MS + HOUR_MS)
    assert past.unwatched == [Unwatched(BEGINS_MS + 30 * MINUTE_MS, BEGINS_MS + back_ms)]
    [life] = past.lives(["a"])
    assert life.unknown_ms == back_ms - 30 * MINUTE_MS
    assert life.total_ms("down") == SECOND_MS


def test_a_daemon_that_was_away_for_days_is_looked_for_by_the_hour(desk: Desk) -> None:
    write(desk, 0, ("daemon.started", None), ("agent.started", "a"), ("agent.ready", "a"))
    watch(desk, 2 * HOUR_MS)
    write(desk, 5 * DAY_MS, ("daemon.started", None), ("agent.exited", "a"))
    past = Pasts(desk.store).lives(["a"], BEGINS_MS, BEGINS_MS + 6 * DAY_MS)
    assert past.unwatched == [Unwatched(BEGINS_MS + 2 * HOUR_MS, BEGINS_MS + 5 * DAY_MS)]


def test_a_restart_that_adopts_everybody_leaves_nothing_unwatched(desk: Desk) -> None:
    write(desk, 0, ("daemon.started", None), ("agent.started", "a"), ("agent.ready", "a"))
    write(desk, HOUR_MS, ("daemon.started", None), ("agent.adopted", "a"))
    past = Pasts(desk.store).lives(["a"], BEGINS_MS, BEGINS_MS + DAY_MS)
    assert list(past.unwatched) == []
    assert past.lives(["a"])[0].availability == 1.0


def test_an_agent_that_was_left_alone_for_a_month_was_up_all_the_time(desk: Desk) -> None:
    write(desk, 0, ("agent.started", "a"), ("agent.ready", "a"))
    write(desk, DAY_MS, ("agent.started", "b"))
    begins_ms, ends_ms = BEGINS_MS + 30 * DAY_MS, BEGINS_MS + 37 * DAY_MS
    [life] = Pasts(desk.store).lives(["a"], begins_ms, ends_ms).lives(["a"])
    assert life.total_ms("up") == 7 * DAY_MS
