"""`agentd simulate` at the edges of a trace (CONTRACT 6.3)."""

from pathlib import Path

import pytest

from agentd.simulate.trace import TraceError, read_trace
from tests.simulate.telling import QUIET, tell

FAILS = {"t": 0, "world": {"spawn": "fail"}}


@pytest.mark.parametrize("trace", [[], [FAILS]], ids=["empty", "a world and no more"])
def test_without_a_start_line_agents_start_at_0_however_short_the_trace(
    tmp_path: Path, trace: list[dict[str, object]]
) -> None:
    assert tell(tmp_path, QUIET, trace).spawns()[0] == 0


def test_at_that_is_no_time_is_refused_with_its_line_and_an_example() -> None:
    with pytest.raises(TraceError) as refused:
        read_trace(['{"t":0,"start":true,"at":"yesterday"}'], {"a"})
    assert str(refused.value) == (
        "line 1: at: 'yesterday' is no time such as \"2026-11-21T00:00:00Z\""
    )
