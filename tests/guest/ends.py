"""The daemon's own ends: killed, hung, replaced; and what is known of agents that end meanwhile."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import (
    PROGRAMS,
    Document,
    Tally,
    agent,
    alive,
    ask,
    leaf_of,
    main_pid,
    of_unit,
    pids,
    running,
    settled,
    sh,
    until,
    wait_for,
)

QUIT = Path("/var/tmp/quit")
# While it is there a start of the daemon goes no further (`run.SCRIPT`), and says that it waits.
HOLD, HELD = Path("/run/agentd/hold"), Path("/run/agentd/hold.held")
WATCHDOG_S = 20
PATIENCE_S = 25  # longer than the watchdog's
# Before, nobody but its parent can know how a process ended.
REMEMBERS = tuple(int(word) for word in os.uname().release.split(".")[:2]) >= (6, 15)
OWN = {
    # Ends with a code of its own when a file says so, whoever watches.
    "quits": f"command = ['python3', '-S', '{PROGRAMS}/quitter.py', '{QUIT}']\n"
    'autostart = false\nrestart.policy = "never"',
}


def begin_quitter() -> int:
    QUIT.unlink(missing_ok=True)
    ask("start", select=["quits"])
    wait_for("quits", state="running")
    return int(agent("quits")["pid"])


@contextmanager
def held_starts() -> Iterator[None]:
    """Let no start of the daemon go on within."""
    HELD.unlink(missing_ok=True)
    HOLD.touch()
    try:
        yield
    finally:
        HOLD.unlink()


def quit_meanwhile(tally: Tally, what: str, pid: int) -> None:
    """Have it exit with 7 while no daemon looks: the next one is held."""
    tally.check(f"{what}: the next daemon is about to start", until(HELD.exists))
    QUIT.touch()
    ended = until(lambda: not alive(pid), 20)
    unheard = not ask("ping", patience_s=1)
    tally.check(f"{what}: an agent exits while no daemon looks", ended and unheard)


def how_it_ended() -> Document:
    found: Document = settled("quits").get("last_exit") or {}
    return found


def kept_fds() -> int:
    return int(of_unit("agentd", "NFileDescriptorStore") or 0)


def living() -> int:
    return sum(bool(one.get("pid")) for one in ask("status").get("agents") or [])


def survives(tally: Tally, what: str, end_daemon: int, quitter: int = 0) -> None:
    """Send the daemon a signal, and see it come back with the same agents."""
    before, daemon = pids(), main_pid()
    if quitter:
        with held_starts():
            os.kill(daemon, end_daemon)
            quit_meanwhile(tally, what, quitter)
    else:
        os.kill(daemon, end_daemon)
    back = until(
        lambda: main_pid() not in (0, daemon) and of_unit("agentd", "SubState") == "running"
    )
    tally.check(f"{what}: systemd starts it again", back, of_unit("agentd", "Result"))
    for name, pid in before.items():
        tally.check(f"{what}: {name} is adopted", wait_for(name, pid=pid, state="running"))
    tally.check(f"{what}: no second copy", len(running("sleep 91002")) == 1)
    tally.check(f"{what}: a kill stays", agent("killed").get("intent") == "killed")


def a_crash_spares_the_agents(tally: Tally) -> None:
    if os.environ.get("LAB_KERNEL"):
        tally.check("g3: this kernel tells how a process ended", REMEMBERS, os.uname().release)
    quitter = begin_quitter()
    kept = until(lambda: kept_fds() == living(), 10)
    tally.check("g3: systemd keeps a pidfd of each agent", kept, (kept_fds(), living()))
    survives(tally, "g1 kill -9", signal.SIGKILL, quitter)
    seen = how_it_ended()
    known = (seen.get("reason"), seen.get("code"), seen.get("signal"))
    wanted = ("EXITED", 7, None) if REMEMBERS else ("UNKNOWN", None, None)
    tally.check("g3: what the kernel doesn't tell isn't made up", known == wanted, seen)
    tally.check(
        "g3: and the evidence says why", "no daemon watched" in (seen.get("evidence") or "")
    )
    survives(tally, "g12 watchdog", signal.SIGSTOP)
    log = sh("journalctl", "-b", "-o", "cat", "--no-pager", "-u", "agentd").stdout
    tally.check("g12: it was the watchdog", "Watchdog timeout" in log)
    tally.check("g12: restart never met 219/CGROUP", "219/CGROUP" not in log)


def a_death_unseen_is_not_invented(tally: Tally) -> None:
    daemon, victim = main_pid(), agent("other").get("pid", 0)
    os.kill(daemon, signal.SIGSTOP)
    os.kill(victim, signal.SIGKILL)
    os.kill(daemon, signal.SIGKILL)
    back = until(lambda: agent("other").get("pid") not in (None, 0, victim))
    ended = agent("other").get("last_exit") or {}
    tally.check("g3: decided once, and restarted", back, ended)
    known = (ended.get("reason"), ended.get("signal"))
    wanted = ("CRASHED", signal.SIGKILL) if REMEMBERS else ("UNKNOWN", None)
    tally.check("g3: its signal where the kernel tells it, or UNKNOWN", known == wanted, ended)


def reexec_spares_the_agents(tally: Tally) -> None:
    """Replace it by an image that is slower to start than the watchdog is patient."""
    quitter = begin_quitter()
    before, daemon, restarts = pids(), main_pid(), of_unit("agentd", "NRestarts")
    with held_starts():
        os.kill(daemon, signal.SIGUSR2)
        quit_meanwhile(tally, "g8 SIGUSR2", quitter)
        patience = of_unit("agentd", "WatchdogUSec")
        tally.check("g8: systemd is patient meanwhile", patience == "5min", patience)
        # It listens on, and answers when it can.
        heard = ask("ping", patience_s=PATIENCE_S)
        tally.check("g8: longer than the watchdog waits", not heard and main_pid() == daemon)
    fresh = until(lambda: (ask("status").get("daemon") or {}).get("pid") == daemon)
    tally.check("g8: a new daemon answers, with the same pid", fresh and main_pid() == daemon)
    tally.check("g8: it wasn't restarted", of_unit("agentd", "NRestarts") == restarts)
    watched = until(lambda: of_unit("agentd", "WatchdogUSec") == f"{WATCHDOG_S}s", 20)
    tally.check("g8: and watched as before", watched, of_unit("agentd", "WatchdogUSec"))
    for name, pid in before.items():
        tally.check(f"g8: {name} is adopted", wait_for(name, pid=pid, state="running"))
    seen = how_it_ended()
    known = (seen.get("reason"), seen.get("code"), seen.get("signal"))
    tally.check("g8: its parent still, it knows that exit", known == ("EXITED", 7, None), seen)
    kept = until(lambda: kept_fds() == living(), 10)
    tally.check("g8: systemd keeps as many pidfds as agents live", kept, (kept_fds(), living()))


def systemd_is_told_other_things(tally: Tally) -> None:
    for verb in ("daemon-reload", "daemon-reexec"):
        sh("systemctl", verb)
        limits = leaf_of(agent("steady")["pid"]) / "memory.max"
        tally.check(f"systemctl {verb} leaves the groups alone", limits.exists())
    tally.check("systemctl reload is heard", sh("systemctl", "reload", "agentd").returncode == 0)


CHECKS = (
    a_crash_spares_the_agents,
    a_death_unseen_is_not_invented,
    reexec_spares_the_agents,
    systemd_is_told_other_things,
)
