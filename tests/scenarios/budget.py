"""[budget]: what may be spent, enforced from outside, by the clock and the calendar."""

from typing import Final

from tests.scenarios.scenario import Scenario
from tests.scenarios.traces import (
    beat,
    called,
    chain,
    command,
    cycles,
    daemon_away,
    end,
    exits,
    start_at,
    tokens,
)

PERIODS: Final = ("cycle", "run", "hour", "day", "month")
EXCEEDED: Final = "budget.exceeded critical BUDGET_EXCEEDED"
PAUSED: Final = "agent.paused BUDGET_EXCEEDED"
WARNED: Final = "budget.warning warning"
UTC: Final = '[daemon]\ntimezone = "UTC"\n'
BERLIN: Final = '[daemon]\ntimezone = "Europe/Berlin"\n'
MIDDAY: Final = "2026-05-13T12:10:00Z"


def _stops(t: str) -> tuple[str, ...]:
    return (f"{t} {EXCEEDED}", f"{t} {PAUSED}", f"{t} freeze")


def _both_sides(period: str) -> tuple[Scenario, ...]:
    """Tokens and dollars of one period: four fifths warn, the limit is the last that is allowed."""
    in_tokens, in_usd = f"budget.tokens_per_{period}", f"budget.usd_per_{period}"
    return (
        Scenario(
            f"less than the tokens of a {period}",
            (f"{in_tokens} below", "budget.warn_at below"),
            [start_at(MIDDAY), called(10, usage=tokens(799)), end(60)],
            f"{in_tokens} = 1000\n",
            head=UTC,
        ),
        Scenario(
            f"more than the tokens of a {period}, told by its calls before the cycle ends",
            (f"{in_tokens} beyond", "budget.warn_at beyond"),
            [
                start_at(MIDDAY),
                called(10, usage=tokens(800)),
                called(20, usage=tokens(200)),
                called(30, usage=tokens(1)),
                end(60),
            ],
            f"{in_tokens} = 1000\n",
            (f"10 {WARNED}", *_stops("30")),
            head=UTC,
        ),
        Scenario(
            f"less than the dollars of a {period}",
            (f"{in_usd} below", "budget.warn_at below"),
            [start_at(MIDDAY), called(10, cost_usd=3.999_999), end(60)],
            f"{in_usd} = 5.0\n",
            head=UTC,
        ),
        Scenario(
            f"more than the dollars of a {period}",
            (f"{in_usd} beyond", "budget.warn_at beyond"),
            [
                start_at(MIDDAY),
                called(10, cost_usd=4.0),
                called(20, cost_usd=1.0),
                called(30, cost_usd=0.000_001),
                end(60),
            ],
            f"{in_usd} = 5.0\n",
            (f"10 {WARNED}", *_stops("30")),
            head=UTC,
        ),
    )


LIMITS: Final = tuple(scenario for period in PERIODS for scenario in _both_sides(period))

WARNINGS: Final = (
    Scenario(
        "a warning is given once in a period, however much comes after it",
        ("budget.warn_at beyond",),
        [start_at(MIDDAY), *cycles(10, 9, cost_usd=0.11), end(400)],
        "budget = { usd_per_day = 1.0, warn_at = 0.5 }\n",
        (f"130 {WARNED}",),
        head=UTC,
    ),
    Scenario(
        "a later warning, where the config says so",
        ("budget.warn_at below",),
        [start_at(MIDDAY), beat(10, cost_usd=0.94), end(400)],
        "budget = { usd_per_day = 1.0, warn_at = 0.95 }\n",
        head=UTC,
    ),
)


def _on_exceeded(action: str, *told: str) -> Scenario:
    return Scenario(
        f"an exceeded budget: {action}",
        (f"budget.on_exceeded = {action}",),
        [start_at(MIDDAY), beat(10, cost_usd=0.1), beat(40, cost_usd=2.0), end(4000)],
        f'budget = {{ usd_per_day = 1.0, on_exceeded = "{action}" }}\n',
        told,
        head=UTC,
        anything_else=True,
    )


ACTIONS: Final = (
    _on_exceeded("alert", f"40 {EXCEEDED}", "40 alert critical BUDGET_EXCEEDED"),
    _on_exceeded("pause", f"40 {EXCEEDED}", f"40 {PAUSED}", "40 freeze"),
    _on_exceeded(
        "kill",
        f"40 {EXCEEDED}",
        "40 agent.killed BUDGET_EXCEEDED",
        "40 kill_tree",
        "40 agent.exited BUDGET_EXCEEDED",
    ),
    Scenario(
        "an exceeded budget that only alerts stops nothing",
        ("budget.on_exceeded = alert",),
        [start_at(MIDDAY), beat(10, cost_usd=2.0), beat(40, cost_usd=2.0), end(4000)],
        'budget = { usd_per_day = 1.0, on_exceeded = "alert", warn_at = 1.0 }\n',
        never=("freeze", "kill_tree", "signal", "agent.paused", "agent.killed"),
        told=(f"10 {EXCEEDED}",),
        head=UTC,
        anything_else=True,
    ),
)

