"""Group B: an agent hangs, or the daemon itself is held up."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.daemon.harness import PYTHON, Document, alive
from tests.faults.guard import INNOCENT, PROGRAMS, Fleet, children_of
from tests.stopwatch import Stopwatch

ONCE = '[restart]\ncooldown = "30s"'


def kinds(fleet: Fleet, name: str) -> list[str]:
    return [event["event"] for event in fleet.events(name)]


def told(fleet: Fleet, name: str, kind: str) -> Document:
    """The first event of a kind, once there is one."""
    fleet.until_true(lambda: fleet.events(name, kind), lambda: f"no {kind} of {name}")
    return fleet.events(name, kind)[0]


def test_b1_a_read_that_never_ends_is_noticed_and_restarted_with_evidence(fleet: Fleet) -> None:
    fleet.program("stuck", "trouble", "stuck", text=ONCE)
    fleet.start()
    first = fleet.until("stuck", lambda s: s["health"] == "healthy")["pid"]
    shown = fleet.until("stuck", lambda s: s["health"] == "degraded")
    assert (shown["pid"], shown["state"]) == (first, "running")
    shown = fleet.until("stuck", lambda s: s["pid"] not in (None, first))
    last = shown["last_exit"]
    assert last["reason"] == "TIMEOUT"
    # At the threshold of 3 s it is looked at, and then told of.
    assert re.search(r"silent for [3-6](\.\d+)?s", last["evidence"]), last["evidence"]
    assert re.search(r"^stuck .* in (recv|read)", last["evidence"]), last["evidence"]
    for word in ("task order-17", "step fetch", "tool http_get", "CPU 0 %"):
        assert word in last["evidence"], last["evidence"]
    assert "wait channel" in last["evidence"], last["evidence"]
    happened = kinds(fleet, "stuck")
    assert happened.index("agent.degraded") < happened.index("agent.unreachable")
    assert shown["failures"] == 1
    seen = look_at(fleet, "stuck", "stall")
    assert re.match(r"(recvfrom|read)\(fd \d+\)", seen["syscall"]), seen
    assert seen["wchan"], seen
    assert seen["state"] == "S (sleeping)"
    assert seen["cpu_s"] <= 0.05
    assert seen["since_work"]["cpu_ms"] <= 50
    # Counted from a sample, which may come a second after the last heartbeat.
    assert seen["since_work"]["for_ms"] >= 1_500
    # Its connection to agentd, and the two ends that nobody writes to.
    assert len(seen["sockets"]) == 3
    assert seen["last_said"]["tool"] == "http_get"


def look_at(fleet: Fleet, name: str, kind: str) -> Document:
    """What was seen of an agent in its first incident, once it is kept."""
    found: list[Document] = []

    def look() -> bool:
        listed = fleet.ask("incidents", select=[name])["incidents"]
        if listed:
            evidence = fleet.ask("incidents", id=listed[-1]["id"])["evidence"]
            looks = (evidence, *evidence["agents"])
            found[:] = [look for look in looks if look.get("kind") == kind]
        return bool(found)

    fleet.until_true(look, lambda: f"nothing was seen of {name}")
    return found[0]


def test_b2_one_that_spins_is_unreachable_and_its_cpu_says_so(fleet: Fleet) -> None:
    fleet.program("spin", "trouble", "spin", text=ONCE + "\n[memory]\nsample = '250ms'\n")
    fleet.start()
    first = fleet.until("spin", lambda s: s["health"] == "healthy")["pid"]
    fleet.until("spin", lambda s: s["health"] == "degraded")
    had, lacked = (int(word) for word in Path(f"/proc/{first}/schedstat").read_text().split()[:2])
    shown = fleet.until("spin", lambda s: s["pid"] not in (None, first))
    last = shown["last_exit"]
    assert last["reason"] == "TIMEOUT"
    used = re.search(r"CPU (\d+) %", last["evidence"])
    assert used, last["evidence"]
    # It computes, and nothing comes of it: where, and for how long.
    where = r"(spin \(trouble\.py:\d+\)|a computation)"
    assert re.search(rf"^stuck \S+ in {where}, CPU \d+ %; silent for \d", last["evidence"]), last
    alerted = told(fleet, "spin", "agent.unreachable")["message"]
    assert last["evidence"].startswith(alerted), (last["evidence"], alerted)
    fleet.seen.append(alerted)
    # Of a core that it shares with whatever else runs here: what it got, it used.
    assert int(used[1]) >= 40 * had / (had + lacked)
    seen = look_at(fleet, "spin", "stall")
    assert seen["state"] == "R (running)"
    assert seen["cpu_percent"] >= 40 * had / (had + lacked)


def test_b6_one_that_ignores_sigterm_is_killed_with_its_tree_after_its_grace(fleet: Fleet) -> None:
    fleet.program("deaf", "trouble", "deaf", text='stop_timeout = "1s"')
    fleet.start()
    pid = fleet.until("deaf", lambda s: s["heartbeats"] > 2)["pid"]
    tree = [pid, *children_of(pid)]
    assert len(tree) == 3
    watch = Stopwatch()
    fleet.ask("stop", select=["deaf"])
    shown = fleet.until_state("deaf", "stopped")
    assert watch.wall_s >= 1.0
    assert watch.within(2.0)
    assert shown["last_exit"]["signal"] == signal.SIGKILL
    assert shown["last_exit"]["reason"] == "USER_STOPPED"
    assert not [member for member in tree if alive(member)]


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that even SIGKILL can't end: frozen by a v1 control group."""
    group = Path("/sys/fs/cgroup/freezer") / f"agentd-test-{pid}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no v1 freezer here: {error}")
    state = group / "freezer.state"
    try:
        (group / "cgroup.procs").write_text(str(pid))
        state.write_text("FROZEN")
        yield
    finally:
        state.write_text("THAWED")
        end = time.monotonic() + 10
        while (left := (group / "cgroup.procs").read_text().split()) and time.monotonic() < end:
            with contextlib.suppress(ProcessLookupError):  # it is gone by itself
                Path("/sys/fs/cgroup/freezer/cgroup.procs").write_text(left[0])
        group.rmdir()


