"""One agent as the core knows it: what must last (`Durable`) and what is only true now."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from agentd.config.agent import AgentConfig
from agentd.core.detectors.latency import LatencyDetector
from agentd.core.drift import Judging
from agentd.core.events import AgentAsked, Diagnosed, Exited
from agentd.core.lines import Line
from agentd.core.memory import Memory
from agentd.core.progress import Progress
from agentd.core.records import Durable
from agentd.core.spending import Spending
from agentd.core.states import Health, Intent, State, StopReason, Trigger, advance
from agentd.core.tally import Tally
from agentd.core.telemetry import Telemetry
from agentd.core.work import Work

TRANSITIONS_KEPT: Final = 20
CALLS_OPEN_MAX: Final = 64
EARLY_LINES_MAX: Final = 64


class Presence(StrEnum):
    """How much of a process there is; finer than `State`, and nobody's wish."""

    NONE = "none"
    VALIDATING = "validating"
    SPAWNING = "spawning"
    ALIVE = "alive"
    LEADERLESS = "leaderless"
    """The leader is gone and something of its tree still lives."""


class After(StrEnum):
    """What follows a stop that we began."""

    STAY = "stay"
    AGAIN = "again"
    POLICY = "policy"
    """It counts as a failure, and the restart policy decides."""
    REMOVE = "remove"


@dataclass(slots=True)
class Stop:
    """A stop that is under way: why, since when, and what comes after it."""

    reason: StopReason
    evidence: str
    after: After
    begun_at_ms: int
    kill_at_ms: int | None
    """When patience ends; `None` once SIGKILL was sent, and while it is only asked."""
    ask_until_ms: int | None = None
    """Up to then it is only asked to commit and exit."""
    heard_since_asked: bool = False
    """Whether the question may have reached it; a new daemon has to ask again."""
    killed_at_ms: int | None = None
    """When SIGKILL was sent, last."""
    given_up_at_ms: int | None = None
    """Since when nobody waits any more for the end of what survives it."""
    seen: Mapping[str, object] = field(default_factory=dict)
    """What a look showed right before, where only the end of the run is told of."""


@dataclass(frozen=True, slots=True)
class Signalled:
    """A plain signal that somebody had us send to the leader."""

    name: str
    who: str
    at_ms: int


@dataclass(slots=True)
class Look:
    """A look at a stalled agent: what was found of its health waits for what is seen."""

    health: Health
    """What is told when the look is over; unknown: that it never became ready."""
    asked_at_ms: int
    until_ms: int
    """Then it is told without an answer."""
    context: dict[str, object]
    """What the core knew when it asked."""
    answer: Diagnosed | None = None


@dataclass(slots=True)
class OpenCall:
    """A call that has begun and not ended."""

    label: str
    begun_at_ms: int
    until_ms: int
    """Up to then it explains silence."""
    model: str | None = None
    provider: str | None = None


@dataclass(slots=True)
class Transition:
    """A change of state, for people."""

    at_ms: int
    state: State
    why: str


