"""A restart for a leak waits for a good moment, and not for ever (E9)."""

from pathlib import Path
from typing import Any

import pytest

from tests.simulate.telling import Told, tell

MIB = 1 << 20
CONFIG = """\
[agents.a]
command = ["true"]
heartbeat.required = false
memory = { limit = "1G", leak = "restart" }
"""
END_S = 6_000
Line = dict[str, Any]


def leaking(folder: Path, *lines: Line) -> Told:
    """+10 MiB a minute from 100 MiB on; the agent says `lines`."""
    samples = [{"t": t, "rss": 100 * MIB + 10 * MIB * t // 60} for t in range(0, 5_400, 30)]
    return tell(folder, CONFIG, [*samples, *lines, {"t": END_S, "end": True}])


def at(t: float, **line: object) -> Line:
    return {"t": t, "line": line}


def end_s(told: Told) -> float:
    first = told.events("agent.exited")[0]
    assert first["reason"] == "MEMORY_LEAK"
    assert told.effects("signal")[0]["signal"] == "SIGTERM"
    return float(first["t"])


@pytest.fixture
def leak_s(tmp_path: Path) -> float:
    """When the leak is told."""
    return leaking(tmp_path).times("memory.leak")[0]


def test_e9_an_agent_that_tells_of_no_task_is_restarted_at_once(
    tmp_path: Path, leak_s: float
) -> None:
    assert end_s(leaking(tmp_path)) == pytest.approx(leak_s, abs=1)


@pytest.mark.parametrize(
    "moment",
    [
        {"type": "checkpoint.put", "state": {"at": 7}},
        {"status": "idle"},
        {"status": "waiting_human"},
    ],
)
def test_e9_in_the_middle_of_a_task_it_waits_for_a_good_moment(
    tmp_path: Path, leak_s: float, moment: Line
) -> None:
    busy = at(1, status="ok", task="ticket-7")
    told = leaking(tmp_path, busy, at(leak_s + 100, **moment))
    assert end_s(told) == pytest.approx(leak_s + 100, abs=1)


def test_e9_a_checkpoint_of_before_is_no_moment_of_now(tmp_path: Path, leak_s: float) -> None:
    busy = at(1, status="ok", task="ticket-7")
    before = at(leak_s - 10, type="checkpoint.put", state={"at": 6})
    assert end_s(leaking(tmp_path, busy, before)) > leak_s + 60


def test_e9_an_action_in_flight_is_finished_first(tmp_path: Path, leak_s: float) -> None:
    lines = [
        at(1, status="ok", task="ticket-7"),
        at(leak_s - 1, type="intent", key="refund:7", action="refund"),
        at(leak_s + 50, status="idle"),
        at(leak_s + 90, type="done", key="refund:7"),
    ]
    told = leaking(tmp_path, *lines)
    assert end_s(told) == pytest.approx(leak_s + 90, abs=1)
    assert told.times("action.unfinished") == []


def test_e9_its_patience_is_bounded(tmp_path: Path, leak_s: float) -> None:
    told = leaking(tmp_path, at(1, status="ok", task="ticket-7"))
    assert end_s(told) == pytest.approx(leak_s + 480, abs=1)
    assert "waited 8m for a checkpoint" in told.events("agent.exited")[0]["message"]


def test_e9_an_operators_stop_comes_first(tmp_path: Path, leak_s: float) -> None:
    stop = {"t": leak_s + 10, "cmd": {"cmd": "stop", "args": {"select": ["a"]}}}
    told = leaking(tmp_path, at(1, status="ok", task="ticket-7"), stop)
    assert told.reasons() == ["USER_STOPPED"]
