"""The confusion table of health: what has stalled is found, what only looks like it is left alone.

Beats are expected every 300 ms here, 3 s of silence are too long: a hundredth of the defaults. A
call of 600 s against the 300 s of life are then 6 s against 3. The figures go to the table of
`make test-faults`.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from tests.daemon.harness import PYTHON
from tests.daemon.test_processes_trees import v1_group
from tests.faults.guard import Fleet
from tests.faults.programs.starvation import waited_ms

UNREACHABLE_S = 3.0
CORPSE_S = 2.0
LATE_S_MAX = 1.0
# The last heartbeat comes before the trouble, and the five of before came without work.
EARLY_S_MAX = 1.0
LEGITIMATE_S = 2 * UNREACHABLE_S
STOPPED_S = 4.0
ALERT = "[heartbeat]\ninterval = '300ms'\ndegraded_after = '1s'\nunreachable_after = '3s'\n"
WATCHED = f"{ALERT}on_unreachable = 'alert'\n"
CORPSE = f"{ALERT}no_progress_after = '{CORPSE_S:.0f}s'\n[memory]\nsample = '200ms'\n"
HARM = {"agent.unreachable", "agent.restarting", "agent.exited", "agent.escalated"}

BEAT_S = 0.1  # of programs/trouble.py

# What each is in the end, how long after its cause at the soonest, and what is told of it.
STALLS = {
    "stopped": ("unreachable", UNREACHABLE_S, "agent.unreachable"),
    "lock": ("unreachable", UNREACHABLE_S, "agent.unreachable"),
    "tls": ("unreachable", UNREACHABLE_S, "agent.unreachable"),
    "spin": ("unreachable", UNREACHABLE_S, "agent.unreachable"),
    "beside": ("degraded", CORPSE_S, "agent.degraded"),
    # Nobody says of these beats that they come from beside the loop.
    "beside-unmarked": ("degraded", CORPSE_S, "agent.degraded"),
}
EXPLAINED = {"call": "", "tool": "", "silence": "=600", "human": "", "parked": ""}


class Starvation:
    """For how long the daemon's loop waited for a core, between two moments."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._samples: list[tuple[float, float]] = []
        self.sample()

    def sample(self) -> None:
        """To be called often; moments are those of the wall clock, in seconds."""
        # The loop alone: all threads together wait for longer than there is time.
        lost_ms = waited_ms(Path(f"/proc/{self._pid}/task/{self._pid}"))
        self._samples.append((time.time(), lost_ms / 1000))

    def between(self, begun: float, ended: float) -> float:
        """Seconds."""
        before = [lost for at, lost in self._samples if at <= begun]
        after = [lost for at, lost in self._samples if at >= ended]
        first = before[-1] if before else self._samples[0][1]
        return (after[0] if after else self._samples[-1][1]) - first


def told_at(fleet: Fleet, name: str) -> float:
    """When the daemon told of a stall with its evidence, in seconds of the wall clock."""
    kind = STALLS[name][2]
    fleet.until_true(lambda: fleet.events(name, kind), lambda: f"no {kind} of {name}")
    return datetime.fromisoformat(fleet.events(name, kind)[0]["time"]).timestamp()


def test_b1_b2_b3_every_true_stall_is_found_within_its_threshold_and_a_second(fleet: Fleet) -> None:
    causes = fleet.root / "causes"
    causes.mkdir()
    fleet.program("stopped", "trouble", "on", text=WATCHED)
    for name in ("lock", "tls", "spin"):
        fleet.program(name, "trouble", f"{name}={causes / name}", text=WATCHED)
    for name in ("beside", "beside-unmarked"):
        fleet.program(name, "trouble", f"{name}={causes / name}", text=CORPSE)
    fleet.start()
    starvation = Starvation(fleet.pid)
    pid = fleet.until("stopped", lambda s: s["heartbeats"] > 3)["pid"]
    os.kill(pid, signal.SIGSTOP)
    (causes / "stopped").write_text(repr(time.time()))
    found_at: dict[str, tuple[float, float]] = {}
    looks = [time.time()]

    def all_found() -> bool:
        # It became so after the look before: that this test is late is not the daemon's doing.
        since = looks[-1]
        looks.append(time.time())
        starvation.sample()
        for shown in fleet.ask("status")["agents"]:
            if shown["name"] in STALLS and shown["health"] == STALLS[shown["name"]][0]:
                found_at.setdefault(shown["name"], (since, time.time()))
        return found_at.keys() == STALLS.keys()

    fleet.until_true(all_found, lambda: str(found_at))
    for name, (_, threshold_s, _) in STALLS.items():
        cause = float((causes / name).read_text())
        since, found = found_at[name]
        # Before it is due, nothing waits for the loop.
        lost_s = starvation.between(cause + threshold_s, found)
        told_s = told_at(fleet, name) - cause
        words = f"found after {found - cause:.1f} s, evidence after {told_s:.1f} s"
        fleet.seen.append(f"{name}: {words}")
        assert since - cause - lost_s <= threshold_s + LATE_S_MAX, (name, words, lost_s)
        assert found - cause > threshold_s - EARLY_S_MAX, (name, words, "before it is due")
    os.kill(pid, signal.SIGCONT)


