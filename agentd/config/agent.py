"""What one agent may be told: `[agents.NAME]` and its tables.

The struct is the one place that names an option. The string under a field is its
documentation, and the only copy of it: reference, example file, editor schema, `show`
and the reload plan all derive from here. A field's own name carries its unit, the name
in the file does not.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from agentd.config.units import Bytes, MicroDollars, Milliseconds

Factor = Annotated[float, Meta(ge=1.0, le=1e6)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Positive = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Words = list[str]


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=False):
    """A table of the config file."""


class HeartbeatConfig(Table, frozen=True, kw_only=True):
    """[agents.NAME.heartbeat]: how long an agent may be silent."""

    required: bool = True
    """Whether silence counts; without it an agent is judged by its process alone."""

    interval_ms: Milliseconds = field(name="interval", default=Milliseconds(30_000))
    """How often a heartbeat is expected; the two thresholds follow it."""

    degraded_ms: Milliseconds | None = field(name="degraded_after", default=None)
    """From this silence on it is degraded. Default: 3 times `interval`."""

    unreachable_ms: Milliseconds | None = field(name="unreachable_after", default=None)
    """Beyond this silence it is unreachable. Default: 10 times `interval`."""

    max_silence_ms: Milliseconds = field(name="max_silence", default=Milliseconds(3_600_000))
    """The longest silence an agent may announce."""

    on_unreachable: Literal["restart", "alert", "pause", "kill"] = "restart"
    """What is done with an unreachable agent."""

    no_progress_ms: Milliseconds = field(name="no_progress_after", default=Milliseconds(1_800_000))
    """Heartbeats with no CPU, I/O or progress behind them for so long: degraded."""

    def __post_init__(self) -> None:
        if self.interval_ms < 1:
            raise ValueError("interval must be longer than nothing")
        if self.degraded_after_ms >= self.unreachable_after_ms:
            raise ValueError("degraded_after must be shorter than unreachable_after")

    @property
    def degraded_after_ms(self) -> int:
        return self.degraded_ms if self.degraded_ms is not None else 3 * self.interval_ms

    @property
    def unreachable_after_ms(self) -> int:
        return self.unreachable_ms if self.unreachable_ms is not None else 10 * self.interval_ms


class RestartConfig(Table, frozen=True, kw_only=True):
    """[agents.NAME.restart]: when a run that ended is followed by another."""

    policy: Literal["always", "on-failure", "never"] = "on-failure"
    """Which ends are followed by a start: every end, failures only, or none."""

    cooldown_ms: Milliseconds = field(name="cooldown", default=Milliseconds(300_000))
    """At least this long from one automatic restart to the next, start to start; the first
    of a row comes at once."""

    failures_max: Positive = 3
    """This failure in a row calls a human instead of restarting."""

    stable_after_ms: Milliseconds = field(name="stable_after", default=Milliseconds(900_000))
    """Running without failure, and healthy where heartbeats are required, this long: the
    row starts anew."""

    backoff: Factor = 1.0
    """Each further cooldown is this many times longer."""

    cooldown_max_ms: Milliseconds = field(name="cooldown_max", default=Milliseconds(3_600_000))
    """The longest cooldown that backoff may reach."""

    jitter: Share = 0.0
    """Fraction of the cooldown added at random."""

    validate: str | Words = []
    """Command run before every start but the first of an execution; non-zero refuses it."""

    hold_unfinished: bool = False
    """Whether an unfinished action that isn't idempotent holds the restart for a human."""

    validate_timeout_ms: Milliseconds = field(name="validate_timeout", default=Milliseconds(60_000))
    """How long the validate command may take."""

    on_escalate: str | Words = []
    """Command run once per escalation, with the incident as JSON on its stdin."""


