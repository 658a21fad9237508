"""What happened, as the core is told: frozen facts in the past tense.

Every event about a process names its incarnation, an ordinal that is never reused for an
agent; a late one changes nothing. Times are integer milliseconds of CLOCK_BOOTTIME.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from agentd.config.schema import Config
from agentd.core.accounts import Periods
from agentd.core.host_views import FleetSpending, HostsView
from agentd.core.lines import Line, Question
from agentd.core.pricing import PriceTable
from agentd.core.records import Baseline, Durable, IncidentRecord


@dataclass(frozen=True, slots=True)
class Spawned:
    """The process of this incarnation exists and has been let go to exec."""

    agent: str
    incarnation: int
    pid: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """No process came of it. `shortage`: the host's fault (EAGAIN, ENOMEM, EMFILE, ENOSPC)."""

    agent: str
    incarnation: int
    error: str
    """`errno` name, path and hint in one sentence."""
    shortage: bool = False


@dataclass(frozen=True, slots=True)
class ExitEvidence:
    """What was seen around an end. Nothing here is guessed."""

    oom_kills: int = 0
    """Rise of the cgroup's oom_kill counter since the spawn."""
    oom_source: str = ""
    """Where that was read, such as `memory.events oom_kill 0 -> 1`, or the kernel log's line."""
    rss_bytes: int | None = None
    limit_bytes: int | None = None
    survivors: int = 0
    """Processes of its tree that outlived the leader."""
    note: str = ""
    """Anything else worth a line, such as `log disk full`."""


@dataclass(frozen=True, slots=True)
class Exited:
    """The leader of this incarnation ended. Neither code nor signal: nobody could see how."""

    agent: str
    incarnation: int
    code: int | None = None
    signal: int | None = None
    evidence: ExitEvidence = ExitEvidence()


@dataclass(frozen=True, slots=True)
class TreeEmpty:
    """No process of this incarnation is left."""

    agent: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class KillStuck:
    """SIGKILL was sent and something still lives, such as a process in state D."""

    agent: str
    incarnation: int
    evidence: str


@dataclass(frozen=True, slots=True)
class LinesReceived:
    """Valid lines of one incarnation, in order. `external` agents have incarnation 0."""

    agent: str
    incarnation: int
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True)
class LinesDropped:
    """Lines of an agent over its rate; what `lines` say was used counts all the same."""

    agent: str
    incarnation: int
    count: int
    lines: Sequence[Line] = ()


@dataclass(frozen=True, slots=True)
class Sampled:
    """The whole tree was measured: memory, CPU time used and bytes moved since its spawn."""

    agent: str
    incarnation: int
    rss_bytes: int
    cpu_ms: int | None = None
    io_bytes: int | None = None
    processes: int | None = None
    wait_channel: str = ""
    """Where in the kernel the leader sleeps; empty: it runs, or it can't be seen."""


@dataclass(frozen=True, slots=True)
class OomChild:
    """The kernel killed a helper of a living agent for memory."""

    agent: str
    incarnation: int
    evidence: str


@dataclass(frozen=True, slots=True)
class Froze:
    """The tree stands still (`frozen`), or could not be made to (`error`)."""

    agent: str
    incarnation: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Validated:
    """The validate command ended. `ok` or why not, in one line."""

    agent: str
    incarnation: int
    ok: bool
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class AgentAsked:
    """An agent sent a line that it wants an answer to; a `Reply` or a `Recall` gives it."""

    agent: str
    incarnation: int
    request: str
    """Identifies the asker for the answer; unique while it is open."""
    line: Question


@dataclass(frozen=True, slots=True)
class Judged:
    """The judge command ended; `error`: it gave no verdict, and why."""

    agent: str
    incarnation: int
    closer: bool = False
    confidence: float = 0.0
    reason: str = ""
    cost_micros: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """A look at a stalled agent, or at what an end left behind, has come back."""

    agent: str
    incarnation: int
    kind: Literal["stall", "death"]
    asked_at_ms: int = 0
    """As in the effect that it answers."""
    line: str = ""
    """The whole of it in one line: where it is stuck, or what it said last; empty: nothing."""
    evidence: Mapping[str, object] = field(default_factory=dict)
    """For the incident: `stack`, `sockets`, `wchan`, `syscall`, `log_tail` and so on."""


