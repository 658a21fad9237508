"""A beating corpse as a written trace: heartbeats and samples, and nothing behind them."""

from pathlib import Path
from typing import Any

import pytest

from agentd.simulate.trace import TraceError
from tests.simulate.telling import BEATING, tell

LIMIT_S = 1_800


def corpse(last_s: float, *, cpu_per_s: float = 0.0, **beat: object) -> list[dict[str, Any]]:
    """Beats and samples every 30 s up to `last_s`, the last sample exactly then."""
    times = [float(t) for t in range(0, int(last_s), 30)]
    trace: list[dict[str, Any]] = []
    for t in times:
        trace += [{"t": t, "line": {"status": "ok", **beat}}]
        trace += [{"t": t, "rss": 1 << 20, "cpu_ms": int(t * cpu_per_s), "io_bytes": 0}]
    trace.append({"t": last_s, "rss": 1 << 20, "cpu_ms": int(last_s * cpu_per_s), "io_bytes": 0})
    return [*trace, {"t": last_s, "end": True}]


@pytest.mark.parametrize(("last_s", "degraded"), [(LIMIT_S - 0.001, []), (LIMIT_S, [LIMIT_S])])
def test_b3_a_thread_that_beats_over_a_dead_loop_is_degraded(
    tmp_path: Path, last_s: float, degraded: list[float]
) -> None:
    told = tell(tmp_path, BEATING, corpse(last_s, off_thread=True))
    assert told.times("agent.degraded") == degraded
    for event in told.events("agent.degraded"):
        assert "a thread beats over a dead loop?" in event["message"]
    assert len(told.effects("alert")) == len(degraded)
    assert told.spawns() == [0]  # it is told, never restarted for it


@pytest.mark.parametrize(("cpu_per_s", "found"), [(0.0, 1), (0.06, 1), (0.1, 0), (50.0, 0)])
def test_cpu_time_is_a_sign_of_work(tmp_path: Path, cpu_per_s: float, found: int) -> None:
    told = tell(tmp_path, BEATING, corpse(LIMIT_S, cpu_per_s=cpu_per_s))
    assert len(told.events("agent.degraded")) == found


@pytest.mark.parametrize("beat", [{"status": "idle"}, {"status": "waiting_human"}])
def test_whoever_says_why_is_left_alone(tmp_path: Path, beat: dict[str, Any]) -> None:
    told = tell(tmp_path, BEATING, corpse(2 * LIMIT_S, **beat))
    assert not told.events("agent.degraded")


def test_the_bound_is_the_configs(tmp_path: Path) -> None:
    config = BEATING + 'heartbeat.no_progress_after = "10m"\n'
    assert tell(tmp_path, config, corpse(LIMIT_S)).times("agent.degraded") == [600]


def test_a_trace_without_cpu_time_says_nothing_of_it(tmp_path: Path) -> None:
    trace = corpse(2 * LIMIT_S, off_thread=True)
    for line in trace:
        line.pop("cpu_ms", None)
    assert not tell(tmp_path, BEATING, trace).events("agent.degraded")


def test_progress_brings_it_back(tmp_path: Path) -> None:
    trace = [*corpse(LIMIT_S)[:-1], {"t": LIMIT_S + 10, "line": {"progress": 0.5}}]
    told = tell(tmp_path, BEATING, [*trace, {"t": LIMIT_S + 20, "end": True}])
    assert told.times("agent.recovered") == [LIMIT_S + 10]


@pytest.mark.parametrize("bad", [{"cpu_ms": -1}, {"cpu_ms": 1.5}, {"io_bytes": "x"}])
def test_a_sample_that_is_none_is_refused(tmp_path: Path, bad: dict[str, Any]) -> None:
    with pytest.raises(TraceError, match="whole number"):
        tell(tmp_path, BEATING, [{"t": 0, "rss": 1, **bad}])


@pytest.mark.parametrize(("percent", "found"), [(60, 1), (40, 0)])
def test_b2_a_loop_that_spins_behind_a_beating_thread_is_degraded(
    tmp_path: Path, percent: int, found: int
) -> None:
    trace = corpse(LIMIT_S + 30, cpu_per_s=10.0 * percent, off_thread=True)
    told = tell(tmp_path, BEATING, trace)
    assert len(told.events("agent.degraded")) == found
