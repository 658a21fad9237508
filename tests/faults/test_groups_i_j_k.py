"""Groups I, J and K: clocks, config and the operator, against a daemon that runs."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from agentd.config.sources import FILE_BYTES_MAX
from tests.daemon.harness import PYTHON, RUN, Document, Refused, alive, read_line
from tests.faults.guard import INNOCENT, Fleet
from tests.faults.measures import MIB, memory_of
from tests.stopwatch import Stopwatch

AGENTCTL = Path(sys.executable).with_name("agentctl")
RELOAD_S_MAX = 2.0
# Far below what two more readings of such a file take, if none were given back.
KEPT_BYTES_MAX = 8 << 20


def in_cooldown(fleet: Fleet, name: str) -> Document:
    """Kill an agent twice, so that its third start has to wait; return what is shown."""
    first = fleet.until_state(name, "running")["pid"]
    os.kill(first, signal.SIGKILL)
    second = fleet.until(name, lambda s: s["state"] == "running" and s["pid"] not in (None, first))
    os.kill(second["pid"], signal.SIGKILL)
    return fleet.until_state(name, "cooldown")


def assert_cools(fleet: Fleet, left_s: float, watch: Stopwatch) -> None:
    """What was left of its cooldown as the watch began has gone down by the time since."""
    shown = fleet.status("one")
    assert shown["state"] == "cooldown"
    assert abs(watch.wall_s + shown["cooldown_s"] - left_s) < 0.3 + watch.starved_s


def assert_starts_when_due(fleet: Fleet, left_s: float, watch: Stopwatch) -> None:
    fleet.until_state("one", "running")
    assert watch.wall_s > left_s - 0.3
    assert watch.within(left_s + 1.0)


# --- I

# Its wall clock is off by as many milliseconds as a file says.
JUMPING = """
from agentd.daemon import clock
wall_ms = clock.wall_ms
clock.wall_ms = lambda: wall_ms() + int(open({mark!r}).read())
"""


def test_i1_a_jump_of_the_wall_clock_leaves_a_cooldown_as_it_is(fleet: Fleet) -> None:
    mark, new = fleet.root / "jump", fleet.root / "new"
    mark.write_text("0")
    fleet.run = JUMPING.format(mark=str(mark)) + fleet.run
    fleet.sleeper("one", '[restart]\ncooldown = "6s"')
    fleet.sleeper("two")
    fleet.start()
    left_s, watch = in_cooldown(fleet, "one")["cooldown_s"], Stopwatch()
    for jump_s in (-3600, 86400):
        new.write_text(str(1000 * jump_s))
        new.rename(mark)
        fleet.ask("restart", select=["two"])
        fleet.ask("wait", select=["two"], **{"for": "ready"})
        told = fleet.events("two", "agent.starting")[-1]["time"]
        ahead_s = datetime.fromisoformat(told).timestamp() - time.time()
        assert ahead_s == pytest.approx(jump_s, abs=60), "its clock has jumped"
        assert_cools(fleet, left_s, watch)
    assert_starts_when_due(fleet, left_s, watch)
    fleet.seen.append(f"an hour back, a day ahead: started {watch.wall_s:.1f} s after {left_s} due")


# Becomes a process whose BOOTTIME is an hour ahead, and then the command it is given.
SLEPT_AN_HOUR = """
import ctypes, os, sys
libc, new_time = ctypes.CDLL(None, use_errno=True), 0x80
if libc.unshare(new_time):
    sys.exit(77)
with open("/proc/self/timens_offsets", "w") as offsets:
    offsets.write("boottime 3600 0")
if libc.setns(os.open("/proc/self/ns/time_for_children", os.O_RDONLY), new_time):
    sys.exit(77)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.root
