"""[judge]: is it meaningfully closer to its goal? Asked of a command of the operator's.

In a simulation `{"world": {"judge": …}}` says what that command prints from then on.
"""

from typing import Final

from tests.scenarios.scenario import Scenario
from tests.scenarios.traces import (
    Line,
    beat,
    chain,
    command,
    end,
    exits,
    start_at,
    steps,
    world,
)

ASKS: Final = 'judge.command = ["ask"]\n'
QUICK: Final = 'judge = { command = ["ask"], after = 10, every = 10, window = 10, CHANGED }\n'
DRIFTS: Final = world(0, judge={"closer": False, "confidence": 0.95, "reason": "reads on and on"})
UTC: Final = '[daemon]\ntimezone = "UTC"\n'
WARNED: Final = "drift.warning warning"
DETECTED: Final = "drift.detected DRIFT_DETECTED"


def _work(count: int, first: float = 1) -> list[Line]:
    """Steps of ever new work, 10 s apart: no rule of a loop fits."""
    book, page = "book {n} page {n}", "once upon a time {n} lived {n}"
    return steps(first, count, "read", book, page, number=int(first))


def _quick(changed: str = "confirm = 2") -> str:
    return QUICK.replace("CHANGED", changed)


def _asked(at_step: int) -> str:
    return f"{1 + 10 * (at_step - 1)} judge"


def _at(at_step: int, told: str) -> str:
    return f"{1 + 10 * (at_step - 1)} {told}"


ASKING: Final = (
    Scenario(
        "without a command nobody is asked",
        ("judge.command below",),
        chain(DRIFTS, _work(100), end(1100)),
        never=("judge",),
    ),
    Scenario(
        "with one it is asked, and as long as it finds progress nothing is told",
        ("judge.command beyond",),
        chain(_work(45), end(600)),
        ASKS,
        (_asked(30), _asked(40)),
    ),
    Scenario(
        "not before `after` steps",
        ("judge.after below",),
        chain(DRIFTS, _work(29), end(600)),
        ASKS,
        never=("judge",),
    ),
    Scenario(
        "but then",
        ("judge.after beyond",),
        chain(DRIFTS, _work(30), end(600)),
        ASKS,
        (_asked(30), _at(30, WARNED)),
    ),
    Scenario(
        "and again after `every` steps, not sooner",
        ("judge.every below", "judge.every beyond"),
        chain(_work(49), end(600)),
        'judge = { command = ["ask"], every = 8 }\n',
        (_asked(30), _asked(38), _asked(46)),
    ),
    Scenario(
        "no more than so often a day",
        ("judge.max_per_day below", "judge.max_per_day beyond"),
        chain(start_at("2026-05-13T08:00:00Z"), _work(60), _work(10, 72_001), end(80_000)),
        _quick("max_per_day = 3"),
        (_asked(10), _asked(20), _asked(30), "72001 judge"),
        head=UTC,
    ),
    Scenario(
        "a restart of the agent or of agentd gives no more questions",
        ("judge.max_per_day beyond",),
        chain(
            start_at("2026-05-13T08:00:00Z"),
            _work(20),
            exits(300),
            {"t": 400, "daemon": "crash"},
            {"t": 410, "daemon": "start"},
            _work(40, 501),
            end(2000),
        ),
        _quick("max_per_day = 2"),
        (_asked(10), _asked(20), "300 agent.exited EXITED", "300 spawn incarnation=2"),
        head=UTC,
    ),
)


def _on_drift(action: str, *told: str) -> Scenario:
    return Scenario(
        f"on drift: {action}",
        (f"judge.on_drift = {action}",),
        chain(DRIFTS, _work(20), end(300)),
        _quick(f'on_drift = "{action}"'),
        (_asked(10), _at(10, WARNED), _asked(20), _at(20, DETECTED), *told),
    )


