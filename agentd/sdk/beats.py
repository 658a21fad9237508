"""Heartbeats, and what leaves with them: reports, the goal, an announced silence."""

from __future__ import annotations

from time import time

from agentd.sdk import fields, link
from agentd.sdk.tally import Report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentd.sdk.link import Link


def heartbeat(
    *surplus: object,
    status: str | None = None,
    tokens: int | None = None,
    usage: object = None,
    cost_usd: float | None = None,
    model: str | None = None,
    provider: str | None = None,
    success: bool | None = None,
    successes: int | None = None,
    failures: int | None = None,
    latency_ms: float | Sequence[float] | None = None,
    task: str | None = None,
    step: str | float | None = None,
    tool: str | None = None,
    goal: str | None = None,
    progress: float | Mapping[str, object] | None = None,
    silence_s: float | None = None,
    retry_after_s: float | None = None,
    **others: object,
) -> None:
    """Say that the work loop has gone round once more, and what it did.

    Every field may be left out, and what isn't said is unknown, never zero. `tokens`, `usage`
    (a reply, a usage object, or a mapping) and `cost_usd` are of this cycle, the work since
    the last heartbeat. Call it from the thread that does the work: from any other it says
    only that the process lives. It returns at once and never raises; a wrong value is left
    out, and the rest is sent.
    """
    here = link.LINK
    if here.path is None:
        return
    said: dict[str, object] = {
        "status": status,
        "tokens": tokens,
        "usage": usage,
        "cost_usd": cost_usd,
        "model": model,
        "provider": provider,
        "success": success,
        "successes": successes,
        "failures": failures,
        "latency_ms": latency_ms,
        "task": task,
        "step": step,
        "tool": tool,
        "goal": goal,
        "progress": progress,
        "silence_s": silence_s,
        "retry_after_s": retry_after_s,
    }
    if others:
        said.update(others)
    if surplus:
        here.trouble("heartbeat takes its values by name")
    _beat(here, said)


def report(
    *surplus: object,
    success: bool | None = None,
    successes: int = 0,
    failures: int = 0,
    latency_ms: float | Sequence[float] | None = None,
    cost_usd: float | None = None,
    **others: object,
) -> None:
    """Note how a task went; the sums of all reports leave with the next heartbeat.

    At most 64 latencies are kept from one heartbeat to the next, the newest.
    """
    here = link.LINK
    if here.path is None:
        return
    try:
        right = [fields.whole(value, fields.COUNT_MAX) or 0 for value in (successes, failures)]
        if success is not None:
            right[0 if success else 1] += 1
        took_ms = [] if latency_ms is None else fields.latencies(latency_ms)
        cost = None if cost_usd is None else fields.amount(cost_usd, fields.COST_USD_MAX)
        here.tally.add(Report(right[0], right[1], took_ms, cost))
    except Exception as error:  # noqa: BLE001 - nothing is raised into the agent
        here.trouble(f"report: {type(error).__name__}")
    if surplus or others:
        here.trouble("report: unknown arguments")


def goal(text: str) -> None:
    """Say what all this work is for; the goal leaves with the next heartbeat."""
    here = link.LINK
    here.goal = text
    here.goal_told_on = 0


def expect_silence(seconds: float) -> None:
    """Say that no heartbeat will come for so long: a sleep, or a call that takes its time."""
    heartbeat(silence_s=seconds)


def parked(retry_after_s: float) -> None:
    """Say that the provider refuses until then; an exit meanwhile is no failure."""
    heartbeat(status="error", retry_after_s=retry_after_s)


def shutting_down() -> None:
    """Say that the agent ends as it should; `should_stop` is true from now on."""
    link.LINK.shutting_down = True
    heartbeat(status="shutting_down")


def _beat(here: Link, said: dict[str, object]) -> None:
    try:
        # Nearly always there is nothing but what was just said.
        reported = here.tally.take()
        if reported is not None:
            _merge(said, reported)
        if here.goal is not None and here.goal_told_on != (here.connections or 1):
            here.goal_told_on = here.connections or 1
            said["goal"] = here.goal if said["goal"] is None else said["goal"]
        if said["usage"] is not None:
            _read_usage(said)
        text, wrong = fields.written(said, fields.BEAT)
        if wrong:
            here.trouble(f"heartbeat:{wrong}")
        where = ',"off_thread":true' if here.is_off_thread() else ""
        drops, here.dropped = here.dropped, 0
        if drops:
            where += f',"dropped":{drops}'
        here.put(f'{{"seq":{next(here.numbers)},"ts":{time():.3f}{where}{text}}}', drops=drops)
    except Exception as error:  # noqa: BLE001 - nothing is raised into the agent
        here.trouble(f"heartbeat: {type(error).__name__}")


def _merge(said: dict[str, object], reported: Report) -> None:
    """Add what was reported to what the heartbeat says of its own."""
    own = Report(
        fields.whole(said["successes"]) or 0,
        fields.whole(said["failures"]) or 0,
        fields.latencies(said["latency_ms"]) if said["latency_ms"] is not None else [],
        fields.amount(said["cost_usd"], fields.COST_USD_MAX),
    )
    reported.add(own)
    said["successes"] = reported.successes or None
    said["failures"] = reported.failures or None
    said["latency_ms"] = reported.latencies_ms or None
    said["cost_usd"] = reported.cost_usd


def _read_usage(said: dict[str, object]) -> None:
    """Put the wire's names in place of a provider's usage, and its model if none was said."""
    from agentd.sdk import usage as usages  # noqa: PLC0415 - most agents never need it here

    found = usages.read(said["usage"])
    said["usage"] = found.tokens if found else "nothing that is known as usage"
    if found and said["model"] is None:
        said["model"] = found.model
