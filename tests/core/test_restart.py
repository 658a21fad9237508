"""The restart policy, both sides of each bound."""

import pytest

from agentd.config.agent import RestartConfig
from agentd.config.units import Milliseconds
from agentd.core.restart import SPAWN_GAP_MS, Decision, Next, cooldown_ms, decide

COOLDOWN = Milliseconds(300_000)


def ask(config: RestartConfig, now_ms: int = 1_000_000, **facts: int | bool | None) -> Decision:
    known: dict[str, int | bool | None] = {
        "failed": True,
        "failures": 1,
        "row": 0,
        "auto_start_at_ms": None,
        **facts,
    }
    return decide(config, now_ms=now_ms, jitter=lambda: 0.5, **known)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "facts", "expected"),
    [
        ("on-failure", {"failures": 1}, Next.AGAIN),  # the first of a row comes at once
        ("on-failure", {"failures": 2, "row": 1, "auto_start_at_ms": 999_000}, Next.COOLDOWN),
        ("on-failure", {"failures": 2, "row": 1, "auto_start_at_ms": 700_001}, Next.COOLDOWN),
        ("on-failure", {"failures": 2, "row": 1, "auto_start_at_ms": 700_000}, Next.AGAIN),
        ("on-failure", {"failures": 3, "row": 2, "auto_start_at_ms": 0}, Next.ESCALATE),
        ("on-failure", {"failed": False, "failures": 0}, Next.FINISH),
        ("always", {"failed": False, "failures": 0}, Next.AGAIN),
        (
            "always",
            {"failed": False, "failures": 0, "row": 1, "auto_start_at_ms": 900_000},
            Next.COOLDOWN,
        ),
        ("always", {"failures": 3, "row": 2, "auto_start_at_ms": 0}, Next.ESCALATE),
        ("never", {"failures": 1}, Next.END),
        ("never", {"failures": 3}, Next.END),  # nothing restarts, so nothing escalates
        ("never", {"failed": False, "failures": 0}, Next.FINISH),
    ],
)
def test_policy_decides(policy: str, facts: dict[str, int | bool], expected: Next) -> None:
    assert ask(RestartConfig(policy=policy), **facts).next is expected  # type: ignore[arg-type]


def test_cooldown_counts_from_start_to_start() -> None:
    decision = ask(RestartConfig(), failures=2, row=1, auto_start_at_ms=900_000)
    assert decision.at_ms == 900_000 + COOLDOWN


@pytest.mark.parametrize(
    ("backoff", "row", "expected_ms"),
    [
        (1.0, 1, 300_000),
        (1.0, 9, 300_000),
        (2.0, 1, 300_000),
        (2.0, 2, 600_000),
        (2.0, 3, 1_200_000),
        (2.0, 5, 3_600_000),
        (2.0, 5_000, 3_600_000),  # capped, and no overflow
    ],
)
def test_backoff_grows_up_to_the_cap(backoff: float, row: int, expected_ms: int) -> None:
    assert cooldown_ms(RestartConfig(backoff=backoff), row, lambda: 0.0) == expected_ms


def test_a_cooldown_longer_than_the_cap_stands() -> None:
    config = RestartConfig(cooldown_ms=Milliseconds(7_200_000))
    assert cooldown_ms(config, 1, lambda: 0.0) == 7_200_000


def test_jitter_adds_its_share_of_the_cooldown() -> None:
    assert cooldown_ms(RestartConfig(jitter=0.2), 1, lambda: 0.5) == 330_000


def test_a8_never_more_than_one_spawn_a_second_from_the_third_start_on() -> None:
    config = RestartConfig(cooldown_ms=Milliseconds(0), failures_max=100)
    decision = ask(config, now_ms=50, failures=2, row=1, auto_start_at_ms=40)
    assert decision == Decision(Next.COOLDOWN, 40 + SPAWN_GAP_MS, decision.why)
