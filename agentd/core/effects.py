"""What is asked for, as data that does nothing. An effect returns nothing; what came of it
is a new event.

The performer keeps their order, and performs an effect that touches the world (`Spawn`,
`Signal`, `KillTree`, `Freeze`, `Thaw`, `Validate`, `Run`, `Alert`, `Reply`, `Control`) only
when every `Persist` and `Journal` before it is durable.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from agentd.core.host_views import FleetSpending
from agentd.core.records import Action, Baseline, Durable, IncidentRecord, Record, Rollup


@dataclass(frozen=True, slots=True)
class Persist:
    """Make this durable. `durable` is a snapshot: the core never touches it again."""

    agent: str
    durable: Durable
    lazy: bool = False
    """Counters only: may wait some seconds, and nothing waits for it."""


@dataclass(frozen=True, slots=True)
class PersistBaseline:
    """Keep what this agent's work usually costs; nothing waits for it."""

    agent: str
    baseline: Baseline


@dataclass(frozen=True, slots=True)
class PersistSpending:
    """Keep what all hosts had spent when all were last seen; nothing waits for it."""

    spending: FleetSpending


@dataclass(frozen=True, slots=True)
class Forget:
    """The agent was removed; its history stays."""

    agent: str


@dataclass(frozen=True, slots=True)
class Journal:
    """Add one entry to the journal; followers see it once it is durable."""

    record: Record


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a process for this incarnation; answered by `Spawned` or `SpawnFailed`.

    Dropped if a process of another incarnation of this agent still lives.
    """

    agent: str
    incarnation: int
    incarnation_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to one incarnation: to its leader, or with `tree` to every process of it.

    Dropped if that incarnation is gone by now, so that a late signal never hits a stranger
    who was given the same pid. SIGTERM is followed by SIGCONT where the process is stopped.
    """

    agent: str
    incarnation: int
    signal: str
    tree: bool = False


@dataclass(frozen=True, slots=True)
class KillTree:
    """SIGKILL to every process of this incarnation; answered by `Exited` (where the leader
    lived) and `TreeEmpty`, or by `KillStuck` while something survives.
    """

    agent: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Freeze:
    """Stop the whole tree where it stands; answered by `Froze`."""

    agent: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Thaw:
    """Let a frozen tree go on."""

    agent: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Validate:
    """Run the validate command of an agent that is about to start; answered by `Validated`."""

    agent: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Run:
    """Run the agent's on_escalate command, `payload` as JSON on its stdin."""

    agent: str
    payload: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Alert:
    """Tell people. Whoever has no sink drops it. `record` is journaled in the same step."""

    record: Record
    kind: Literal["trigger", "reminder", "acknowledge", "resolve"] = "trigger"
    incident: IncidentRecord | None = None
    """The incident that it belongs to, as it is now."""


@dataclass(frozen=True, slots=True)
class PersistIncident:
    """Make this incident durable as it is now."""

    incident: IncidentRecord


@dataclass(frozen=True, slots=True)
class SaveEvidence:
    """Keep what was seen of an agent with its incident; a later look stands beside it."""

    incident: int
    agent: str
    kind: Literal["stall", "death"]
    evidence: Mapping[str, object]
    """Bounded by whoever collected it; plain values."""


@dataclass(frozen=True, slots=True)
class SaveRollups:
    """Keep what agents did in one minute; nothing waits for it."""

    rollups: tuple[Rollup, ...]


@dataclass(frozen=True, slots=True)
class Diagnose:
    """Look at an agent before anything is done to it (`stall`), or at what its end left
    behind (`death`); answered by `Diagnosed`.
    """

    agent: str
    incarnation: int
    kind: Literal["stall", "death"]
    asked_at_ms: int = 0
    """Which look this is; the answer names it."""
    context: Mapping[str, object] = field(default_factory=dict)
    """What the core knows: `last_steps`, `open_call`, `exit`; the answer has it too."""
    stack_signal: int = 0
    """The signal that has the agent write its stacks, by its own word; 0: there is none."""


@dataclass(frozen=True, slots=True)
class Control:
    """A control line to the agent's connections: pause, resume, stop, steer."""

    agent: str
    incarnation: int
    action: str
    reason: str
    data: Mapping[str, object] = field(default_factory=dict)
    """Further fields of the line."""


@dataclass(frozen=True, slots=True)
class SaveCheckpoint:
    """Keep what an agent wants to find again; of one execution the last few are kept."""

    agent: str
    execution: str
    seq: int
    """Rises by one with each checkpoint of an agent."""
    incarnation_id: str
    state: str
    """JSON."""


@dataclass(frozen=True, slots=True)
class Recall:
    """Answer an agent's question with its last checkpoint and what it had in flight."""

    request: str
    agent: str
    execution: str
    unfinished: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Judge:
    """Run the agent's judge command, `payload` and its log tail as JSON on its stdin;
    answered by `Judged`.
    """

    agent: str
    incarnation: int
    payload: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer a request: `result`, or an error of CONTRACT 5.2 as (code, message, hint)."""

    request: str
    result: Mapping[str, object] | None = None
    error: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """Every agent is down, and the daemon may end."""


Effect = (
    Persist
    | PersistBaseline
    | PersistSpending
    | PersistIncident
    | SaveEvidence
    | SaveRollups
    | Forget
    | Journal
    | Spawn
    | Signal
    | KillTree
    | Freeze
    | Thaw
    | Validate
    | Run
    | Alert
    | Control
    | SaveCheckpoint
    | Recall
    | Judge
    | Diagnose
    | Reply
    | Exit
)