@pytest.mark.root
def test_b7_a_kill_that_cannot_take_effect_is_told_and_nothing_is_doubled(fleet: Fleet) -> None:
    fleet.sleeper("stone", 'stop_timeout = "500ms"')
    fleet.start()
    pid = fleet.until_state("stone", "running")["pid"]
    with frozen(pid):
        fleet.ask("restart", select=["stone"])
        pending_kill(fleet, pid)
    fleet.until("stone", lambda s: s["state"] == "running" and s["pid"] not in (None, pid))
    assert not alive(pid)
    assert fleet.copies()["stone"] == 1


@pytest.mark.root
def test_b7_an_operators_kill_is_complete_on_the_thaw_and_nothing_starts_then(
    fleet: Fleet,
) -> None:
    fleet.sleeper("stone", '[restart]\npolicy = "always"\ncooldown = "200ms"')
    fleet.start()
    pid = fleet.until_state("stone", "running")["pid"]
    with frozen(pid):
        fleet.ask("kill", select=["stone"])
        pending_kill(fleet, pid)
    shown = fleet.until_state("stone", "stopped")
    assert (shown["intent"], shown["pid"]) == ("killed", None)
    assert shown["last_exit"]["reason"] == "USER_KILLED"
    assert not alive(pid)
    beats = fleet.status(INNOCENT)["heartbeats"]
    fleet.until(INNOCENT, lambda s: s["heartbeats"] > beats + 20)  # longer than its cooldown
    assert fleet.copies()["stone"] == 0
    assert len(fleet.events("stone", "agent.starting")) == 1


def pending_kill(fleet: Fleet, pid: int) -> None:
    """Wait until the kill of the agent `stone` is told as pending, and nothing else is."""

    def found() -> list[Document]:
        stopping = fleet.events("stone", "agent.stopping")
        return [event for event in stopping if "kill pending" in event["message"]]

    fleet.until_true(found)
    (event,) = found()
    assert f"pid {pid} (sleep) state D" in event["message"], event["message"]
    assert event["severity"] == "critical"
    shown = fleet.status("stone")
    assert (shown["state"], shown["pid"]) == ("stopping", pid)
    assert len(fleet.events("stone", "agent.starting")) == 1
    assert fleet.copies()["stone"] == 1


