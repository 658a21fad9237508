"""The lines of agents as they stand on the wire: one struct a type, bounds in the types.

Every field may be absent or null, which means: not said. Unknown fields are passed over.
"""

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

from agentd.wire.limits import (
    HASHES_MAX,
    Amount,
    Count,
    Dollars,
    Integer,
    Latencies,
    LineId,
    Millis,
    Name,
    Number,
    Seconds,
    Text,
    Tokens,
    has_infinite,
)

StatusWord = Literal[
    "ok",
    "working",
    "idle",
    "waiting_llm",
    "waiting_tool",
    "waiting_human",
    "shutting_down",
    "draining",
    "error",
    "done",
]
Hash = Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{1,16}\Z")]
# Twice a SHA-256 in hex: detectors keep many of them.
Fingerprint = Annotated[str, Meta(max_length=128)]
Attempt = Annotated[int, Meta(ge=1, le=1_000_000)]


class Said(Struct, gc=False):
    """What any line may carry: its type, its id, and a claim of who speaks."""

    type: Text | None = None
    id: LineId | None = None
    cmd: Text | None = None
    """Present in commands only (CONTRACT 5.2)."""
    agent: Text | None = None
    token: Text | None = None
    incarnation: Text | None = None


class UsageShape(Struct, gc=False):
    """Tokens of a call or cycle, in the names that providers use."""

    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None
    cache_write_input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None
    """Another name of the one above."""
    reasoning_output_tokens: Tokens | None = None


class ProgressShape(Struct, gc=False):
    """Progress as an amount of work."""

    done: Amount | None = None
    total: Amount | None = None
    state_fp: Fingerprint | None = None


class HeartbeatShape(Said, gc=False):
    """A heartbeat: the object without a type."""

    status: StatusWord | None = None
    tokens: Tokens | None = None
    tokens_used: Tokens | None = None
    usage: UsageShape | None = None
    cost_usd: Dollars | None = None
    model: Text | None = None
    provider: Text | None = None
    success: bool | None = None
    successes: Count | None = None
    failures: Count | None = None
    latency_ms: Millis | Latencies | None = None
    task: Text | None = None
    step: Text | Integer | Number | None = None
    tool: Text | None = None
    goal: Text | None = None
    progress: Annotated[float, Meta(ge=0, le=1)] | ProgressShape | None = None
    silence_s: Seconds | None = None
    retry_after_s: Seconds | None = None
    off_thread: bool | None = None
    dropped: Count | None = None
    seq: Integer | Text | None = None
    ts: Number | Text | None = None


class HelloShape(Said, gc=False):
    """A client introduces itself."""

    sdk: Text | None = None
    stack_signal: Count | None = None


class CallShape(Said, kw_only=True, gc=False):
    """A call of the agent begins or ends."""

    phase: Literal["start", "end"]
    call: Name
    op: Text | None = None
    provider: Text | None = None
    model: Text | None = None
    deadline_s: Seconds | None = None
    attempt: Attempt | None = None
    ok: bool | None = None
    ms: Millis | None = None
    usage: UsageShape | None = None
    cost_usd: Dollars | None = None
    error: Text | None = None


class StepShape(Said, gc=False):
    """One step of work, as fingerprints."""

    step: Text | Integer | Number | None = None
    note: Text | None = None
    tool: Text | None = None
    args_fp: Fingerprint | None = None
    args_nfp: Fingerprint | None = None
    args_len: Count | None = None
    out_fp: Fingerprint | None = None
    out_nfp: Fingerprint | None = None
    out_len: Count | None = None
    lines: Annotated[list[Hash], Meta(max_length=HASHES_MAX)] | None = None
    ok: bool | None = None
    error: Text | None = None
    poll: bool | None = None
    ms: Millis | None = None


class IntentShape(Said, kw_only=True, gc=False):
    """An action outside is about to be made."""

    key: Name
    action: Name
    idempotent: bool | None = None
    detail: Raw = Raw()

    def __post_init__(self) -> None:
        check_numbers("detail", self.detail)


class DoneShape(Said, kw_only=True, gc=False):
    """An action outside has been made, or has failed."""

    key: Name
    ok: bool | None = None


class CheckpointPutShape(Said, kw_only=True, gc=False):
    """State to be kept."""

    state: Raw

    def __post_init__(self) -> None:
        check_numbers("state", self.state)


class CheckpointGetShape(Said, gc=False):
    """State is asked for."""


class BreakerShape(Said, kw_only=True, gc=False):
    """A call of a shared dependency went well or not."""

    name: Name
    ok: bool
    attempt: Attempt | None = None
    error: Text | None = None


class BreakerAskShape(Said, kw_only=True, gc=False):
    """May a shared dependency be called now?"""

    name: Name


def check_numbers(name: str, kept: Raw) -> None:
    """Raise ValueError for JSON that not everybody it is handed to could read."""
    if has_infinite(bytes(kept)):
        raise ValueError(f"{name}: a number in it is too large for any reader")


class IdOnly(Struct, gc=False):
    """As much of a bad line as an answer needs."""

    id: LineId | None = None