@dataclass(frozen=True, slots=True)
class MinuteEnded:
    """A minute of the wall clock is over; `begins_ms`: when it began, since 1970."""

    begins_ms: int


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed; deadlines that are due are handled."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The daemon itself, or the whole host, stood still for so long: nobody's silence."""

    gap_ms: int
    kind: Literal["stall", "suspend", "lag"]
    """`lag`: too short to be told, and nobody's silence all the same."""


@dataclass(frozen=True, slots=True)
class Requested:
    """An operator asks for something. `select` has been checked to be words, nothing more."""

    request: str
    """Identifies the asker for the `Reply`; unique while it is open."""
    cmd: str
    who: str
    """Shown and kept: user name or uid, and pid."""
    select: tuple[str, ...] = ()
    reason: str = ""
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a recorded agent while no daemon watched."""

    durable: Durable
    alive: bool = False
    pid: int | None = None
    stands: bool = False
    """Its process stands still."""
    unrecorded: bool = False
    """Its start is not on record: nothing could be written, or the store was lost."""
    code: int | None = None
    signal: int | None = None
    ended: bool = False
    """It had a process, and that is gone."""
    rebooted: bool = False
    evidence: str = ""
    baseline: Baseline | None = None
    """What its work usually costs, as far as that was written down."""


@dataclass(frozen=True, slots=True)
class Configured:
    """A new valid configuration, and what differs in it."""

    config: Config
    restart: frozenset[str] = frozenset()
    """Agents of which something that is executed changed."""
    applied: frozenset[str] = frozenset()
    """Agents of which something else changed."""
    remove: bool = True
    """Whether agents that are gone from the files are removed (explicit reload only)."""
    fates: Mapping[str, Fate] = field(default_factory=dict)
    """Agents that were recorded, and left out at the start because their file was wrong."""


@dataclass(frozen=True, slots=True)
class Started:
    """The daemon is up: what the store says, and what is found to be true."""

    fates: Mapping[str, Fate] = field(default_factory=dict)
    incidents: Sequence[IncidentRecord] = ()
    """Those that are open or were until lately, in time of this boot."""
    incident_next: int = 1
    """The number of the next incident."""
    spending: FleetSpending | None = None
    """What all hosts had spent when all were last seen, as far as that was written down."""


@dataclass(frozen=True, slots=True)
class PeriodsBegan:
    """The civil hour, day and month that it is now; told before `Started`, and at each change."""

    periods: Periods


@dataclass(frozen=True, slots=True)
class HostsSeen:
    """The link tells how the other hosts are; the `Reply` says what others are to know of us."""

    request: str
    view: HostsView


@dataclass(frozen=True, slots=True)
class PricesRead:
    """Published prices, as they stand in the price table from now on."""

    table: PriceTable


@dataclass(frozen=True, slots=True)
class ShutdownAsked:
    """The daemon is told to end: all agents stop, dependants first."""

    who: str = ""


@dataclass(frozen=True, slots=True)
class StorageChanged:
    """The store failed or works again."""

    ok: bool
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class ReaderLeft:
    """Whoever waits under this request is gone."""

    request: str


ProcessEvent = (
    Spawned
    | SpawnFailed
    | Exited
    | TreeEmpty
    | KillStuck
    | LinesDropped
    | Sampled
    | OomChild
    | Froze
    | Validated
    | Judged
    | Diagnosed
)

Event = (
    ProcessEvent
    | LinesReceived
    | AgentAsked
    | MinuteEnded
    | Ticked
    | Gap
    | Requested
    | Configured
    | Started
    | ShutdownAsked
    | StorageChanged
    | ReaderLeft
    | PeriodsBegan
    | HostsSeen
    | PricesRead
)
