"""Who was killed for memory, by whom, and who only looks like it: each with its own evidence."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import (
    LIVING,
    PROGRAMS,
    Document,
    Tally,
    agent,
    ask,
    main_pid,
    of_unit,
    settled,
    sh,
    until,
    wait_for,
)

PATIENT = Path("/run/systemd/system/agentd.service.d/patient.conf")
ONCE = 'autostart = false\nrestart.policy = "never"\n'
# The first sample is all that agentd takes, so that the kernel comes first.
LIMIT = 'memory.limit = "48M"\nmemory.sample = "10m"'


def hungry(*words: str) -> str:
    told = ", ".join(f"'{word}'" for word in ("python3", "-S", f"{PROGRAMS}/hungry.py", *words))
    return f"command = [{told}]\n{ONCE}"


OWN = {
    # Far beyond its limit in one go.
    "hog": hungry("leader") + LIMIT,
    "helped": hungry("helper") + LIMIT,
    "by-hand": f'command = ["sleep", "91008"]\n{ONCE}',
    "shell137": f"command = ['sh', '-c', 'exit 137']\n{ONCE}",
    "limited": hungry("limited") + LIMIT.replace("48M", "900M"),
    # Has no limit, and takes what the whole guest has.
    "glutton": hungry("leader", "4096"),
}


def ended(name: str) -> Document:
    """Return how an agent's run ended; where it didn't, how it stands."""
    shown = settled(name)
    found: Document = shown.get("last_exit") or {
        key: shown.get(key) for key in ("state", "pid", "rss_bytes", "health")
    }
    return found


def all_begin(tally: Tally) -> None:
    """Start them together: each takes its time, emulated."""
    names = [name for name in OWN if name != "glutton"]
    tally.check("oom: they start", "error" not in ask("start", select=names))


def the_leader_is_killed_at_its_limit(tally: Tally) -> None:
    seen = ended("hog")
    tally.check("a5: memory.max ends the hog, OOM_KILLED", seen.get("reason") == "OOM_KILLED", seen)
    tally.check("a5: by signal 9", seen.get("signal") == 9, seen)
    tally.check("a5: the counter says so", "oom_kill 0 -> " in (seen.get("evidence") or ""))


def an_oom_kill_is_an_incident_with_its_counters(tally: Tally) -> None:
    until(lambda: ask("incidents", select=["hog"]).get("incidents"))
    found = (ask("incidents", select=["hog"]).get("incidents") or [{}])[0]
    known = (found.get("cause"), found.get("severity"), found.get("agents"))
    tally.check("a5: one critical incident", known == ("OOM_KILLED", "critical", ["hog"]), found)
    number = found.get("id", 0)
    until(lambda: (ask("incidents", id=number).get("evidence") or {}).get("exit"))
    seen = ask("incidents", id=number).get("evidence") or {}
    ended, counted = seen.get("exit") or {}, seen.get("memory_events") or {}
    tally.check("a5: the kernel's counter is its evidence", ended.get("oom_kills", 0) >= 1, ended)
    tally.check("a5: memory.events are kept with it", counted.get("oom_kill", 0) >= 1, counted)
    tally.check("a5: and what it used at most", counted.get("peak_bytes", 0) >= 48 << 20, counted)
    told = sh("agentctl", "incident", str(number))
    tally.check("a5: agentctl tells it", told.returncode == 0 and "oom kill" in told.stdout)
    ask("ack", id=number)
    tally.check("a5: acknowledged", ask("incidents", id=number).get("acknowledged_by"))


def a_helper_is_killed_and_its_leader_lives(tally: Tally) -> None:
    found = until(lambda: ask("events", select=["helped"], types=["oom.child"]).get("events"))
    events = ask("events", select=["helped"], types=["oom.child"]).get("events") or [{}]
    tally.check("a6: oom.child is told", found, events[0].get("message"))
    shown = agent("helped")
    alive = (shown.get("state"), shown.get("restarts"), shown.get("last_exit"))
    tally.check("a6: its leader lives on", alive == ("running", 0, None), alive)
    # What was counted for its helper is no evidence of how it ends itself.
    os.kill(shown["pid"], signal.SIGKILL)
    seen = ended("helped")
    tally.check("a6: killed by hand later, it CRASHED", seen.get("reason") == "CRASHED", seen)


def a_kill_by_hand_is_no_oom_kill(tally: Tally) -> None:
    wait_for("by-hand", state="running")
    os.kill(agent("by-hand")["pid"], signal.SIGKILL)
    seen = ended("by-hand")
    tally.check("a3: kill -9 by hand is CRASHED", seen.get("reason") == "CRASHED", seen)
    tally.check("a3: signal 9", seen.get("signal") == 9)
    tally.check("a3: and says so", "no OOM evidence" in (seen.get("evidence") or ""), seen)


def what_only_looks_like_it(tally: Tally) -> None:
    seen = ended("shell137")
    known = (seen.get("reason"), seen.get("code"), seen.get("signal"))
    tally.check("a5: exit 137 of a shell is an exit code", known == ("EXITED", 137, None), seen)
    seen = ended("limited")
    known = (seen.get("reason"), seen.get("code"), seen.get("signal"))
    tally.check("a5: MemoryError under an rlimit is too", known == ("EXITED", 1, None), seen)
    told = (seen.get("evidence") or "").lower()
    tally.check("a5: no OOM in its evidence", "oom" not in told and "memory" not in told, told)
    told = sh("agentctl", "logs", "limited").stdout
    tally.check("a5: its log names it", "MemoryError" in told, told[-200:])


# Where the whole guest is out of memory, the daemon may be too late for its watchdog, which on a
# slow host is no matter: the next one adopts.
HARMS = ("oom.", "memory.", "agent.exited", "agent.degraded", "agent.restarting", "incident.opened")


def counts() -> Document:
    """What would change of an agent that something was charged to."""
    until(lambda: ask("status").get("agents"))
    agents = ask("status").get("agents") or []
    fields = ("state", "pid", "restarts", "failures")
    return {one["name"]: tuple(one.get(field) for field in fields) for one in agents}


def others_are_killed(tally: Tally) -> None:
    """Killed by the limit of its own group, and by the host: nothing of it is an agent's."""
    before, last = counts(), (ask("events", limit=1).get("events") or [{"id": 0}])[-1]["id"]
    words = ("python3", "-S", f"{PROGRAMS}/hungry.py", "leader", "4096")
    for name, option in (("group", "MemoryMax=40M"), ("host", "OOMScoreAdjust=1000")):
        unit = f"stranger-{name}"
        sh("systemd-run", "-q", f"--unit={unit}", "-p", option, *words)
        until(lambda unit=unit: of_unit(unit, "Result") not in ("", "success"))
        seen = of_unit(unit, "Result")
        tally.check(
            f"oom: a stranger is killed by its {name}", seen in ("oom-kill", "signal"), seen
        )
    time.sleep(3)
    after = counts()
    tally.check("oom: no agent has changed", after == before, differences(before, after))
    told = [
        event["event"]
        for event in ask("events", after=last, limit=1000).get("events", [])
        if event["event"].startswith(HARMS)
    ]
    tally.check("oom: nothing is told of any", not told, told)


