"""The queue of one sink, and all queues together: what is sent when, marked, told, given up."""

import threading
import time

import pytest

from agentd.core.effects import Alert
from agentd.core.records import Record
from agentd.daemon import alertqueue
from agentd.daemon import alerts as alerts_module
from agentd.daemon.alertthreads import Work
from agentd.sinks.message import DeliveryFailed, Message
from agentd.store.rows import AlertRow, Delivery, DeliveryRow
from tests.daemon.alert_harness import (
    WAIT_S,
    AlertHarness,
    configured,
    fast_ms,
    in_hurried_time,
    incident_of,
    refused,
    sink,
)


@in_hurried_time
async def test_an_alert_is_sent_marked_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = AlertHarness(monkeypatch, ops=sink())
    harness.alerts.start()
    harness.fail("a", number=7)
    await harness.until(lambda: harness.store.states() == ["sent"])
    [message] = harness.sinks["ops"].messages
    assert (message.dedup_key, message.next) == ("host/key7", "agentctl incident 7")
    assert message.event["id"] == 1
    [record] = harness.events("alert.sent")
    assert (record.agent, record.data["sink"], record.severity) == ("a", "ops", "info")


@in_hurried_time
async def test_k8_a_dead_sink_is_tried_until_it_takes_all_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = AlertHarness(monkeypatch, ops=sink(), other=sink("other"))
    dead = harness.sinks["ops"]
    dead.trouble = refused("connection refused")
    harness.alerts.start()
    for number in range(6):
        harness.fail("ab"[number % 2], f"{number}")
    await harness.until(lambda: len(harness.sinks["other"].told()) == 6)
    await harness.until(lambda: len(dead.attempts) >= 4)
    assert dead.messages == []
    assert harness.store.states() == ["waiting"] * 6
    dead.trouble = lambda _: None
    await harness.until(lambda: set(harness.store.states()) <= {"sent", "folded"})
    for agent in (0, 1):
        own = [told for told in dead.told() if int(told) % 2 == agent]
        assert own == sorted(own)
    failed = [one.data["events"] for one in harness.events("alert.failed")]
    assert len(failed) == 2, "told at the first failure of each, and not again"


@in_hurried_time
async def test_an_alert_for_which_there_was_no_thread_is_sent_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = AlertHarness(monkeypatch, ops=sink())
    begin, refusals = harness.alerts.threads.begin, [1]

    def refused_once(name: str, work: Work) -> None:
        if refusals:
            refusals.pop()
            raise RuntimeError("can't start new thread")
        begin(name, work)

    monkeypatch.setattr(harness.alerts.threads, "begin", refused_once)
    harness.alerts.start()
    harness.fail()
    await harness.until(lambda: harness.store.states() == ["sent"])
    assert not refusals, "it was refused a thread before"


@in_hurried_time
async def test_what_is_sent_together_is_shown_with_one_next_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = AlertHarness(monkeypatch, ops=sink())
    dead = harness.sinks["ops"]
    dead.trouble = refused("connection refused")
    harness.alerts.start()
    harness.fail("a", "first", number=7)
    await harness.until(lambda: len(dead.attempts) == 1)
    harness.fail("a", "second", number=7)

    def states() -> list[DeliveryRow]:
        return [one.state for one in harness.store.rows.values()]

    await harness.until(lambda: [one.attempts for one in states()] == [3, 2])
    tries_ms = [one.next_wall_ms for one in states()]
    assert max(tries_ms) - min(tries_ms) < 1_000, "else seconds lie between them"


@in_hurried_time
async def test_a_full_page_of_what_has_to_wait_hides_no_other_agent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alertqueue, "PAGE", 4)
    harness = AlertHarness(monkeypatch, ops=sink())
    receiver = harness.sinks["ops"]
    receiver.trouble = lambda sent: DeliveryFailed("bad") if sent.agent == "a" else None
    harness.alerts.start()
    for number in range(20):
        harness.fail("a", f"a{number}")
    harness.fail("b", "b0")
    await harness.until(lambda: receiver.told() == ["b0"])
    assert harness.store.states().count("waiting") >= 20, "those of a are not given up for it"


@in_hurried_time
async def test_what_lies_beyond_a_page_keeps_waiting_for_its_next_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alertqueue, "PAGE", 4)
    harness = AlertHarness(monkeypatch, ops=sink())
    receiver = harness.sinks["ops"]
    receiver.trouble = refused("bad", retry_after_s=3_600)
    harness.alerts.start()
    agents = [f"a{number}" for number in range(7)]
    for number, agent in enumerate(agents, 1):
        harness.fail(agent)
        await harness.until(lambda number=number: len(receiver.attempts) >= number)
    assert sorted(str(sent.agent) for sent in receiver.attempts) == agents


