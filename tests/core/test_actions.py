"""Actions in flight and checkpoints: durable before the answer, history after the execution."""

from itertools import count

from agentd.config.agent import HeartbeatConfig, RestartConfig
from agentd.config.units import Milliseconds
from agentd.core import actions, liveness
from agentd.core import effects as do
from agentd.core import events as ev
from agentd.core.lines import (
    ActionBegun,
    ActionDone,
    CheckpointGet,
    CheckpointPut,
    Heartbeat,
    Question,
)
from agentd.core.states import Health, Intent, State, StopReason
from tests.core.fleet import Fleet, config, running

_numbers = count(1)
REFUND = ActionBegun("refund:1", "stripe.refund")
SEARCH = ActionBegun("search:1", "web.search", idempotent=True)


def ask(fleet: Fleet, line: Question, at_ms: int | None = None, **who: int) -> list[do.Effect]:
    incarnation = who.get("incarnation", fleet["a"].incarnation)
    return fleet.tell(ev.AgentAsked("a", incarnation, f"agent-{next(_numbers)}", line), at_ms)


def answer(effects: list[do.Effect]) -> do.Reply:
    return next(effect for effect in effects if isinstance(effect, do.Reply))


def code(effects: list[do.Effect]) -> str:
    error = answer(effects).error
    return error[0] if error is not None else "ok"


def recalled(fleet: Fleet) -> list[str]:
    made = ask(fleet, CheckpointGet())
    [recall] = [effect for effect in made if isinstance(effect, do.Recall)]
    return [action.key for action in recall.unfinished]


def in_flight(fleet: Fleet) -> list[str]:
    return [action.key for action in fleet["a"].durable.unfinished]


def holding() -> Fleet:
    cooldown_ms = Milliseconds(10_000)
    return running(restart=RestartConfig(hold_unfinished=True, cooldown_ms=cooldown_ms))


def test_an_intent_is_persisted_before_it_is_answered() -> None:
    fleet = running()
    made = ask(fleet, ActionBegun("k", "a", detail='{"x":1}'))
    saved = next(index for index, one in enumerate(made) if isinstance(one, do.Persist))
    replied = next(index for index, one in enumerate(made) if isinstance(one, do.Reply))
    assert saved < replied
    persisted = made[saved]
    assert isinstance(persisted, do.Persist)
    assert [one.key for one in persisted.durable.unfinished] == ["k"]
    assert not persisted.lazy
    assert persisted.durable.unfinished[0].detail == '{"x":1}'


def test_its_end_clears_it_durably_and_one_that_is_not_known_is_fine() -> None:
    fleet = running()
    ask(fleet, REFUND)
    made = ask(fleet, ActionDone("refund:1", ok=False))
    assert in_flight(fleet) == []
    assert any(isinstance(one, do.Persist) and not one.lazy for one in made)
    assert code(ask(fleet, ActionDone("never"))) == "ok"


def test_the_same_key_again_replaces_what_was_there() -> None:
    fleet = running()
    ask(fleet, REFUND)
    ask(fleet, ActionBegun("refund:1", "stripe.refund", idempotent=True), 5_000)
    [action] = fleet["a"].durable.unfinished
    assert (action.idempotent, action.begun_at_ms) == (True, 5_000)


def test_no_more_than_64_are_kept_and_a_done_makes_room() -> None:
    fleet = running()
    for number in range(actions.UNFINISHED_MAX):
        assert code(ask(fleet, ActionBegun(f"k{number}", "a"))) == "ok"
    assert code(ask(fleet, REFUND)) == "too_busy"
    assert code(ask(fleet, ActionBegun("k7", "a"))) == "ok"
    ask(fleet, ActionDone("k7"))
    assert code(ask(fleet, REFUND)) == "ok"


def test_a_detail_that_is_too_long_is_left_out_and_said_so() -> None:
    fleet = running()
    whole = '"' + "x" * (actions.DETAIL_BYTES_MAX - 2) + '"'
    assert answer(ask(fleet, ActionBegun("k", "a", detail=whole))).result == {"key": "k"}
    assert fleet["a"].durable.unfinished[0].detail == whole
    told = answer(ask(fleet, ActionBegun("k", "a", detail=f"{whole} "))).result
    assert told is not None
    assert "at most 2048" in str(told["dropped"])
    assert fleet["a"].durable.unfinished[0].detail == ""


def test_lines_without_an_id_are_taken_in_and_never_answered() -> None:
    fleet = running()
    made = fleet.beat("a", None, REFUND, CheckpointPut("1"), CheckpointGet())
    assert not any(isinstance(one, do.Reply | do.Recall) for one in made)
    assert in_flight(fleet) == ["refund:1"]
    assert any(isinstance(one, do.SaveCheckpoint) for one in made)


def test_a_question_of_an_incarnation_that_is_gone_is_refused() -> None:
    fleet = running()
    assert code(ask(fleet, REFUND, incarnation=7)) == "forbidden"
    unknown = fleet.tell(ev.AgentAsked("nobody", 1, "agent-0", REFUND))
    assert code(unknown) == "forbidden"
    assert in_flight(fleet) == []


