"""What must outlive the daemon, as plain data; the store keeps it, the core reads it back."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, Final

from agentd.core.states import Intent, State, StopReason

# Reasons that say what an operator wanted, and nothing of how it went.
_WISHES: Final = (StopReason.USER_PAUSED, StopReason.USER_STOPPED, StopReason.USER_KILLED)


@dataclass(slots=True)
class LastExit:
    """The last end of a run."""

    reason: StopReason
    evidence: str
    at_ms: int
    code: int | None = None
    signal: int | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """An action outside that has begun and of whose end nothing is known."""

    key: str
    action: str
    idempotent: bool
    begun_at_ms: int
    incarnation: int
    detail: str = ""
    """JSON; empty: nothing was said."""
    accepted: bool = False
    """A human saw it and let the agent go on all the same."""


@dataclass(frozen=True, slots=True)
class CheckpointMark:
    """The last checkpoint of an execution; the state itself lies in the store."""

    seq: int
    at_ms: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Where an account begins: its period by the wall clock (ms), and the totals of then."""

    begins_ms: int | None = None
    ends_ms: int | None = None
    """When the next period begins; None: the period is no civil one."""
    tokens: int = 0
    micros: int = 0
    priced: int = 0
    unpriced: int = 0


@dataclass(frozen=True, slots=True)
class Baseline:
    """What an agent's work usually costs, kept beside `Durable` because it is so much larger.

    Costs are in pico-dollars (millionths of a micro-dollar).
    """

    at_ms: int
    """When it was written down; the ages of the minutes count from then."""
    cycle_tokens: tuple[int, ...] = ()
    """The last cycles that told their tokens, the oldest first."""
    cycle_picos: tuple[int, ...] = ()
    cycles_seen: tuple[int, int] = (0, 0)
    """How many cycles told their tokens, and how many their cost, in all."""
    minutes: tuple[tuple[int, int, int, int], ...] = ()
    """Minutes with usage: age in minutes, tokens, pico-dollars, spends of unknown cost."""


@dataclass(frozen=True, slots=True)
class Rolled:
    """Totals of an agent as its last rollup left them: what is told of already."""

    heartbeats: int = 0
    cycles: int = 0
    tokens: int = 0
    cost_micros: int = 0
    unpriced: int = 0
    successes: int = 0
    failures: int = 0
    restarts: int = 0


@dataclass(slots=True)
class Durable:
    """One agent's durable half. Times are CLOCK_BOOTTIME of the boot that wrote them; the
    reader shifts those of an earlier boot before the core sees them.
    """

    intent: Intent = Intent.UP
    intent_by: str = ""
    intent_reason: str = ""
    state: State = State.STOPPED
    held: bool = False
    held_why: str = ""
    """What agentd itself holds it for; empty: an operator does, or nobody."""
    ready: bool = False
    outdated: bool = False
    """What is executed has changed since this incarnation began; it was paused then."""
    execution: str = ""
    first_start: bool = True
    """No start of this execution has been made yet."""
    incarnation: int = 0
    incarnation_id: str = ""
    spawned_at_ms: int | None = None
    failures: int = 0
    """Failures in a row."""
    row: int = 0
    """Automatic restarts in this row."""
    auto_start_at_ms: int | None = None
    """When the last automatic restart of this row was made."""
    cooldown_until_ms: int | None = None
    cooldown_left_ms: int | None = None
    """What was left of a cooldown when a pause began: its clocks stand still."""
    parked_until_ms: int | None = None
    reason: StopReason | None = None
    evidence: str = ""
    stop_reason: StopReason | None = None
    """Why a stop that is under way was begun; the reason of the end that follows."""
    stop_evidence: str = ""
    stop_after: str = ""
    stop_asks: bool = False
    """So far it was only asked to commit and exit."""
    paused_at_ms: int | None = None
    automatic: bool = False
    """The next start is an automatic restart, and takes its place in the row."""
    awaiting: str = ""
    """Why a start is due that could not be made yet; empty: none is due."""
    restarts: int = 0
    """Starts after the first, whatever the cause."""
    restarts_by_reason: dict[str, int] = field(default_factory=dict)
    """How many of them followed an end of which reason; never changed in place."""
    last_exit: LastExit | None = None
    heartbeats: int = 0
    cycles: int = 0
    """Heartbeats that ended a cycle in which something was used."""
    tokens: int = 0
    """Of its whole life, as is `cost_micros`; accounts are what has come since their mark."""
    cost_micros: int = 0
    cost_rest_picos: int = 0
    """What is less than a micro-dollar, in millionths of one."""
    priced: int = 0
    """Spends of known cost, cycles and calls."""
    unpriced: int = 0
    """Spends of which nobody said the cost, and no price was known."""
    cycle_from_tokens: int = 0
    """Where the running cycle began."""
    cycle_from_micros: int = 0
    cycle_from_picos: int = 0
    cycle_unpriced: int = 0
    """Calls of the running cycle without a known cost; its end may still tell it."""
    run: Mark = field(default_factory=Mark)
    hour: Mark | None = None
    day: Mark | None = None
    month: Mark | None = None
    budgets_warned: tuple[str, ...] = ()
    """Budgets of whose running period that was told; likewise those that follow."""
    budgets_exceeded: tuple[str, ...] = ()
    budgets_overridden: tuple[str, ...] = ()
    """Exceeded, and a person let the agent go on all the same."""
    unpriced_told_ms: int | None = None
    """The day in which people were last told that its cost isn't known."""
    judged: int = 0
    """Questions to its judge in the day that follows."""
    judged_day_ms: int | None = None
    """When that civil day began, by the wall clock."""
    successes: int = 0
    failures_told: int = 0
    """Tasks that the agent itself reported as failed."""
    unfinished: tuple[Action, ...] = ()
    """Actions in flight, the oldest first; those of earlier incarnations were cut off."""
    checkpoint: CheckpointMark | None = None
    checkpoints: int = 0
    """How many checkpoints were ever kept; the last one's number."""
    rolled: Rolled | None = None
    """What rollups have told of; None: the row is older than they are."""
    removed: bool = False

    def copy(self) -> "Durable":
        """Return a copy; of what it holds, nothing is ever changed in place."""
        return Durable(*_values(self))

    def forget_wish(self) -> None:
        """Once it is wanted up, why it was down is history; what ended its run last stands."""
        if self.reason in _WISHES:
            last = self.last_exit
            stands = last is not None and last.reason not in _WISHES
            self.reason = last.reason if last is not None and stands else None
            self.evidence = last.evidence if last is not None and stands else ""


