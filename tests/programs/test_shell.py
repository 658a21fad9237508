"""Agents that are shell scripts: one beats with agentctl, one with systemd-notify."""

from tests.daemon.harness import Daemon
from tests.programs.places import AGENTCTL, AGENTS
from tests.programs.waiting import awaited


def test_a_bash_script_beats_with_agentctl_and_is_done(daemon: Daemon) -> None:
    daemon.agent("script", ["bash", str(AGENTS / "shell.sh"), str(AGENTCTL)])
    daemon.start()
    shown = daemon.until_state("script", "completed")
    assert (shown["heartbeats"], shown["tokens"]["total"]) == (4, 360)
    assert shown["cost_usd"]["run"] == 0.006
    assert shown["tasks"]["success"] == 3
    assert shown["last_exit"]["reason"] == "COMPLETED"
    [completed] = awaited(daemon, "script", "agent.completed")
    assert completed["severity"] == "info"  # it said `done`
    assert daemon.ask("status")["daemon"]["lines_rejected"] == 0


def test_a_script_that_speaks_systemd_notify_is_ready_beats_and_leaves(daemon: Daemon) -> None:
    """Each word comes from a process that is gone by the time it is read."""
    leave = daemon.root / "leave"
    daemon.agent("sheep", ["bash", str(AGENTS / "notifier.sh"), str(leave)], 'ready = "notify"')
    daemon.start()
    shown = daemon.until("sheep", lambda s: s["heartbeats"] >= 3)
    assert (shown["state"], shown["health"]) == ("running", "healthy")
    assert shown["step"] == "counting sheep"
    [ready] = awaited(daemon, "sheep", "agent.ready")
    assert "READY=1" in ready["message"]
    counters = daemon.ask("daemon")["counters"]["sockets"]
    assert (counters["notifications_refused"], counters["notifications_bad"]) == (0, 0)
    assert counters["fds_closed"] >= 3  # of BARRIER=1, else systemd-notify would wait for ever
    leave.touch()
    gone = daemon.until("sheep", lambda s: s["last_exit"])
    assert gone["last_exit"]["code"] == 0
    # It said STOPPING=1 first: this exit was meant.
    [completed] = awaited(daemon, "sheep", "agent.completed")
    assert completed["severity"] == "info"