def test_b9_an_announced_silence_is_no_silence_up_to_max_silence(fleet: Fleet) -> None:
    beats = "[heartbeat]\ninterval = '300ms'\ndegraded_after = '1s'\nunreachable_after = '3s'\n"
    fleet.program("quiet", "trouble", "silence=600", text=ONCE)
    fleet.program("capped", "trouble", "silence=600", text=f"{ONCE}\n{beats}max_silence = '2s'")
    fleet.start()
    first = {
        name: fleet.until(name, lambda s: s["expected_silence_s"])["pid"]
        for name in ("quiet", "capped")
    }
    # The cap of 2 s and then 3 s of silence that nothing explains.
    shown = fleet.until("capped", lambda s: s["pid"] not in (None, first["capped"]))
    assert shown["last_exit"]["reason"] == "TIMEOUT"
    quiet = fleet.status("quiet")
    assert (quiet["pid"], quiet["health"]) == (first["quiet"], "healthy")
    assert quiet["silence_s"] > 4
    assert quiet["expected_silence_s"] > 590
    assert not {"agent.degraded", "agent.unreachable"} & set(kinds(fleet, "quiet"))


def test_b9_one_announcement_covers_one_silence(fleet: Fleet) -> None:
    fleet.sleeper("plain", '[restart]\npolicy = "never"')
    fleet.agent("twice", ["sleep", "600"], ONCE + "\n[heartbeat]\non_unreachable = 'alert'")
    fleet.start()
    fleet.until("twice", lambda s: s["pid"])
    with fleet.as_agent("twice") as voice:
        assert voice.ask({"id": 1, "silence_s": 600})["ok"]
        assert fleet.status("twice")["expected_silence_s"] > 590
        assert voice.ask({"id": 2})["ok"]
        assert fleet.status("twice")["expected_silence_s"] is None
        fleet.until("twice", lambda s: s["health"] == "degraded")


def test_an_open_call_within_its_deadline_explains_a_silence(fleet: Fleet) -> None:
    fleet.program("calling", "trouble", "call", text=ONCE)
    fleet.start()
    shown = fleet.until("calling", lambda s: (s["silence_s"] or 0) > 3.5)
    assert (shown["health"], shown["failures"]) == ("healthy", 0)
    assert shown["open_call"]["label"] == "chat"


def test_b10_a_stopped_daemon_costs_a_printing_agent_nothing(fleet: Fleet) -> None:
    fleet.program("talker", "trouble", "print=100000")
    fleet.program("beats", "trouble", "on")
    fleet.start()
    before = {
        name: fleet.until(name, lambda s: s["heartbeats"] > 5) for name in ("talker", "beats")
    }
    size = (fleet.root / "logs" / "talker.log").stat().st_size
    with fleet.away():
        fleet.signal(signal.SIGSTOP)
        # Longer than unreachable_after: this very wait is the fault.
        time.sleep(4)
        written = (fleet.root / "logs" / "talker.log").stat().st_size - size
        fleet.signal(signal.SIGCONT)
        fleet.ask("ping")
    assert written >= 1_000_000
    numbers = printed_numbers(fleet.root / "logs" / "talker.log")
    assert numbers == list(range(1, len(numbers) + 1)), "no line is lost or printed twice"
    fleet.seen.append(f"{written / 1e6:.1f} MB printed meanwhile, {len(numbers)} lines, none lost")
    for name, shown in before.items():
        after = fleet.until(name, lambda s, n=shown["heartbeats"]: s["heartbeats"] > n + 10)
        assert (after["pid"], after["failures"]) == (shown["pid"], 0)
        assert not {"agent.degraded", "agent.unreachable"} & set(kinds(fleet, name))
    fleet.until_true(lambda: fleet.events(kind="daemon.stalled"))


def printed_numbers(log: Path) -> list[int]:
    """The numbers of the whole lines in a log of `trouble.py print=`."""
    lines = log.read_bytes().split(b"\n")[:-1]
    return [int(line.split(b" ", 1)[0]) for line in lines]


@pytest.mark.parametrize("stopped_s", [0.9, 1.4, 2.1])
def test_b10_a_short_stop_is_nobodys_silence_either(fleet: Fleet, stopped_s: float) -> None:
    """Shorter than what is told as a stall, and longer than `degraded_after` or nearly so."""
    fleet.program("beats", "trouble", "on")
    fleet.start()
    for _ in range(3):
        before = fleet.until("beats", lambda s: s["heartbeats"] > 5)
        with fleet.away():
            fleet.signal(signal.SIGSTOP)
            time.sleep(stopped_s)  # the fault itself
            fleet.signal(signal.SIGCONT)
            fleet.ask("ping")
        more = before["heartbeats"] + 5
        after = fleet.until("beats", lambda s, n=more: s["heartbeats"] > n)
        assert (after["pid"], after["health"]) == (before["pid"], "healthy")
    assert "agent.degraded" not in kinds(fleet, "beats")


