"""[cost]: what a cycle usually costs, and what a minute usually costs.

`cost.spike` looks at one cycle: it compares with the median of the last `window` cycles that
had usage, spikes left out. `cost.runaway` looks at the rate: what the last `rate_window` cost
per minute against the median of the minutes with usage of the day before it, above it for a
whole `rate_window`.
"""

from typing import Final

from tests.scenarios.scenario import Scenario
from tests.scenarios.traces import (
    Line,
    beat,
    chain,
    command,
    cycles,
    daemon_away,
    end,
    exits,
)

USUAL: Final = 0.01
SPIKE: Final = "cost.spike warning COST_SPIKE"
RUNAWAY: Final = "cost.runaway critical LOOP_DETECTED"


def _usual(count: int = 10, first: float = 30, cost_usd: float = USUAL) -> list[Line]:
    return cycles(first, count, cost_usd=cost_usd)


def _then(cost_usd: float, t: float = 400) -> list[Line]:
    return [beat(t, cost_usd=cost_usd), end(t + 20)]


def _on_spike(action: str, *told: str) -> Scenario:
    return Scenario(
        f"on a spike: {action}",
        (f"cost.on_spike = {action}",),
        chain(_usual(), _then(0.2)),
        f'cost.on_spike = "{action}"\n',
        (f"400 {SPIKE}", *told),
    )


SPIKES: Final = (
    Scenario(
        "a cycle of just ten times the usual is no spike",
        ("cost.spike_factor below",),
        chain(_usual(), _then(0.1)),
    ),
    Scenario(
        "a cycle of more than ten times the usual is a spike",
        ("cost.spike_factor beyond",),
        chain(_usual(), _then(0.100001)),
        told=(f"400 {SPIKE}",),
    ),
    Scenario(
        "the factor is the config's",
        ("cost.spike_factor below", "cost.spike_factor beyond"),
        chain(_usual(), beat(400, cost_usd=0.03), beat(430, cost_usd=0.031), end(500)),
        "cost.spike_factor = 3.0\n",
        (f"430 {SPIKE}",),
    ),
    Scenario(
        "nothing is a spike before ten cycles are known",
        ("cost.cycles_min below",),
        chain(_usual(9), _then(5.0)),
    ),
    Scenario(
        "from the eleventh cycle on there are spikes",
        ("cost.cycles_min beyond",),
        chain(_usual(10), _then(5.0)),
        told=(f"400 {SPIKE}",),
    ),
    Scenario(
        "fewer cycles will do where the config says so",
        ("cost.cycles_min below", "cost.cycles_min beyond"),
        chain(_usual(2), beat(90, cost_usd=5.0), _usual(1, 120), _then(5.0)),
        "cost.cycles_min = 4\n",
        (f"400 {SPIKE}",),
    ),
    Scenario(
        "cycles without usage don't count",
        ("cost.cycles_min below",),
        chain(_usual(9), cycles(300, 20, every=1), _then(5.0)),
    ),
    Scenario(
        "what the baseline has forgotten is compared with no more",
        ("cost.window below",),
        chain(_usual(), _usual(5, 330, 0.09), _then(0.5, 500)),
        "cost = { window = 5, cycles_min = 5 }\n",
    ),
    Scenario(
        "what the baseline remembers is compared with",
        ("cost.window beyond",),
        chain(_usual(), _usual(5, 330, 0.09), _then(0.5, 500)),
        told=(f"500 {SPIKE}",),
    ),
    Scenario(
        "one dear cycle doesn't move a median as it would move a mean",
        ("cost.spike_factor beyond",),
        chain(_usual(), beat(340, cost_usd=0.1), _then(0.11)),
        told=(f"400 {SPIKE}",),
    ),
    Scenario(
        "spikes don't become the usual",
        ("cost.spike_factor beyond",),
        chain(_usual(), cycles(400, 12, every=1, cost_usd=0.2), _usual(3, 500), _then(0.2, 600)),
        told=(f"400 {SPIKE}", f"600 {SPIKE}"),
        anything_else=True,
    ),
    Scenario(
        "where the cost isn't known, tokens are compared",
        ("cost.spike_factor below", "cost.spike_factor beyond"),
        chain(cycles(30, 10, tokens=900), beat(400, tokens=9_000), beat(430, tokens=9_001)),
        told=(f"430 {SPIKE}",),
    ),
    Scenario(
        "baselines survive a crash of agentd",
        ("cost.spike_factor beyond",),
        chain(_usual(30), daemon_away(950, 960), _then(0.2, 1000)),
        told=(f"1000 {SPIKE}",),
    ),
    Scenario(
        "baselines survive a restart of the agent",
        ("cost.spike_factor beyond",),
        chain(_usual(), exits(350), _then(0.2)),
        told=("350 agent.exited EXITED", "350 spawn incarnation=2", f"400 {SPIKE}"),
    ),
    Scenario(
        "an agent that shuts down may spend more on it",
        ("cost.spike_factor below",),
        chain(_usual(), beat(400, status="draining", cost_usd=5.0), end(420)),
    ),
    Scenario(
        "but not for ever: saying so again and again is no excuse",
        ("cost.spike_factor beyond",),
        chain(
            _usual(),
            beat(400, status="draining"),
            beat(690, status="draining", cost_usd=5.0),
            beat(701, status="draining", cost_usd=5.0),
            end(800),
        ),
        told=(f"701 {SPIKE}",),
    ),
    _on_spike("alert", "400 alert warning COST_SPIKE"),
    _on_spike("pause", "400 agent.paused COST_SPIKE", "400 freeze"),
    _on_spike(
        "kill", "400 agent.killed COST_SPIKE", "400 kill_tree", "400 agent.exited COST_SPIKE"
    ),
    _on_spike(
        "restart",
        "400 signal SIGTERM",
        "400.1 agent.exited COST_SPIKE",
        "400.1 spawn incarnation=2",
    ),
)

