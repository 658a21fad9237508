"""A row that agentd wrote before it kept accounts: what it spent by then is charged to none."""

import sqlite3
from contextlib import closing

import pytest

from agentd.config.agent import BudgetConfig
from agentd.config.units import MicroDollars
from agentd.core import events as ev
from agentd.core.accounts import Periods
from agentd.core.effects import Persist
from agentd.core.lines import Call, Heartbeat, Usage
from agentd.core.records import Mark
from agentd.core.states import Intent, State
from agentd.store.schema import STEPS, migrate
from agentd.store.statements import checksum
from agentd.wire.documents import agent_document
from tests.core.fleet import Fleet, config
from tests.store.desk import Desk

# As the store of that version wrote it, to the letter: no encoder of today makes it.
ROW = (
    '{"intent":"up","intent_by":"","intent_reason":"","state":"running","held":false,"ready":true,'
    '"execution":"e1","first_start":false,"incarnation":1,"incarnation_id":"i1",'
    '"spawned_at_ms":1000,"failures":0,"row":0,"auto_start_at_ms":null,"cooldown_until_ms":null,'
    '"cooldown_left_ms":null,"parked_until_ms":null,"reason":null,"evidence":"",'
    '"stop_reason":null,"stop_evidence":"","stop_after":"","automatic":false,"awaiting":"",'
    '"restarts":0,"last_exit":null,"heartbeats":400,"tokens":5000000,"cost_micros":40000000,'
    '"cost_known":true,"successes":12,"failures_told":0,"removed":false}'
)
STEPS_THEN = 1
HOUR_MS = 3_600_000


def stored(desk: Desk, row: str) -> ev.Fate:
    """Read a living agent's row from a store of that version."""
    desk.directory.mkdir(mode=0o700)
    with closing(sqlite3.connect(desk.path, isolation_level=None)) as connection:
        migrate(connection, desk.path, STEPS[:STEPS_THEN])
        connection.execute(
            "INSERT INTO agents VALUES ('a', ?, ?, 'boot-1', 2000, 1700000000000)",
            (row, checksum("a", row)),
        )
    return ev.Fate(desk.store.agents()["a"].durable, alive=True, pid=7)


def adopted(desk: Desk, row: str = ROW) -> Fleet:
    """Adopt it under budgets of each period, each smaller than what it has spent in its life."""
    budget = BudgetConfig(
        tokens_per_cycle=200_000,
        tokens_per_run=1_000_000,
        tokens_per_day=1_000_000,
        usd_per_cycle_micros=MicroDollars(1_000_000),
        usd_per_run_micros=MicroDollars(5_000_000),
    )
    fleet = Fleet({"a": config(budget=budget)})
    fleet.now_ms = 3_000
    day = (0, 24 * HOUR_MS)
    fleet.tell(ev.PeriodsBegan(Periods.of((0, HOUR_MS), day, (0, 30 * day[1]))))
    fleet.start({"a": stored(desk, row)})
    assert fleet.state_of("a") is State.RUNNING
    return fleet


def call(name: str, tokens: int) -> Call:
    return Call(name, start=False, model="m", usage=Usage(tokens), cost_micros=tokens)


def test_its_accounts_begin_with_its_totals(desk: Desk) -> None:
    durable = stored(desk, ROW).durable
    assert (durable.tokens, durable.cost_micros) == (5_000_000, 40_000_000)
    assert durable.run == Mark(tokens=5_000_000, micros=40_000_000, priced=1)
    assert (durable.cycle_from_tokens, durable.cycle_from_micros) == (5_000_000, 40_000_000)
    assert durable.day is None


def test_no_budget_charges_it_for_what_it_spent_before(desk: Desk) -> None:
    fleet = adopted(desk)
    for number in range(3):
        at_ms = 4_000 + 1_000 * number
        fleet.beat("a", at_ms, call(str(number), 100_000))
        fleet.beat("a", at_ms + 500, Heartbeat(tokens=150_000, cost_micros=150_000))
    assert not fleet.told("budget.warning", "budget.exceeded", "agent.paused", "agent.killed")
    assert fleet["a"].durable.tokens == 5_450_000


@pytest.mark.parametrize(("tokens", "intent"), [(200_000, Intent.UP), (200_001, Intent.PAUSED)])
def test_its_cycle_is_held_from_its_first_call_on(desk: Desk, tokens: int, intent: Intent) -> None:
    fleet = adopted(desk)
    fleet.beat("a", 4_000, call("1", tokens))
    assert fleet["a"].intent is intent


def test_its_run_is_held_from_then_on(desk: Desk) -> None:
    fleet = adopted(desk)
    for number in range(10):
        fleet.beat("a", 4_000 + number, Heartbeat(tokens=100_000, cost_micros=1))
    assert fleet["a"].intent is Intent.UP
    fleet.beat("a", 5_000, Heartbeat(tokens=1, cost_micros=1))
    names = [record.data["budget"] for record in fleet.told("budget.exceeded")]
    assert names == ["tokens_per_run", "tokens_per_day"]


def test_its_first_beat_counts_and_is_one_cycle(desk: Desk) -> None:
    fleet = adopted(desk)
    fleet.beat("a", 4_000, Heartbeat(tokens=900, cost_micros=7))
    durable, spikes = fleet["a"].durable, fleet["a"].spending.spikes
    assert (durable.tokens, durable.cost_micros) == (5_000_900, 40_000_007)
    assert list(spikes.tokens.kept) == [900]


@pytest.mark.parametrize("known", [True, False])
def test_whether_its_cost_was_known_is_not_forgotten(desk: Desk, *, known: bool) -> None:
    row = ROW.replace('"cost_known":true', f'"cost_known":{str(known).lower()}')
    fleet = adopted(desk, row)
    document = agent_document(fleet["a"], fleet.core.agents, fleet.now_ms, fleet.now_ms)
    nothing = 0.0 if known else None
    assert document["cost_usd"] == {"run": nothing, "day": nothing, "known": known}


def test_what_is_written_of_it_now_keeps_its_accounts(desk: Desk) -> None:
    fleet = adopted(desk)
    made = fleet.beat("a", 4_000, call("1", 200_001))
    assert desk.write(*[row for row in made if isinstance(row, Persist)]).ok
    durable = desk.again().agents()["a"].durable
    assert (durable.tokens, durable.run.tokens) == (5_200_001, 5_000_000)
    assert durable.cycle_from_tokens == 5_000_000