def differences(before: Document, after: Document) -> list[tuple[str, object, object]]:
    return [(name, was, after.get(name)) for name, was in before.items() if after.get(name) != was]


@contextmanager
def patient_daemon() -> Iterator[None]:
    """Restart the daemon so that a stall of the whole host neither ends nor evicts it.

    A host without memory stands still for longer than the watchdog waits, and who is started
    again meanwhile finds an end that nobody saw.
    """
    PATIENT.parent.mkdir(parents=True, exist_ok=True)
    PATIENT.write_text("[Service]\nWatchdogSec=0\nMemoryMin=256M\n")
    try:
        restarted("256M")
        yield
    finally:
        PATIENT.unlink()
        restarted("0")


def restarted(kept_of_slice: str) -> None:
    """Restart the daemon, its agents with it, and wait until all run that are to run."""
    sh("systemctl", "set-property", "--runtime", "agentd.slice", f"MemoryMin={kept_of_slice}")
    sh("systemctl", "daemon-reload")
    done = sh("systemctl", "restart", "agentd")
    assert done.returncode == 0, done.stderr
    for name in LIVING:
        assert wait_for(name, state="running"), agent(name)
    assert until(lambda: not {"starting", "stopping"} & {one[0] for one in counts().values()})


def the_host_kills_an_agent(tally: Tally) -> None:
    with patient_daemon():
        before, daemon = counts(), main_pid()
        ask("start", select=["glutton"])
        seen = ended("glutton")
        line = seen.get("evidence") or ""
        tally.check("oom: the daemon lives through it", main_pid() == daemon > 0)
        tally.check("oom: an agent that the host kills", seen.get("reason") == "OOM_KILLED", seen)
        tally.check("oom: the kernel's log says so", "kernel log: oom-kill" in line, line)
        tally.check("oom: for the whole host's sake", "CONSTRAINT_NONE" in line, line)
        others = [one for one in differences(before, counts()) if one[0] != "glutton"]
        tally.check("oom: no other agent has changed", not others, others)


CHECKS = (
    all_begin,
    a_kill_by_hand_is_no_oom_kill,
    the_leader_is_killed_at_its_limit,
    an_oom_kill_is_an_incident_with_its_counters,
    a_helper_is_killed_and_its_leader_lives,
    what_only_looks_like_it,
    others_are_killed,
    the_host_kills_an_agent,
)