def test_b3_a_loop_that_spins_under_beats_that_seem_its_own_is_not_found(fleet: Fleet) -> None:
    """What can't be told from work: the core is in use, and the loop seems to go round."""
    cause = fleet.root / "cause"
    fleet.program("beside-spin", "trouble", f"beside-spin={cause}", text=CORPSE)
    fleet.start()
    fleet.until_true(cause.exists)
    before = fleet.status("beside-spin")["heartbeats"]
    # So many as are found where they are marked, and as many again.
    fleet.until("beside-spin", lambda s: s["heartbeats"] > before + 2 * CORPSE_S / BEAT_S)
    shown = fleet.status("beside-spin")
    assert (shown["health"], shown["no_progress"]) == ("healthy", None), shown
    assert not fleet.events("beside-spin", "agent.degraded")
    fleet.seen.append("beside-spin: not found")


def unharmed(fleet: Fleet, names: list[str]) -> None:
    """Nobody of these was called unreachable, nor did anything happen to it."""
    for name in names:
        happened = [event for event in fleet.events(name) if event["event"] in HARM]
        assert not happened, happened
        shown = fleet.status(name)
        assert (shown["failures"], shown["restarts"]) == (0, 0), shown


def test_b9_b10_what_is_explained_and_what_the_daemon_slept_through_is_no_stall(
    fleet: Fleet,
) -> None:
    for name, figure in EXPLAINED.items():
        fleet.program(name, "trouble", f"{name}{figure}")
    fleet.program("beats", "trouble", "on")
    fleet.start()
    names = [*EXPLAINED, "beats"]
    for name in EXPLAINED:
        shown = fleet.until(name, lambda s: (s["silence_s"] or 0) > LEGITIMATE_S)
        assert shown["health"] not in ("degraded", "unreachable"), shown
        fleet.seen.append(f"{name}: left alone after {shown['silence_s']:.1f} s of silence")
    unharmed(fleet, names)
    with fleet.away():
        fleet.signal(signal.SIGSTOP)
        time.sleep(STOPPED_S)  # the fault itself
        fleet.signal(signal.SIGCONT)
        fleet.ask("ping")
    before = fleet.status("beats")["heartbeats"]
    fleet.until("beats", lambda s: s["heartbeats"] > before + 15)
    unharmed(fleet, names)
    assert not fleet.events("beats", "agent.degraded")
    fleet.seen.append(f"a daemon stopped for {STOPPED_S:.0f} s: nobody's silence")


# BOOTTIME goes an hour ahead of MONOTONIC when a file appears, as both do in an hour of suspend.
SUSPENDABLE = """
import os; from agentd.daemon import clock
boottime_ms = clock.boottime_ms
clock.boottime_ms = lambda: boottime_ms() + 3_600_000 * os.path.exists({mark!r})
"""


def test_i2_a_suspend_of_a_running_daemon_is_told_and_is_nobodys_silence(
    fleet: Fleet,
) -> None:
    mark = fleet.root / "suspended"
    fleet.run = SUSPENDABLE.format(mark=str(mark)) + fleet.run
    names = [*EXPLAINED, "beats"]
    for name, figure in EXPLAINED.items():
        fleet.program(name, "trouble", f"{name}{figure}")
    fleet.program("beats", "trouble", "on")
    fleet.start()
    for name in EXPLAINED:
        fleet.until(name, lambda s: (s["silence_s"] or 0) > 0.5)
    mark.touch()
    fleet.until_true(lambda: fleet.events(kind="daemon.stalled"))
    told = fleet.events(kind="daemon.stalled")[0]
    assert told["data"]["kind"] == "suspend"
    assert told["data"]["gap_ms"] == pytest.approx(3_600_000, abs=5_000)
    before = fleet.status("beats")["heartbeats"]
    fleet.until("beats", lambda s: s["heartbeats"] > before + 15)
    unharmed(fleet, names)
    assert not fleet.events("beats", "agent.degraded")
    fleet.seen.append(f"told: {told['message']}")


@contextmanager
def starved(group: Path, share_us: int, pids: list[int]) -> Iterator[None]:
    """Processes that have, with four that want all, so much of each 100 ms of one core."""
    (group / "cpu.cfs_period_us").write_text("100000")
    (group / "cpu.cfs_quota_us").write_text(str(share_us))
    hogs = [subprocess.Popen([PYTHON, "-S", "-c", "while True: pass"]) for _ in range(4)]
    try:
        for pid in [*pids, *(hog.pid for hog in hogs)]:
            (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
        for pid in pids:
            (group.parent / "cgroup.procs").write_text(str(pid))


@pytest.mark.root
def test_b10_starved_of_cpu_nobody_is_called_unreachable(fleet: Fleet) -> None:
    fleet.program("beats", "trouble", "on")
    fleet.start()
    before = fleet.until("beats", lambda s: s["heartbeats"] > 5)
    with v1_group("cpu") as group, fleet.away():
        with starved(group, 10_000, [fleet.pid, before["pid"]]):
            time.sleep(LEGITIMATE_S)  # the fault itself
            throttled = (group / "cpu.stat").read_text()
        fleet.ask("ping")
    assert int(throttled.split("nr_throttled")[1].split()[0]) > 20, throttled
    after = fleet.until("beats", lambda s: s["heartbeats"] > before["heartbeats"] + 20)
    assert after["pid"] == before["pid"]
    unharmed(fleet, ["beats"])
    fleet.seen.append(f"a tenth of a core for six processes, {LEGITIMATE_S:.0f} s: left alone")
