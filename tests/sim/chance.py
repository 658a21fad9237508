"""What one seed draws: a fleet, and how often each thing goes wrong in its world.

All rates are drawn anew for each seed, so that worlds differ in kind: one is nothing but
crashes of the daemon, another is a calm week with one evil agent.
"""

from dataclasses import dataclass, field
from random import Random

from agentd.config.agent import (
    AgentConfig,
    BudgetConfig,
    CostConfig,
    HeartbeatConfig,
    JudgeConfig,
    LoopConfig,
    MemoryConfig,
    PauseConfig,
    RestartConfig,
)
from agentd.config.schema import BreakerConfig, Config
from agentd.config.units import Bytes, MicroDollars, Milliseconds

MIB = 1 << 20


@dataclass
class Rates:
    """Chances of each trouble, per decision that could meet it."""

    spawn_fails: float = 0.0
    spawn_shortage: float = 0.0
    late_tick: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    survivors: float = 0.0
    stuck: float = 0.0
    validate_fails: float = 0.0
    crash_in_step: float = 0.0
    judge_fails: float = 0.0
    commit_fails: float = 0.0
    """That the disk begins to refuse what is written, per commit; drawn by commits.py."""
    delay_ms_max: int = 50
    troubles: dict[str, float] = field(default_factory=dict)
    """Weight of each thing that may be done to the fleet between two events."""
    lives: dict[str, float] = field(default_factory=dict)
    """Weight of each way in which a process may live."""


TROUBLES = (
    "operator",
    "exit",
    "oom",
    "sample",
    "crash",
    "reboot",
    "gap",
    "reload",
    "storage",
    "old_exit",
    "line",
    "clock",
    "again",
    "shell",
    "reexec",
)
LIVES = ("good", "good", "good", "crash", "hang", "never_ready", "done", "park", "deaf", "spin")


def draw_rates(random: Random) -> Rates:
    """Each rate is off in most worlds, and may be high in the others."""

    def sometimes(highest: float) -> float:
        return random.random() * highest if random.random() < 0.4 else 0.0

    return Rates(
        spawn_fails=sometimes(0.5),
        spawn_shortage=sometimes(0.5),
        late_tick=sometimes(0.5),
        duplicate=sometimes(0.3),
        reorder=sometimes(0.3),
        survivors=sometimes(0.5),
        stuck=sometimes(0.3),
        validate_fails=sometimes(0.5),
        crash_in_step=sometimes(0.03),
        judge_fails=sometimes(0.5),
        delay_ms_max=random.choice((1, 50, 2_000)),
        # People are always about: a word at the wrong moment is what breaks most.
        troubles={name: random.random() ** 2 for name in TROUBLES} | {"operator": 1.0},
        lives={name: random.random() ** 2 for name in LIVES},
    )


def _ms(random: Random, *choices: int) -> Milliseconds:
    return Milliseconds(random.choice(choices))


def draw_agent(random: Random, earlier: list[str]) -> AgentConfig:
    """One agent that may depend on earlier ones; times are short, proportions as in life."""
    cooldown_ms = _ms(random, 0, 3_000, 10_000, 30_000)
    return AgentConfig(
        command=["true"],
        autostart=random.random() < 0.9,
        depends_on=[name for name in earlier if random.random() < 0.3],
        ready=random.choice((None, "spawn", "heartbeat")),
        startup_timeout_ms=_ms(random, 2_000, 5_000),
        stop_timeout_ms=_ms(random, 500, 3_000),
        external=random.random() < 0.05,
        heartbeat=HeartbeatConfig(
            required=random.random() < 0.8,
            interval_ms=Milliseconds(1_000),
            max_silence_ms=Milliseconds(20_000),
            no_progress_ms=Milliseconds(random.choice((10_000, 60_000))),
            on_unreachable=random.choice(
                ("restart", "restart", "restart", "alert", "pause", "kill")
            ),
        ),
        restart=RestartConfig(
            policy=random.choice(("always", "on-failure", "on-failure", "on-failure", "never")),
            cooldown_ms=cooldown_ms,
            failures_max=random.choice((1, 2, 3, 3, 5)),
            # Longer than a cooldown, so that a row cannot be forgiven within one.
            stable_after_ms=Milliseconds(2 * cooldown_ms + random.choice((5_000, 20_000))),
            backoff=random.choice((1.0, 1.0, 2.0)),
            cooldown_max_ms=Milliseconds(60_000),
            jitter=random.choice((0.0, 0.0, 0.5)),
            hold_unfinished=random.random() < 0.3,
            validate=random.choice(("", "", "", "check")),
            on_escalate=random.choice(("", "tell")),
        ),
        memory=MemoryConfig(
            limit_bytes=Bytes(random.choice((0, 100 * MIB))),
            on_limit=random.choice(("restart", "alert", "kill")),
        ),
        cost=_draw_cost(random),
        budget=_draw_budget(random),
        loop=LoopConfig(on_loop=random.choice(("off", "alert", "pause", "kill", "restart"))),
        judge=_draw_judge(random),
        pause=PauseConfig(
            mode=random.choice(("freeze", "freeze", "checkpoint")),
            checkpoint_timeout_ms=_ms(random, 200, 3_000),
        ),
    )