class MemoryConfig(Table, frozen=True, kw_only=True):
    """[agents.NAME.memory]: what the whole tree may use."""

    limit_bytes: Bytes = field(name="limit", default=Bytes(0))
    """The most the whole tree may use; empty: no limit."""

    sample_ms: Milliseconds = field(name="sample", default=Milliseconds(5_000))
    """How often memory is measured."""

    settle_ms: Milliseconds = field(name="settle", default=Milliseconds(1_800_000))
    """How long after a start before trends are believed."""

    on_limit: Literal["restart", "alert", "kill"] = "restart"
    """What is done at the limit."""

    leak: Literal["off", "alert", "restart"] = "alert"
    """What is done about a leak: nothing, an alert, or a restart at a good moment."""

    def __post_init__(self) -> None:
        if self.sample_ms < 10:  # noqa: PLR2004 - ten milliseconds, a bound for the daemon's sake
            raise ValueError("sample must be at least 10ms")


class CostConfig(Table, frozen=True, kw_only=True):
    """[agents.NAME.cost]: cost as a health signal."""

    window: Positive = 50
    """Cycles in the rolling baseline, which is their median."""

    spike_factor: Factor = 10.0
    """A cycle that costs more than this many baselines is a spike."""

    cycles_min: Positive = 10
    """No verdict before that many cycles."""

    on_spike: Literal["alert", "pause", "kill", "restart"] = "alert"
    """What is done about a spike."""

    rate_factor: Factor = 10.0
    """A sustained rate above this many baselines is a runaway."""

    rate_window_ms: Milliseconds = field(name="rate_window", default=Milliseconds(180_000))
    """How long the rate must stand above it."""

    on_runaway: Literal["alert", "pause", "kill", "restart"] = "pause"
    """What is done about a runaway: LOOP_DETECTED."""


class BudgetConfig(Table, frozen=True, kw_only=True):
    """[agents.NAME.budget]: what may be spent, enforced from outside."""

    tokens_per_cycle: Positive | None = None
    """Tokens in one cycle."""
    tokens_per_run: Positive | None = None
    """Tokens in one execution."""
    tokens_per_hour: Positive | None = None
    """Tokens in a clock hour."""
    tokens_per_day: Positive | None = None
    """Tokens in a civil day."""
    tokens_per_month: Positive | None = None
    """Tokens in a civil month."""
    usd_per_cycle_micros: MicroDollars | None = field(name="usd_per_cycle", default=None)
    """Dollars in one cycle."""
    usd_per_run_micros: MicroDollars | None = field(name="usd_per_run", default=None)
    """Dollars in one execution."""
    usd_per_hour_micros: MicroDollars | None = field(name="usd_per_hour", default=None)
    """Dollars in a clock hour."""
    usd_per_day_micros: MicroDollars | None = field(name="usd_per_day", default=None)
    """Dollars in a civil day."""
    usd_per_month_micros: MicroDollars | None = field(name="usd_per_month", default=None)
    """Dollars in a civil month."""

    warn_at: Share = 0.8
    """Share of a budget at which a warning is given."""

    on_exceeded: Literal["pause", "kill", "alert"] = "pause"
    """What is done when a budget is exceeded; never resumed by itself."""


class LoopConfig(Table, frozen=True, kw_only=True):
    """[agents.NAME.loop]: the same work again and again."""

    on_loop: Literal["off", "alert", "pause", "kill", "restart"] = "pause"
    """What is done about a detected loop."""

    poll_tools: Words = []
    """Tools whose repeats count against wall time, not as a loop; globs."""


class JudgeConfig(Table, frozen=True, kw_only=True):
    """[agents.NAME.judge]: is it meaningfully closer to its goal? Asked of a command."""

    command: str | Words = []
    """The command asked: JSON in on stdin, JSON out. Empty: nobody is asked."""
    every: Positive = 10
    """Steps between two questions."""
    after: Count = 30
    """Steps before the first question."""
    window: Positive = 20
    """Steps shown to the judge."""
    confirm: Positive = 2
    """Verdicts in a row before one is acted on."""
    confidence: Share = 0.9
    """The least confidence that counts."""
    timeout_ms: Milliseconds = field(name="timeout", default=Milliseconds(60_000))
    """How long the judge may take."""
    max_per_day: Count = 100
    """Questions a day at most."""
    on_drift: Literal["alert", "pause", "kill", "restart"] = "alert"
    """What is done about confirmed drift."""


