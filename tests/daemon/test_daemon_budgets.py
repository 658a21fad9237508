"""Budgets, prices and baselines in a real daemon: kill -9 included."""

import json
import os
import time
from pathlib import Path

import pytest

from agentd.daemon.clock import wall_ms
from agentd.wire.prices import PriceShape, RateShape, TableShape, encode_table
from tests.daemon.harness import PROGRAMS, PYTHON, Daemon, Document

BURNER = str(PROGRAMS / "burner.py")
CALM = "[heartbeat]\nrequired = false\n"


def burner(daemon: Daemon, *words: str, budget: str) -> None:
    daemon.agent("burner", [PYTHON, "-S", BURNER, *words], f"{CALM}[budget]\n{budget}\n")


def used(shown: Document) -> float:
    [budget] = shown["budgets"]
    return float(budget["used"] or 0)


def resume(daemon: Daemon) -> Document:
    [row] = daemon.ask("resume", select=["burner"])["agents"]
    return dict(row)


def test_who_burns_within_one_cycle_is_stopped_within_it(daemon: Daemon) -> None:
    burner(daemon, "tokens=100", budget="tokens_per_cycle = 1000")
    daemon.start()
    shown = daemon.until_state("burner", "paused")
    assert shown["reason"] == "BUDGET_EXCEEDED"
    assert 1_000 < used(shown) <= 1_500  # a few calls were on their way
    assert shown["heartbeats"] == 1
    [event] = daemon.events("burner", "budget.exceeded")
    assert event["severity"] == "critical"
    assert event["data"]["limit"] == 1_000


def test_inv11_a_daemon_that_is_killed_after_the_decision_has_forgotten_nothing(
    daemon: Daemon,
) -> None:
    burner(daemon, "tokens=100", budget="tokens_per_day = 1000")
    daemon.start()
    before = daemon.until_state("burner", "paused")
    daemon.crash()
    daemon.start()
    shown = daemon.until_state("burner", "paused")
    assert 1_000 < used(before) <= used(shown) <= used(before) + 500  # what was on its way
    assert shown["pid"] == before["pid"]
    assert shown["budgets"][0]["exceeded"]
    row = resume(daemon)
    assert "overridden: tokens_per_day until its day ends" in row["message"]
    daemon.until("burner", lambda s: used(s) > 2_000 and s["state"] == "running")
    daemon.crash()
    daemon.start()
    shown = daemon.until("burner", lambda s: used(s) > 3_000)
    assert shown["state"] == "running"
    assert shown["budgets"][0]["overridden"]
    assert len(daemon.events("burner", "budget.exceeded")) == 1


def test_inv11_what_was_spent_is_durable_within_five_seconds(daemon: Daemon) -> None:
    burner(daemon, "tokens=7", "every=0.01", budget="tokens_per_day = 100000000")
    daemon.start()
    daemon.until("burner", lambda s: used(s) > 0)
    begun, seen = time.monotonic(), used(daemon.status("burner"))
    daemon.until_true(lambda: time.monotonic() - begun > 5.5)
    daemon.crash()
    daemon.start()
    assert used(daemon.until("burner", lambda s: s["state"] == "running")) >= seen


def test_an_exceeded_budget_in_dollars_kills_where_it_says_so(daemon: Daemon) -> None:
    budget = 'usd_per_run = 0.05\non_exceeded = "kill"'
    burner(daemon, "cost=0.01", budget=budget)
    daemon.start()
    shown = daemon.until("burner", lambda s: s["intent"] == "killed" and s["pid"] is None)
    assert shown["last_exit"]["reason"] == "BUDGET_EXCEEDED"
    assert shown["cost_usd"]["known"] is True
    assert daemon.survivors() == []


def table(path: Path, micros: int, *, age_s: float = 0) -> None:
    """Write a price table that is so old."""
    shape = TableShape(
        version=1,
        source="a test",
        prices=[PriceShape(input=RateShape(micros), output=RateShape(micros))],
        rules={"makers": [("=", "model-x", 0)]},
        makers=[("=", "model-x", "makers")],
    )
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(encode_table(shape))
    at_s = wall_ms() / 1000 - age_s
    os.utime(path, (at_s, at_s))


def test_the_price_table_is_read_at_the_start_and_at_a_reload(daemon: Daemon) -> None:
    path = daemon.root / "state" / "prices.json"
    table(path, 1_000_000_000)  # $0.001 a token
    burner(daemon, "tokens=1", "model=model-x", budget="usd_per_day = 1000.0")
    daemon.start()
    shown = daemon.until("burner", lambda s: used(s) > 0)
    assert shown["cost_usd"]["known"] is True
    table(path, 10**13)  # $10 a token
    daemon.ask("reload")
    daemon.until_state("burner", "paused")


def test_a_table_that_is_none_is_logged_and_left_alone(daemon: Daemon) -> None:
    path = daemon.root / "state" / "prices.json"
    table(path, 1)
    path.write_text("not a table")
    burner(daemon, "model=model-x", budget="usd_per_day = 1.0")
    daemon.start()
    daemon.until_true(lambda: daemon.events("burner", "budget.warning"))
    assert "prices.unread" in daemon.log()
    assert path.read_text() == "not a table"
    assert daemon.status("burner")["cost_usd"] == {"run": None, "day": None, "known": False}


def test_an_old_table_is_written_anew_by_itself(daemon: Daemon) -> None:
    pytest.importorskip("genai_prices")
    path = daemon.root / "state" / "prices.json"
    table(path, 1, age_s=8 * 86_400)
    daemon.start()
    daemon.until_true(lambda: json.loads(path.read_bytes())["source"].startswith("genai-prices"))
    daemon.until_true(lambda: 'source="genai-prices' in daemon.log())


def test_a_fresh_table_is_left_as_it_is(daemon: Daemon) -> None:
    path = daemon.root / "state" / "prices.json"
    table(path, 1, age_s=6 * 86_400)
    daemon.sleeper("one")
    daemon.start()
    daemon.until_state("one", "running")
    begun = time.monotonic()
    daemon.until_true(lambda: time.monotonic() - begun > 1.5)
    assert json.loads(path.read_bytes())["source"] == "a test"


def test_baselines_outlive_the_daemon(daemon: Daemon) -> None:
    daemon.beater("worker", "every=0.02")
    daemon.start()
    daemon.until("worker", lambda s: s["tokens"]["baseline"] == 10)
    assert daemon.end() == 0
    daemon.start()
    assert daemon.until_state("worker", "running")["tokens"]["baseline"] == 10
