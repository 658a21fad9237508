"""The fleet's tables and verdict, and how agents of it are named."""

import pytest

from agentd.cli.lazy import HintedUsageError
from agentd.cli.remote.targets import by_host
from agentd.cli.views.fleet import fleet_events, fleet_table, fleet_verdict, hosts_table
from agentd.cli.views.table import plain
from tests.cli.stub import Document, agent, event, status


def host(
    name: str, document: Document | None, state: str = "up", error: str | None = None
) -> Document:
    return {"host": name, "state": state, "seen": "2026-11-21T08:00:00.000Z", "status": document,
            "error": error}  # fmt: skip


WELL = host("m1", status(agent("worker")))
ILL = host("m2", status(agent("crawler", health="unreachable", open_incident=3)))
LOST = host("m3", status(agent("worker")), "lost", "silent since 08:00")
NEW = host("m4", None)


def test_agents_of_all_hosts_stand_in_one_table_and_a_lost_host_shows_none() -> None:
    lines = plain(fleet_table([WELL, ILL, LOST, NEW])).splitlines()
    assert lines[0].startswith("HOST  AGENT")
    rows = {line.split()[0]: line for line in lines[1:-1]}
    assert "worker" in rows["m1"]
    assert "incident 3" in rows["m2"]
    assert "healthy" not in rows["m3"]
    assert rows["m3"].endswith("silent since 08:00, 1 agents when it was last seen")
    assert rows["m4"].endswith("no status yet")
    assert lines[-1] == "4 hosts, 1 lost; 1 healthy, 1 unreachable"


def test_a_row_a_host_counts_only_what_is_known_now() -> None:
    lines = plain(hosts_table([WELL, LOST])).splitlines()
    assert lines[1].split()[:2] == ["m1", "up"]
    assert "1 healthy" in lines[1]
    assert "healthy" not in lines[2]
    assert plain(hosts_table([])) == "no hosts"


def test_a_status_that_makes_no_sense_costs_its_own_host_alone() -> None:
    odd = host("m6", status(agent("crawler", cooldown_s="soon", state=["running"])))
    lines = plain(fleet_table([ILL, odd])).splitlines()
    assert "incident 3" in lines[1]
    assert lines[2].endswith("its status makes no sense")
    assert "m2" in plain(hosts_table([ILL, odd]))
    uncounted = host("m6", {**status(agent("a")), "summary": {"healthy": "many"}})
    assert fleet_verdict([WELL, uncounted])[0] == 3


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_table_fits_a_terminal(columns: int) -> None:
    text = plain(fleet_table([WELL, ILL, LOST]), columns)
    assert max(map(len, text.splitlines())) <= columns
    assert "m3" in text


@pytest.mark.parametrize(
    ("hosts", "code", "told"),
    [
        ([WELL], 0, "agentd OK: 1 host; 1 healthy"),
        ([], 3, "agentd UNKNOWN: no hosts"),
        ([WELL, NEW], 3, "agentd UNKNOWN: m4: no status yet"),
        ([WELL, LOST], 2, "agentd CRITICAL: m3: silent since"),
        ([NEW, ILL], 2, "agentd CRITICAL: m4: no status yet; m2: crawler unreachable"),
        ([NEW, host("m5", status(agent("a", health="degraded")))], 1, "agentd WARNING: m4: no"),
    ],
)
def test_the_fleet_is_judged_as_a_monitor_wants_it(
    hosts: list[Document], code: int, told: str
) -> None:
    found, line = fleet_verdict(hosts)
    assert found == code
    assert line.startswith(told)


def test_events_of_the_fleet_say_where() -> None:
    lines = plain(fleet_events([event(1, host="m1"), event(1, host="m2")])).splitlines()
    assert [line.split()[0] for line in lines] == ["HOST", "m1", "m2"]
    assert plain(fleet_events([])) == "no events"


def test_agents_of_hosts_are_named_with_a_slash() -> None:
    known = ["m1", "m2", "x"]
    found = by_host(["m1/a", "m*/tag:shop", "new/b", "all/c*"], lambda: known)
    assert [(one.address, one.over_nats, select) for one, select in found] == [
        ("m1", True, ("a", "tag:shop", "c*")),
        ("m2", True, ("tag:shop", "c*")),
        ("new", True, ("b",)),
        ("x", True, ("c*",)),
    ]


def test_a_host_by_its_name_is_not_looked_for() -> None:
    def unasked() -> list[str]:
        raise AssertionError

    assert len(by_host(["m1/a"], unasked)) == 1


@pytest.mark.parametrize(
    "target", ["worker", "/a", "m1/", "-x/a", "a.b/c", "none*/a", "m1 /a", "m1,m2/a", ""]
)
def test_what_names_no_agent_of_a_host_is_refused(target: str) -> None:
    with pytest.raises(HintedUsageError):
        by_host([target], lambda: ["m1"])
