"""What becomes of alerts whose sink is not in the config any more."""

import sqlite3

import pytest

from tests.daemon.alert_harness import (
    AlertHarness,
    configured,
    in_hurried_time,
    refused,
    sink,
)


@in_hurried_time
async def test_sinks_that_are_gone_are_named_once_and_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = AlertHarness(monkeypatch, ops=sink())
    harness.sinks["ops"].trouble = refused()
    harness.alerts.start()
    harness.fail("a")
    harness.fail("b")
    await harness.until(lambda: len(harness.events("alert.failed")) == 2)
    harness.alerts.use(configured(sink("new")))
    await harness.until(lambda: harness.store.states() == ["failed"] * 2)
    named = [one for one in harness.events("alert.failed") if "not in the config" in one.message]
    assert [one.data["alerts"] for one in named] == [2]
    harness.alerts.use(configured(sink("new")))
    harness.fail("c", "to the new one")
    await harness.until(lambda: harness.sinks["new"].told() == ["to the new one"])
    assert [one for one in harness.events("alert.failed") if "config" in one.message] == named


@in_hurried_time
async def test_what_waits_for_a_sink_that_is_gone_is_given_up_when_the_store_works_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = AlertHarness(monkeypatch, ops=sink())
    harness.sinks["ops"].trouble = refused()
    harness.alerts.start()
    harness.fail("a")
    await harness.until(lambda: harness.events("alert.failed"))
    counts, tries = harness.store.alert_counts, iter((sqlite3.OperationalError("locked"), None))

    def alert_counts() -> dict[str, dict[str, int]]:
        error = next(tries, None)
        if error is not None:
            raise error
        return counts()

    monkeypatch.setattr(harness.store, "alert_counts", alert_counts)
    harness.alerts.use(configured(sink("new")))
    await harness.until(lambda: harness.store.states() == ["failed"])
