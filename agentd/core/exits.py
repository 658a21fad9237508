"""How a run ended → stop reason, evidence, and whether it counts as a failure.

Never invent: an OOM kill needs the kernel's counter, 137 alone is only an exit code, and
an end that nobody could see is UNKNOWN.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agentd.config.units import format_duration
from agentd.core.agent import After, Agent
from agentd.core.events import Exited
from agentd.core.lines import Status
from agentd.core.records import first_clause
from agentd.core.states import StopReason

SIGKILL: Final = 9
# A shell reports the SIGKILL of its child as 128 + 9.
SHELL_SIGKILL: Final = 137

SIGNALS: Final[Mapping[int, str]] = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    5: "SIGTRAP",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    10: "SIGUSR1",
    11: "SIGSEGV",
    12: "SIGUSR2",
    13: "SIGPIPE",
    14: "SIGALRM",
    15: "SIGTERM",
    16: "SIGSTKFLT",
    24: "SIGXCPU",
    25: "SIGXFSZ",
    26: "SIGVTALRM",
    27: "SIGPROF",
    29: "SIGIO",
    30: "SIGPWR",
    31: "SIGSYS",
}


@dataclass(frozen=True, slots=True)
class End:
    """A classified end."""

    reason: StopReason
    evidence: str
    failed: bool
    silent: bool = False
    """Exit 0 of an agent that should have said so."""
    by_hand: bool = False
    """A person's plain signal ended it: it counts, and nobody is paged for it."""
    brief: str = ""
    """The evidence for where all of it was told before; empty: none of it was."""

    @property
    def told(self) -> str:
        return self.brief or self.evidence


def classify(agent: Agent, exited: Exited, now_ms: int, down: Sequence[str]) -> End:
    """Name the end of this run; `down` are dependencies of it that are out."""
    how = _how(exited)
    if agent.stop is not None:
        took = format_duration(max(0, now_ms - agent.stop.begun_at_ms) // 100 * 100)
        ended = f"{how} after {took}"
        if exited.signal == SIGKILL and exited.evidence.oom_kills > 0:
            ended += f", {_oom(exited)}"  # the kernel came before us
        evidence = "; ".join(part for part in (agent.stop.evidence, ended) if part)
        if agent.stop.after is not After.POLICY:
            return End(agent.stop.reason, evidence, failed=False)
        brief = f"{first_clause(agent.stop.evidence)}; {ended}" if agent.stop.evidence else ended
        return End(agent.stop.reason, evidence, failed=True, brief=brief)
    if exited.code is None and exited.signal is None:
        note = exited.evidence.note or "it ended while nobody could see how"
        return End(StopReason.UNKNOWN, note, failed=True)
    if exited.evidence.oom_kills > 0 and (exited.signal == SIGKILL or exited.code == SHELL_SIGKILL):
        return End(StopReason.OOM_KILLED, f"{how}; {_oom(exited)}", failed=True)
    if exited.signal is not None:
        sender = _sender(agent, exited.signal, now_ms)
        unknown = ", sender unknown, no OOM evidence" if exited.signal == SIGKILL else ""
        told = _with_notes(agent, exited, how + (sender or unknown))
        return End(StopReason.CRASHED, told, failed=True, by_hand=bool(sender))
    if exited.code in agent.config.success_exit_codes:
        told = _with_notes(agent, exited, how)
        silent = _is_silent(agent, exited)
        if silent:
            told += ', it never said "done" or "draining"'
        return End(StopReason.COMPLETED, told, failed=False, silent=silent)
    told = _with_notes(agent, exited, how)
    if down:
        return End(
            StopReason.DEPENDENCY_DOWN, f"{told}, while {', '.join(down)} is down", failed=True
        )
    return End(StopReason.EXITED, told, failed=True)


def _how(exited: Exited) -> str:
    if exited.signal is not None:
        return f"signal {exited.signal} ({SIGNALS.get(exited.signal, 'unnamed')})"
    if exited.code is not None:
        return f"exit code {exited.code}"
    return "exit status unknown"


def _sender(agent: Agent, number: int, now_ms: int) -> str:
    """Return whose plain signal this was; empty where nobody had us send it."""
    sent = agent.signalled
    if sent is None or sent.name != SIGNALS.get(number):
        return ""
    before = format_duration(max(0, now_ms - sent.at_ms) // 100 * 100)
    return f", sent by `agentctl signal` of {sent.who} {before} before"


def _oom(exited: Exited) -> str:
    seen = exited.evidence
    parts = [seen.oom_source or f"oom_kill rose by {seen.oom_kills}"]
    if seen.rss_bytes is not None:
        parts.append(f"{seen.rss_bytes / (1 << 20):.0f} MiB at its last sample")
    if seen.limit_bytes:
        parts.append(f"limit {seen.limit_bytes / (1 << 20):.0f} MiB")
    return ", ".join(parts)


def _with_notes(agent: Agent, exited: Exited, told: str) -> str:
    parts = [told]
    if not agent.durable.ready:
        parts.append("never became ready")
    if exited.evidence.oom_kills > 0:
        parts.append(f"a helper was killed for memory ({_oom(exited)})")
    if exited.evidence.survivors:
        left = exited.evidence.survivors
        one = "1 process outlived it and was killed"
        parts.append(one if left == 1 else f"{left} processes outlived it and were killed")
    if exited.evidence.note:
        parts.append(exited.evidence.note)
    return ", ".join(parts)


def _is_silent(agent: Agent, exited: Exited) -> bool:
    if exited.code != 0 or not agent.config.heartbeat.required:
        return False
    return agent.telemetry.status not in (Status.DONE, Status.DRAINING)
