"""`agentctl top` in front of a real daemon: a kill from it holds, and it outlives the daemon."""

import os
from pathlib import Path

from tests.cli.screens import Terminal
from tests.daemon.harness import Daemon
from tests.programs.places import AGENTCTL
from tests.programs.test_agentctl import environment

# Of a core, with 20 agents and a look a second: many times what it takes, for a machine is noisy.
CPU_SHARE_MAX = 0.25
LOOKS = 6


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_kill_from_top_holds_over_a_restart_of_the_daemon_under_it(daemon: Daemon) -> None:
    daemon.beater("worker", "task=ticket-918")
    daemon.sleeper("idler")
    daemon.start()
    daemon.until("worker", lambda shown: shown["health"] == "healthy")
    env = environment(daemon, TERM="xterm-256color")
    with Terminal([str(AGENTCTL), "top", "--sort", "name"], env) as terminal:
        terminal.until(lambda text: "> idler" in text and "ticket-918" in text)
        terminal.type(b"\x1b[B")
        terminal.until(lambda text: "> worker" in text)
        terminal.type(b"Ktoo dear\r")
        terminal.until(lambda text: "worker: stopping (killed; stays down)" in text)
        terminal.until(lambda text: "stopped" in text and "USER_KILLED" in text)
        daemon.crash()
        terminal.until(lambda text: "NOT REACHABLE, last seen" in text and "healthy?" in text)
        daemon.start()
        terminal.until(lambda text: "NOT REACHABLE" not in text and "1 killed" in text)
        shown = daemon.until_state("worker", "stopped")
        assert (shown["intent"], shown["intent_reason"]) == ("killed", "too dear")
        terminal.type(b"\r")
        terminal.until(lambda text: "too dear" in text)  # its details say who, and why
        terminal.type(b"q")
        assert terminal.ended() == 0
        assert terminal.is_as_before()


def test_top_takes_little_of_a_core(daemon: Daemon) -> None:
    for number in range(20):
        daemon.sleeper(f"agent-{number}")
    daemon.start()
    daemon.until_state("agent-19", "running")
    env = environment(daemon, TERM="xterm-256color")
    with Terminal([str(AGENTCTL), "top"], env) as terminal:
        terminal.until(lambda text: "agent-9" in text and "host: CPU" in text)
        before = cpu_ticks(terminal.process.pid), os.times().elapsed
        while os.times().elapsed - before[1] < LOOKS:
            terminal.read(1.0)
        ticks = cpu_ticks(terminal.process.pid) - before[0]
        share = ticks / os.sysconf("SC_CLK_TCK") / (os.times().elapsed - before[1])
        assert share < CPU_SHARE_MAX, share