@dataclass(slots=True)
class Agent:
    """One agent's record. Only `move` assigns its state."""

    name: str
    config: AgentConfig
    durable: Durable = field(default_factory=Durable)
    presence: Presence = Presence.NONE
    pid: int | None = None
    since_ms: int = 0
    """When the present state began."""
    awaiting: str = ""
    """Why a start is due that could not be made yet; empty: none is due."""
    stop: Stop | None = None
    ended: Exited | None = None
    """How the leader ended, while its tree is not empty yet."""
    stuck: str = ""
    """What survives SIGKILL, as last reported."""
    signalled: Signalled | None = None
    """The last plain signal to this incarnation."""
    ended_by_hand: bool = False
    """A person's plain signal ended the last run: people know why there is another."""
    shortages: int = 0
    """Spawns in a row that failed for want of something on the host."""
    shortage_until_ms: int | None = None
    alive_at_ms: int | None = None
    """Last sign of life: heartbeat, end of a call or a step, or what stands for it."""
    beat_at_ms: int | None = None
    """Last heartbeat of this incarnation."""
    hold_until_ms: int | None = None
    """Up to then silence is expected: announced, or a human is waited for."""
    early: list[Line | AgentAsked] = field(default_factory=list)
    """Lines and questions that came before the news of its own spawn."""
    calls: dict[str, OpenCall] = field(default_factory=dict)
    noted: Health = Health.UNKNOWN
    """The health that was last told; what is shown is computed anew each time."""
    look: Look | None = None
    """A look before its health is told; None: nothing is waited for."""
    healthy_since_ms: int | None = None
    draining_since_ms: int | None = None
    """When this incarnation first said that it is shutting down."""
    troubled: bool = False
    """Something was told to people that a recovery must be told after."""
    armed_ms: int | None = None
    checkpoint_told_at_ms: int | None = None
    telemetry: Telemetry = field(default_factory=Telemetry)
    tally: Tally = field(default_factory=Tally)
    spending: Spending = field(default_factory=Spending)
    memory: Memory = field(default_factory=Memory)
    progress: Progress = field(default_factory=Progress)
    work: Work = field(default_factory=Work)
    judging: Judging = field(default_factory=Judging)
    latencies: dict[str, LatencyDetector] = field(default_factory=dict)
    """By kind of work; what is usual outlives an incarnation."""
    transitions: deque[Transition] = field(default_factory=lambda: deque(maxlen=TRANSITIONS_KEPT))

    def __post_init__(self) -> None:
        self.spending.configure(self.config)

    @property
    def state(self) -> State:
        return self.durable.state

    @property
    def intent(self) -> Intent:
        return self.durable.intent

    @property
    def incarnation(self) -> int:
        return self.durable.incarnation

    @property
    def paused_at_ms(self) -> int | None:
        """Since when its clocks stand still."""
        return self.durable.paused_at_ms

    @paused_at_ms.setter
    def paused_at_ms(self, at_ms: int | None) -> None:
        self.durable.paused_at_ms = at_ms

    @property
    def has_process(self) -> bool:
        """Whether a process of it may live, however little of it."""
        return self.presence not in (Presence.NONE, Presence.VALIDATING)

    @property
    def is_given_up(self) -> bool:
        """Whether nobody waits for its end any more, though something of it survives SIGKILL."""
        return self.stop is not None and self.stop.given_up_at_ms is not None

    @property
    def is_ready(self) -> bool:
        """Whether what depends on it may start; a job that is done has prepared its ground."""
        if self.state is State.COMPLETED:
            return True
        up = self.intent is Intent.UP and self.state in (State.RUNNING, State.PARKED)
        return up and self.durable.ready

    def move(self, trigger: Trigger, now_ms: int, why: str) -> None:
        """Change the state along the table, and remember when and why."""
        state = advance(self.durable.state, trigger)
        if state is not self.durable.state:
            self.durable.state = state
            self.since_ms = now_ms
            self.transitions.append(Transition(now_ms, state, why))

    def snapshot(self) -> Durable:
        """A copy of what must last, for the store: the core will not touch it again."""
        return self.durable.copy()

    def forget_run(self) -> None:
        """Drop what was true of the incarnation that is gone."""
        self.presence = Presence.NONE
        self.pid = None
        self.stop = None
        self.ended = None
        self.stuck = ""
        self.signalled = None
        self.look = None
        self.paused_at_ms = None
        self.alive_at_ms = None
        self.beat_at_ms = None
        self.hold_until_ms = None
        self.early.clear()
        self.calls.clear()
        self.healthy_since_ms = None
        self.draining_since_ms = None
        self.progress = Progress()
        self.judging.begin()
        self.noted = Health.UNKNOWN
        self.durable.ready = False
        self.durable.outdated = False
        self.durable.stop_reason = None
        self.durable.stop_evidence = ""
        self.durable.stop_after = ""
        self.durable.stop_asks = False


def local_dependencies(agent: Agent) -> Iterator[str]:
    """The agents of this host that it depends on; `host/agent` is another host's matter."""
    return (name for name in agent.config.depends_on if "/" not in name)
