"""Each example agent in each of its troubles: what agentd recognises, and what it does then.

The trouble is the provider's, which the agent reaches by another base URL, or the agent's own
(a crash in the middle of an action). Everything else is as the example's TOML has it.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from typing import ClassVar

import pytest

from tests.daemon.harness import Document
from tests.programs.example_agents import DEADLINE_S, Example, Fleet, fleet_of
from tests.programs.places import AGENTD, EXAMPLES
from tests.programs.waiting import awaited

PROVIDERS_TROUBLES = ("loop", "stall", "overspend", "quota", "outage")
PACE_S = "0.1"


class Verdicts:
    """What holds of every example; the classes below name the examples."""

    example: ClassVar[Example]
    loops_with: ClassVar[str]
    on_loop: ClassVar[str]
    budget: ClassVar[str]
    on_exceeded: ClassVar[str]
    key: ClassVar[str]

    @pytest.fixture(scope="class")
    @classmethod
    def fleet(cls) -> Iterator[Fleet]:
        with fleet_of(cls.example) as fleet:
            for trouble in PROVIDERS_TROUBLES:
                url = fleet.address(f"{trouble}/v1")
                fleet.add(trouble, {"OPENAI_BASE_URL": url, "PAUSE_S": PACE_S})
            fleet.add("crash", {"TROUBLE": "crash_in_action", "PAUSE_S": PACE_S})
            for name in ("well", "again"):
                fleet.add(name, {"PAUSE_S": PACE_S})
            fleet.daemon.start()
            yield fleet

    def test_an_agent_is_started_once_its_provider_is_ready(self, fleet: Fleet) -> None:
        fleet.begin("well")
        [started] = awaited(fleet.daemon, "well", "agent.started")
        [ready] = awaited(fleet.daemon, "provider", "agent.ready")
        assert ready["id"] < started["id"]
        shown = fleet.daemon.until("well", lambda s: s["tasks"]["success"] >= 2)
        assert (shown["state"], shown["health"], shown["failures"]) == ("running", "healthy", 0)
        assert shown["depends_on"] == ["provider"]

    def test_a_loop_is_stopped_as_a_loop(self, fleet: Fleet) -> None:
        fleet.begin("loop")
        [told] = awaited(fleet.daemon, "loop", "loop.detected")
        assert (told["reason"], told["severity"]) == ("LOOP_DETECTED", "critical")
        assert self.loops_with in told["message"]
        [warned] = fleet.daemon.events("loop", "loop.warning")
        assert warned["id"] < told["id"]
        assert f"agentd says: {warned['message']}" in fleet.log("loop")  # it was asked first
        [done] = awaited(fleet.daemon, "loop", self.on_loop)
        assert done["reason"] == "LOOP_DETECTED"

    def test_a_call_past_its_deadline_is_a_timeout_and_the_evidence_is_the_call(
        self, fleet: Fleet
    ) -> None:
        fleet.begin("stall")
        shown = fleet.daemon.until("stall", lambda s: s["open_call"])
        assert shown["open_call"]["label"] == "chat openai stub-1"
        [told] = awaited(fleet.daemon, "stall", "agent.unreachable")
        assert told["reason"] == "TIMEOUT"
        said = re.search(r"call chat openai stub-1 open for (\d+)\..*past its", told["message"])
        assert said, told["message"]
        # Longer than `unreachable_after`: until then the open call explained the silence.
        assert int(said[1]) >= DEADLINE_S
        [restarting] = awaited(fleet.daemon, "stall", "agent.restarting")
        assert restarting["reason"] == "TIMEOUT"

    def test_a_budget_is_enforced_before_the_first_cycle_is_over(self, fleet: Fleet) -> None:
        fleet.begin("overspend")
        [told] = awaited(fleet.daemon, "overspend", "budget.exceeded")
        assert (told["reason"], told["severity"]) == ("BUDGET_EXCEEDED", "critical")
        assert self.budget in told["message"]
        [warned] = fleet.daemon.events("overspend", "budget.warning")
        assert warned["id"] < told["id"]
        [done] = awaited(fleet.daemon, "overspend", self.on_exceeded)
        assert done["reason"] == "BUDGET_EXCEEDED"
        shown = fleet.daemon.status("overspend")
        assert shown["tasks"] == {**shown["tasks"], "success": 0, "failure": 0}
        assert shown["heartbeats"] == 1  # the one before the work began
        assert shown["cost_usd"]["known"] is True

    def test_a_crash_in_an_action_is_told_to_people_and_to_the_next_incarnation(
        self, fleet: Fleet
    ) -> None:
        fleet.begin("crash")
        [told] = awaited(fleet.daemon, "crash", "action.unfinished")
        assert told["severity"] == "critical"  # it can't be repeated without harm
        assert [action["key"] for action in told["data"]["actions"]] == [self.key]
        [ended] = awaited(fleet.daemon, "crash", "agent.exited")
        assert ended["reason"] == "CRASHED"
        self.goes_on_after_a_crash(fleet)
        assert f"unfinished: {self.key}" in fleet.log("crash")
        assert fleet.done_outside("crash").count(self.key) == 1
        assert fleet.daemon.status("crash")["unfinished_actions"] == 0

    def goes_on_after_a_crash(self, fleet: Fleet) -> None:
        """By itself: the agent looks for itself whether it was done."""
        fleet.daemon.until("crash", lambda s: s["tasks"]["success"] >= 3)
        assert fleet.daemon.status("crash")["restarts"] == 1


class TestOpenai(Verdicts):
    example = Example("openai_agent", "answers")
    loops_with = "look_up_order"
    on_loop = "agent.paused"
    budget = "usd_per_day"
    on_exceeded = "agent.paused"
    key = "refund:ticket-1"

    def test_a_quota_parks_the_agent_and_is_no_failure(self, fleet: Fleet) -> None:
        fleet.begin("quota")
        shown = fleet.daemon.until_state("quota", "parked")
        assert 0 < shown["parked_s"] <= 2
        awaited(fleet.daemon, "quota", "agent.parked", 2)  # asked again, was told again
        shown = fleet.daemon.status("quota")
        assert (shown["failures"], shown["restarts"]) == (0, 0)
        assert fleet.daemon.events("quota", "agent.unreachable") == []

    def test_an_outage_opens_the_breaker_that_all_agents_share(self, fleet: Fleet) -> None:
        fleet.begin("outage")
        fleet.daemon.until_true(lambda: fleet.daemon.events("", "breaker.opened"))
        told = "the breaker of provider is open"
        fleet.daemon.until_true(lambda: told in fleet.log("outage"))
        [told_to_people] = fleet.daemon.events("", "breaker.opened")
        assert told_to_people["reason"] == "DEPENDENCY_DOWN"


class TestLangGraph(Verdicts):
    example = Example("langgraph_agent", "research")
    loops_with = "search"
    on_loop = "agent.paused"
    budget = "usd_per_run"
    on_exceeded = "agent.paused"
    key = "note:topic-1"

    def goes_on_after_a_crash(self, fleet: Fleet) -> None:
        """Only after a person has looked: its TOML says so."""
        [held] = awaited(fleet.daemon, "crash", "agent.held")
        assert self.key in held["message"]
        shown = fleet.daemon.status("crash")
        assert (shown["held"], shown["unfinished_actions"], shown["pid"]) == (True, 1, None)
        assert self.kept(fleet, "crash")["unfinished"][0]["key"] == self.key
        fleet.daemon.ask("unhold", select=["crash"])
        fleet.daemon.until("crash", lambda s: s["tasks"]["success"] >= 3)

    def test_a_restart_goes_on_from_the_last_checkpoint(self, fleet: Fleet) -> None:
        fleet.begin("again")
        fleet.daemon.until("again", lambda s: s["tasks"]["success"] >= 3)
        fleet.daemon.ask("signal", select=["again"], signal="SIGKILL")
        fleet.daemon.until_true(lambda: len(self.resumed_after(fleet)) == 2)
        first, second = self.resumed_after(fleet)
        assert first == 0
        assert second >= 3
        fleet.daemon.until("again", lambda s: s["tasks"]["success"] >= second + 2)
        published = fleet.done_outside("again")
        assert len(published) == len(set(published))  # nothing twice

    def resumed_after(self, fleet: Fleet) -> list[int]:
        """The topics that the incarnations found in their checkpoints."""
        return [int(n) for n in re.findall(r"going on after topic-(\d+)\n", fleet.log("again"))]

    def kept(self, fleet: Fleet, name: str) -> Document:
        [found] = fleet.daemon.ask("checkpoints", select=[name])["agents"]
        document: Document = found
        return document


class TestPydanticAi(Verdicts):
    example = Example("pydantic_ai_agent", "shelves")
    loops_with = "look_at"
    on_loop = "agent.restarting"
    budget = "tokens_per_hour"
    on_exceeded = "agent.killed"
    key = "order:shelf-1"


def test_the_example_configs_are_right_from_any_directory() -> None:
    configs = list(EXAMPLES.glob("*/*.toml"))
    assert len(configs) >= 3
    for config in configs:
        words = [AGENTD, "check", "--json", "--config", config]
        checked = subprocess.run(words, cwd="/", capture_output=True, check=False)
        assert (checked.returncode, json.loads(checked.stdout)["errors"]) == (0, [])
