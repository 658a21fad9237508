"""When an agent was up, down or at rest, from the rows of its journal."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.reporting.intervals import Unwatched
from agentd.store.rows import LifeRow
from tests.reporting.lives import Brief, life, rows, shown

BORN = ((0, "added"), (0, "starting"), (0, "started"), (10, "ready"))


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            [(100, "exited", "CRASHED"), (100, "restarting", "CRASHED"), (101, "started"),
             (130, "ready")],
            [(10, 100, "up", None), (100, 130, "down", "CRASHED"), (130, 1000, "up", None)],
        ),
        (  # one outage, whatever the restarts in it failed for
            [(100, "exited", "OOM_KILLED"), (100, "cooldown", "OOM_KILLED"), (200, "started"),
             (220, "exited", "STARTUP_TIMEOUT"), (220, "escalated", "STARTUP_TIMEOUT")],
            [(10, 100, "up", None), (100, 1000, "down", "OOM_KILLED")],
        ),
        (  # slow is up
            [(100, "degraded"), (200, "recovered")],
            [(10, 1000, "up", None)],
        ),
        (  # silence, and then it was heard of again
            [(100, "degraded"), (200, "unreachable", "TIMEOUT"), (300, "recovered")],
            [(10, 200, "up", None), (200, 300, "down", "TIMEOUT"), (300, 1000, "up", None)],
        ),
        (  # heard of again, and still without progress
            [(200, "unreachable", "TIMEOUT"), (300, "degraded")],
            [(10, 200, "up", None), (200, 300, "down", "TIMEOUT"), (300, 1000, "up", None)],
        ),
        (  # silence, and a restart because of it: one outage
            [(200, "unreachable", "TIMEOUT"), (210, "exited", "TIMEOUT"),
             (210, "restarting", "TIMEOUT"), (211, "started"), (240, "ready")],
            [(10, 200, "up", None), (200, 240, "down", "TIMEOUT"), (240, 1000, "up", None)],
        ),
        (  # frozen and let go: its process lived all along
            [(100, "paused", "USER_PAUSED"), (300, "resumed")],
            [(10, 100, "up", None), (100, 300, "paused", "USER_PAUSED"), (300, 1000, "up", None)],
        ),
        (  # paused by its end: up when it is ready again, not when somebody says so
            [(100, "paused", "USER_PAUSED"), (110, "exited", "USER_PAUSED"), (300, "resumed"),
             (301, "started"), (320, "ready")],
            [(10, 100, "up", None), (100, 320, "paused", "USER_PAUSED"), (320, 1000, "up", None)],
        ),
        (
            [(100, "killed", "USER_KILLED"), (101, "exited", "USER_KILLED")],
            [(10, 100, "up", None), (100, 1000, "paused", "USER_KILLED")],
        ),
        (  # a policy that holds it back says why
            [(100, "paused", "BUDGET_EXCEEDED"), (100, "paused")],
            [(10, 100, "up", None), (100, 1000, "paused", "BUDGET_EXCEEDED")],
        ),
        (
            [(100, "exited", "USER_STOPPED"), (100, "stopped", "USER_STOPPED")],
            [(10, 100, "up", None), (100, 1000, "paused", "USER_STOPPED")],
        ),
        (
            [(100, "exited", "COMPLETED"), (100, "completed", "COMPLETED")],
            [(10, 100, "up", None), (100, 1000, "paused", "COMPLETED")],
        ),
        (  # an agent that is to run for ever, and came to its end
            [(100, "exited", "COMPLETED"), (100, "restarting", "COMPLETED"), (100, "started"),
             (150, "ready")],
            [(10, 100, "up", None), (100, 150, "down", "COMPLETED"), (150, 1000, "up", None)],
        ),
        (  # its provider said when to come back
            [(100, "parked"), (200, "exited", "EXITED"), (500, "started"), (520, "ready")],
            [(10, 200, "up", None), (200, 520, "paused", "PARKED"), (520, 1000, "up", None)],
        ),
        (  # parked, and killed by the kernel: restarting has decided, so that was a failure
            [(100, "parked"), (200, "exited", "OOM_KILLED"), (200, "cooldown", "OOM_KILLED")],
            [(10, 200, "up", None), (200, 1000, "down", "OOM_KILLED")],
        ),
        (
            [(100, "exited", "CONFIG_CHANGED"), (100, "removed")],
            [(10, 100, "up", None)],
        ),
        (  # a daemon that was killed and adopts: nothing happened
            [(400, "daemon.started"), (400, "adopted")],
            [(10, 1000, "up", None)],
        ),
    ],
)  # fmt: skip
def test_a_life_is_told_as_it_was(
    told: list[Brief], expected: list[tuple[int, int, str, str | None]]
) -> None:
    found = shown(life(rows(*BORN, *told), 1_000))
    assert found[0] == (0, 10, "paused", None)
    assert found[1:] == expected


def hung(*told: Brief, silence_ms: int | None) -> list[LifeRow]:
    """A life in which whatever is unreachable had been silent for so long."""
    return [
        replace(row, silence_ms=silence_ms) if row.event == "agent.unreachable" else row
        for row in rows(*BORN, *told)
    ]


@pytest.mark.parametrize(
    ("silence_ms", "since_ms"),
    [(150, 350), (None, 500), (9_000, 10), (-5, 500)],
)
def test_one_that_hung_was_down_from_its_last_sign_of_life(
    silence_ms: int | None, since_ms: int
) -> None:
    told = hung((500, "unreachable", "TIMEOUT"), (520, "exited", "TIMEOUT"),
                (520, "restarting", "TIMEOUT"), (521, "started"), (540, "ready"),
                silence_ms=silence_ms)  # fmt: skip
    found = shown(life(told, 1_000))
    assert (since_ms, 540, "down", "TIMEOUT") in found
    assert found[-1] == (540, 1_000, "up", None)
    assert [each[0] for each in found[1:]] == [each[1] for each in found[:-1]], "and no gap"


def test_silence_takes_nothing_from_a_rest_or_from_another_outage() -> None:
    told = hung((300, "exited", "CRASHED"), (310, "started"), (320, "ready"),
                (500, "unreachable", "TIMEOUT"), (600, "recovered"), (700, "paused", "USER_PAUSED"),
                (800, "unreachable", "TIMEOUT"), silence_ms=400)  # fmt: skip
    assert shown(life(told, 1_000))[1:] == [
        (10, 300, "up", None),
        (300, 320, "down", "CRASHED"),
        (320, 600, "down", "TIMEOUT"),
        (600, 700, "up", None),
        (700, 800, "paused", "USER_PAUSED"),
        (800, 1_000, "down", "TIMEOUT"),
    ]


def test_what_ended_while_nobody_watched_is_not_known() -> None:
    told = rows(*BORN, (700, "daemon.started"), (700, "exited", "UNKNOWN"), (701, "started"),
                (720, "ready"))  # fmt: skip
    found = life(told, 1_000, unwatched=(Unwatched(400, 700),))
    assert shown(found)[1:] == [
        (10, 400, "up", None),
        (700, 720, "down", "UNKNOWN"),
        (720, 1_000, "up", None),
    ]
    assert found.unknown_ms == 300


def test_a_reboot_is_down_from_when_the_host_went() -> None:
    told = rows(*BORN, (700, "daemon.started"), (700, "exited", "HOST_REBOOTED"),
                (701, "started"), (720, "ready"))  # fmt: skip
    found = life(told, 1_000, unwatched=(Unwatched(400, 700),))
    assert (400, 720, "down", "HOST_REBOOTED") in shown(found)


def test_one_that_was_adopted_and_died_later_was_watched_all_along() -> None:
    told = rows(*BORN, (700, "daemon.started"), (700, "adopted"), (800, "exited", "CRASHED"))
    found = life(told, 1_000, unwatched=(Unwatched(400, 700),))
    assert shown(found)[1:] == [(10, 800, "up", None), (800, 1_000, "down", "CRASHED")]


def test_what_was_before_the_span_says_how_it_began() -> None:
    told = rows(*BORN, (100, "exited", "CRASHED"), (900, "ready"))
    assert shown(life(told, 1_000, begins_ms=500)) == [
        (500, 900, "down", "CRASHED"),
        (900, 1_000, "up", None),
    ]


def test_a_clock_that_is_set_back_takes_no_time_away() -> None:
    told = rows(*BORN, (500, "exited", "CRASHED"), (200, "started"), (250, "ready"))
    found = life(told, 1_000)
    assert shown(found)[1:] == [(10, 500, "up", None), (500, 1_000, "up", None)]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([(100, "exited", "CRASHED"), (110, "started")], ["CRASHED"]),
        ([(100, "exited", "USER_RESTARTED"), (110, "started")], ["USER_RESTARTED"]),
        ([(100, "exited", "USER_KILLED"), (110, "started")], []),  # somebody began it anew
        ([(100, "exited", "COMPLETED"), (100, "restarting"), (110, "started")], ["COMPLETED"]),
        ([(100, "exited", "CRASHED"), (110, "exited", "SPAWN_FAILED")], []),  # nothing started
    ],
)
def test_a_restart_is_a_start_after_an_end_that_was_not_to_last(
    told: list[Brief], expected: list[str]
) -> None:
    found = life(rows(*BORN, *told), 1_000)
    assert [each.reason for each in found.restarts] == expected


def test_availability_leaves_rest_out_and_recovery_what_operators_did() -> None:
    told = rows(
        *((0, "added"), (0, "started"), (0, "ready")),
        *((100, "exited", "CRASHED"), (100, "restarting", "CRASHED"), (150, "started")),
        *((200, "ready"), (300, "exited", "USER_RESTARTED"), (310, "started"), (400, "ready")),
        *((500, "paused", "USER_PAUSED"),),
    )
    found = life(told, 1_000)
    assert found.availability == pytest.approx(300 / 500)
    assert found.mttr_ms == 100
    assert life([], 1_000).availability is None
    assert life([], 1_000).mttr_ms is None


EVENTS = st.sampled_from(
    (
        *("added", "starting", "started", "ready", "healthy", "degraded", "unreachable"),
        *("recovered", "exited", "stopped", "cooldown", "restarting", "escalated", "paused"),
        *("resumed", "killed", "parked", "adopted", "completed", "removed"),
    )
)
REASONS = st.sampled_from(("CRASHED", "USER_STOPPED", "COMPLETED", "HOST_REBOOTED", "UNKNOWN"))
TOLD = st.lists(st.tuples(st.integers(0, 2_000), EVENTS, REASONS), max_size=30)


@settings(max_examples=300, deadline=None)
@given(TOLD, st.integers(0, 900), st.integers(0, 400), st.integers(0, 400))
def test_intervals_are_in_order_and_add_up_whatever_happened(
    told: list[Brief], begins_ms: int, gap_ms: int, gap_lasts_ms: int
) -> None:
    gap = Unwatched(gap_ms, gap_ms + gap_lasts_ms)
    found = life(rows(*told), 1_000, begins_ms=begins_ms, unwatched=(gap,))
    assert all(each.begins_ms < each.ends_ms for each in found.intervals)
    assert all(one.ends_ms <= other.begins_ms for one, other in pairwise(found.intervals))
    assert all(begins_ms <= each.begins_ms and each.ends_ms <= 1_000 for each in found.intervals)
    total = sum(found.total_ms(state) for state in ("up", "down", "paused")) + found.unknown_ms
    assert total == 1_000 - begins_ms
    assert found.unknown_ms >= 0
    halves = [found.within(begins_ms, 950), found.within(950, 1_000)]
    for state in ("up", "down", "paused"):
        assert sum(half.total_ms(state) for half in halves) == found.total_ms(state)
