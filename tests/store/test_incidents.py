"""Incidents, their moments by the wall clock, their timeline and their evidence."""

from contextlib import closing

import pytest

from agentd.config.units import Bytes
from agentd.store.connection import open_reader
from agentd.store.incidents import (
    EVIDENCE_BYTES_MAX,
    EVIDENCE_FIRST,
    EVIDENCE_MAX,
    RESOLVED_LATELY,
    RESOLVED_LATELY_MAX,
    RESOLVED_LATELY_MS,
    incidents_query,
)
from agentd.store.reader import events_query
from agentd.store.rows import EvidenceRow, IncidentRow
from tests.store.desk import Desk, event
from tests.store.history import incident, look, opened, told


def row(desk: Desk, number: int = 1) -> IncidentRow:
    found = desk.store.incident(number)
    assert found is not None
    return found


def plan(desk: Desk, query: str, values: object) -> str:
    with closing(open_reader(desk.path)) as connection:
        found = connection.execute(f"EXPLAIN QUERY PLAN {query}", values).fetchall()  # type: ignore[arg-type]
    return "\n".join(str(line[-1]) for line in found)


def test_an_incident_is_kept_as_it_was_told(desk: Desk) -> None:
    desk.write(opened(summary="silent \ud800"))
    assert row(desk).incident == incident(summary="silent \\ud800")
    assert desk.store.incident(2) is None


def test_its_moments_are_those_of_the_wall_clock_when_they_were_written(desk: Desk) -> None:
    desk.write(opened())
    assert row(desk) == IncidentRow(
        incident(), desk.wall_ms - 5_000, desk.wall_ms - 2_000, None, None, None
    )


def test_i1_a_clock_that_is_set_moves_no_moment_that_was_written(desk: Desk) -> None:
    desk.write(opened())
    before = row(desk)
    desk.wall_ms += 3_600_000
    desk.boottime_ms += 10_000
    desk.write(opened(resolved_at_ms=1_010_000, recovered_at_ms=1_009_000))
    after = row(desk)
    assert (after.began_wall_ms, after.opened_wall_ms) == (
        before.began_wall_ms,
        before.opened_wall_ms,
    )
    assert after.recovered_wall_ms == desk.wall_ms - 1_000
    assert after.resolved_wall_ms == desk.wall_ms


def test_a_reboot_moves_no_moment_that_was_written(desk: Desk) -> None:
    desk.write(opened(acknowledged_at_ms=999_000, acknowledged_by="ada"))
    before = row(desk)
    desk.close()
    desk.boot_id, desk.boottime_ms = "boot-2", 5_000
    desk.wall_ms += 61_234
    carried = desk.store.open_incidents()[0]
    desk.wall_ms += 99  # the clock is corrected between the two
    desk.write(opened(**{name: getattr(carried, name) for name in ("began_at_ms", "opened_at_ms")}))
    assert (row(desk).began_wall_ms, row(desk).opened_wall_ms) == (
        before.began_wall_ms,
        before.opened_wall_ms,
    )


def test_a_second_recovery_is_another_moment(desk: Desk) -> None:
    desk.write(opened(recovered_at_ms=1_000_000))
    first = row(desk).recovered_wall_ms
    desk.boottime_ms += 7_000
    desk.wall_ms += 7_000
    desk.write(opened(recovered_at_ms=1_004_000))
    assert first is not None
    assert row(desk).recovered_wall_ms == first + 4_000
    desk.write(opened())
    assert row(desk).recovered_wall_ms is None


def test_what_is_open_comes_back_in_time_of_this_boot(desk: Desk) -> None:
    desk.write(
        opened(1, remind_at_ms=1_600_000),
        opened(2, remind_at_ms=1_100_000, recovered_at_ms=999_000),
        opened(3, resolved_at_ms=1_000_000),
    )
    assert [one.number for one in desk.again().open_incidents()] == [1, 2]
    assert desk.store.open_incidents()[0].remind_at_ms == 1_600_000, "of the same boot as it was"
    desk.close()
    desk.boot_id, desk.boottime_ms = "boot-2", 10_000
    desk.wall_ms += 200_000
    first, second = desk.store.open_incidents()
    assert first.began_at_ms == 10_000 - 200_000 - 5_000
    assert first.members[0].joined_at_ms == first.opened_at_ms == 10_000 - 200_000 - 2_000
    assert first.remind_at_ms == 10_000 + 400_000, "what remained, less the time away"
    assert second.remind_at_ms == 10_000, "due long ago: due now"
    assert second.recovered_at_ms == 10_000 - 200_000 - 1_000


def test_what_was_resolved_lately_comes_back_too_oldest_end_first(desk: Desk) -> None:
    ends_ms = (1_000_000, 999_000, 1_000_000 - RESOLVED_LATELY_MS - 1, None)
    for number, end_ms in enumerate(ends_ms, 1):
        desk.write(opened(number, resolved_at_ms=end_ms))
    found = desk.again().resolved_lately()
    assert [(one.number, one.resolved_at_ms) for one in found] == [(2, 999_000), (1, 1_000_000)]
    desk.close()
    desk.boot_id, desk.boottime_ms = "boot-2", 10_000
    desk.wall_ms += 200_000
    assert desk.store.resolved_lately()[-1].resolved_at_ms == 10_000 - 200_000
    values = (desk.wall_ms, RESOLVED_LATELY_MAX)
    assert "USING INDEX incidents_by_end" in plan(desk, RESOLVED_LATELY, values)