COUNTING: Final = (
    Scenario(
        "a cycle is the larger of its calls and its heartbeat, never both",
        ("budget.tokens_per_run below",),
        chain(
            called(10, usage=tokens(400)),
            beat(20, tokens=500),
            called(30, usage=tokens(400)),
            beat(40, tokens=300),
            end(60),
        ),
        "budget = { tokens_per_run = 900, warn_at = 1.0, on_exceeded = 'pause' }\n",
        never=("budget.exceeded",),
        anything_else=True,
    ),
    Scenario(
        "and what the heartbeat tells beyond its calls counts",
        ("budget.tokens_per_run beyond",),
        chain(
            called(10, usage=tokens(400)),
            beat(20, tokens=500),
            called(30, usage=tokens(400)),
            beat(40, tokens=401),
            end(60),
        ),
        "budget = { tokens_per_run = 900, warn_at = 1.0 }\n",
        _stops("40"),
        anything_else=True,
    ),
    Scenario(
        "a call counts once, however often its end is told",
        ("budget.tokens_per_cycle below",),
        [called(10, usage=tokens(700)), called(10, usage=tokens(700)), end(60)],
        "budget.tokens_per_cycle = 1000\n",
    ),
    Scenario(
        "a new cycle starts from nothing",
        ("budget.tokens_per_cycle below",),
        chain(called(10, usage=tokens(700)), beat(20), called(30, usage=tokens(700)), end(60)),
        "budget.tokens_per_cycle = 1000\n",
    ),
    Scenario(
        "what was spent is not forgotten in a crash of agentd",
        ("budget.usd_per_day beyond",),
        [
            start_at(MIDDAY),
            beat(10, cost_usd=0.7),
            *daemon_away(30, 40),
            beat(50, cost_usd=0.7),
            end(99),
        ],
        "budget.usd_per_day = 1.0\n",
        _stops("50"),
        head=UTC,
    ),
    Scenario(
        "nor in a restart of the agent, which is the same execution",
        ("budget.usd_per_run beyond",),
        [beat(10, cost_usd=0.7), exits(30), beat(50, cost_usd=0.7), end(99)],
        "budget.usd_per_run = 1.0\n",
        ("30 agent.exited EXITED", "30 spawn incarnation=2", *_stops("50")),
    ),
    Scenario(
        "a new execution has a new budget",
        ("budget.usd_per_run below",),
        [
            beat(10, cost_usd=0.7),
            command(30, "stop"),
            command(40, "start", fresh=True),
            beat(50, cost_usd=0.7),
            end(99),
        ],
        "budget.usd_per_run = 1.0\n",
        never=("budget.exceeded",),
        anything_else=True,
    ),
    Scenario(
        "one execution's stop and start is not a new one",
        ("budget.usd_per_run beyond",),
        [
            beat(10, cost_usd=0.7),
            command(30, "stop"),
            command(40, "start"),
            beat(50, cost_usd=0.7),
            end(99),
        ],
        "budget.usd_per_run = 1.0\n",
        _stops("50"),
        anything_else=True,
    ),
)


def _resumed_at(t: float) -> tuple[str, ...]:
    return (f"{t:g} agent.resumed", f"{t:g} thaw")