def _draw_cost(random: Random) -> CostConfig:
    return CostConfig(
        window=random.choice((5, 50)),
        spike_factor=random.choice((2.0, 10.0)),
        cycles_min=random.choice((2, 5)),
        on_spike=random.choice(("alert", "alert", "alert", "pause", "kill", "restart")),
        rate_window_ms=_ms(random, 2_000, 180_000),
        rate_factor=random.choice((2.0, 10.0)),
        on_runaway=random.choice(("alert", "pause", "kill", "restart")),
    )


def _draw_budget(random: Random) -> BudgetConfig:
    """None for most agents; where there is one, it is met every few cycles."""
    if random.random() < 0.6:
        return BudgetConfig()

    def tokens(*amounts: int) -> int | None:
        return random.choice(amounts) if random.random() < 0.3 else None

    def dollars(*amounts: int) -> MicroDollars | None:
        found = tokens(*amounts)
        return None if found is None else MicroDollars(found)

    return BudgetConfig(
        tokens_per_cycle=tokens(50, 100),
        tokens_per_run=tokens(500, 2_000),
        tokens_per_hour=tokens(50, 200),
        tokens_per_day=tokens(500, 2_000),
        tokens_per_month=tokens(1_000, 5_000),
        usd_per_cycle_micros=dollars(5_000, 50_000),
        usd_per_run_micros=dollars(50_000, 200_000),
        usd_per_hour_micros=dollars(5_000, 50_000),
        usd_per_day_micros=dollars(50_000, 200_000),
        usd_per_month_micros=dollars(100_000, 500_000),
        warn_at=random.choice((0.5, 0.8, 1.0)),
        on_exceeded=random.choice(("pause", "pause", "kill", "alert")),
    )


def _draw_judge(random: Random) -> JudgeConfig:
    return JudgeConfig(
        command=random.choice(("", "ask")),
        every=random.choice((1, 3)),
        after=random.choice((0, 3)),
        window=random.choice((2, 4)),
        confirm=random.choice((1, 2, 3)),
        max_per_day=random.choice((3, 100)),
        on_drift=random.choice(("alert", "pause", "kill", "restart")),
    )


def _draw_breakers(random: Random) -> dict[str, BreakerConfig]:
    """One of the two dependencies that agents name is in the config; the other is found out."""
    config = BreakerConfig(
        failures=random.choice((1, 3)),
        window_ms=_ms(random, 5_000, 60_000),
        reset_ms=_ms(random, 1_000, 10_000),
        half_open_max=random.choice((1, 2)),
        retry_floor_per_minute=random.choice((0, 6)),
    )
    return {"openai": config}


def draw_config(random: Random) -> Config:
    """One to five agents whose dependencies have no circle."""
    agents: dict[str, AgentConfig] = {}
    for number in range(random.randint(1, 5)):
        agents[f"a{number}"] = draw_agent(random, list(agents))
    return Config(agents=agents, breakers=_draw_breakers(random))
