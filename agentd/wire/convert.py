"""From the wire's shapes to the core's values: dollars to micro-dollars, seconds to ms."""

from collections.abc import Mapping
from typing import Final

import msgspec

from agentd.core.lines import Call, Heartbeat, Hello, Request, Status, Step, Usage
from agentd.wire.shapes import (
    CallShape,
    HeartbeatShape,
    HelloShape,
    ProgressShape,
    Said,
    StepShape,
    UsageShape,
)

MICROS: Final = 1_000_000
_STATUS: Final[Mapping[str | None, Status | None]] = {
    **{status.value: status for status in Status},
    "ok": Status.WORKING,
    "shutting_down": Status.DRAINING,
    None: None,
}
_OF_THE_ENVELOPE: Final = frozenset(Said.__struct_fields__)


def heartbeat(said: HeartbeatShape) -> Heartbeat:
    """Make the core's heartbeat. Written for speed: rare fields are set after the common."""
    step = said.step
    cost = said.cost_usd
    progress = said.progress
    beat = Heartbeat(
        _STATUS[said.status],
        said.tokens,
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
    if said.success is not None:
        beat.successes += said.success
        beat.failures += not said.success
    if said.latency_ms is not None or said.usage is not None:
        beat.latencies_ms = _latencies(said.latency_ms)
        beat.usage = usage(said.usage)
    if said.silence_s is not None or said.retry_after_s is not None:
        beat.silence_ms = _ms(said.silence_s)
        beat.retry_after_ms = _ms(said.retry_after_s)
    if said.off_thread or said.dropped:
        beat.off_thread = bool(said.off_thread)
        beat.dropped = said.dropped or 0
    if said.tokens_used is not None and said.tokens is None:
        beat.tokens = said.tokens_used
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
        said.input_tokens or 0,
        said.output_tokens or 0,
        said.cache_read_input_tokens or 0,
        cache_write or 0,
        said.reasoning_output_tokens or 0,
    )


def hello(said: HelloShape) -> Hello:
    """Make the core's hello."""
    return Hello(said.sdk)


def call(said: CallShape) -> Call:
    """Make the core's call."""
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
        cost_micros=None if said.cost_usd is None else round(said.cost_usd * MICROS),
        error=said.error,
    )


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


def request(said: Said) -> Request:
    """Make a request of its own fields, the envelope left out; raw JSON stays bytes."""
    fields: dict[str, object] = {}
    for name in said.__struct_fields__:
        if name not in _OF_THE_ENVELOPE:
            value = getattr(said, name)
            fields[name] = bytes(value) or None if isinstance(value, msgspec.Raw) else value
    line_id = None if said.id is None else str(said.id)
    return Request(said.type or "", line_id, fields)


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
