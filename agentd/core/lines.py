"""What an agent says of itself, after validation: plain values in the units of the core.

`wire/lines.py` makes these from bytes. Whatever reaches the core has been checked: finite,
not negative, bounded in length. What an agent supplied is data, never code or markup.
"""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What an agent says it is doing."""

    WORKING = "working"
    IDLE = "idle"
    WAITING_LLM = "waiting_llm"
    WAITING_TOOL = "waiting_tool"
    WAITING_HUMAN = "waiting_human"
    DRAINING = "draining"
    ERROR = "error"
    DONE = "done"


@dataclass(slots=True)
class Usage:
    """Tokens of one call or cycle; cached input is part of `input_tokens`."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(slots=True)
class Heartbeat:
    """One beat of the work loop. `None` means: not said. Costs in micro-dollars."""

    status: Status | None = None
    tokens: int | None = None
    usage: Usage | None = None
    cost_micros: int | None = None
    model: str | None = None
    provider: str | None = None
    successes: int = 0
    failures: int = 0
    latencies_ms: tuple[float, ...] = ()
    task: str | None = None
    step: str | None = None
    tool: str | None = None
    goal: str | None = None
    progress: float | None = None
    """0..1; from `done`/`total` where those were sent."""
    progress_fp: str | None = None
    """The `state_fp` of a progress object."""
    silence_ms: int | None = None
    """Announced silence."""
    retry_after_ms: int | None = None
    off_thread: bool = False
    dropped: int = 0
    """Beats that the SDK had to drop before this one."""
    cost_rest_picos: int = 0
    """What of the cost is less than a micro-dollar, in millionths of one."""
    sent_at_s: float | None = None
    """The sender's own clock (`ts`), for diagnosis only."""


@dataclass(slots=True)
class Call:
    """A call of the agent to a model or a tool begins or ends."""

    call: str
    start: bool
    op: str | None = None
    provider: str | None = None
    model: str | None = None
    deadline_ms: int | None = None
    attempt: int = 1
    ok: bool | None = None
    took_ms: float | None = None
    usage: Usage | None = None
    cost_micros: int | None = None
    error: str | None = None
    cost_rest_picos: int = 0
    """As in a heartbeat."""


@dataclass(slots=True)
class Step:
    """One step of work, as fingerprints; no content."""

    step: str | None = None
    note: str | None = None
    tool: str | None = None
    args_fp: str | None = None
    args_nfp: str | None = None
    args_len: int = 0
    out_fp: str | None = None
    out_nfp: str | None = None
    out_len: int = 0
    lines: tuple[str, ...] = ()
    ok: bool = True
    error: str | None = None
    poll: bool = False
    took_ms: float | None = None


@dataclass(slots=True)
class Hello:
    """A client introduced itself."""

    sdk: str | None = None
    stack_signal: int | None = None
    """This signal has it write the stacks of its threads into its log; None: nothing was said."""


@dataclass(slots=True)
class Notify:
    """One sd_notify datagram of an agent, the parts that mean something to us."""

    ready: bool = False
    watchdog: bool = False
    stopping: bool = False
    status: str | None = None
    extend_ms: int | None = None
    mainpid: int | None = None


@dataclass(slots=True)
class ActionBegun:
    """An action outside is about to be made (`intent`); answered once that is durable."""

    key: str
    action: str
    idempotent: bool = False
    detail: str = ""
    """What the agent says of it, as JSON; empty: nothing."""


@dataclass(slots=True)
class ActionDone:
    """An action outside has been made, or has failed (`done`)."""

    key: str
    ok: bool = True


@dataclass(slots=True)
class CheckpointPut:
    """State to be kept, as JSON; answered once it is durable."""

    state: str


@dataclass(slots=True)
class CheckpointGet:
    """The last state kept is asked for, and what was in flight at the last crash."""


@dataclass(slots=True)
class BreakerReport:
    """A call of a shared dependency went well or not."""

    name: str
    ok: bool
    attempt: int = 1
    error: str | None = None


@dataclass(slots=True)
class BreakerAsk:
    """May a shared dependency be called now?"""

    name: str


Question = ActionBegun | ActionDone | CheckpointPut | CheckpointGet | BreakerReport | BreakerAsk
"""Lines whose answer, where one is wanted, is the core's."""

Line = Heartbeat | Call | Step | Hello | Notify | Question
