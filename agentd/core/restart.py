"""The restart policy: given how a run ended, what comes next, when, and why.

The words of the contract: automatic restarts are at least `cooldown` apart, start to
start; the first of a row comes at once; the failure that reaches `failures_max` calls a
human. Every cause has the same budget: crash, hang, OOM, leak.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agentd.config.agent import RestartConfig
from agentd.config.units import format_duration

# From the third start of a row on, never more than one spawn a second (FAULTS A8).
SPAWN_GAP_MS: Final = 1_000


class Next(StrEnum):
    """What follows the end of a run."""

    AGAIN = "again"
    COOLDOWN = "cooldown"
    ESCALATE = "escalate"
    FINISH = "finish"
    END = "end"


@dataclass(frozen=True, slots=True)
class Decision:
    """What is next, from when on, and why, as the user reads it."""

    next: Next
    at_ms: int
    why: str


def cooldown_ms(config: RestartConfig, row: int, jitter: Callable[[], float]) -> int:
    """The wait before the restart that follows `row` automatic restarts (`row` >= 1), in ms."""
    longest_ms = max(config.cooldown_max_ms, config.cooldown_ms)
    exponent = min(row - 1, 64)  # 2.0 ** 64 is beyond every cap, and an int still
    wait_ms = min(float(longest_ms), config.cooldown_ms * config.backoff**exponent)
    if config.jitter:
        wait_ms += config.cooldown_ms * config.jitter * jitter()
    return max(int(wait_ms), SPAWN_GAP_MS)


def decide(
    config: RestartConfig,
    *,
    failed: bool,
    failures: int,
    row: int,
    auto_start_at_ms: int | None,
    now_ms: int,
    jitter: Callable[[], float],
) -> Decision:
    """Decide what follows an end.

    `failures` counts failures in a row, this one included; `row` the automatic restarts
    made in it, the last of them at `auto_start_at_ms`.
    """
    if failed and failures >= config.failures_max and config.policy != "never":
        return Decision(
            Next.ESCALATE, now_ms, f"failure {failures} of {config.failures_max} in a row"
        )
    if config.policy == "never" or (config.policy == "on-failure" and not failed):
        return Decision(Next.END if failed else Next.FINISH, now_ms, f"policy {config.policy}")
    told = f"failure {failures} of {config.failures_max}" if failed else "policy always"
    if row == 0 or auto_start_at_ms is None:
        return Decision(Next.AGAIN, now_ms, f"{told}, the first restart of a row")
    at_ms = auto_start_at_ms + cooldown_ms(config, row, jitter)
    if at_ms <= now_ms:
        return Decision(Next.AGAIN, now_ms, f"{told}, the cooldown is over")
    return Decision(Next.COOLDOWN, at_ms, f"{told}, next start in {_rounded(at_ms - now_ms)}")


def _rounded(duration_ms: int) -> str:
    """Whole seconds are enough for people, once there are any."""
    whole_s = -(-duration_ms // 1_000)
    return format_duration(whole_s * 1_000 if whole_s > 1 else duration_ms)
