"""From the wire's shapes to the core's values: dollars to micro-dollars, seconds to ms."""

from collections.abc import Mapping
from typing import Final

import msgspec

from agentd.core.lines import (
    ActionBegun,
    ActionDone,
    BreakerAsk,
    BreakerReport,
    Call,
    CheckpointGet,
    CheckpointPut,
    Heartbeat,
    Hello,
    Status,
    Step,
    Usage,
)
from agentd.wire.limits import COUNT_STEP_MAX
from agentd.wire.shapes import (
    BreakerAskShape,
    BreakerShape,
    CallShape,
    CheckpointGetShape,
    CheckpointPutShape,
    DoneShape,
    HeartbeatShape,
    HelloShape,
    IntentShape,
    ProgressShape,
    StepShape,
    UsageShape,
)

MICROS: Final = 1_000_000
PICOS: Final = 1_000_000_000_000

# Below this cost a micro-dollar matters, and what is less than one is kept.
SMALL_USD: Final = 0.001
_STATUS: Final[Mapping[str | None, Status | None]] = {
    **{status.value: status for status in Status},
    "ok": Status.WORKING,
    "shutting_down": Status.DRAINING,
    None: None,
}


def heartbeat(said: HeartbeatShape) -> Heartbeat:
    """Make the core's heartbeat. Written for speed: rare fields are set after the common."""
    step = said.step
    cost = said.cost_usd
    tokens = said.tokens if said.tokens is not None else said.tokens_used
    progress = said.progress
    beat = Heartbeat(
        _STATUS[said.status],
        int(tokens) if type(tokens) is float else tokens,  # type: ignore[arg-type]
        None,
        None if cost is None else round(cost * MICROS),
        said.model,
        said.provider,
        said.successes or 0,
        said.failures or 0,
        (),
        said.task,
        step if step is None or isinstance(step, str) else _number(step),
        said.tool,
        said.goal,
        progress if type(progress) is not ProgressShape else None,  # type: ignore[arg-type]
    )
    if cost is not None and cost < SMALL_USD:
        beat.cost_micros, beat.cost_rest_picos = divmod(round(cost * PICOS), MICROS)
    if said.success is not None:
        # Bounded as what was sent is, so that a recorded line can be said again.
        beat.successes = min(beat.successes + said.success, COUNT_STEP_MAX)
        beat.failures = min(beat.failures + (not said.success), COUNT_STEP_MAX)
    if said.latency_ms is not None or said.usage is not None:
        beat.latencies_ms = _latencies(said.latency_ms)
        beat.usage = usage(said.usage)
    if said.silence_s is not None or said.retry_after_s is not None:
        beat.silence_ms = _ms(said.silence_s)
        beat.retry_after_ms = _ms(said.retry_after_s)
    if said.off_thread or said.dropped:
        beat.off_thread = bool(said.off_thread)
        beat.dropped = said.dropped or 0
    if said.ts is not None and not isinstance(said.ts, str):
        beat.sent_at_s = said.ts
    if isinstance(progress, ProgressShape):
        _set_progress(beat, progress)
    return beat


def usage(said: UsageShape | None) -> Usage | None:
    """Make the core's usage; None stays None."""
    if said is None:
        return None
    cache_write = said.cache_write_input_tokens
    if cache_write is None:
        cache_write = said.cache_creation_input_tokens
    return Usage(
        int(said.input_tokens or 0),
        int(said.output_tokens or 0),
        int(said.cache_read_input_tokens or 0),
        int(cache_write or 0),
        int(said.reasoning_output_tokens or 0),
    )


def hello(said: HelloShape) -> Hello:
    """Make the core's hello."""
    return Hello(said.sdk, None if said.stack_signal is None else int(said.stack_signal))


def call(said: CallShape) -> Call:
    """Make the core's call."""
    micros, rest_picos = _cost(said.cost_usd)
    return Call(
        call=said.call,
        start=said.phase == "start",
        op=said.op,
        provider=said.provider,
        model=said.model,
        deadline_ms=_ms(said.deadline_s),
        attempt=said.attempt or 1,
        ok=said.ok,
        took_ms=said.ms,
        usage=usage(said.usage),
        cost_micros=micros,
        error=said.error,
        cost_rest_picos=rest_picos,
    )


def _cost(cost_usd: float | None) -> tuple[int | None, int]:
    """Return micro-dollars, and of a small cost also what is less than one, in millionths."""
    if cost_usd is None:
        return None, 0
    if cost_usd >= SMALL_USD:
        return round(cost_usd * MICROS), 0
    return divmod(round(cost_usd * PICOS), MICROS)


def step(said: StepShape) -> Step:
    """Make the core's step; a step that doesn't say so went well unless it names an error."""
    number = said.step
    return Step(
        step=number if number is None or isinstance(number, str) else _number(number),
        note=said.note,
        tool=said.tool,
        args_fp=said.args_fp,
        args_nfp=said.args_nfp,
        args_len=said.args_len or 0,
        out_fp=said.out_fp,
        out_nfp=said.out_nfp,
        out_len=said.out_len or 0,
        lines=tuple(said.lines or ()),
        ok=said.error is None if said.ok is None else said.ok,
        error=said.error,
        poll=bool(said.poll),
        took_ms=said.ms,
    )


def intent(said: IntentShape) -> ActionBegun:
    """Make the core's begun action; one that doesn't say so is not safe to be made twice."""
    return ActionBegun(said.key, said.action, bool(said.idempotent), _json(said.detail))


def done(said: DoneShape) -> ActionDone:
    """Make the core's end of an action; it went well unless it says otherwise."""
    return ActionDone(said.key, ok=said.ok is not False)


def checkpoint_put(said: CheckpointPutShape) -> CheckpointPut:
    """Make the core's checkpoint; its state stays JSON."""
    return CheckpointPut(_json(said.state))


def checkpoint_get(_said: CheckpointGetShape) -> CheckpointGet:
    """Make the core's question for a checkpoint."""
    return CheckpointGet()


def breaker_report(said: BreakerShape) -> BreakerReport:
    """Make the core's report on a shared dependency."""
    return BreakerReport(said.name, said.ok, said.attempt or 1, said.error)


def breaker_ask(said: BreakerAskShape) -> BreakerAsk:
    """Make the core's question about a shared dependency."""
    return BreakerAsk(said.name)


def _json(raw: msgspec.Raw) -> str:
    return bytes(raw).decode()


def _number(value: float) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _latencies(said: float | list[float] | None) -> tuple[float, ...]:
    if said is None:
        return ()
    return tuple(said) if isinstance(said, list) else (said,)


def _set_progress(beat: Heartbeat, said: ProgressShape) -> None:
    beat.progress_fp = said.state_fp
    if said.done is not None and said.total:
        beat.progress = min(said.done / said.total, 1.0)