# A minute of 1,000 tokens is usual here: two cycles of 500.
QUIET_MINUTES: Final = 20


def _minutes(first: float, minutes: int, tokens_per_minute: int) -> list[Line]:
    return cycles(first, minutes * 2, every=30, tokens=tokens_per_minute // 2)


def _burst(factor: float, minutes: float, first: float = 3600) -> list[Line]:
    """A loop doesn't cost more per cycle: it has more cycles."""
    every = 30 / factor
    return cycles(first, int(minutes * 60 / every), every=every, tokens=500)


def _on_runaway(action: str, *told: str) -> Scenario:
    return Scenario(
        f"on a runaway: {action}",
        (f"cost.on_runaway = {action}",),
        chain(_minutes(10, QUIET_MINUTES, 1000), _burst(30, 7), end(4100)),
        f'cost.on_runaway = "{action}"\n',
        (f"3780..3970 {RUNAWAY}", *told),
        anything_else=True,
    )


RUNAWAYS: Final = (
    Scenario(
        "ten times the usual rate, for ever so long, is no runaway",
        ("cost.rate_factor below",),
        chain(_minutes(10, QUIET_MINUTES, 1000), _burst(10, 15), end(5000)),
    ),
    Scenario(
        "more than ten times the usual rate, sustained, is one",
        ("cost.rate_factor beyond",),
        chain(_minutes(10, QUIET_MINUTES, 1000), _burst(12, 8), end(4200)),
        told=(f"3780..4000 {RUNAWAY}", "* agent.paused LOOP_DETECTED", "* freeze"),
    ),
    Scenario(
        "the factor of the rate is the config's",
        ("cost.rate_factor beyond",),
        chain(_minutes(10, QUIET_MINUTES, 1000), _burst(4, 8), end(4200)),
        "cost.rate_factor = 3.0\n",
        told=(f"3780..4000 {RUNAWAY}", "* agent.paused LOOP_DETECTED", "* freeze"),
    ),
    Scenario(
        "a burst shorter than the window is none",
        ("cost.rate_window below",),
        chain(_minutes(10, QUIET_MINUTES, 1000), _burst(20, 2), _minutes(3720, 20, 1000)),
    ),
    Scenario(
        "a shorter window sees a shorter burst",
        ("cost.rate_window beyond",),
        chain(_minutes(10, QUIET_MINUTES, 1000), _burst(20, 2), _minutes(3720, 20, 1000)),
        'cost.rate_window = "30s"\n',
        told=(f"3630..3720 {RUNAWAY}", "* agent.paused LOOP_DETECTED", "* freeze"),
    ),
    Scenario(
        "one huge cycle is a spike, and no runaway",
        ("cost.rate_window below",),
        chain(
            _minutes(10, QUIET_MINUTES, 1000),
            beat(3600, tokens=200_000),
            _minutes(3630, 20, 1000),
        ),
        told=(f"3600 {SPIKE}",),
        never=("cost.runaway",),
    ),
    Scenario(
        "with nine minutes of usage there is no usual rate",
        ("cost.rate_factor below",),
        chain(_minutes(0, 9, 1000), _burst(30, 4), end(3900)),
        "cost.cycles_min = 1000\n",
        never=("cost.runaway",),
    ),
    Scenario(
        "idle minutes are no minutes of usage",
        ("cost.rate_factor beyond",),
        chain(cycles(0, 12, every=120, tokens=1000), _burst(30, 8), end(4200)),
        told=(f"3780..4000 {RUNAWAY}", "* agent.paused LOOP_DETECTED", "* freeze"),
    ),
    Scenario(
        "an agent that shuts down may hurry",
        ("cost.rate_factor below",),
        chain(
            _minutes(10, QUIET_MINUTES, 1000),
            beat(3590, status="draining"),
            [{**line, "line": {**line["line"], "status": "draining"}} for line in _burst(30, 5)],
            end(3900),
        ),
    ),
    Scenario(
        "usual minutes survive a crash of agentd and a restart of the agent",
        ("cost.rate_factor beyond",),
        chain(
            _minutes(10, QUIET_MINUTES, 1000),
            exits(1500),
            daemon_away(3000, 3010),
            _burst(30, 7),
            end(4100),
        ),
        told=(
            "1500 agent.exited EXITED",
            "1500 spawn incarnation=2",
            f"3780..3970 {RUNAWAY}",
            "* agent.paused LOOP_DETECTED",
            "* freeze",
        ),
    ),
    Scenario(
        "an agent paused for its rate goes on when a person says so",
        ("cost.on_runaway = pause",),
        chain(
            _minutes(10, QUIET_MINUTES, 1000),
            _burst(30, 7),
            command(4500, "resume"),
            _minutes(4600, 5, 1000),
        ),
        told=(
            f"3780..3970 {RUNAWAY}",
            "* agent.paused LOOP_DETECTED",
            "* freeze",
            "4500 agent.resumed",
            "4500 thaw",
        ),
    ),
    Scenario(
        "who is let go on and works as usual isn't stopped again for what it did before",
        ("cost.on_runaway = pause",),
        chain(
            _minutes(10, QUIET_MINUTES, 1000),
            _burst(30, 4.1),
            command(3900, "resume"),
            _minutes(3910, 10, 1000),
        ),
        told=(
            f"3780..3970 {RUNAWAY}",
            "* agent.paused LOOP_DETECTED",
            "* freeze",
            "3900 agent.resumed",
            "3900 thaw",
        ),
    ),
    Scenario(
        "who is let go on and runs away again is stopped again",
        ("cost.on_runaway = pause",),
        chain(
            _minutes(10, QUIET_MINUTES, 1000),
            _burst(30, 4.1),
            command(4030, "resume"),
            _burst(30, 4.1, first=4040),
        ),
        told=(
            f"3780..3970 {RUNAWAY}",
            "* agent.paused LOOP_DETECTED",
            "* freeze",
            "4030 agent.resumed",
            "4030 thaw",
            f"4130..4440 {RUNAWAY}",
            "* agent.paused LOOP_DETECTED",
            "* freeze",
        ),
    ),
    _on_runaway("alert", "3780..3970 alert critical LOOP_DETECTED"),
    _on_runaway("pause", "3780..3970 agent.paused LOOP_DETECTED", "* freeze"),
    _on_runaway("kill", "3780..3970 agent.killed LOOP_DETECTED", "* kill_tree"),
    _on_runaway("restart", "3780..3970 signal SIGTERM", "* agent.exited LOOP_DETECTED", "* spawn"),
)

SCENARIOS: Final = (*SPIKES, *RUNAWAYS)
