"""Alerts are in the store before their first attempt, each with the event it tells of."""

from collections.abc import Callable
from contextlib import closing

from agentd.core.effects import Journal
from agentd.core.records import Record
from agentd.store.connection import open_reader
from agentd.store.outbox import RECORD_BYTES_MAX, deliveries_query
from agentd.store.rows import AlertRow, Delivery, DeliveryRow, MarkRow
from tests.store.desk import Desk, event
from tests.store.history import alert, sent, told


def queue(desk: Desk, *states: str) -> list[tuple[str, str, str]]:
    found = desk.store.deliveries(states=states or ("waiting",))
    return [(one.row.uid, one.state.sink, one.state.state) for one in found]


def test_an_alert_waits_at_each_sink_with_the_id_and_time_of_its_event(desk: Desk) -> None:
    row = told()
    outcome = desk.write(event(), alert("u-1", row), row, event())
    assert outcome.stamps[1].id == 2
    assert desk.store.deliveries() == [
        Delivery(
            AlertRow("u-1", "trigger", "critical", row.record, "here-1", ("chat", "pager"), 1),
            2,
            desk.wall_ms,
            DeliveryRow("u-1", sink, "waiting", 0, desk.wall_ms),
        )
        for sink in ("chat", "pager")
    ]


def test_an_alert_of_no_event_in_its_batch_has_none(desk: Desk) -> None:
    desk.write(alert("test", told(), ("pager",)))
    assert desk.store.deliveries()[0].event_id == 0


def test_an_alert_and_its_event_are_written_together_or_not_at_all(desk: Desk) -> None:
    row = told()
    wrong = AlertRow("u-1", "trigger", "critical", row.record, "key", ("pager",), 1 << 80)
    assert not desk.write(row, wrong).ok
    assert desk.store.events() == desk.store.deliveries() == []


def test_deliveries_come_in_the_order_of_their_alerts(desk: Desk) -> None:
    for uid in ("z", "a", "m"):
        row = told(uid)
        desk.write(row, alert(uid, row, ("pager",)))
    assert [uid for uid, _, _ in queue(desk)] == ["z", "a", "m"]
    assert [one.row.uid for one in desk.store.deliveries(limit=2)] == ["z", "a"]


def test_each_sink_goes_its_own_way(desk: Desk) -> None:
    row = told()
    desk.write(row, alert("u-1", row))
    desk.write(sent("u-1", "chat"))
    desk.write(DeliveryRow("u-1", "pager", "waiting", 3, desk.wall_ms + 60_000, "refused \ud800"))
    assert queue(desk) == [("u-1", "pager", "waiting")]
    assert queue(desk, "waiting", "sent") == [("u-1", "chat", "sent"), ("u-1", "pager", "waiting")]
    late = desk.store.deliveries()[0].state
    assert (late.attempts, late.next_wall_ms, late.error) == (
        3,
        desk.wall_ms + 60_000,
        "refused \\ud800",
    )
    assert desk.store.alert_counts() == {"chat": {"sent": 1}, "pager": {"waiting": 1}}


def test_an_alert_that_is_told_twice_is_one_alert(desk: Desk) -> None:
    row = told()
    desk.write(row, alert("u-1", row))
    desk.write(sent("u-1", "chat"))
    assert desk.write(alert("u-1", row)).ok
    assert queue(desk) == [("u-1", "pager", "waiting")]
    assert desk.store.deliveries()[0].event_id == 1


def test_the_progress_of_an_alert_that_is_gone_changes_nothing(desk: Desk) -> None:
    assert desk.write(sent("nobody", "pager")).ok
    assert desk.store.alert_counts() == {}


def test_an_alert_survives_the_deletion_of_its_event(desk: Desk) -> None:
    row = told()
    desk.write(row, alert("u-1", row))
    desk.store._writer._committer._opened.execute("DELETE FROM events")
    assert desk.again().deliveries()[0].row.record == row.record


def test_what_an_event_carries_is_bounded_in_an_alert(desk: Desk) -> None:
    row = Journal(
        Record("agent.exited", "warning", "m" * 9_000, "a", data={"x": "y" * RECORD_BYTES_MAX})
    )
    desk.write(row, alert("u-1", row))
    record = desk.store.deliveries()[0].row.record
    assert "too many" in str(record.data)
    assert len(record.message) < RECORD_BYTES_MAX


def test_a_damaged_alert_costs_no_other(desk: Desk) -> None:
    rows = [told("1"), told("2")]
    for number, row in enumerate(rows):
        desk.write(row, alert(str(number), row, ("pager",)))
    damage: Callable[[str], object] = desk.store._writer._committer._opened.execute
    damage("UPDATE alerts SET record = substr(record, 9) WHERE uid = '0'")
    assert queue(desk) == [("1", "pager", "waiting")]


def test_m3_what_waits_is_found_by_index(desk: Desk) -> None:
    desk.write(event())
    for sink, index in ((), "deliveries_by_state"), (("chat",), "deliveries_by_sink"):
        query = deliveries_query(("waiting",), of_one_sink=bool(sink))
        with closing(open_reader(desk.path)) as connection:
            values = (*sink, "waiting", 10)
            plan = connection.execute(f"EXPLAIN QUERY PLAN {query}", values).fetchall()
        found = "\n".join(str(row[-1]) for row in plan)
        assert index in found
        assert "SCAN" not in found
        assert "TEMP B-TREE" not in found


def test_a_mark_is_the_last_number_under_its_name(desk: Desk) -> None:
    assert desk.store.mark("report") is None
    desk.write(MarkRow("report", 20_231_114))
    desk.write(MarkRow("report", 20_231_115))
    assert desk.again().mark("report") == 20_231_115