def test_i2_a_suspend_while_it_is_down_ends_a_cooldown_and_is_no_silence(fleet: Fleet) -> None:
    """BOOTTIME an hour ahead for the next daemon, as after an hour of suspend in between."""
    fleet.sleeper("one", '[restart]\ncooldown = "300s"')
    fleet.program("beats", "trouble", "on")
    fleet.start()
    shown = in_cooldown(fleet, "one")
    assert shown["cooldown_s"] > 290
    beats = fleet.until("beats", lambda s: s["heartbeats"] > 3)
    fleet.crash()
    fleet.start_as([PYTHON, "-c", SLEPT_AN_HOUR, PYTHON, "-c", RUN, str(fleet.config)])
    # An hour of suspend is longer than the cooldown: it is over.
    fleet.until_state("one", "running")
    after = fleet.until("beats", lambda s: s["heartbeats"] > beats["heartbeats"] + 3)
    assert (after["pid"], after["failures"], after["health"]) == (beats["pid"], 0, "healthy")
    told = {event["event"] for event in fleet.events("beats")}
    assert not told & {"agent.degraded", "agent.unreachable", "agent.exited"}
    fleet.seen.append("an hour of suspend: the cooldown of 5 min is over, nobody was silent")


def test_i3_a_cooldown_ends_when_it_would_have_without_the_outage(fleet: Fleet) -> None:
    fleet.sleeper("one", '[restart]\ncooldown = "6s"')
    fleet.start()
    left_s = in_cooldown(fleet, "one")["cooldown_s"]
    watch = Stopwatch()
    fleet.crash()
    time.sleep(1.5)  # the outage itself
    fleet.start()
    assert_cools(fleet, left_s, watch)
    assert_starts_when_due(fleet, left_s, watch)


def test_i3_a_cooldown_that_ended_during_the_outage_is_not_begun_anew(fleet: Fleet) -> None:
    fleet.sleeper("one", '[restart]\ncooldown = "2s"')
    fleet.start()
    in_cooldown(fleet, "one")
    fleet.crash()
    time.sleep(2.2)  # the outage itself
    fleet.start()
    watch = Stopwatch()
    fleet.until_state("one", "running")
    assert watch.within(1.5)
    assert fleet.status("one")["failures"] == 2


def test_i6_events_are_ordered_by_id_over_restarts(fleet: Fleet) -> None:
    fleet.sleeper("one")
    fleet.start()
    for _ in range(2):
        fleet.ask("restart", select=["one"])
        fleet.until_state("one", "running")
        fleet.crash()
        fleet.start()
    ids = [event["id"] for event in fleet.journal()]
    assert ids == list(range(1, len(ids) + 1))


# --- J


def watched(fleet: Fleet) -> None:
    fleet.config.write_text(fleet.config.read_text().replace("watch = false", "watch = true"))


def test_j1_an_editor_that_truncates_first_stops_nothing(fleet: Fleet) -> None:
    watched(fleet)
    fleet.sleeper("one")
    fleet.idle_files = None  # the watch has files of its own
    fleet.start()
    before = fleet.until_state("one", "running")
    path = fleet.root / "agents.d" / "one.toml"
    text = path.read_text()
    path.write_text("")
    time.sleep(0.2)  # as long as an editor needs
    path.write_text('description = "edited"\n' + text)
    fleet.until("one", lambda s: s["description"] == "edited")
    after = fleet.status("one")
    assert (after["pid"], after["state"]) == (before["pid"], "running")
    assert not fleet.events("one", "agent.removed")


def test_j3_nineteen_of_twenty_go_on_and_the_bad_one_is_named(fleet: Fleet) -> None:
    for number in range(19):
        fleet.sleeper(f"good-{number}")
    fleet.agent("bad", ["sleep", "600"], "stop_timeot = '3s'\n")
    fleet.start()
    for number in range(19):
        fleet.until_state(f"good-{number}", "running")
    assert re.search(r"bad\.toml:2: \S*stop_timeot: unknown option", fleet.log_all())
    assert 'did you mean "stop_timeout"?' in fleet.log_all()
    with pytest.raises(Refused, match="no_such_agent"):
        fleet.status("bad")


