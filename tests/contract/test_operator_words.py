"""What an operator reads and gets, whatever the order of the commands (CONTRACT 1, 5.2, 6)."""

import pytest

from agentd.config.agent import AgentConfig, HeartbeatConfig, RestartConfig
from agentd.core import events as ev
from agentd.core import liveness
from agentd.core.effects import Reply
from agentd.core.lines import Heartbeat, Status
from agentd.core.states import Health, State
from agentd.wire.documents import agent_document
from tests.core.fleet import Fleet, config, running

QUIET = HeartbeatConfig(required=False)
EXTERNAL = AgentConfig(external=True)


def _quiet(**keys: object) -> Fleet:
    return Fleet({"a": config(heartbeat=QUIET, **keys)}).start()


def _shown(fleet: Fleet, name: str = "a") -> dict[str, object]:
    return agent_document(fleet[name], fleet.core.agents, fleet.now_ms, 0)


def _wait(fleet: Fleet, name: str, goal: str, timeout_ms: int = 60_000) -> Reply | None:
    """The answer to a wait, if it is there at once."""
    options = {"for": goal, "timeout_ms": timeout_ms}
    made = fleet.tell(ev.Requested("w", "wait", "ada", (name,), "", options))
    return next((effect for effect in made if isinstance(effect, Reply)), None)


def _error(reply: Reply | None) -> tuple[str, str, str]:
    assert reply is not None
    assert reply.error is not None
    return reply.error


def test_a_cooldown_that_was_paused_is_again_explained_by_the_failure_before_it() -> None:
    fleet = _quiet()
    fleet.end("a", 1_000, code=3)
    fleet.end("a", 2_000, code=3)
    fleet.ask("pause", "a", at_ms=3_000)
    assert _shown(fleet)["reason"] == "USER_PAUSED"
    fleet.ask("resume", "a", at_ms=60_000)
    shown = _shown(fleet)
    assert (shown["state"], shown["reason"], shown["evidence"]) == (
        "cooldown",
        "EXITED",
        "exit code 3",
    )


@pytest.mark.parametrize("word", ["stop", "pause", "kill"])
def test_an_agent_that_is_wanted_up_again_shows_no_wish_of_before(word: str) -> None:
    fleet = Fleet({"a": config()}).start()
    fleet.ask(word, "a", at_ms=1_000)
    if word != "pause":
        fleet.end("a", 1_001, signal=15)
    fleet.ask("start" if word == "stop" else "resume", "a", at_ms=2_000)
    shown = _shown(fleet)
    assert (shown["state"], shown["intent"], shown["reason"]) == ("starting", "up", None)


@pytest.mark.parametrize(("cmd", "verb"), [("pause", "resume"), ("start", "resume")])
def test_the_hint_for_a_killed_agent_is_the_one_command_that_works(cmd: str, verb: str) -> None:
    fleet = running()
    fleet.ask("kill", "a", at_ms=2_000)
    fleet.end("a", 2_000, signal=9)
    code, _, hint = _error(fleet.ask(cmd, "a"))
    assert (code, hint) == ("conflict", f"agentctl {verb} a")


def test_resume_of_an_escalated_agent_names_start() -> None:
    fleet = _quiet(restart=RestartConfig(failures_max=1))
    fleet.end("a", 1_000, code=1)
    code, message, hint = _error(fleet.ask("resume", "a"))
    assert (code, message, hint) == (
        "conflict",
        '"a" is escalated, not paused',
        "agentctl start a",
    )
    assert fleet.state_of("a") is State.ESCALATED


def test_every_signal_of_the_system_may_be_sent() -> None:
    fleet = running()
    for name in ("SIGTSTP", "SIGURG", "SIGPWR", "SIGVTALRM"):
        assert fleet.ask("signal", "a", signal=name).error is None, name


def test_when_all_are_refused_each_is_named() -> None:
    fleet = Fleet({"a": config(), "b": config()}).start()
    fleet.ask("kill", "all", at_ms=1_000)
    _, message, _ = _error(fleet.ask("restart", "a", "b"))
    assert '"a" is killed' in message
    assert '"b" is killed' in message


def test_a_wait_that_fails_tells_the_evidence() -> None:
    fleet = _quiet(restart=RestartConfig(failures_max=1))
    fleet.end("a", 1_000, code=3)
    assert _error(_wait(fleet, "a", "ready"))[1] == '"a" is escalated: EXITED, exit code 3'


def test_a_wait_that_ends_with_its_patience_names_what_it_waited_for() -> None:
    slow = config(ready="notify")
    fleet = Fleet({"a": slow, "b": config(depends_on=["a"])}).start()
    _wait(fleet, "b", "ready", 500)
    fleet.pass_time(1_000)
    told = next(e.error for _, e in reversed(fleet.effects) if isinstance(e, Reply))
    assert told is not None
    assert told[:2] == ("timeout", 'not ready in time: "b" is still stopped, waits for a')


# External agents: reported on, never started or stopped.


@pytest.mark.parametrize("cmd", ["start", "stop", "restart", "kill", "pause", "resume", "signal"])
def test_an_external_agent_named_is_refused_and_among_all_is_left_alone(cmd: str) -> None:
    fleet = Fleet({"a": config(), "e": EXTERNAL}).start()
    code, message, hint = _error(fleet.ask(cmd, "e", signal="SIGUSR1"))
    assert (code, hint) == ("conflict", "start and stop it where it runs")
    assert "external" in message
    result = fleet.ask(cmd, "all", signal="SIGUSR1").result
    assert result is None or "error" not in result["agents"][1]  # type: ignore[index]


def test_a_wait_for_an_external_agent_ends_when_it_is_heard_of() -> None:
    fleet = Fleet({"e": EXTERNAL}).start()
    assert _wait(fleet, "e", "healthy") is None
    made = fleet.beat("e", 5_000)
    assert [effect.error for effect in made if isinstance(effect, Reply)] == [None]
    assert _error(_wait(fleet, "e", "stopped"))[0] == "conflict"


def test_an_external_agent_is_parked_no_longer_than_it_said() -> None:
    fleet = Fleet({"e": EXTERNAL}).start()
    fleet.beat("e", 1_000, Heartbeat(status=Status.ERROR, retry_after_ms=60_000))
    assert fleet.state_of("e") is State.PARKED
    fleet.pass_time(61_000)
    assert fleet.state_of("e") is State.RUNNING


def test_an_external_agent_that_fell_silent_while_no_daemon_ran_is_missed() -> None:
    before = Fleet({"e": EXTERNAL}).start()
    before.beat("e", 1_000)
    fate = ev.Fate(before["e"].durable)
    fleet = Fleet({"e": EXTERNAL})
    fleet.now_ms = 50_000
    fleet.start({"e": fate})
    assert liveness.health_of(fleet["e"], fleet.now_ms) is Health.UNKNOWN
    fleet.pass_time(50_000 + 30_000 + 300_001)
    assert [record.event for record in fleet.told("agent.degraded", "agent.unreachable")] == [
        "agent.degraded",
        "agent.unreachable",
    ]
    assert "not heard of since agentd started" in fleet.told("agent.unreachable")[0].message
