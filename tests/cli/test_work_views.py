"""What an agent is doing right now, as `status NAME` and `top` show it."""

import time
from collections.abc import Iterator

import pytest

from agentd.cli.views.agents import top_table
from agentd.cli.views.details import details
from agentd.cli.views.table import plain
from tests.cli.stub import agent, status


@pytest.fixture(autouse=True)
def _utc(_environment: None) -> Iterator[None]:
    time.tzset()
    yield
    time.tzset()


def test_an_open_call_is_shown_with_its_age_and_its_deadline() -> None:
    waiting = {"label": "chat openai gpt-x", "open_s": 42.0, "left_s": 558.0}
    shown = agent("order-processor", open_call=waiting, task="t", step=None)
    assert (
        plain(top_table(status(shown))).splitlines()[1].endswith("t          chat openai gpt-x 42s")
    )
    line = "  call       chat openai gpt-x, open for 42s, 9m18s to its deadline\n"
    assert line in details(shown)
    late = agent("order-processor", open_call={**waiting, "left_s": None})
    assert "chat openai gpt-x 42s, past its deadline" in plain(top_table(status(late)))
    assert "open for 42s, past its deadline\n" in details(late)


def test_the_last_changes_of_state_are_shown_the_latest_first() -> None:
    changes = [
        {"time": f"2026-11-21T08:0{number}:00.000Z", "state": state, "why": f"reason {number}"}
        for number, state in enumerate(["starting", "running", "stopping", "cooldown"])
    ]
    [line] = [
        line
        for line in details(agent("x", transitions=changes)).splitlines()
        if line.startswith("  states")
    ]
    assert line == (
        "  states     cooldown since 2026-11-21 08:03:00 (reason 3), "
        "stopping since 2026-11-21 08:02:00 (reason 2), "
        "running since 2026-11-21 08:01:00 (reason 1)"
    )


def test_latencies_are_shown_of_an_agent_that_counts_no_tasks() -> None:
    tasks = {"success": 0, "failure": 0, "success_rate": None}
    shown = details(agent("x", tasks={**tasks, "latency_ms": {"mean": 231.0, "p95": 410.0}}))
    assert "mean 231 ms, p95 410 ms" in shown


def test_what_is_wrong_with_one_that_beats_is_shown() -> None:
    told = "no progress for 30m behind 60 heartbeats; CPU 12 ms (0 %)"
    assert f"  trouble    {told}\n" in details(agent("x", health="degraded", no_progress=told))
    assert "trouble" not in details(agent("x", no_progress=None))


def test_a_budget_shows_whether_it_holds_and_how_long() -> None:
    budgets = [
        {"name": "usd_per_day", "limit": 5.0, "used": 6.0, "overridden": True},
        {"name": "tokens_per_hour", "limit": 1000, "used": 1001, "exceeded": True,
         "period_ends_s": 1800.0},
        {"name": "usd_per_run", "limit": 5.0, "used": None},
    ]  # fmt: skip
    assert (
        "  budgets    usd_per_day $6.00 of $5.00 (overridden), "
        "tokens_per_hour 1,001 of 1,000 (exceeded; ends in 30m00s), usd_per_run ? of $5.00\n"
    ) in details(agent("a", budgets=budgets))
    assert "120 % usd_per_day" in plain(top_table(status(agent("a", budgets=budgets))))