DAY_S: Final = 86_400
OVERRIDES: Final = (
    Scenario(
        "a budget is never resumed by itself, not even when its period ends",
        ("budget.on_exceeded = pause",),
        [start_at("2026-05-13T00:00:00Z"), beat(10, cost_usd=2.0), end(3 * DAY_S)],
        "budget.usd_per_day = 1.0\n",
        _stops("10"),
        never=("thaw", "agent.resumed"),
        head=UTC,
        anything_else=True,
    ),
    Scenario(
        "a person's resume overrides it until its period ends, and no longer",
        ("budget.usd_per_day beyond",),
        [
            start_at("2026-05-13T00:00:00Z"),
            beat(10, cost_usd=2.0),
            command(100, "resume"),
            beat(DAY_S - 1, cost_usd=50.0),
            beat(DAY_S + 1, cost_usd=0.7),
            beat(DAY_S + 9, cost_usd=0.7),
            end(DAY_S + 99),
        ],
        "budget = { usd_per_day = 1.0, warn_at = 1.0 }\n",
        (*_stops("10"), *_resumed_at(100), *_stops(str(DAY_S + 9))),
        head=UTC,
    ),
    Scenario(
        "who is resumed in the next period has its whole budget, and no more",
        ("budget.usd_per_day beyond",),
        [
            start_at("2026-05-13T00:00:00Z"),
            beat(10, cost_usd=2.0),
            command(DAY_S + 100, "resume"),
            beat(DAY_S + 200, cost_usd=0.7),
            beat(DAY_S + 300, cost_usd=0.7),
            end(DAY_S + 400),
        ],
        "budget = { usd_per_day = 1.0, warn_at = 1.0 }\n",
        (*_stops("10"), *_resumed_at(DAY_S + 100), *_stops(str(DAY_S + 300))),
        head=UTC,
    ),
    Scenario(
        "who was killed for its run's budget and is resumed has a new run",
        ("budget.usd_per_run below",),
        [beat(10, cost_usd=2.0), command(100, "resume"), beat(200, cost_usd=0.7), end(300)],
        'budget = { usd_per_run = 1.0, warn_at = 1.0, on_exceeded = "kill" }\n',
        (
            f"10 {EXCEEDED}",
            "10 agent.killed BUDGET_EXCEEDED",
            "10 kill_tree",
            "10 agent.exited BUDGET_EXCEEDED",
            "100 agent.resumed",
            "100 spawn incarnation=2",
        ),
    ),
    Scenario(
        "the override of a cycle's budget ends with the cycle",
        ("budget.tokens_per_cycle beyond",),
        [
            called(10, usage=tokens(1001)),
            command(100, "resume"),
            called(110, usage=tokens(1001)),
            beat(120),
            called(130, usage=tokens(1001)),
            end(200),
        ],
        "budget = { tokens_per_cycle = 1000, warn_at = 1.0 }\n",
        (*_stops("10"), *_resumed_at(100), *_stops("130")),
    ),
    Scenario(
        "an override holds over a crash of agentd",
        ("budget.usd_per_day below",),
        [
            start_at("2026-05-13T00:00:00Z"),
            beat(10, cost_usd=2.0),
            command(100, "resume"),
            *daemon_away(200, 300),
            beat(400, cost_usd=2.0),
            end(500),
        ],
        "budget = { usd_per_day = 1.0, warn_at = 1.0 }\n",
        (*_stops("10"), *_resumed_at(100)),
        head=UTC,
    ),
    Scenario(
        "an override is of the budget that was exceeded, not of the others",
        ("budget.tokens_per_day beyond",),
        [
            start_at("2026-05-13T00:00:00Z"),
            beat(10, cost_usd=2.0),
            command(100, "resume"),
            beat(200, tokens=1001, cost_usd=0.0),
            end(500),
        ],
        "budget = { usd_per_day = 1.0, tokens_per_day = 1000, warn_at = 1.0 }\n",
        (*_stops("10"), *_resumed_at(100), *_stops("200")),
        head=UTC,
    ),
)


def _calendar(
    name: str, side: str, start: str, limit: str, spent_at: tuple[float, float], *, berlin: bool
) -> Scenario:
    """Seven tenths of a budget twice: too much within a period, and fine across its end."""
    first, second = spent_at
    return Scenario(
        name,
        (f"budget.{limit} {side}",),
        [start_at(start), beat(first, cost_usd=0.7), beat(second, cost_usd=0.7), end(second + 60)],
        f"budget = {{ {limit} = 1.0, warn_at = 1.0 }}\n",
        _stops(f"{second:g}") if side == "beyond" else (),
        head=BERLIN if berlin else UTC,
    )


SPRING, AUTUMN = "2026-03-28T23:00:00Z", "2026-10-24T22:00:00Z"
CALENDAR: Final = (
    _calendar("an hour ends with the clock", "below", MIDDAY, "usd_per_hour", (2990, 3000),
              berlin=False),
    _calendar("an hour isn't the last sixty minutes", "beyond", MIDDAY, "usd_per_hour",
              (0, 2999), berlin=False),
    _calendar("a day in UTC", "below", "2026-05-13T00:00:00Z", "usd_per_day",
              (DAY_S - 1, DAY_S), berlin=False),
    _calendar("the day on which clocks go forward has 23 hours", "below", SPRING, "usd_per_day",
              (23 * 3600 - 1, 23 * 3600), berlin=True),
    _calendar("and they are one day", "beyond", SPRING, "usd_per_day",
              (1, 23 * 3600 - 1), berlin=True),
    _calendar("the day on which clocks go back has 25 hours", "beyond", AUTUMN, "usd_per_day",
              (1, 25 * 3600 - 1), berlin=True),
    _calendar("and then it ends", "below", AUTUMN, "usd_per_day",
              (25 * 3600 - 1, 25 * 3600), berlin=True),
    _calendar("the hour that comes twice is two hours", "below", "2026-10-25T00:00:00Z",
              "usd_per_hour", (3599, 3600), berlin=True),
    _calendar("midnight is where the zone says", "below", "2026-05-13T21:00:00Z", "usd_per_day",
              (3599, 3600), berlin=True),
    _calendar("a month ends at midnight of its last day", "below", "2026-01-31T22:00:00Z",
              "usd_per_month", (3599, 3600), berlin=True),
    _calendar("and not a second before", "beyond", "2026-01-31T22:00:00Z",
              "usd_per_month", (1, 3599), berlin=True),
    _calendar("the shortest month ends too", "below", "2026-02-28T22:00:00Z",
              "usd_per_month", (3599, 3600), berlin=True),
)  # fmt: skip

SCENARIOS: Final = (*LIMITS, *WARNINGS, *ACTIONS, *COUNTING, *OVERRIDES, *CALENDAR)