@in_hurried_time
async def test_k8_a_hung_sink_holds_up_no_other_and_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = AlertHarness(monkeypatch, ops=sink(), other=sink("other"))
    hung = harness.sinks["ops"]
    hung.hangs = threading.Event()
    harness.alerts.start()
    for number in range(30):
        harness.fail(f"agent-{number}", f"{number}")
    await harness.until(lambda: len(harness.sinks["other"].told()) == 30)
    assert len(hung.attempts) == 4, "as many at once as there are threads for it"
    monkeypatch.setattr(alerts_module, "PATIENCE_S", 0.05)
    begun = time.monotonic()
    harness.alerts.close()
    assert time.monotonic() - begun < WAIT_S / 2
    hung.hangs.set()


@in_hurried_time
async def test_what_ends_within_the_patience_of_a_shutdown_is_marked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = AlertHarness(monkeypatch, ops=sink())
    slow = harness.sinks["ops"]
    slow.hangs = threading.Event()
    harness.alerts.start()
    harness.fail()
    await harness.until(lambda: slow.attempts)
    threading.Timer(0.1, slow.hangs.set).start()
    harness.alerts.close()
    assert harness.store.states() == ["sent"]


@in_hurried_time
async def test_the_next_daemon_goes_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = AlertHarness(monkeypatch, ops=sink())
    harness.sinks["ops"].trouble = refused(retry_after_s=3600)
    harness.alerts.start()
    rows = harness.fail()
    await harness.until(lambda: harness.sinks["ops"].attempts)
    await harness.until(lambda: harness.events("alert.failed"))
    harness.alerts.close()
    harness.sinks["ops"].trouble = lambda _: None
    harness.alerts = harness.another()
    harness.alerts.start()
    await harness.until(lambda: harness.store.states() == ["sent"])
    assert [one.alert_id for one in harness.sinks["ops"].attempts] == [rows[0].uid] * 2


@in_hurried_time
async def test_a_receiver_that_asks_for_a_longer_wait_is_given_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = AlertHarness(monkeypatch, ops=sink())
    harness.sinks["ops"].trouble = refused(retry_after_s=3600)
    harness.alerts.start()
    harness.fail()
    await harness.until(lambda: harness.events("alert.failed"))
    next_ms = harness.alerts.queues["ops"].next_attempt_ms
    assert next_ms is not None
    assert next_ms - fast_ms() > 3_000_000


@in_hurried_time
async def test_k8_what_waited_follows_the_first_that_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = AlertHarness(monkeypatch, ops=sink())
    harness.sinks["ops"].trouble = refused(retry_after_s=3600)
    harness.alerts.start()
    harness.fail("a", "first")
    await harness.until(lambda: harness.events("alert.failed"))
    harness.sinks["ops"].trouble = lambda _: None
    harness.fail("b", "second")
    await harness.until(lambda: harness.sinks["ops"].told() == ["second", "first"])
    assert len(harness.events("alert.failed")) == 1, "told once, and not of the second"


@in_hurried_time
async def test_a_test_that_went_well_sends_what_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = AlertHarness(monkeypatch, ops=sink())
    harness.sinks["ops"].trouble = refused(retry_after_s=3600)
    harness.alerts.start()
    harness.fail()
    await harness.until(lambda: harness.events("alert.failed"))
    harness.sinks["ops"].trouble = lambda _: None
    harness.alerts.queues["ops"].reachable()
    await harness.until(lambda: harness.store.states() == ["sent"])
    assert len(harness.sinks["ops"].attempts) == 2


@in_hurried_time
async def test_a_trigger_that_never_arrived_is_told_before_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = AlertHarness(monkeypatch, ops=sink(), pages=sink("pages", type="pagerduty"))
    for one in harness.sinks.values():
        one.trouble = refused()
    harness.alerts.start()
    harness.fail("a", "it broke", number=1)
    await harness.until(lambda: len(harness.events("alert.failed")) == 2)
    harness.fail("a", "it is well", number=1, kind="resolve", severity="info")
    for one in harness.sinks.values():
        one.trouble = lambda _: None
    await harness.until(lambda: "waiting" not in harness.store.states())
    await harness.until(lambda: "waiting" not in harness.store.states("pages"))
    told = [("trigger", "it broke", ()), ("resolve", "it is well", ())]
    for one in harness.sinks.values():
        assert [(each.kind, each.event["message"], each.folded) for each in one.messages] == told


@in_hurried_time
async def test_what_the_store_does_not_take_goes_out_from_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = AlertHarness(monkeypatch, ops=sink())
    harness.alerts.start()
    harness.store.broken = "disk full"
    harness.fail("a", number=3)
    await harness.until(lambda: harness.sinks["ops"].messages)
    [message] = harness.sinks["ops"].messages
    assert message.event["id"] is None
    assert "could not record" in str(message.event["message"])
    assert message.incident is not None, "as it was last told"
    assert message.incident["id"] == 3
    harness.store.broken = ""
    harness.fail("b", "later")
    await harness.until(lambda: harness.sinks["ops"].told()[1:] == ["later"])


@in_hurried_time
async def test_what_could_not_be_marked_is_not_sent_again_and_marked_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = AlertHarness(monkeypatch, ops=sink())
    harness.alerts.start()
    harness.store.marks_broken = "disk full"
    harness.fail("a", "first")
    await harness.until(lambda: harness.sinks["ops"].told() == ["first"])
    harness.fail("b", "second")
    await harness.until(lambda: harness.sinks["ops"].told() == ["first", "second"])
    assert harness.store.states() == ["waiting"] * 2
    harness.store.marks_broken = ""
    await harness.until(lambda: harness.store.states() == ["sent"] * 2)
    assert len(harness.sinks["ops"].attempts) == 2


