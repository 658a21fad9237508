"""Minutes of the wall clock, each told once, whatever is done to the clock."""

import pytest

from agentd.core.events import Event, MinuteEnded
from agentd.daemon.civilclock import CivilClock

MINUTE_MS = 60_000
BEGIN_MS = 1_700_000_040_000


@pytest.mark.parametrize(
    ("looks_ms", "ended"),
    [
        ([0, 30_000, 59_999], []),
        ([0, 60_000, 61_000], [0]),
        ([59_999, 60_000, 119_999, 120_000], [0, 1]),
        ([0, 60_000 * 1_000], [0]),  # set forward by 1,000 minutes: those never were
        ([60_000, 10_000, 59_000], [1]),  # set back: what was counted is of the minute it left
        ([60_000, 10_000, 60_000, 120_000], [1, 0, 1]),  # which then comes a second time
    ],
)
def test_a_minute_ends_once(looks_ms: list[int], ended: list[int]) -> None:
    posted: list[Event] = []
    now_ms = BEGIN_MS
    clock = CivilClock(posted.append, lambda: now_ms)
    clock.use("UTC")
    for look_ms in looks_ms:
        now_ms = BEGIN_MS + look_ms
        clock.look()
    told = [event.begins_ms for event in posted if isinstance(event, MinuteEnded)]
    if looks_ms[0] >= MINUTE_MS:
        ended = [0, *ended]  # `use` looks at once
    assert told == [BEGIN_MS + minute * MINUTE_MS for minute in ended]