def test_a_question_that_overtakes_the_news_of_the_spawn_waits_for_it() -> None:
    fleet = Fleet({"a": config()})
    fleet.can_spawn = False
    fleet.start()
    assert not any(isinstance(one, do.Reply) for one in ask(fleet, REFUND))
    for number in range(63):
        ask(fleet, ActionBegun(f"k{number}", "a"))
    assert code(ask(fleet, ActionBegun("late", "a"))) == "too_busy"
    made = fleet.tell(ev.Spawned("a", 1, 1000))
    assert sum(isinstance(one, do.Reply) for one in made) == 64
    assert "refund:1" in in_flight(fleet)


def test_a_run_that_ends_with_an_action_in_flight_names_it_and_the_next_one_sees_it() -> None:
    fleet = running()
    ask(fleet, REFUND, 2_000)
    ask(fleet, SEARCH)
    assert recalled(fleet) == []
    fleet.end("a", 3_500, signal=9)
    [told] = fleet.told("action.unfinished")
    assert told.severity == "critical"
    assert '"refund:1" (stripe.refund, not idempotent, begun 1.5s before)' in told.message
    assert "agentctl checkpoints a" in told.message
    assert recalled(fleet) == ["refund:1", "search:1"]
    fleet.end("a", 400_000, signal=9)
    assert len(fleet.told("action.unfinished")) == 1, "each is told by the end of its own run"


def test_one_that_is_safe_to_repeat_is_a_warning_and_holds_nothing() -> None:
    fleet = holding()
    ask(fleet, SEARCH)
    fleet.end("a", 3_000, signal=9)
    assert fleet.told("action.unfinished")[0].severity == "warning"
    assert fleet.state_of("a") is State.STARTING


def test_one_that_is_not_holds_the_restart_until_a_human_lets_it_go() -> None:
    fleet = holding()
    ask(fleet, REFUND)
    fleet.end("a", 3_000, signal=9)
    assert fleet["a"].durable.held
    [held] = fleet.told("agent.held")
    assert '"refund:1"' in held.message
    assert held.severity == "warning"
    assert liveness.health_of(fleet["a"], 3_000) is Health.UNREACHABLE, "it needs somebody"
    fleet.pass_time(1_000_000)
    assert fleet.starts_of("a") == [0]
    fleet.ask("unhold", "a")
    assert fleet.starts_of("a") == [0, 1_000_000]
    assert recalled(fleet) == ["refund:1"]
    fleet.beat("a")
    fleet.end("a", 2_000_000, signal=9)
    assert fleet.starts_of("a")[2:] == [2_000_000], "accepted once, it holds no second time"


def test_without_hold_unfinished_nothing_is_held() -> None:
    fleet = running()
    ask(fleet, REFUND)
    fleet.end("a", 3_000, signal=9)
    assert fleet.told("agent.held") == []
    assert len(fleet.starts_of("a")) == 2


def test_a_start_by_hand_lets_it_go_too() -> None:
    fleet = holding()
    ask(fleet, REFUND)
    fleet.end("a", 3_000, signal=9)
    fleet.ask("start", "a", at_ms=9_000)
    assert fleet.starts_of("a") == [0, 9_000]
    assert not fleet["a"].durable.held
    assert len(fleet.told("agent.unheld")) == 1


def test_a_hold_of_an_operator_outlives_a_start_by_hand() -> None:
    fleet = holding()
    fleet.ask("hold", "a")
    ask(fleet, REFUND)
    fleet.end("a", 3_000, signal=9)
    fleet.ask("start", "a", at_ms=9_000)
    assert fleet["a"].durable.held


def test_it_is_held_at_once_where_a_cooldown_comes_first() -> None:
    fleet = holding()
    fleet.end("a", 2_000, signal=9)
    fleet.beat("a", 2_500)
    ask(fleet, REFUND)
    fleet.end("a", 3_000, signal=9)
    assert fleet.state_of("a") is State.COOLDOWN
    assert fleet["a"].durable.held
    fleet.pass_time(60_000)
    assert fleet.state_of("a") is State.COOLDOWN
    fleet.ask("unhold", "a")
    fleet.pass_time(60_001)
    assert fleet.state_of("a") is State.STARTING


def test_the_hold_survives_a_daemon_that_dies() -> None:
    fleet = holding()
    ask(fleet, REFUND)
    fleet.end("a", 3_000, signal=9)
    after = Fleet({"a": fleet["a"].config}).start({"a": ev.Fate(fleet["a"].snapshot())})
    after.pass_time(500_000)
    assert after.spawns == []
    after.ask("unhold", "a")
    assert len(after.spawns) == 1


