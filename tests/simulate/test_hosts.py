"""Other hosts, as `agentd simulate` tells what comes of them."""

from pathlib import Path
from typing import Any

import pytest

from agentd.simulate.trace import TraceError
from tests.simulate.telling import tell

CONFIG = """\
[fleet]
nats = ["nats://127.0.0.1:4222"]
[fleet.budget]
usd_per_day = 10.0
[defaults]
heartbeat.required = false
[agents.a]
command = ["true"]
depends_on = ["machine-3/orders"]
[agents.b]
command = ["true"]
"""


def seen(t: float, state: str = "up", *, ready: bool = True, **more: object) -> dict[str, Any]:
    orders = {"name": "orders", "ready": ready}
    hosts = [{"name": "machine-3", "state": state, "announce": True, "agents": [orders]}]
    return {"t": t, "fleet": {"connected": True, "hosts": hosts, **more}}


def test_a_start_waits_for_another_host(tmp_path: Path) -> None:
    trace = [seen(5, ready=False), seen(9), {"t": 20, "end": True}]
    told = tell(tmp_path, CONFIG, trace)
    assert (told.spawns("a"), told.spawns("b")) == ([9], [0])


def test_it_waits_half_a_minute_where_a_trace_tells_nothing_of_others(tmp_path: Path) -> None:
    told = tell(tmp_path, CONFIG, [{"t": 0, "start": True}, {"t": 90, "end": True}])
    assert told.spawns("a") == [30]


def test_a_lost_host_is_told_once_also_over_a_crash_of_the_daemon(tmp_path: Path) -> None:
    trace = [
        seen(1, "lost"),
        {"t": 2, "daemon": "crash"},
        {"t": 3, "daemon": "start"},
        seen(4, "lost"),
        seen(9),
        {"t": 10, "end": True},
    ]
    told = tell(tmp_path, CONFIG, trace)
    assert (told.times("host.lost"), told.times("host.back")) == ([1], [9])
    assert [alert["kind"] for alert in told.effects("alert")] == ["trigger", "resolve"]


def test_what_others_spent_counts_today_where_no_date_is_said(tmp_path: Path) -> None:
    trace = [
        {"t": 1, "agent": "b", "line": {"tokens": 1, "cost_usd": 4.0}},
        seen(2, spent_usd_day={"others": 6.0, "hosts": 4}),
        {"t": 10, "end": True},
    ]
    told = tell(tmp_path, CONFIG, trace)
    assert told.times("agent.paused", "b") == [2]


@pytest.mark.parametrize(
    ("fleet", "why"),
    [
        ("up", "fleet is an object"),
        ({}, "fleet: Object missing required field `connected`"),
        ({"connected": True, "hosts": [{"name": "x y", "state": "up"}]}, "matching regex"),
    ],
)
def test_a_line_that_the_socket_would_refuse_is_none(
    tmp_path: Path, fleet: object, why: str
) -> None:
    with pytest.raises(TraceError, match=why):
        tell(tmp_path, CONFIG, [{"t": 0, "fleet": fleet}])
