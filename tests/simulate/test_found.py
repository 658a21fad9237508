"""What the simulator once found in the core, each as the shortest trace that shows it."""

from pathlib import Path
from typing import Any

from agentd.config.agent import AgentConfig, BudgetConfig, HeartbeatConfig
from agentd.config.schema import Config
from agentd.core import events as ev
from agentd.core.effects import Persist, Spawn
from agentd.core.lines import Heartbeat
from agentd.core.states import Intent, State
from tests.core.fleet import Fleet
from tests.simulate.telling import BEATING, QUIET, tell

CRASH: dict[str, Any] = {"exit": {"code": 1}}
DEAF: dict[str, Any] = {"t": 0, "world": {"deaf_to_sigterm": True}}
QUIETLY = AgentConfig(command=["true"], heartbeat=HeartbeatConfig(required=False))


def _cmd(t: float, cmd: str, *select: str) -> dict[str, Any]:
    return {"t": t, "cmd": {"cmd": cmd, "args": {"select": list(select or ("a",))}}}


def _daemon(down_s: float, up_s: float) -> list[dict[str, Any]]:
    return [{"t": down_s, "daemon": "crash"}, {"t": up_s, "daemon": "start"}]


def test_a_paused_agent_is_not_spawned_by_a_retry_after_a_shortage() -> None:
    fleet = Fleet({"a": QUIETLY})
    fleet.can_spawn = False
    fleet.start()
    fleet.tell(ev.SpawnFailed("a", 1, "EAGAIN", shortage=True), 10)
    fleet.tell(ev.Requested("r1", "pause", "ada", ("a",)), 20)
    fleet.pass_time(100_000)
    assert [effect for _, effect in fleet.effects if isinstance(effect, Spawn)][1:] == []


def test_an_agent_that_waits_for_a_process_comes_back_after_a_shutdown() -> None:
    fleet = Fleet({"a": QUIETLY})
    fleet.can_spawn = False
    fleet.start()
    fleet.tell(ev.SpawnFailed("a", 1, "EAGAIN", shortage=True), 10)
    fleet.tell(ev.ShutdownAsked("ada"), 20)
    later = Fleet({"a": QUIETLY}).start({"a": ev.Fate(fleet["a"].durable)})
    assert later.state_of("a") is State.RUNNING


def test_an_external_agent_is_not_booked_as_dead_when_agentd_returns(tmp_path: Path) -> None:
    config = '[agents.a]\nexternal = true\ntoken_file = "token"\n'
    trace = [{"t": 1, "line": {}}, *_daemon(10, 20), {"t": 30, "end": True}]
    assert tell(tmp_path, config, trace).events("agent.exited") == []


def test_a_parked_agent_without_a_process_ends_once(tmp_path: Path) -> None:
    park = {"t": 10, "line": {"status": "error", "retry_after_s": 600}}
    trace = [{"t": 0, "line": {}}, park, {"t": 20, **CRASH}, *_daemon(30, 40)]
    told = tell(tmp_path, BEATING, [*trace, {"t": 650, "end": True}])
    assert len(told.events("agent.exited")) == 1
    assert told.spawns() == [0, 610]


def test_a_pause_is_not_eaten_by_a_crash_of_the_daemon(tmp_path: Path) -> None:
    fails = [{"t": 10, **CRASH}, {"t": 20, **CRASH}]
    trace = [*fails, _cmd(110, "pause"), *_daemon(500, 600), _cmd(1000, "resume")]
    assert tell(tmp_path, QUIET, [*trace, {"t": 3000, "end": True}]).spawns() == [0, 10, 1200]


def test_a_crash_in_a_shutdown_leaves_no_agent_down(tmp_path: Path) -> None:
    trace = [DEAF, {"t": 10, "cmd": {"cmd": "shutdown"}}, {"t": 15, "daemon": "crash"}]
    told = tell(tmp_path, QUIET, [*trace, {"t": 20, "daemon": "start"}, {"t": 90, "end": True}])
    assert told.reasons() == ["DAEMON_STOPPED"]
    assert len(told.spawns()) == 2


def test_a_stop_that_waits_for_dependants_is_not_lost_in_a_crash(tmp_path: Path) -> None:
    config = QUIET + '[agents.b]\ncommand = ["true"]\nheartbeat.required = false\n'
    config += 'depends_on = ["a"]\n'
    trace = [DEAF, _cmd(10, "stop", "all"), *_daemon(15, 20), {"t": 200, "end": True}]
    told = tell(tmp_path, config, trace)
    assert sorted(told.reasons()) == ["USER_STOPPED", "USER_STOPPED"]
    assert len(told.spawns()) == 2


def test_a_resume_clears_the_escalation_that_a_pause_has_covered(tmp_path: Path) -> None:
    fails = [{"t": 10, **CRASH}, {"t": 320, **CRASH}, {"t": 330, **CRASH}]
    trace = [*fails, _cmd(400, "pause"), _cmd(500, "resume"), {"t": 600, **CRASH}]
    told = tell(tmp_path, QUIET, [*trace, {"t": 700, "end": True}])
    assert told.times("agent.escalated") == [330]
    assert told.spawns() == [0, 10, 320, 500, 600]


def test_a_restart_by_hand_is_made_also_while_held(tmp_path: Path) -> None:
    told = tell(tmp_path, QUIET, [_cmd(10, "hold"), _cmd(20, "restart"), {"t": 30, "end": True}])
    assert told.spawns() == [0, 20.1]


def test_a_row_is_forgiven_after_an_adoption_too(tmp_path: Path) -> None:
    """Nothing is ever heard of this agent: time alone must do."""
    trace = [{"t": 10, **CRASH}, *_daemon(20, 30), {"t": 1000, **CRASH}, {"t": 1001, **CRASH}]
    told = tell(tmp_path, QUIET, [*trace, {"t": 1100, "end": True}])
    assert told.times("agent.escalated") == []


def test_a_removed_agent_leaves_nothing_to_be_written_for_one_of_its_name() -> None:
    fleet = Fleet({"a": QUIETLY, "b": QUIETLY}).start()
    fleet.end("a", code=1)
    fleet.ask("stop", "a")
    fleet.end("a", code=0)
    fleet.tell(ev.LinesDropped("a", fleet["a"].incarnation, 1))
    without, again = Config(agents={"b": QUIETLY}), Config(agents={"a": QUIETLY, "b": QUIETLY})
    fleet.tell(ev.Configured(without))
    written = fleet.core.last_words(fleet.now_ms)
    assert [one for one in written if isinstance(one, Persist) and one.agent == "a"] == []
    fleet.tell(ev.Configured(again))
    before = len(fleet.effects)
    fleet.pass_time(60_000)
    kept = [one.durable for _, one in fleet.effects[before:] if isinstance(one, Persist)]
    assert all(durable.incarnation <= 1 for durable in kept)


def test_a_budget_that_a_restarting_change_lowers_is_judged_at_once() -> None:
    fleet = Fleet({"a": QUIETLY}).start()
    fleet.beat("a", 1_000, Heartbeat(tokens=500))
    lower = AgentConfig(
        command=["false"],
        heartbeat=HeartbeatConfig(required=False),
        budget=BudgetConfig(tokens_per_run=100),
    )
    fleet.tell(ev.Configured(Config(agents={"a": lower}), restart=frozenset({"a"})))
    assert [record.event for record in fleet.told("budget.exceeded")] == ["budget.exceeded"]
    assert fleet["a"].intent is Intent.PAUSED