JUDGING: Final = (
    Scenario(
        "one judgement is an opinion: the agent is told",
        ("judge.confirm below",),
        chain(DRIFTS, _work(19), end(300)),
        _quick(),
        (_asked(10), _at(10, WARNED)),
        never=("alert", "drift.detected"),
    ),
    Scenario(
        "two of different steps are a verdict",
        ("judge.confirm beyond",),
        chain(DRIFTS, _work(20), end(300)),
        _quick(),
        (_asked(10), _at(10, WARNED), _asked(20), _at(20, DETECTED)),
    ),
    Scenario(
        "three, where the config says so",
        ("judge.confirm below", "judge.confirm beyond"),
        chain(DRIFTS, _work(30), end(400)),
        _quick("confirm = 3"),
        (_asked(10), _at(10, WARNED), _asked(20), _asked(30), _at(30, DETECTED)),
    ),
    Scenario(
        "a better word between them begins anew",
        ("judge.confirm below",),
        chain(
            DRIFTS,
            _work(10),
            world(95, judge={"closer": True, "confidence": 0.95}),
            _work(10, 101),
            {**DRIFTS, "t": 195},
            _work(10, 201),
            end(400),
        ),
        _quick(),
        (_asked(10), _at(10, WARNED), _asked(20), _asked(30), _at(30, WARNED)),
        never=("drift.detected",),
    ),
    Scenario(
        "a judge that isn't sure has said nothing",
        ("judge.confidence below",),
        chain(world(0, judge={"closer": False, "confidence": 0.89}), _work(30), end(400)),
        _quick(),
        (_asked(10), _asked(20), _asked(30)),
        never=("drift.warning", "drift.detected"),
    ),
    Scenario(
        "one that is just sure enough has",
        ("judge.confidence beyond",),
        chain(world(0, judge={"closer": False, "confidence": 0.9}), _work(20), end(300)),
        _quick(),
        (_asked(10), _at(10, WARNED), _asked(20), _at(20, DETECTED)),
    ),
    Scenario(
        "a judge that fails is no verdict",
        ("judge.confirm below",),
        chain(world(0, judge="fail"), _work(30), end(400)),
        _quick(),
        (_asked(10), _asked(20), _asked(30)),
        never=("drift.warning", "drift.detected"),
    ),
    Scenario(
        "a judge that takes its time, and no more",
        ("judge.timeout below",),
        chain(DRIFTS, world(0, judge_takes=60), _work(30), end(400)),
        _quick(),
        (_asked(10), "151 drift.warning", _asked(20), "251 drift.detected", _asked(30)),
    ),
    Scenario(
        "one that takes longer has given no verdict",
        ("judge.timeout beyond",),
        chain(DRIFTS, world(0, judge_takes=60.001), _work(30), end(400)),
        _quick(),
        (_asked(10), "151 judge.failed", _asked(20), _asked(30)),
        never=("drift.warning", "drift.detected"),
    ),
    Scenario(
        "twice the same steps are one judgement: more than half of them must be new",
        ("judge.window beyond",),
        chain(DRIFTS, _work(20), end(300)),
        'judge = { command = ["ask"], after = 10, every = 2, window = 10 }\n',
        (_at(10, WARNED), _at(16, DETECTED)),
        anything_else=True,
    ),
    Scenario(
        "a small window is soon another one",
        ("judge.window below",),
        chain(DRIFTS, _work(12), end(300)),
        'judge = { command = ["ask"], after = 10, every = 2, window = 2 }\n',
        (_asked(10), _at(10, WARNED), _asked(12), _at(12, DETECTED)),
    ),
    Scenario(
        "what the judge costs is the agent's",
        ("budget.usd_per_run beyond",),
        chain(
            world(0, judge={"closer": True, "confidence": 1, "cost_usd": 0.3}), _work(40), end(500)
        ),
        _quick() + "budget = { usd_per_run = 0.5, warn_at = 1.0 }\n",
        (
            _asked(10),
            _asked(20),
            _at(20, "budget.exceeded BUDGET_EXCEEDED"),
            _at(20, "agent.paused BUDGET_EXCEEDED"),
            _at(20, "freeze"),
        ),
    ),
    Scenario(
        "an agent that shuts down isn't asked about",
        ("judge.after below",),
        chain(DRIFTS, beat(0, status="draining"), _work(20), end(250)),
        _quick(),
        never=("judge",),
    ),
    Scenario(
        "an agent paused for its drift goes on when a person says so, and is judged anew",
        ("judge.on_drift = pause",),
        chain(DRIFTS, _work(20), command(300, "resume"), _work(9, 301), end(400)),
        _quick('on_drift = "pause"'),
        (
            _asked(10),
            _at(10, WARNED),
            _asked(20),
            _at(20, DETECTED),
            "191 agent.paused DRIFT_DETECTED",
            "191 freeze",
            "300 agent.resumed",
            "300 thaw",
        ),
    ),
    _on_drift("alert", "191 alert DRIFT_DETECTED"),
    _on_drift("pause", "191 agent.paused DRIFT_DETECTED", "191 freeze"),
    _on_drift("kill", "191 agent.killed DRIFT_DETECTED", "191 kill_tree", "191 agent.exited"),
    _on_drift("restart", "191 signal SIGTERM", "191.1 agent.exited DRIFT_DETECTED", "191.1 spawn"),
)

SCENARIOS: Final = (*ASKING, *JUDGING)
