"""What is true now of an agent's spending; what must last stands in `Durable`.

Over the agent's incarnations, not over the daemon's: of the daemon's end, `Baseline` survives.
"""

from dataclasses import dataclass, field
from typing import Final

from agentd.config.agent import AgentConfig, BudgetConfig
from agentd.core.accounts import TOTAL_MAX
from agentd.core.detectors.runaway import AMOUNT_MAX, RunawayDetector
from agentd.core.detectors.spike import SpikeDetector
from agentd.core.records import Baseline

NEVER: Final = TOTAL_MAX
"""No total becomes more."""

# Baselines are written down at most this often: they are large, and change slowly.
BASELINE_EVERY_MS: Final = 300_000


@dataclass(frozen=True, slots=True)
class Limit:
    """One budget of the config."""

    name: str
    period: str
    """cycle, run, hour, day or month."""
    in_dollars: bool
    amount: int
    """Tokens, or micro-dollars."""
    warn_from: int
    """From this on a warning is given."""


@dataclass(slots=True)
class Spending:
    """Detectors, and what makes the next spend quick to judge."""

    cycle_tokens: int | None = None
    """Of the last cycle that told them."""
    calls: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Calls that ended in this cycle: tokens and pico-dollars counted for each."""
    beats_tell_cost: bool = False
    """Its last cycle's cost came with the heartbeat: that of its calls comes, too."""
    spikes: SpikeDetector = field(default_factory=SpikeDetector)
    runaways: RunawayDetector = field(default_factory=RunawayDetector)
    budget: BudgetConfig | None = None
    """What `limits` was made of."""
    limits: tuple[Limit, ...] = ()
    next_tokens: int = 0
    """The total from which on a budget has to be looked at."""
    next_micros: int = 0
    cycle_next_tokens: int = 0
    """The same for what is spent within one cycle."""
    cycle_next_micros: int = 0
    cycle_is_open: bool = True
    """Something of the running cycle was told before its heartbeat, or nobody knows."""
    baseline_at_ms: int | None = None
    """When the baseline was last written down."""
    baseline_is_old: bool = False

    def configure(self, config: AgentConfig) -> None:
        """Go by this config from now on."""
        # Whatever it allows, look at the next spend.
        self.next_tokens = self.next_micros = self.cycle_next_tokens = self.cycle_next_micros = 0
        self.spikes.configure(config.cost)
        self.runaways.configure(config.cost)

    def restore(self, baseline: Baseline) -> None:
        """Go on with what was known before the daemon ended."""
        self.spikes.restore(baseline.cycle_tokens, baseline.cycle_picos, baseline.cycles_seen)
        self.runaways.restore(baseline.minutes, baseline.at_ms)
        self.baseline_at_ms = baseline.at_ms

    def write_down(self, now_ms: int) -> Baseline:
        """Return what is to outlive the daemon."""
        self.baseline_at_ms, self.baseline_is_old = now_ms, False
        tokens, picos = self.spikes.tokens, self.spikes.picos
        return Baseline(
            now_ms,
            tuple(min(one, AMOUNT_MAX) for one in tokens.kept),
            tuple(min(one, AMOUNT_MAX) for one in picos.kept),
            (tokens.seen, picos.seen),
            self.runaways.minutes(now_ms),
        )

    def is_baseline_due(self, now_ms: int) -> bool:
        """Whether the baseline changed and was not written down for a while."""
        at_ms = self.baseline_at_ms
        return self.baseline_is_old and (at_ms is None or now_ms - at_ms >= BASELINE_EVERY_MS)