@in_hurried_time
async def test_what_is_refused_for_good_in_company_is_tried_alone_and_then_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = AlertHarness(monkeypatch, ops=sink())

    def too_large(message: Message) -> DeliveryFailed | None:
        texts = [event["message"] for event in (message.event, *message.folded)]
        return DeliveryFailed("413", permanent=True) if "huge" in texts else None

    harness.sinks["ops"].trouble = too_large
    harness.alerts.start()
    harness.fail("a", "huge", number=1)
    harness.fail("b", "small", number=1)
    await harness.until(lambda: len(harness.sinks["ops"].attempts) >= 2)
    harness.fail("c", "other")  # shows that the receiver is well
    await harness.until(lambda: sorted(harness.store.states()) == ["failed", "sent", "sent"])
    assert sorted(harness.sinks["ops"].told()) == ["other", "small"]
    assert harness.events("alert.failed")[-1].data["given_up"] is True


@in_hurried_time
async def test_a_changed_sink_is_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = AlertHarness(monkeypatch, ops=sink(url="https://a.example"))
    harness.sinks["ops"].trouble = refused(retry_after_s=3600)
    harness.alerts.start()
    harness.fail()
    await harness.until(lambda: harness.events("alert.failed"))
    harness.sinks["ops"].trouble = lambda _: None
    harness.alerts.use(configured(sink(url="https://b.example")))
    await harness.until(lambda: harness.store.states() == ["sent"])
    assert len(harness.events("alert.failed")) == 1


@in_hurried_time
async def test_the_end_goes_to_those_who_were_told_of_the_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And to nobody whose filters kept the beginning from them."""
    harness = AlertHarness(
        monkeypatch,
        all=sink("all"),
        worst=sink("worst", min_severity="critical"),
        cost=sink("cost", events=["cost.*"]),
    )
    harness.alerts.start()
    harness.fail("a", number=1)
    [over] = harness.fail("a", number=1, kind="resolve", severity="info")
    assert over.sinks == ("all",)
    worse = incident_of(2, "a", severity="critical")
    harness.raise_alert(Alert(Record("agent.escalated", "critical", "up", "a"), incident=worse))
    record = Record("incident.resolved", "info", "over", "a")
    [over] = harness.raise_alert(Alert(record, "resolve", worse))
    assert over.sinks == ("all", "worst")


@in_hurried_time
async def test_who_keeps_incidents_is_told_that_a_person_took_one_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = AlertHarness(monkeypatch, ops=sink(), pages=sink("pages", type="pagerduty"))
    taken = incident_of(4, "a", acknowledged_by="ada", acknowledged_at_ms=1)
    record = Record("incident.updated", "info", "acknowledged by ada", "a", incident=4)
    [row] = harness.alerts.rows(Alert(record, "acknowledge", taken))
    assert (row.kind, row.sinks, row.dedup_key) == ("acknowledge", ("pages",), "host/key4")


@in_hurried_time
async def test_the_daily_report_is_an_alert_that_waits_for_its_sink(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = AlertHarness(monkeypatch, ops=sink(min_severity="info"), pages=sink("pages"))
    harness.sinks["ops"].trouble = refused()
    harness.masks.hide(["canary"])
    harness.alerts.start()
    assert harness.alerts.send_report({"date": "2026-11-21", "ok": True}, "all well, canary") == 1
    await harness.until(lambda: harness.events("alert.failed"))
    harness.sinks["ops"].trouble = lambda _: None
    await harness.until(lambda: harness.store.states() == ["sent"])
    [message] = harness.sinks["ops"].messages
    assert (message.kind, message.report) == ("digest", {"date": "2026-11-21", "ok": True})
    assert message.report_text == "all well, ***"
    assert harness.sinks["pages"].attempts == []


@in_hurried_time
async def test_a_queue_of_any_length_is_read_by_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = AlertHarness(monkeypatch, ops=sink())
    harness.config = configured(sink(), digest_after=5)
    for number in range(1_300):
        record = Record("agent.exited", "warning", f"{number}", f"agent-{number % 40}")
        row = AlertRow(f"u{number}", "trigger", "warning", record, f"host/u{number}", ("ops",))
        state = DeliveryRow(row.uid, "ops", "waiting", 0, 0)
        harness.store.rows[row.uid, "ops"] = Delivery(row, number + 1, 0, state)
    monkeypatch.setattr("agentd.daemon.alertplan.MINUTE_MS", 1_000)
    harness.alerts = harness.another()
    harness.alerts.start()
    await harness.until(lambda: "waiting" not in harness.store.states())
    assert max(harness.store.asked) <= 2 * alerts_module.PAGE, "all of a page waits at most once"
    assert len(harness.sinks["ops"].messages) < 20
    assert len(harness.sinks["ops"].told()) == 1_300
