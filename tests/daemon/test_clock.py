"""Wall time for people: the same moment is shown alike, until somebody sets the clock."""

import pytest

from agentd.daemon import clock
from agentd.daemon.clock import DRIFT_MS_MAX, Calendar


class Clocks:
    """Both clocks, set by the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.boottime_ms, self.wall_ms = 1_000, 1_700_000_000_000
        monkeypatch.setattr(clock, "boottime_ms", lambda: self.boottime_ms)
        monkeypatch.setattr(clock, "wall_ms", lambda: self.wall_ms)


@pytest.mark.parametrize("drift_ms", [-DRIFT_MS_MAX, -1, 1, DRIFT_MS_MAX])
def test_a_moment_keeps_its_wall_time_while_the_clock_only_drifts(
    monkeypatch: pytest.MonkeyPatch, drift_ms: int
) -> None:
    clocks, calendar = Clocks(monkeypatch), Calendar()
    assert calendar.now() == (1_000, 1_700_000_000_000)
    clocks.boottime_ms += 5_000
    clocks.wall_ms += 5_000 + drift_ms
    assert calendar.now() == (6_000, 1_700_000_005_000)


@pytest.mark.parametrize("jump_ms", [-3_600_000, -DRIFT_MS_MAX - 1, DRIFT_MS_MAX + 1, 86_400_000])
def test_a_clock_that_was_set_is_believed(monkeypatch: pytest.MonkeyPatch, jump_ms: int) -> None:
    clocks, calendar = Clocks(monkeypatch), Calendar()
    calendar.now()
    clocks.wall_ms += jump_ms
    assert calendar.now() == (1_000, 1_700_000_000_000 + jump_ms)