def test_a_daemon_that_finds_the_agent_dead_holds_it_as_well() -> None:
    fleet = holding()
    ask(fleet, REFUND)
    found = ev.Fate(fleet["a"].snapshot(), ended=True, signal=9)
    after = Fleet({"a": fleet["a"].config}).start({"a": found})
    assert after["a"].durable.held
    assert after.spawns == []
    assert [one.severity for one in after.told("action.unfinished")] == ["critical"]


def test_what_an_operator_ends_pages_nobody() -> None:
    for cmd in ("stop", "kill", "restart"):
        fleet = running()
        ask(fleet, REFUND)
        fleet.effects.clear()
        fleet.ask(cmd, "a")
        fleet.end("a", 3_000, signal=15)
        assert fleet.told("action.unfinished"), cmd
        assert not any(isinstance(one, do.Alert) for _, one in fleet.effects), cmd
        assert not fleet["a"].troubled, cmd


def test_a_kill_ends_the_execution_and_says_what_it_discards() -> None:
    fleet = running()
    ask(fleet, REFUND)
    ask(fleet, CheckpointPut("{}"))
    fleet.ask("kill", "a")
    [told] = fleet.told("action.unfinished")
    assert "discarded" in told.message
    assert told.severity == "info"
    assert told.data["checkpoint"] == 1
    durable = fleet["a"].durable
    assert (durable.unfinished, durable.checkpoint, durable.execution) == ((), None, "")
    assert code(ask(fleet, REFUND)) == "conflict"
    assert code(ask(fleet, CheckpointPut("1"))) == "conflict"
    fleet.end("a", 3_000, signal=9)
    fleet.ask("resume", "a")
    assert recalled(fleet) == []


def test_a_kill_by_policy_tells_people_what_was_in_flight() -> None:
    fleet = running(heartbeat=HeartbeatConfig(on_unreachable="kill"))
    ask(fleet, REFUND)
    fleet.pass_time(400_000)
    assert fleet["a"].intent is Intent.KILLED
    [told] = fleet.told("action.unfinished")
    assert told.severity == "critical"
    assert told in [one.record for _, one in fleet.effects if isinstance(one, do.Alert)]


def test_a_fresh_start_takes_nothing_of_what_the_old_process_still_says() -> None:
    fleet = running()
    ask(fleet, CheckpointPut("{}"))
    before = fleet["a"].durable.execution
    fleet.ask("start", "a", fresh=True)
    assert fleet["a"].durable.execution != before
    assert code(ask(fleet, CheckpointPut('"old"'))) == "conflict"
    fleet.end("a", 3_000, signal=15)
    assert code(ask(fleet, CheckpointPut('"new"'))) == "ok"
    assert fleet["a"].durable.checkpoint is not None


def test_completion_makes_it_history() -> None:
    fleet = running()
    ask(fleet, SEARCH)
    fleet.end("a", 3_000, code=0)
    assert fleet.state_of("a") is State.COMPLETED
    assert in_flight(fleet) == []
    assert [one.severity for one in fleet.told("action.unfinished")] == ["warning", "info"]


def test_a_checkpoint_is_numbered_and_named_with_its_execution() -> None:
    fleet = running()
    for seq in (1, 2):
        made = ask(fleet, CheckpointPut('{"n":"é"}'))
        [save] = [one for one in made if isinstance(one, do.SaveCheckpoint)]
        assert (save.seq, save.execution, save.state) == (
            seq,
            fleet["a"].durable.execution,
            '{"n":"é"}',
        )
        assert answer(made).result == {"seq": seq}
    mark = fleet["a"].durable.checkpoint
    assert mark is not None
    assert (mark.seq, mark.size_bytes) == (2, 10)
    assert len(fleet.told("agent.checkpoint")) == 1, "told once a minute"
    ask(fleet, CheckpointPut("1"), 61_000)
    assert len(fleet.told("agent.checkpoint")) == 2


def test_a_restart_keeps_the_execution_and_its_checkpoints() -> None:
    fleet = running()
    ask(fleet, CheckpointPut("1"))
    execution = fleet["a"].durable.execution
    fleet.end("a", 3_000, signal=9)
    made = ask(fleet, CheckpointGet())
    [recall] = [one for one in made if isinstance(one, do.Recall)]
    assert recall.execution == execution


def test_an_external_agent_keeps_things_too() -> None:
    fleet = Fleet({"a": config(external=True)}).start()
    fleet.beat("a", 1_000, Heartbeat())
    assert code(ask(fleet, CheckpointPut("1"), incarnation=0)) == "ok"
    assert code(ask(fleet, REFUND, incarnation=0)) == "ok"
    assert fleet["a"].durable.execution


def test_the_incident_of_an_escalation_names_what_was_in_flight() -> None:
    fleet = running(restart=RestartConfig(failures_max=1, on_escalate=["x"]))
    ask(fleet, REFUND)
    fleet.end("a", 3_000, signal=9)
    [run] = [one for _, one in fleet.effects if isinstance(one, do.Run)]
    assert run.payload["unfinished"] == ["refund:1"]
    assert fleet["a"].durable.reason is StopReason.CRASHED