IN_A_ROW = 5_000


def test_b11_beats_of_the_sdk_to_a_stopped_daemon_never_wait_and_each_is_counted(
    fleet: Fleet,
) -> None:
    fleet.agent("burst", [PYTHON, str(PROGRAMS / "burst.py"), str(IN_A_ROW)])
    fleet.start()
    before = fleet.until("burst", lambda s: s["heartbeats"] > 5)
    log = fleet.root / "logs" / "burst.log"
    with fleet.away():
        fleet.signal(signal.SIGSTOP)
        os.kill(before["pid"], signal.SIGUSR1)
        # It comes to an end of them while nobody reads: a call that waits would wait for ever.
        fleet.until_true(lambda: log.read_text().endswith("\n"))
        fleet.signal(signal.SIGCONT)
        fleet.ask("ping")
    last, waits = map(int, log.read_text().split())
    assert waits <= IN_A_ROW / 100, "a call that waits, however briefly, does so in each beat"
    # What it tells then is heard again, and what was dropped before it has been told.
    after = fleet.until("burst", lambda s: int(s["task"]) > last + 20)
    assert (after["pid"], after["failures"]) == (before["pid"], 0)
    assert after["heartbeats"] > last - IN_A_ROW
    assert after["dropped_lines"] > IN_A_ROW / 4
    assert after["heartbeats"] + after["dropped_lines"] == int(after["task"])
    fleet.seen.append(f"{IN_A_ROW} beats, {after['dropped_lines']} told as dropped, {waits} waits")


# How long one may take over its end, scaled down as the other thresholds are.
DRAINING_S = 3.0
BRIEF = f"from agentd.core import draining; draining.DRAINING_MS_MAX = {DRAINING_S * 1000:.0f}; "
LOOPS = ("loop.warning", "loop.detected")


def test_b14_an_announced_shutdown_holds_off_verdicts_on_loops_for_a_bounded_time(
    fleet: Fleet,
) -> None:
    fleet.run = BRIEF + fleet.run
    for name in ("loop", "leave"):
        fleet.program(
            name, "trouble", f"{name}={fleet.root / name}", text='[loop]\non_loop="alert"'
        )
    fleet.start()
    verdict = told(fleet, "loop", "loop.detected")
    assert verdict["data"]["count"] == 5
    # The same steps, and in each beat the word that it shuts down, from the first of them on.
    warning, late = told(fleet, "leave", "loop.warning"), told(fleet, "leave", "loop.detected")
    assert fleet.status("leave")["status"] == "draining"
    assert verdict["id"] < warning["id"] < late["id"]
    assert [kind for kind in kinds(fleet, "leave") if kind in LOOPS] == list(LOOPS)
    until_s = noted(fleet, "leave") + DRAINING_S
    warned_s = datetime.fromisoformat(warning["time"]).timestamp()
    assert warned_s >= until_s - 0.1
    steps = [float(line) for line in (fleet.root / "logs" / "leave.log").read_text().split()]
    unsaid = sum(step_s < until_s for step_s in steps)
    assert unsaid >= 2 * verdict["data"]["count"]
    fleet.seen.append(f"{unsaid} same steps before a word of them, 5 without an announced shutdown")


def test_b14_an_announced_shutdown_holds_off_the_alarm_of_one_that_does_nothing(
    fleet: Fleet,
) -> None:
    fleet.run = BRIEF + fleet.run
    text = '[heartbeat]\nno_progress_after = "1s"\n[memory]\nsample = "200ms"\n'
    for name in ("idle", "drain"):
        fleet.program(name, "trouble", f"{name}={fleet.root / name}", text=text)
    fleet.start()
    for name in ("idle", "drain"):
        fleet.until(name, lambda s: s["health"] == "degraded")
    assert time.time() - noted(fleet, "drain") >= DRAINING_S - 0.1
    assert "no progress" in told(fleet, "drain", "agent.degraded")["message"]


def noted(fleet: Fleet, name: str) -> float:
    """When the trouble of an agent began, by its own note."""
    return float((fleet.root / name).read_text())