def test_j4_every_mistake_is_told_at_once_and_changes_nothing(fleet: Fleet) -> None:
    fleet.sleeper("one")
    fleet.start()
    pid = fleet.until_state("one", "running")["pid"]
    text = "stop_timeot = '3s'\nnice = 'very'\nstop_timeout = '-5s'\n[restart]\njitter = nan\n"
    fleet.agent("one", ["sleep", "600"], text)
    plan = fleet.ask("reload")
    assert len(plan["errors"]) >= 4
    assert not plan["restarted"] + plan["applied"] + plan["removed"]
    done = subprocess.run(
        [str(AGENTCTL.with_name("agentd")), "check", "--config", str(fleet.config), "--json"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1
    keys = {error["key"].rpartition("one.")[2] for error in json.loads(done.stdout)["errors"]}
    assert {"stop_timeot", "nice", "stop_timeout", "restart.jitter"} <= keys
    assert fleet.status("one")["pid"] == pid


def test_j5_j6_only_what_changed_is_touched_and_a_rename_is_two_changes(fleet: Fleet) -> None:
    for name in ("one", "two", "old"):
        fleet.sleeper(name)
    fleet.start()
    before = {name: fleet.until_state(name, "running")["pid"] for name in ("one", "two", "old")}
    fleet.sleeper("one", 'environment = { REGION = "eu" }')
    path = fleet.root / "agents.d" / "old.toml"
    path.rename(path.with_name("new.toml"))
    plan = fleet.ask("reload", dry_run=True)
    assert plan["restarted"] == [{"agent": "one", "keys": ["environment.REGION"]}]
    assert (plan["added"], plan["removed"]) == (["new"], ["old"])
    assert {name: fleet.status(name)["pid"] for name in before} == before
    fleet.ask("reload")
    fleet.until("one", lambda s: s["state"] == "running" and s["pid"] not in (None, before["one"]))
    fleet.until_state("new", "running")
    assert fleet.status("two")["pid"] == before["two"]
    fleet.until_true(lambda: not alive(before["old"]))
    assert [event["event"] for event in fleet.events() if event["agent"] == "old"]


@pytest.mark.parametrize("is_whole", [True, False])
def test_j8_ten_megabytes_of_five_thousand_agents_do_not_hold_up_the_loop(
    fleet: Fleet, *, is_whole: bool
) -> None:
    fleet.start()
    text = fleet.config.read_text()
    fleet.config.write_text(text + five_thousand(FILE_BYTES_MAX - len(text), is_whole=is_whole))
    watch = Stopwatch()
    plan = fleet.ask("reload", timeout_s=30, dry_run=is_whole)
    took_s = watch.fair_s
    assert watch.within(RELOAD_S_MAX), took_s
    if is_whole:
        assert (len(plan["added"]), plan["errors"]) == (5000, [])
    else:
        assert "n5000" in json.dumps(plan["errors"])
        assert plan["added"] == []
    held = memory_of(fleet.pid)[1]
    for _ in range(2):
        fleet.ask("reload", timeout_s=30, dry_run=is_whole)
    # What such a file leaves with the allocator is used again by the next: it does not add up.
    assert memory_of(fleet.pid)[1] - held < KEPT_BYTES_MAX
    fleet.kept_bytes_max = 32 * MIB
    done = "planned" if is_whole else "refused"
    fleet.seen.append(f"5,000 agents {done} in {took_s:.1f} s, and nothing else changed")
    assert [agent["name"] for agent in fleet.ask("status")["agents"]] == [INNOCENT]


def five_thousand(bytes_max: int, *, is_whole: bool) -> str:
    """Agents that depend on each other in a row; unless it is whole, the last on nobody."""
    last = "" if is_whole else "depends_on = ['n5000']\n"
    bare = [
        f"[agents.n{number}]\ncommand = ['sleep', '600']\nautostart = false\n"
        + (f"depends_on = ['n{number + 1}']\n" if number < 4999 else last)
        for number in range(5000)
    ]
    said = "x" * ((bytes_max - len("".join(bare))) // 5000 - len("description = ''\n"))
    return "".join(f"{agent}description = '{said}'\n" for agent in bare)


def test_j10_a_secret_in_the_config_is_warned_of_and_never_printed(fleet: Fleet) -> None:
    fleet.sleeper("one", 'environment = { OPENAI_API_KEY = "sk-abcdef0123456789abcdef0123456789" }')
    fleet.start()
    assert "OPENAI_API_KEY" in fleet.log_all()
    assert "environment_files" in fleet.log_all() or "_file" in fleet.log_all()
    assert "sk-abcdef" not in fleet.log_all()


# --- K


def test_k1_killed_stays_killed_with_reason_and_who_over_two_crashes(fleet: Fleet) -> None:
    fleet.sleeper("one")
    fleet.start()
    pid = fleet.until_state("one", "running")["pid"]
    fleet.ask("kill", select=["one"], reason="cost spike")
    for _ in range(2):
        fleet.crash()
        fleet.start()
        shown = fleet.until("one", lambda s: s["pid"] is None)
        assert (shown["intent"], shown["health"]) == ("killed", "killed")
        assert shown["intent_reason"] == "cost spike"
        assert "root" in shown["intent_by"] or "uid" in shown["intent_by"]
    assert not alive(pid)
    with pytest.raises(Refused, match="killed"):
        fleet.ask("restart", select=["one"])


def test_k3_a_kill_always_beats_the_restart_it_races_with(fleet: Fleet) -> None:
    fleet.shell("quick", "sleep 0.05; exit 1", "[restart]\ncooldown = '0s'\nfailures_max = 1000\n")
    fleet.start()
    for round_number in range(8):
        fleet.until("quick", lambda s: s["restarts"] > 0 or s["failures"] > 0)
        time.sleep(0.013 * round_number)
        fleet.ask("kill", select=["quick"])
        fleet.until_state("quick", "stopped")
        starts = len(fleet.events("quick", "agent.starting"))
        assert fleet.leaders("quick") == []
        shown = fleet.status("quick")
        assert (shown["intent"], shown["pid"]) == ("killed", None)
        assert len(fleet.events("quick", "agent.starting")) == starts
        fleet.ask("resume", select=["quick"])
        fleet.ask("reset", select=["quick"])


def test_k5_a_command_whose_sender_died_runs_once_and_is_answered_alike(fleet: Fleet) -> None:
    fleet.sleeper("one")
    fleet.start()
    first = fleet.until_state("one", "running")["pid"]
    line = {"id": "r1", "cmd": "restart", "args": {"select": ["one"]}}
    with fleet.connect() as channel:
        channel.sendall(json.dumps(line).encode() + b"\n")
    second = fleet.until(
        "one", lambda s: s["state"] == "running" and s["pid"] not in (None, first)
    )["pid"]
    answers = []
    for _ in range(2):
        with fleet.connect() as channel:
            channel.sendall(json.dumps(line).encode() + b"\n")
            answers.append(json.loads(read_line(channel)))
    assert answers[0] == answers[1]
    assert answers[0]["ok"]
    fleet.crash()
    fleet.start()
    with fleet.connect() as channel:
        channel.sendall(json.dumps(line).encode() + b"\n")
        assert json.loads(read_line(channel)) == answers[0]
    assert fleet.status("one")["pid"] == second
    assert len(fleet.events("one", "agent.starting")) == 2


def test_k6_a_daemon_that_is_absent_or_stopped_is_told_within_5_seconds(fleet: Fleet) -> None:
    fleet.start()

    def asked() -> tuple[int, float, str]:
        begun = time.monotonic()
        words = [str(AGENTCTL), "--socket", str(fleet.socket), "--timeout", "2s", "status"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        return done.returncode, time.monotonic() - begun, done.stderr

    with fleet.away():
        fleet.signal(signal.SIGSTOP)
        code, took_s, told = asked()
        fleet.signal(signal.SIGCONT)
        fleet.ask("ping")
    assert code in (7, 124)
    assert took_s <= 5
    assert "hint:" in told
    fleet.crash()
    code, took_s, told = asked()
    assert (code, took_s <= 5) == (7, True)
    assert "hint:" in told
    fleet.start()


def test_k11_a_follower_that_comes_back_misses_nothing(fleet: Fleet) -> None:
    fleet.sleeper("one")
    fleet.start()
    fleet.until_state("one", "running")
    seen: list[Document] = []

    def follow(until: str) -> None:
        after = seen[-1]["id"] if seen else 0
        for line in fleet.follow("events", after=after):
            seen.append(line["event"])
            if line["event"]["event"] == until:
                return

    def cut() -> None:
        try:
            follow("never")
        except (TimeoutError, ConnectionError):
            return

    follower = threading.Thread(target=cut)
    follower.start()
    fleet.ask("restart", select=["one"])
    fleet.until_true(lambda: any(event["event"] == "agent.stopping" for event in seen))
    fleet.crash()
    follower.join(20)
    assert not follower.is_alive()
    fleet.start()
    fleet.until_state("one", "running")
    fleet.ask("kill", select=["one"])
    follow("agent.killed")
    ids = [event["id"] for event in seen]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    told = {event["id"]: event["event"] for event in fleet.journal()}
    assert all(told[event["id"]] == event["event"] for event in seen)
