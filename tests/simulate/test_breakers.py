"""Breakers and parking, as `agentd simulate` tells them: both sides of every bound."""

from pathlib import Path
from typing import Any

import pytest

from tests.simulate.telling import Told, beats, tell

TWO = """\
[breakers.api]
failures = 3
window = "60s"
reset = "30s"
[defaults]
heartbeat.required = false
restart.cooldown = "10s"
[agents.a]
command = ["true"]
[agents.b]
command = ["true"]
"""


def report(t: float, agent: str = "a", **fields: object) -> dict[str, Any]:
    said = {"type": "breaker", "name": "api", "ok": False, "error": "503", **fields}
    return {"t": t, "agent": agent, "line": said}


def ask(t: float, agent: str = "a") -> dict[str, Any]:
    return {"t": t, "agent": agent, "line": {"type": "breaker.ask", "name": "api", "id": "q"}}


def answers(told: Told) -> list[dict[str, Any]]:
    return [line["answer"]["result"] for line in told.lines if "answer" in line]


@pytest.mark.parametrize(("last_s", "opened"), [(60, [60]), (60.001, [])])
def test_so_many_failures_within_the_window_open_it(
    tmp_path: Path, last_s: float, opened: list[float]
) -> None:
    trace = [report(0), report(0.001, "b"), report(last_s), {"t": 80, "end": True}]
    trace[0] = report(0)
    told = tell(tmp_path, TWO, trace)
    assert told.times("breaker.opened") == opened
    assert [alert["about"] for alert in told.effects("alert")] == ["breaker.opened"] * len(opened)


def test_it_is_half_open_after_reset_and_closed_by_a_success(tmp_path: Path) -> None:
    trace = [*(report(t) for t in (1, 2, 3)), ask(4), ask(33), ask(33, "b"), report(34, ok=True)]
    told = tell(tmp_path, TWO, [*trace, ask(35, "b"), {"t": 40, "end": True}])
    assert told.times("breaker.half_open") == [33]
    assert told.times("breaker.closed") == [34]
    states = [(said["state"], said["allow"]) for said in answers(told)]
    assert states == [("open", False), ("half_open", True), ("half_open", False), ("closed", True)]
    assert answers(told)[0]["retry_in_s"] == 29


def test_agents_that_fail_of_one_dependency_are_one_alert(tmp_path: Path) -> None:
    trace = [*(report(t) for t in (1, 2)), report(3, "b")]
    trace += [{"t": 4, "agent": name, "exit": {"code": 1}} for name in "ab"]
    told = tell(tmp_path, TWO, [*trace, {"t": 60, "end": True}])
    assert told.reasons() == ["DEPENDENCY_DOWN", "DEPENDENCY_DOWN"]
    abouts = [alert["about"] for alert in told.effects("alert")]
    assert abouts == ["breaker.opened"]
    [opened] = told.events("breaker.opened")
    assert opened["agent"] is None
    assert opened["data"]["agents"] == ["a", "b"]


@pytest.mark.parametrize(("retries", "allowed"), [(5, True), (6, False)])
def test_retries_beyond_the_budget_are_not_allowed(
    tmp_path: Path, retries: int, allowed: bool
) -> None:
    trace = [report(1, ok=True, attempt=2) for _ in range(retries)]
    told = tell(tmp_path, TWO, [*trace, ask(2)])
    [said] = answers(told)
    assert (said["allow"], said["retry_allowed"]) == (True, allowed)


def test_the_state_of_a_breaker_does_not_outlive_the_daemon(tmp_path: Path) -> None:
    crash = [{"t": 5, "daemon": "crash"}, {"t": 5.5, "daemon": "start"}]
    told = tell(tmp_path, TWO, [*(report(t) for t in (1, 2, 3)), *crash, ask(6)])
    assert answers(told)[-1]["state"] == "closed"


PARKED = """\
[agents.a]
command = ["true"]
restart.failures_max = 1
"""


def parked(t: float, wait_s: float) -> dict[str, Any]:
    return {"t": t, "line": {"status": "error", "retry_after_s": wait_s}}


def test_a_quota_parks_and_counts_no_failure_even_if_it_exits(tmp_path: Path) -> None:
    trace = [*beats(0, 30), parked(60, 600), {"t": 70, "exit": {"code": 1}}, *beats(690, 720)]
    told = tell(tmp_path, PARKED, [*trace, {"t": 730, "end": True}])
    assert told.times("agent.parked") == [60]
    # Its provider said when: no restart before that, no cooldown, no failure, no escalation.
    assert told.spawns() == [0, 660]
    assert not told.events("agent.escalated")
    assert not told.events("agent.cooldown")
    assert not told.events("agent.unreachable")


def test_the_same_exit_of_one_that_is_not_parked_escalates(tmp_path: Path) -> None:
    trace = [*beats(0, 60), {"t": 70, "exit": {"code": 1}}, {"t": 730, "end": True}]
    assert tell(tmp_path, PARKED, trace).times("agent.escalated") == [70]


@pytest.mark.parametrize(("exit_s", "escalated"), [(659.9, []), (660.1, [660.1])])
def test_an_exit_counts_again_once_the_wait_is_over(
    tmp_path: Path, exit_s: float, escalated: list[float]
) -> None:
    trace = [*beats(0, 30), parked(60, 600), {"t": exit_s, "exit": {"code": 1}}]
    told = tell(tmp_path, PARKED, [*trace, {"t": 700, "end": True}])
    assert told.times("agent.escalated") == escalated
