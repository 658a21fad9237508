"""Five hundred cycles of each example, as fast as its framework goes: nobody is disturbed.

What agentd has counted is what the provider has, to the token, and to the cent.
"""

import time

import pytest

from tests.daemon.harness import Document
from tests.programs.example_agents import Example, Fleet, fleet_of

CYCLES = 500
PATIENCE_S = 240.0
# The product's own, not those that other tests are in a hurry with.
SILENCE = {"interval": "30s", "degraded_after": "90s", "unreachable_after": "300s"}
EXAMPLES_OF_ALL = [
    Example("openai_agent", "answers"),
    Example("langgraph_agent", "research"),
    Example("pydantic_ai_agent", "shelves"),
]


def completed(fleet: Fleet) -> Document:
    """Wait until the agent has ended by itself."""
    end = time.monotonic() + PATIENCE_S
    while (shown := fleet.daemon.status("well"))["state"] != "completed":
        assert time.monotonic() < end, shown
        assert shown["state"] in ("stopped", "starting", "running"), shown
        time.sleep(0.2)
    return shown


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_S + 60)
@pytest.mark.parametrize("example", EXAMPLES_OF_ALL, ids=lambda example: example.folder)
def test_a_healthy_agent_raises_nothing_in_500_cycles(example: Example) -> None:
    with fleet_of(example) as fleet:
        pace = {"CYCLES": str(CYCLES), "PAUSE_S": "0", "CALL_DEADLINE_S": "60"}
        fleet.add("well", pace, {"heartbeat": SILENCE})
        fleet.daemon.start()
        fleet.begin("well")
        shown = completed(fleet)
        told = fleet.daemon.events()
        raised = [(e["event"], e["message"]) for e in told if e["severity"] != "info"]
        assert raised == []
        assert shown["tasks"]["success"] == CYCLES
        assert shown["tasks"]["failure"] == 0
        assert shown["reason"] == "COMPLETED"
        assert len(set(fleet.done_outside("well"))) == CYCLES
        assert_counted_as_billed(fleet, shown)


def assert_counted_as_billed(fleet: Fleet, shown: Document) -> None:
    bill = fleet.bill()
    assert shown["tokens"]["total"] == bill["prompt_tokens"] + bill["completion_tokens"]
    price = fleet.example.settings["prices"]["stub-1"]
    fresh = bill["prompt_tokens"] - bill["cached_tokens"]
    usd = (
        fresh * price["input"]
        + bill["cached_tokens"] * price["cache_read"]
        + bill["completion_tokens"] * price["output"]
    ) / 1e6
    assert shown["cost_usd"]["known"] is True
    # Each call is rounded to a whole micro-dollar.
    assert shown["cost_usd"]["run"] == pytest.approx(usd, abs=bill["answers"] * 1e-6)
