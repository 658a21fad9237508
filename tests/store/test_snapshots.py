"""Times carried over restarts and reboots."""

from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.records import Durable, LastExit
from agentd.core.states import Intent, StopReason
from agentd.store.snapshots import Moment, carried_over, decode, encode, mended, times_of
from tests.store.desk import Desk, persist

HOUR_MS = 3_600_000
WRITTEN = Moment("boot-1", 10 * HOUR_MS, 1_700_000_000_000)
TIMES = st.integers(0, 100 * HOUR_MS)


@pytest.mark.parametrize("wall_jump_ms", [-HOUR_MS, 0, 24 * HOUR_MS])
def test_i1_a_jump_of_the_wall_clock_moves_no_timer(desk: Desk, wall_jump_ms: int) -> None:
    desk.write(persist(cooldown_until_ms=1_300_000, spawned_at_ms=900_000))
    desk.close()
    desk.boottime_ms += 60_000
    desk.wall_ms += wall_jump_ms
    found = desk.store.agents()["a"]
    assert found.same_boot
    assert found.durable.cooldown_until_ms == 1_300_000
    assert found.durable.spawned_at_ms == 900_000


def test_i3_a_cooldown_goes_on_while_the_daemon_is_down(desk: Desk) -> None:
    cooldown_ms, started_ms = 300_000, desk.boottime_ms
    desk.boottime_ms += 120_000
    desk.write(persist(cooldown_until_ms=started_ms + cooldown_ms))
    desk.close()
    desk.boottime_ms += 60_000
    until_ms = desk.store.agents()["a"].durable.cooldown_until_ms
    assert until_ms is not None
    assert until_ms - desk.boottime_ms == 120_000


@pytest.mark.parametrize(
    ("away_ms", "left_ms"),
    [
        (0, 200_000),
        (150_000, 50_000),
        (200_000, 0),
        (900_000, 0),  # long due
        (-HOUR_MS, 200_000),  # the wall clock went back: never longer than it was
    ],
)
def test_a19_after_a_reboot_what_remains_follows_the_wall_clock(
    desk: Desk, away_ms: int, left_ms: int
) -> None:
    desk.write(persist(cooldown_until_ms=1_200_000, parked_until_ms=1_200_000))
    desk.close()
    desk.boot_id, desk.boottime_ms = "boot-2", 5_000
    desk.wall_ms += away_ms
    found = desk.store.agents()["a"]
    assert not found.same_boot
    assert found.durable.cooldown_until_ms == 5_000 + left_ms
    assert found.durable.parked_until_ms == 5_000 + left_ms


@given(
    cooldown_until_ms=st.none() | TIMES,
    spawned_at_ms=st.none() | TIMES,
    exit_at_ms=st.none() | TIMES,
    boottime_ms=TIMES,
    away_ms=st.integers(-50 * HOUR_MS, 50 * HOUR_MS),
)
def test_a19_no_deadline_moves_away_and_no_past_comes_nearer(
    cooldown_until_ms: int | None,
    spawned_at_ms: int | None,
    exit_at_ms: int | None,
    boottime_ms: int,
    away_ms: int,
) -> None:
    last_exit = None if exit_at_ms is None else LastExit(StopReason.CRASHED, "", exit_at_ms)
    durable = Durable(
        cooldown_until_ms=cooldown_until_ms, spawned_at_ms=spawned_at_ms, last_exit=last_exit
    )
    now = Moment("boot-2", boottime_ms, WRITTEN.wall_ms + away_ms)
    moved = carried_over(durable, WRITTEN, now)
    if cooldown_until_ms is None:
        assert moved.cooldown_until_ms is None
    else:
        assert moved.cooldown_until_ms is not None
        left_ms = max(0, cooldown_until_ms - WRITTEN.boottime_ms)
        assert 0 <= moved.cooldown_until_ms - boottime_ms <= left_ms
    if spawned_at_ms is not None:
        assert moved.spawned_at_ms is not None
        age_ms = WRITTEN.boottime_ms - spawned_at_ms
        assert boottime_ms - moved.spawned_at_ms == age_ms + max(0, away_ms)
    assert (moved.last_exit is None) is (exit_at_ms is None)
    assert durable.cooldown_until_ms == cooldown_until_ms, "the snapshot itself stays as it was"


@given(
    spoilt=st.dictionaries(
        st.sampled_from(["boot_id", "boottime_ms", "wall_ms"]),
        st.sampled_from([None, b"", 1.5, "\N{REPLACEMENT CHARACTER}"]),
        min_size=1,
    ),
    same_boot=st.booleans(),
    boottime_ms=TIMES,
    away_ms=TIMES,
    left_ms=st.none() | TIMES,
    spawned_ago_ms=st.none() | st.integers(0, 10 * HOUR_MS),
    exit_ago_ms=st.none() | st.integers(0, 10 * HOUR_MS),
)
def test_h5_whatever_is_spoilt_no_deadline_moves_away_and_no_past_into_the_future(
    *,
    spoilt: dict[str, object],
    same_boot: bool,
    boottime_ms: int,
    away_ms: int,
    left_ms: int | None,
    spawned_ago_ms: int | None,
    exit_ago_ms: int | None,
) -> None:
    then_ms = WRITTEN.boottime_ms
    spawned_at_ms = None if spawned_ago_ms is None else then_ms - spawned_ago_ms
    exit_at_ms = then_ms if exit_ago_ms is None else then_ms - exit_ago_ms
    durable = Durable(
        cooldown_until_ms=None if left_ms is None else then_ms + left_ms,
        spawned_at_ms=spawned_at_ms,
        last_exit=None if exit_ago_ms is None else LastExit(StopReason.CRASHED, "", exit_at_ms),
    )
    columns = [spoilt.get(name, whole) for name, whole in asdict(WRITTEN).items()]
    now = Moment("boot-2", boottime_ms, WRITTEN.wall_ms + away_ms)
    if same_boot:
        now = replace(now, boot_id=WRITTEN.boot_id, boottime_ms=then_ms + away_ms)
    moved = carried_over(durable, mended(columns, times_of(durable), now.wall_ms), now)
    if same_boot and "boot_id" not in spoilt:
        assert moved == durable
        return
    if left_ms is not None:
        assert moved.cooldown_until_ms is not None
        assert 0 <= moved.cooldown_until_ms - now.boottime_ms <= left_ms
    if spawned_at_ms is not None:
        assert moved.spawned_at_ms is not None
        assert moved.spawned_at_ms <= now.boottime_ms
    assert moved.last_exit is None or moved.last_exit.at_ms <= now.boottime_ms


@given(
    st.builds(
        Durable,
        intent=st.sampled_from(Intent),
        intent_reason=st.text(max_size=20),
        failures=st.integers(0, 2**53),
        reason=st.none() | st.sampled_from(StopReason),
        last_exit=st.none()
        | st.builds(
            LastExit,
            reason=st.sampled_from(StopReason),
            evidence=st.text(max_size=20),
            at_ms=st.integers(-(2**53), 2**53),
            code=st.none() | st.integers(0, 255),
        ),
    )
)
def test_a_snapshot_is_read_as_it_was_written(durable: Durable) -> None:
    assert decode(encode(durable)) == durable