def test_of_what_was_resolved_lately_the_last_ones_come_back(desk: Desk) -> None:
    many = range(1, RESOLVED_LATELY_MAX + 3)
    desk.write(*(opened(number, resolved_at_ms=900_000 + number) for number in many))
    assert [one.number for one in desk.again().resolved_lately()] == list(many)[2:]


def test_a_wall_clock_that_went_back_puts_off_no_reminder(desk: Desk) -> None:
    desk.write(opened(remind_at_ms=1_600_000))
    desk.close()
    desk.boot_id, desk.boottime_ms = "boot-2", 10_000
    desk.wall_ms -= 86_400_000
    assert desk.store.open_incidents()[0].remind_at_ms == 10_000 + 600_000


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [4, 3, 2, 1]),
        ({"limit": 2}, [4, 3]),
        ({"open_only": True}, [3, 1]),
        ({"agents": ("a",)}, [2, 1]),
        ({"agents": ("shop-*",)}, [4, 3]),
        ({"agents": ("shop-*", "a"), "open_only": True}, [3, 1]),
        ({"agents": ("nobody",)}, []),
    ],
)
def test_incidents_are_found_by_agent_and_state(
    desk: Desk, asked: dict[str, object], expected: list[int]
) -> None:
    desk.write(opened(1, "a"), opened(2, "a", resolved_at_ms=999_000))
    desk.write(opened(3, "shop-1"), opened(4, "shop-2", resolved_at_ms=999_000))
    found = desk.store.incidents(**asked)  # type: ignore[arg-type]
    assert [one.incident.number for one in found] == expected


def test_m3_incidents_and_timelines_are_found_by_index(desk: Desk) -> None:
    desk.write(opened(), told())
    query, values = incidents_query(agents=(), open_only=True)
    assert "SEARCH incidents USING INDEX incidents_by_end" in plan(desk, query, (*values, 10))
    query, values = incidents_query(agents=("a",), open_only=False)
    found = plan(desk, query, (*values, 10))
    assert "PRIMARY KEY (agent=?)" in found
    assert "SCAN incidents" not in found
    query, values = events_query(
        after=0, agents=(), types=(), since_ms=None, forward=True, incident=1
    )
    found = plan(desk, query, (*values, 10))
    assert "events_by_incident" in found
    assert "TEMP B-TREE" not in found


def test_the_timeline_is_what_was_journaled_with_its_number(desk: Desk) -> None:
    desk.write(event(), told("one"), event(), told("other", 2), told("two"))
    found = desk.store.events(after=0, incident=1)
    assert [one["message"] for one in found] == ["one", "two"]


def test_numbers_never_go_back(desk: Desk) -> None:
    assert desk.store.last_incident() == 0
    desk.write(opened(7), opened(3))
    assert desk.again().last_incident() == 7
    desk.store._writer._committer._opened.execute("DELETE FROM incidents")
    assert desk.store.last_incident() == 7


def test_a_row_that_is_not_what_was_written_is_none(desk: Desk) -> None:
    desk.write(opened(1), opened(2))
    connection = desk.store._writer._committer._opened
    connection.execute(
        "UPDATE incidents SET record = replace(record, 'silent', 'loud') WHERE number = 1"
    )
    connection.execute("UPDATE incidents SET opened_wall_ms = 'never' WHERE number = 2")
    assert desk.store.incident(1) is None
    assert desk.store.incidents() == []
    assert [one.number for one in desk.store.open_incidents()] == [2]


def test_evidence_stands_beside_its_incident_in_order(desk: Desk) -> None:
    desk.write(opened(), look(stack=["recv"]), look(2, other=1))
    desk.wall_ms += 5
    desk.write(look(syscall="recvfrom"))
    assert desk.store.evidence(1) == [
        EvidenceRow(1, "a", "stall", desk.wall_ms - 5, {"stack": ["recv"]}),
        EvidenceRow(1, "a", "stall", desk.wall_ms, {"syscall": "recvfrom"}),
    ]
    assert desk.store.evidence(3) == []


def test_of_too_many_looks_the_first_and_the_last_are_kept(desk: Desk) -> None:
    for number in range(EVIDENCE_MAX + 5):
        desk.write(look(at=number))
    kept = [one.evidence["at"] for one in desk.store.evidence(1)]
    last = range(EVIDENCE_MAX + 5 - (EVIDENCE_MAX - EVIDENCE_FIRST), EVIDENCE_MAX + 5)
    assert kept == [*range(EVIDENCE_FIRST), *last]


def test_evidence_without_bound_loses_its_largest_part_and_says_so(desk: Desk) -> None:
    assert desk.write(look(stack=["recv"], log_tail="x" * EVIDENCE_BYTES_MAX)).ok
    seen = desk.store.evidence(1)[0].evidence
    assert seen["stack"] == ["recv"]
    assert "too many" in str(seen["log_tail"])


def test_odd_values_cost_no_evidence(desk: Desk) -> None:
    assert desk.write(look(name="\ud800", odd=object(), fine=1, limit_bytes=Bytes(7))).ok
    seen = desk.store.evidence(1)[0].evidence
    assert (seen["fine"], seen["limit_bytes"]) == (1, 7)
    assert "object" in str(seen["odd"])