class PauseConfig(Table, frozen=True, kw_only=True):
    """[agents.NAME.pause]: how it is held back."""

    mode: Literal["freeze", "checkpoint"] = "freeze"
    """freeze: the whole tree stops where it stands; checkpoint: asked to commit and exit."""

    checkpoint_timeout_ms: Milliseconds = field(
        name="checkpoint_timeout", default=Milliseconds(30_000)
    )
    """How long it may take to commit."""


class LogsConfig(Table, frozen=True, kw_only=True):
    """[agents.NAME.logs]: its output on disk."""

    max_size_bytes: Bytes = field(name="max_size", default=Bytes(100 << 20))
    """Disk used at most; the oldest output goes first."""


class AgentConfig(Table, frozen=True, kw_only=True):
    """[agents.NAME]: one agent. Only `command` is required."""

    command: Annotated[str | Words, Meta(examples=[["python", "-u", "agent.py"]])] = []
    """What is run: a list, or one string split as a shell would; never run by a shell."""

    directory: str = ""
    """Working directory; default: that of the file that names the agent."""

    environment: dict[str, str] = {}
    """Variables added to the few that are passed on."""

    environment_files: Words = []
    """Files of KEY=value lines, relative to the file that names them."""

    user: str = ""
    """The user it runs as (system mode)."""

    group: str = ""
    """The group it runs as (system mode)."""

    description: str = ""
    """One line for people."""

    tags: Words = []
    """Names usable as selector `tag:NAME`."""

    autostart: bool = True
    """The initial intent; afterwards the recorded intent wins."""

    depends_on: Words = []
    """Agents that must be ready before this one starts; of another machine: `machine-3/NAME`."""

    ready: Literal["heartbeat", "notify", "spawn"] | None = None
    """What makes it ready: its first heartbeat, sd_notify READY=1, or being spawned. Default:
    `heartbeat` where heartbeats are required, else `spawn`."""

    startup_timeout_ms: Milliseconds = field(name="startup_timeout", default=Milliseconds(120_000))
    """How long it may take to become ready."""

    stop_signal: str = "SIGTERM"
    """The signal that asks it to stop."""

    stop_timeout_ms: Milliseconds = field(name="stop_timeout", default=Milliseconds(30_000))
    """How long it may take to stop; then SIGKILL to the whole tree."""

    success_exit_codes: list[Annotated[int, Meta(ge=0, le=255)]] = field(
        default_factory=lambda: [0]
    )
    """Exit codes that count as success."""

    umask: str = "022"
    """File mode creation mask, octal."""

    nice: Annotated[int, Meta(ge=-20, le=19)] = 0
    """Scheduling priority."""

    limits: dict[str, int] = {}
    """rlimits by name, such as `nofile` or `core`."""

    external: bool = False
    """Not started by us; it only reports."""

    token_file: str = ""
    """For external agents: file with the token that their lines carry."""

    heartbeat: HeartbeatConfig = HeartbeatConfig()
    restart: RestartConfig = RestartConfig()
    memory: MemoryConfig = MemoryConfig()
    cost: CostConfig = CostConfig()
    budget: BudgetConfig = BudgetConfig()
    loop: LoopConfig = LoopConfig()
    judge: JudgeConfig = JudgeConfig()
    pause: PauseConfig = PauseConfig()
    logs: LogsConfig = LogsConfig()

    @property
    def ready_by(self) -> str:
        """`heartbeat`, `notify` or `spawn`, the default resolved."""
        if self.ready is not None:
            return self.ready
        return "heartbeat" if self.heartbeat.required else "spawn"