# Six times as fast as dataclasses.replace, at each change of each agent.
_values: Final[Callable[[Durable], tuple[Any, ...]]] = attrgetter(
    *(each.name for each in fields(Durable))
)


@dataclass(slots=True)
class Record:
    """One entry of the journal before it has an id and a wall time (CONTRACT 6.2)."""

    event: str
    severity: str
    message: str
    agent: str | None = None
    incarnation: int | None = None
    incarnation_id: str | None = None
    reason: str | None = None
    data: dict[str, object] = field(default_factory=dict)
    incident: int | None = None
    """The number of the incident that it is part of."""


def first_clause(message: str) -> str:
    """Return what a message says first, for those that follow from it: a verdict's evidence is
    told once.
    """
    return message.partition("; ")[0]


@dataclass(frozen=True, slots=True)
class Member:
    """One agent in an incident: what ails it, and since when it is well again."""

    agent: str
    joined_at_ms: int
    troubles: tuple[str, ...] = ()
    """What has to be over before it is well; empty: nothing any more."""
    well_since_ms: int | None = None
    told_at_ms: int = 0
    """When a trouble of it was told last."""
    incarnation: int = 0
    """Which of its incarnations that was about."""
    kinds: tuple[str, ...] = ()
    """What kinds of trouble it had since it joined; kept when that is over."""
    left_at_ms: int | None = None
    """When it was believed to be well; None: it is part of the incident."""


@dataclass(frozen=True, slots=True)
class IncidentRecord:
    """One incident as it is kept. Times are CLOCK_BOOTTIME, as those of `Durable` are."""

    number: int
    """Rises by one with each incident of this host."""
    key: str
    """Unique for ever: what receivers of its alerts know it by."""
    cause: str
    """A stop reason, or the name of the event that opened it."""
    severity: str
    summary: str
    """One sentence: what broke, and what is known of why."""
    began_at_ms: int
    """When the trouble itself began: the last sign of life, or the end of the process."""
    opened_at_ms: int
    agent: str | None = None
    """The first agent of it; None: it is the host's, or a dependency's."""
    subject: str = ""
    """What it is about where that is no agent: `breaker openai`, `daemon storage`."""
    members: tuple[Member, ...] = ()
    recovered_at_ms: int | None = None
    """Since when all of them are well."""
    resolved_at_ms: int | None = None
    resolution: str = ""
    """How it ended, in words."""
    acknowledged_by: str = ""
    acknowledged_at_ms: int | None = None
    restarts: int = 0
    reopened: int = 0
    """How often it had been resolved too early."""
    remind_at_ms: int | None = None
    """When people are told once more that it is still open."""

    subject_over: bool = False
    """What it is about is well again, while agents of it may not be."""
    shared_key: str = ""
    """What receivers of its alerts know it by whichever host tells them; empty: by `key`."""

    @property
    def agents(self) -> tuple[str, ...]:
        return tuple(member.agent for member in self.members)


@dataclass(frozen=True, slots=True)
class Rollup:
    """What one agent did in a span of time; of a longer span, the sum of the shorter ones."""

    agent: str
    begins_ms: int
    """By the wall clock, milliseconds since 1970; a whole number of spans."""
    heartbeats: int = 0
    cycles: int = 0
    """Heartbeats that told what a cycle used."""
    tokens: int = 0
    cost_micros: int = 0
    unpriced: int = 0
    """Spends of unknown cost."""
    successes: int = 0
    failures: int = 0
    """Tasks that the agent itself reported as failed."""
    restarts: int = 0
    latency_counts: tuple[int, ...] = ()
    """Latencies by bucket, see `core.tally.LATENCY_BOUNDS_MS`; empty: none were told."""
    rss_min_bytes: int | None = None
    rss_max_bytes: int | None = None
    healthy_ms: int = 0
    degraded_ms: int = 0
    unreachable_ms: int = 0
    unknown_ms: int = 0
    """Up, and nobody could say how it was."""
    down_ms: int = 0
    """Down although it was wanted up."""
    rest_ms: int = 0
    """Stopped, killed, paused or completed: nobody wanted it up."""
