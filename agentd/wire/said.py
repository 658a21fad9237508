"""From the core's values back to the wire: what an agent said, as it might have said it.

The inverse of `convert`, but for content: the state of a checkpoint, the detail of an action
and the note of a step stay out.
"""

from collections.abc import Mapping
from typing import Final

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
    Line,
    Notify,
    Step,
    Usage,
)

_PICOS_PER_MICRO: Final = 1_000_000
_PICOS_PER_USD: Final = 1_000_000_000_000

Said = dict[str, object]


def as_said(line: Line) -> Said:
    """Return a line as an object of CONTRACT 5.1; a datagram as `{"notify": its text}`."""
    match line:
        case Heartbeat():
            return _told(_heartbeat(line))
        case Call():
            return _told(_call(line))
        case Step():
            return _told(_step(line))
        case Notify():
            return {"notify": _datagram(line)}
        case Hello():
            return _told({"type": "hello", "sdk": line.sdk, "stack_signal": line.stack_signal})
        case _:
            return _told(_question(line))


def _told(fields: Mapping[str, object]) -> Said:
    """Leave out what was not said."""
    return {name: value for name, value in fields.items() if value is not None}


def _heartbeat(beat: Heartbeat) -> Said:
    progress: object = beat.progress
    if beat.progress_fp is not None:
        amount: Said = {"state_fp": beat.progress_fp}
        if beat.progress is not None:
            amount |= {"done": beat.progress, "total": 1}
        progress = amount
    return {
        "status": beat.status,
        "tokens": beat.tokens,
        "usage": _usage(beat.usage),
        "cost_usd": _dollars(beat.cost_micros, beat.cost_rest_picos),
        "model": beat.model,
        "provider": beat.provider,
        "successes": beat.successes or None,
        "failures": beat.failures or None,
        "latency_ms": list(beat.latencies_ms) or None,
        "task": beat.task,
        "step": beat.step,
        "tool": beat.tool,
        "goal": beat.goal,
        "progress": progress,
        "silence_s": _seconds(beat.silence_ms),
        "retry_after_s": _seconds(beat.retry_after_ms),
        "off_thread": beat.off_thread or None,
        "dropped": beat.dropped or None,
        "ts": beat.sent_at_s,
    }


def _call(call: Call) -> Said:
    return {
        "type": "call",
        "phase": "start" if call.start else "end",
        "call": call.call,
        "op": call.op,
        "provider": call.provider,
        "model": call.model,
        "deadline_s": _seconds(call.deadline_ms),
        "attempt": call.attempt,
        "ok": call.ok,
        "ms": call.took_ms,
        "usage": _usage(call.usage),
        "cost_usd": _dollars(call.cost_micros, call.cost_rest_picos),
        "error": call.error,
    }


def _step(step: Step) -> Said:
    return {
        "type": "step",
        "step": step.step,
        "tool": step.tool,
        "args_fp": step.args_fp,
        "args_nfp": step.args_nfp,
        "args_len": step.args_len or None,
        "out_fp": step.out_fp,
        "out_nfp": step.out_nfp,
        "out_len": step.out_len or None,
        "lines": list(step.lines) or None,
        "ok": step.ok,
        "error": step.error,
        "poll": step.poll or None,
        "ms": step.took_ms,
    }


def _question(line: Line) -> Said:
    match line:
        case ActionBegun():
            told: Said = {"key": line.key, "action": line.action, "idempotent": line.idempotent}
            return {"type": "intent", **told}
        case ActionDone():
            return {"type": "done", "key": line.key, "ok": line.ok}
        case CheckpointPut():
            return {"type": "checkpoint.put", "state": {}}
        case CheckpointGet():
            return {"type": "checkpoint.get"}
        case BreakerReport():
            told = {"name": line.name, "ok": line.ok, "attempt": line.attempt}
            return {"type": "breaker", **told, "error": line.error}
        case BreakerAsk():
            return {"type": "breaker.ask", "name": line.name}
        case _:
            raise AssertionError(line)


def _datagram(said: Notify) -> str:
    usec = None if said.extend_ms is None else said.extend_ms * 1_000
    assigned = {
        "READY": int(said.ready) or None,
        "WATCHDOG": int(said.watchdog) or None,
        "STOPPING": int(said.stopping) or None,
        "STATUS": said.status,
        "EXTEND_TIMEOUT_USEC": usec,
        "MAINPID": said.mainpid,
    }
    # One that says nothing of meaning is no datagram to its reader; this is as little.
    return "\n".join(f"{name}={value}" for name, value in _told(assigned).items()) or "X=1"


def _usage(usage: Usage | None) -> Said | None:
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_write_input_tokens": usage.cache_write_tokens,
        "reasoning_output_tokens": usage.reasoning_tokens,
    }


def _dollars(micros: int | None, rest_picos: int) -> float | None:
    if micros is None:
        return None
    return (micros * _PICOS_PER_MICRO + rest_picos) / _PICOS_PER_USD


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1_000
