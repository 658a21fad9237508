"""What is spent: counted at once, never twice, never less; unknown cost stays unknown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.config.agent import AgentConfig
from agentd.config.schema import Config, PriceConfig
from agentd.config.units import MicroDollars
from agentd.core import accounts, ledger
from agentd.core import events as ev
from agentd.core.accounts import TOTAL_MAX, Periods
from agentd.core.agent import EARLY_LINES_MAX
from agentd.core.lines import Call, Heartbeat, Line, Usage
from agentd.core.records import Durable
from agentd.core.turn import Turn
from agentd.wire.documents import agent_document
from tests.core.fleet import Fleet, config, running

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def spent(fleet: Fleet) -> tuple[int, int]:
    return fleet["a"].durable.tokens, fleet["a"].durable.cost_micros


def cost(fleet: Fleet) -> dict[str, object]:
    found = agent_document(fleet["a"], fleet.core.agents, fleet.now_ms, fleet.now_ms)["cost_usd"]
    assert isinstance(found, dict)
    return found


def end(call: str, tokens: int | None = None, micros: int | None = None) -> Call:
    usage = Usage(input_tokens=tokens) if tokens is not None else None
    return Call(call, start=False, model="m", usage=usage, cost_micros=micros)


@pytest.mark.parametrize(
    ("lines", "tokens", "micros"),
    [
        ([Heartbeat(tokens=900, cost_micros=10)], 900, 10),
        ([end("1", 300, 4), end("2", 200, 3)], 500, 7),  # counted at once
        ([end("1", 300, 4), end("2", 200, 3), Heartbeat()], 500, 7),
        ([end("1", 300, 4), Heartbeat(tokens=900, cost_micros=3)], 900, 4),  # each by itself
        ([end("1", 300, 4), Heartbeat(tokens=100, cost_micros=9)], 300, 9),
        ([end("1", 300, 4), Heartbeat(), Heartbeat(tokens=300)], 600, 4),  # another cycle
        ([end("1", 300, 4), end("1", 300, 4)], 300, 4),  # told twice
        ([end("1", 300, 4), end("1", 500, 2)], 500, 4),  # and more the second time
        ([end("1", 300), Call("1", start=True), end("1", 300)], 600, 0),  # a new call
        ([end("1", 300), Heartbeat(off_thread=True), Heartbeat(tokens=300)], 300, 0),
        ([Heartbeat(off_thread=True, tokens=300), Heartbeat(tokens=300)], 600, 0),
        ([Heartbeat(usage=Usage(input_tokens=70, output_tokens=30))], 100, 0),
    ],
)
def test_a_cycle_counts_once(lines: list[Line], tokens: int, micros: int) -> None:
    fleet = running()
    fleet.beat("a", 2_000, *lines)
    assert spent(fleet) == (tokens, micros)


def test_dropped_lines_count_as_they_would_have_been_heard() -> None:
    fleet = running()
    fleet.beat("a", 2_000, end("1", 300, 4))
    dropped = [Heartbeat(tokens=300, cost_micros=4), end("2", 50, 1), Heartbeat(tokens=20)]
    fleet.tell(ev.LinesDropped("a", fleet["a"].incarnation, 9, dropped), 3_000)
    assert spent(fleet) == (350, 5)


def test_lines_before_the_news_of_the_spawn_count_however_many_they_are() -> None:
    fleet = Fleet({"a": config()})
    fleet.can_spawn = False
    fleet.start()
    fleet.beat("a", 10, *[Heartbeat(tokens=1)] * 1_000)
    fleet.tell(ev.Spawned("a", fleet["a"].incarnation, 77), 20)
    assert spent(fleet)[0] == 1_000


def test_b11_what_lines_tell_of_as_dropped_counts_though_they_are_dropped_themselves() -> None:
    fleet = Fleet({"a": config()})
    fleet.can_spawn = False
    fleet.start()
    fleet.beat("a", 10, *[Heartbeat(dropped=1)] * (EARLY_LINES_MAX + 10))
    assert fleet["a"].telemetry.dropped == 10 + 10  # that came too early, and what they tell of
    fleet.tell(ev.Spawned("a", fleet["a"].incarnation, 77), 20)
    heard = EARLY_LINES_MAX
    assert (fleet["a"].durable.heartbeats, fleet["a"].telemetry.dropped) == (heard, 20 + heard)
    lines = [Heartbeat(dropped=3), end("1", 50), Heartbeat()]
    fleet.tell(ev.LinesDropped("a", fleet["a"].incarnation, 9, lines), 3_000)
    assert fleet["a"].telemetry.dropped == 20 + heard + 9 + 3


def test_what_a_judge_costs_is_its_agents_and_ends_no_cycle() -> None:
    fleet = running()
    fleet.beat("a", 2_000, end("1", 300, 4))
    core = fleet.core
    turn = Turn(3_000, core.agents, core.jitter, core.new_id)
    ledger.spend_micros(turn, fleet["a"], 20)
    fleet.beat("a", 4_000, Heartbeat(tokens=300, cost_micros=24))
    assert spent(fleet) == (300, 20 + 24)


def test_many_tiny_costs_are_not_rounded_away() -> None:
    price = PriceConfig(input_micros=MicroDollars(20_000), output_micros=MicroDollars(0))
    fleet = Fleet({"a": config()})
    fleet.core.prices.use(own={"m": price})
    fleet.start().beat("a", 1_000)
    for number in range(1_000):  # ten tokens at $0.02 a million: a fifth of a micro-dollar
        fleet.beat("a", 2_000, end(f"c{number}", 10))
    assert spent(fleet) == (10_000, 200)
    for _ in range(1_000):
        fleet.beat("a", 3_000, Heartbeat(cost_micros=0, cost_rest_picos=500_000))
    assert spent(fleet) == (10_000, 200 + 499)  # the first of them ends the cycle of the calls


def test_no_total_overflows_whatever_is_claimed() -> None:
    fleet = running()
    fleet["a"].durable.tokens = fleet["a"].durable.cost_micros = TOTAL_MAX - 1
    accounts.begin_cycle(fleet["a"].durable)
    for _ in range(3):
        fleet.beat("a", 2_000, Heartbeat(tokens=10**9, cost_micros=10**11))
        fleet.beat("a", 2_000, end("1", 10**9, 10**11))
    assert spent(fleet) == (TOTAL_MAX, TOTAL_MAX)


# Unknown cost.


def test_c18_a_cost_that_nobody_told_is_unknown_and_never_nothing() -> None:
    fleet = running()
    assert cost(fleet) == {"run": None, "day": None, "known": False}
    fleet.beat("a", 2_000, Heartbeat(tokens=900))
    assert cost(fleet) == {"run": None, "day": None, "known": False}
    fleet.beat("a", 3_000, Heartbeat(tokens=900, cost_micros=120_000))
    assert cost(fleet) == {"run": 0.12, "day": None, "known": False}


def test_a_cost_of_nothing_that_was_told_is_known() -> None:
    fleet = running()
    fleet.beat("a", 2_000, Heartbeat(tokens=900, cost_micros=0))
    assert cost(fleet) == {"run": 0.0, "day": None, "known": True}


def test_the_heartbeat_that_ends_the_cycle_may_tell_what_its_calls_did_not() -> None:
    fleet = running()
    fleet.beat("a", 2_000, end("1", 300), end("2", 300))
    assert cost(fleet)["known"] is False
    fleet.beat("a", 3_000, Heartbeat(cost_micros=500))
    assert cost(fleet) == {"run": 0.0005, "day": None, "known": True}


def test_a_call_of_a_model_that_tells_no_usage_is_of_unknown_cost() -> None:
    fleet = running()
    fleet.beat("a", 2_000, Heartbeat(tokens=1, cost_micros=1), end("1"), Heartbeat())
    assert cost(fleet)["known"] is False


def test_one_cost_that_is_not_known_shows_until_the_run_is_over() -> None:
    fleet = running()
    fleet.beat("a", 2_000, Heartbeat(tokens=900), Heartbeat(tokens=900, cost_micros=5))
    assert cost(fleet)["known"] is False
    fleet.ask("start", "a", fresh=True)
    fleet.end("a", 3_000, signal=15)
    fleet.beat("a", 4_000, Heartbeat(tokens=900, cost_micros=7))
    assert cost(fleet) == {"run": 0.000007, "day": None, "known": True}


# Accounts.


def at(hour: int) -> Periods:
    begins = hour * HOUR_MS
    day = hour // 24 * DAY_MS
    return Periods.of((begins, begins + HOUR_MS), (day, day + DAY_MS), (0, 30 * DAY_MS))


def amounts(durable: Durable) -> list[int]:
    """Tokens of cycle, run, hour, day, month, and in all."""
    marks = [durable.hour, durable.day, durable.month]
    since = [durable.tokens - mark.tokens for mark in marks if mark is not None]
    cycle = durable.tokens - durable.cycle_from_tokens
    return [cycle, durable.tokens - durable.run.tokens, *since, durable.tokens]


def test_each_account_begins_with_its_period() -> None:
    fleet = Fleet({"a": config()})
    fleet.tell(ev.PeriodsBegan(at(0)))
    fleet.start().beat("a", 1_000, Heartbeat(tokens=100))
    fleet.tell(ev.PeriodsBegan(at(1)))
    fleet.beat("a", 2_000, Heartbeat(tokens=10), end("1", 1))
    assert amounts(fleet["a"].durable) == [1, 111, 11, 111, 111, 111]
    fleet.tell(ev.PeriodsBegan(at(24)))
    fleet.beat("a", 3_000, end("2", 3))
    assert amounts(fleet["a"].durable) == [4, 114, 3, 3, 114, 114]


@pytest.mark.parametrize(
    ("back_hours", "kept"),
    [
        (1, 40),  # the hour it was in, still
        (24, 40),
        (25, 40),  # relabelled, and nothing forgotten
        (1_000, 40),
    ],
)
def test_a_wall_clock_that_is_set_back_forgets_nothing(back_hours: int, kept: int) -> None:
    fleet = Fleet({"a": config()})
    fleet.tell(ev.PeriodsBegan(at(2_000)))
    fleet.start().beat("a", 1_000, Heartbeat(tokens=kept))
    fleet.tell(ev.PeriodsBegan(at(2_000 - back_hours)))
    assert amounts(fleet["a"].durable)[2:5] == [kept] * 3
    fleet.tell(ev.PeriodsBegan(at(2_000)))
    assert amounts(fleet["a"].durable)[2] == (0 if back_hours >= 25 else kept)


def test_a_period_is_over_when_its_own_end_has_come_whatever_the_zone() -> None:
    fleet = Fleet({"a": config()})
    fleet.tell(ev.PeriodsBegan(at(48)))
    fleet.start().beat("a", 1_000, Heartbeat(tokens=40))
    moved = Periods.of((50 * HOUR_MS, 51 * HOUR_MS), (54 * HOUR_MS, 78 * HOUR_MS), (0, 1))
    fleet.tell(ev.PeriodsBegan(moved))
    assert amounts(fleet["a"].durable)[3] == 40
    later = Periods.of((78 * HOUR_MS, 79 * HOUR_MS), (78 * HOUR_MS, 102 * HOUR_MS), (0, 1))
    fleet.tell(ev.PeriodsBegan(later))
    assert amounts(fleet["a"].durable)[3] == 0


def test_a_new_incarnation_begins_a_cycle_and_goes_on_with_the_run() -> None:
    fleet = running()
    fleet.beat("a", 2_000, end("1", 300))
    fleet.end("a", 3_000, code=1)
    fleet.beat("a", 4_000, Heartbeat(tokens=300))
    assert amounts(fleet["a"].durable)[1] == 600
    assert fleet["a"].durable.unpriced == 2


LINES = st.one_of(
    st.builds(
        Heartbeat,
        tokens=st.none() | st.integers(0, 50),
        cost_micros=st.none() | st.integers(0, 50),
        cost_rest_picos=st.sampled_from([0, 0, 0, 1, 999_999]),
        off_thread=st.booleans(),
    ),
    st.builds(
        Call,
        st.sampled_from(["1", "2", "3"]),
        start=st.booleans(),
        usage=st.none() | st.builds(Usage, st.integers(0, 50), st.integers(0, 50)),
        cost_micros=st.none() | st.integers(0, 50),
    ),
)
HAPPENS = st.one_of(
    LINES,
    st.sampled_from(["exit", "crash", "fresh", "hour", "day", "back", "drop"]),
)


@given(st.lists(HAPPENS, max_size=60))
def test_inv11_what_is_spent_never_falls_and_longer_accounts_hold_shorter_ones(
    happens: list[object],
) -> None:
    fleet = Fleet({"a": AgentConfig(command=["x"])})
    hour = 100 * 24
    fleet.tell(ev.PeriodsBegan(at(hour)))
    fleet.start()
    for what in happens:
        before = list(amounts(fleet["a"].durable))
        begun = _happen(fleet, what, hour)
        hour = begun if begun is not None else hour
        cycle, run, of_hour, of_day, of_month, total = amounts(fleet["a"].durable)
        assert total >= before[-1]
        assert 0 <= cycle <= run <= total
        assert 0 <= of_hour <= of_day <= of_month <= total
        if begun is None:
            now = (of_hour, of_day, of_month)
            assert all(one >= was for one, was in zip(now, before[2:5], strict=True))


def _happen(fleet: Fleet, what: object, hour: int) -> int | None:
    """Do it; returns the hour that it is from now on, where one begins."""
    now_ms = fleet.now_ms + 400_000
    if isinstance(what, Heartbeat | Call):
        fleet.beat("a", now_ms, what)
    elif what == "exit" and fleet["a"].has_process:
        fleet.end("a", now_ms, code=1)
    elif what == "fresh":
        fleet.ask("start", "a", at_ms=now_ms, fresh=True)
    elif what == "drop":
        lines = [Heartbeat(tokens=5), Call("1", start=False, cost_micros=3)]
        fleet.tell(ev.LinesDropped("a", fleet["a"].incarnation, 2, lines), now_ms)
    elif what == "crash":
        durable, lives = fleet["a"].snapshot(), fleet["a"].has_process
        fleet.core.agents.clear()
        fate = ev.Fate(durable, alive=lives, pid=5 if lives else None)
        fleet.tell(ev.Started({"a": fate}), now_ms)
    elif what in ("hour", "day", "back"):
        hour += {"hour": 1, "day": 24, "back": -3}[str(what)]
        fleet.tell(ev.PeriodsBegan(at(hour)), now_ms)
        return hour
    return None


@given(st.lists(LINES, max_size=40))
def test_usage_is_never_counted_twice(lines: list[Line]) -> None:
    """Counted anew, a cycle at a time: the larger of its calls and its heartbeat."""
    fleet = running()
    fleet.beat("a", 2_000, *lines)
    tokens = picos = 0
    calls: dict[str, tuple[int, int]] = {}
    told = [0, 0]
    for line in lines:
        if isinstance(line, Call):
            if line.start:
                calls.pop(line.call, None)
            elif line.usage is not None or line.cost_micros is not None:
                now = (
                    line.usage.total_tokens if line.usage else 0,
                    (line.cost_micros or 0) * 10**6,
                )
                was = calls.get(line.call, (0, 0))
                calls[line.call] = (max(now[0], was[0]), max(now[1], was[1]))
                told[0] += max(0, now[0] - was[0])
                told[1] += max(0, now[1] - was[1])
        elif isinstance(line, Heartbeat):
            if line.off_thread and line.tokens is None and line.cost_micros is None:
                continue
            said = 0
            if line.cost_micros is not None:
                said = line.cost_micros * 10**6 + line.cost_rest_picos
            tokens += max(told[0], line.tokens or 0)
            picos += max(told[1], said)
            told, calls = [0, 0], {}
    tokens, picos = tokens + told[0], picos + told[1]
    assert spent(fleet) == (tokens, picos // 10**6)


def test_a_reload_brings_other_prices() -> None:
    fleet = running()
    fleet.beat("a", 2_000, end("1", 1_000_000))
    assert spent(fleet) == (1_000_000, 0)
    prices = {"m": PriceConfig(input_micros=MicroDollars(3_000_000))}
    agents = {"a": fleet["a"].config}
    fleet.tell(ev.Configured(Config(agents=agents, prices=prices)))
    fleet.beat("a", 3_000, end("2", 1_000_000))
    assert spent(fleet) == (2_000_000, 3_000_000)
