"""Ends and their reasons: never invented."""

import pytest

from agentd.config.agent import AgentConfig
from agentd.core.agent import After, Agent, Stop
from agentd.core.events import Exited, ExitEvidence
from agentd.core.exits import classify
from agentd.core.lines import Status
from agentd.core.records import Durable
from agentd.core.states import StopReason

OOM = ExitEvidence(oom_kills=1, oom_source="memory.events oom_kill 0 -> 1", limit_bytes=64 << 20)


def agent(status: Status | None = None, *, ready: bool = True) -> Agent:
    made = Agent("a", AgentConfig(command=["x"]), Durable(incarnation=1, ready=ready))
    made.telemetry.status = status
    return made


@pytest.mark.parametrize(
    ("exited", "reason", "failed", "words"),
    [
        (Exited("a", 1, code=3), StopReason.EXITED, True, "exit code 3"),
        (Exited("a", 1, code=137), StopReason.EXITED, True, "exit code 137"),  # not OOM by itself
        (Exited("a", 1, signal=9), StopReason.CRASHED, True, "sender unknown, no OOM evidence"),
        (Exited("a", 1, signal=11), StopReason.CRASHED, True, "SIGSEGV"),
        (Exited("a", 1, signal=9, evidence=OOM), StopReason.OOM_KILLED, True, "limit 64 MiB"),
        (Exited("a", 1, code=137, evidence=OOM), StopReason.OOM_KILLED, True, "oom_kill 0 -> 1"),
        (Exited("a", 1, code=1, evidence=OOM), StopReason.EXITED, True, "helper was killed"),
        (Exited("a", 1, code=0, evidence=OOM), StopReason.COMPLETED, False, "helper was killed"),
        (Exited("a", 1), StopReason.UNKNOWN, True, "nobody could see"),
    ],
)
def test_an_end_gets_its_reason(
    exited: Exited, reason: StopReason, failed: bool, words: str
) -> None:
    end = classify(agent(), exited, 1_000, [])
    assert (end.reason, end.failed) == (reason, failed)
    assert words in end.evidence


@pytest.mark.parametrize(
    ("status", "silent"),
    [(None, True), (Status.WORKING, True), (Status.DONE, False), (Status.DRAINING, False)],
)
def test_an_exit_0_that_was_never_announced_is_silent(status: Status | None, silent: bool) -> None:
    assert classify(agent(status), Exited("a", 1, code=0), 0, []).silent is silent


def test_a14_an_end_before_ready_says_so() -> None:
    assert (
        "never became ready" in classify(agent(ready=False), Exited("a", 1, code=1), 0, []).evidence
    )


def test_a_stop_of_ours_keeps_its_own_reason() -> None:
    stopped = agent()
    stopped.stop = Stop(StopReason.TIMEOUT, "silent for 5m", After.POLICY, 1_000, None)
    end = classify(stopped, Exited("a", 1, signal=9), 3_500, [])
    assert (end.reason, end.failed) == (StopReason.TIMEOUT, True)
    assert end.evidence == "silent for 5m; signal 9 (SIGKILL) after 2s500ms"
    end = classify(stopped, Exited("a", 1, signal=9, evidence=OOM), 3_500, [])
    assert end.reason is StopReason.TIMEOUT
    assert "memory.events oom_kill 0 -> 1" in end.evidence, "the kernel came before us"


def test_a_failure_while_a_dependency_is_out_is_explained_by_it() -> None:
    end = classify(agent(), Exited("a", 1, code=1), 0, ["db (OOM_KILLED)"])
    assert end.reason is StopReason.DEPENDENCY_DOWN
    assert "while db (OOM_KILLED) is down" in end.evidence
