"""Kinds of worlds: most are short and wild, some are calm for long enough to wear out slowly.

A leak, a runaway and a row of failures take a while in which nothing else happens; where
everything breaks all the time, nobody lives to see them.
"""

from dataclasses import dataclass
from random import Random

import msgspec

from agentd.config.agent import AgentConfig, BudgetConfig, HeartbeatConfig
from agentd.config.schema import Config
from agentd.config.units import Bytes, Milliseconds
from tests.sim.chance import MIB, Rates
from tests.sim.talk import Talk

BEAT_MS = 1_000
# Three cycles a minute, so that ten minutes are thirty cycles.
SLOW_BEAT_MS = 20_000
LEAK_LIMIT_BYTES = 100 * MIB


@dataclass(frozen=True)
class Kind:
    """How a world passes its time."""

    name: str = "wild"
    steps: int = 220
    trouble_rate: float = 0.25
    """Chance of trouble before each step."""
    beat_ms: int = BEAT_MS
    agents_max: int = 5


WILD = Kind()
LEAK = Kind("leak", steps=700, trouble_rate=0.005, agents_max=1)
BURST = Kind("burst", steps=500, trouble_rate=0.02, beat_ms=SLOW_BEAT_MS, agents_max=1)
FAILING = Kind("failing", steps=300, trouble_rate=0.05, agents_max=2)
PARKING = Kind("parking", steps=300, trouble_rate=0.2, agents_max=3)
KINDS = (LEAK, BURST, FAILING, PARKING)
WILD_SHARE = 0.85


def draw_kind(seed: int) -> Kind:
    """Return the kind of one world."""
    random = Random(f"kind {seed}")  # noqa: S311 - a world is drawn, not a secret
    return WILD if random.random() < WILD_SHARE else random.choice(KINDS)


def shaped(config: Config, kind: Kind, random: Random) -> Config:
    """Let a fleet be such that what is special to its world can happen to it."""
    if kind is WILD:
        return config
    names = list(config.agents)[: kind.agents_max]
    agents = {name: _agent(config.agents[name], kind, random) for name in names}
    return msgspec.structs.replace(config, agents=agents)


def _agent(agent: AgentConfig, kind: Kind, random: Random) -> AgentConfig:
    beat = HeartbeatConfig(
        interval_ms=Milliseconds(kind.beat_ms), no_progress_ms=Milliseconds(10 * kind.beat_ms)
    )
    changed: dict[str, object] = {"external": False, "autostart": True, "budget": BudgetConfig()}
    if kind in (LEAK, BURST):
        changed["heartbeat"] = beat
    if kind is LEAK:
        changed["memory"] = msgspec.structs.replace(
            agent.memory,
            limit_bytes=Bytes(LEAK_LIMIT_BYTES),
            settle_ms=Milliseconds(30_000),
            leak=random.choice(("alert", "restart", "restart")),
        )
    elif kind is BURST:
        changed["cost"] = msgspec.structs.replace(
            agent.cost, on_spike="alert", rate_window_ms=Milliseconds(180_000)
        )
    elif kind is FAILING:
        changed["loop"] = msgspec.structs.replace(
            agent.loop, on_loop=random.choice(("alert", "kill", "restart", "restart"))
        )
        changed["judge"] = msgspec.structs.replace(
            agent.judge, command=random.choice(("", "ask")), every=1, after=0
        )
    elif kind is PARKING:
        changed["ready"] = random.choice((agent.ready, "notify"))
    return msgspec.structs.replace(agent, **changed)


def shape_chances(rates: Rates, talk: Talk, kind: Kind, random: Random) -> None:
    """Let its processes live and talk as its kind has it."""
    if kind is LEAK:
        rates.lives |= dict.fromkeys(rates.lives, 0.0) | {"leak": 1.0, "hollow": 0.6}
        rates.spawn_fails = rates.crash_in_step = 0.0
        talk.calls = talk.steps = talk.actions = talk.checkpoints = talk.breakers = 0.0
    elif kind is BURST:
        rates.lives |= dict.fromkeys(rates.lives, 0.0) | {"burst": 1.0}
    elif kind is FAILING:
        rates.lives |= dict.fromkeys(rates.lives, 0.0) | {"good": 1.0}
        talk.steps, talk.failing = 1.0, random.choice((0.0, 1.0, 1.0))
        talk.looping = random.choice((0.0, 0.0, 1.0))
        talk.calls = 0.3
    elif kind is PARKING:
        rates.lives |= dict.fromkeys(rates.lives, 0.1) | {"park": 3.0}
