"""Latency far above an agent's own normal, as `agentd simulate` tells it."""

from pathlib import Path
from typing import Any

import pytest

from tests.simulate.telling import Told, tell

CONFIG = '[agents.a]\ncommand = ["true"]\nheartbeat.required = false\n'
USUAL_MS = 200


def told_of(folder: Path, slow_ms: int, slow: int) -> Told:
    """Forty tasks of the usual length, then so many slow ones, then a usual one."""
    latencies = [USUAL_MS] * 40 + [slow_ms] * slow + [USUAL_MS]
    trace: list[dict[str, Any]] = [
        {"t": 30 * number, "line": {"status": "ok", "latency_ms": latency}}
        for number, latency in enumerate(latencies)
    ]
    return tell(folder, CONFIG, trace)


@pytest.mark.parametrize(
    ("slow_ms", "slow", "warned_s"),
    [
        (10 * USUAL_MS, 5, []),
        (10 * USUAL_MS + 1, 4, []),
        (10 * USUAL_MS + 1, 5, [30 * 44]),
        (10 * USUAL_MS + 1, 20, [30 * 44]),
    ],
)
def test_five_in_a_row_above_ten_times_the_usual_are_told_once(
    tmp_path: Path, slow_ms: int, slow: int, warned_s: list[float]
) -> None:
    told = told_of(tmp_path, slow_ms, slow)
    assert told.times("latency.warning") == warned_s
    assert not told.effects("freeze")
    assert not told.effects("signal")


def test_the_warning_says_what_is_slow_and_against_what(tmp_path: Path) -> None:
    [event] = told_of(tmp_path, 3_000, 5).events("latency.warning")
    assert event["severity"] == "warning"
    assert (event["data"]["latency_ms"], event["data"]["usual_ms"]) == (3_000, USUAL_MS)
