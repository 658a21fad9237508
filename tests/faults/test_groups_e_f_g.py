"""Groups E, F and G as far as a real daemon shows them: memory, output, and a second daemon."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.daemon.harness import PYTHON, RUN, WAIT_S, alive
from tests.faults.guard import PROGRAMS, Fleet
from tests.faults.programs.starvation import waited_ms
from tests.stopwatch import Stopwatch

REEXEC_S_MAX = 3.0
RESTARTS = int(os.environ.get("AGENTD_REAL_RESTARTS", "150"))
PLAIN = "[heartbeat]\nrequired = false\n"
MIB = 1 << 20
LOUD = ["sh", "-c", "exec yes 'a line of output that never ends'"]


# --- E


def test_e1_a_real_leak_is_told_before_its_limit_and_restarted_at_it(fleet: Fleet) -> None:
    text = (
        '[restart]\ncooldown = "60s"\n[memory]\nlimit = "64M"\nsample = "100ms"\n'
        'settle = "1s"\non_limit = "restart"\n'
    )
    words = [PYTHON, "-S", str(PROGRAMS / "hoarder.py"), "leader", "4"]
    fleet.agent("leak", words, text + PLAIN)
    fleet.start()
    first = fleet.until("leak", lambda s: s["pid"])["pid"]
    fleet.until_true(lambda: fleet.events("leak", "memory.leak"))
    assert fleet.status("leak")["pid"] == first, "it still runs when people are told"
    last = fleet.until("leak", lambda s: s["pid"] not in (None, first))["last_exit"]
    assert last["reason"] == "MEMORY_LIMIT", last
    told = [event for event in fleet.events("leak") if event["event"].startswith("memory.")]
    kinds = [event["event"] for event in told]
    assert [kind for kind in kinds if kind in ("memory.leak", "memory.limit")] == [
        *("memory.leak", "memory.limit")
    ]
    leak = told[kinds.index("memory.leak")]
    assert "the limit of 64 MiB is reached in about" in leak["message"]
    assert leak["data"]["forecast_s"] > 0
    fleet.seen.append(f"told at {leak['data']['used']:.0%} of its limit: {leak['message']}")


def test_e3_a_sudden_growth_is_ended_at_the_limit_and_is_no_leak(fleet: Fleet) -> None:
    text = (
        '[restart]\npolicy = "never"\n[memory]\nlimit = "100M"\nsample = "1s"\n'
        'settle = "1s"\non_limit = "restart"\n'
    )
    words = [PYTHON, "-S", str(PROGRAMS / "hoarder.py"), "leader", "120", "600"]
    fleet.agent("burst", words, text + PLAIN)
    fleet.start()
    last = fleet.until("burst", lambda s: s["last_exit"] is not None)["last_exit"]
    assert last["reason"] in ("MEMORY_LIMIT", "OOM_KILLED"), last
    told = fleet.events("burst")
    assert not [event for event in told if event["event"] in ("memory.leak", "memory.suspect")]
    (limit,) = [event for event in told if event["event"] == "memory.limit"]
    # Measured ten times as often near the limit, it is not left to run far beyond it.
    assert limit["data"]["rss_bytes"] < 2 * 100 * MIB


def test_e4_the_memory_of_helpers_counts(fleet: Fleet) -> None:
    words = [PYTHON, "-S", str(PROGRAMS / "hoarder.py"), "helper", "60", "60"]
    fleet.agent("flat", words, '[memory]\nsample = "200ms"\n' + PLAIN)
    fleet.start()
    shown = fleet.until("flat", lambda s: (s["rss_bytes"] or 0) > 60 * MIB)
    assert shown["processes"] == 2
    resident_kib = int(
        next(
            line.split()[1]
            for line in Path(f"/proc/{shown['pid']}/status").read_text().splitlines()
            if line.startswith("VmRSS:")
        )
    )
    assert resident_kib * 1024 < 40 * MIB  # the leader itself


# --- F


def test_f1_an_agent_that_prints_without_end_stays_within_its_size(fleet: Fleet) -> None:
    text = '[logs]\nmax_size = "4M"\n' + PLAIN
    fleet.configure(daemon='log_level = "debug"')
    fleet.agent("loud", LOUD, text)
    fleet.start()
    plain_rate = rate_into(fleet.root / "plain")
    pid = fleet.until_state("loud", "running")["pid"]
    waited_s, first = waited_ms(Path(f"/proc/{pid}")) / 1000, sum(disk_use(fleet, "loud"))
    begun, cpu = time.monotonic(), cpu_s(fleet.pid)
    seen: list[tuple[float, int, int]] = []

    def trimmed() -> bool:
        used, dropped = disk_use(fleet, "loud")
        seen.append((time.monotonic(), used, used + dropped))
        return time.monotonic() - begun > 4 and dropped > 0

    fleet.until_true(trimmed)
    # It is never held up for long: a write waits while the file system shortens its file.
    written = seen[-1][2]
    waited_s = waited_ms(Path(f"/proc/{pid}")) / 1000 - waited_s
    rate = (written - first) / (seen[-1][0] - begun - waited_s)
    assert rate >= min(100 * MIB, plain_rate / 2), (rate / MIB, plain_rate / MIB)
    assert cpu_s(fleet.pid) - cpu < 0.5 * (time.monotonic() - begun)
    fleet.ask("stop", select=["loud"])
    fleet.until_state("loud", "stopped")
    # At most what is allowed and what the busiest second brought; the look itself takes time.
    busiest = max(
        later - earlier
        for begin, _, earlier in seen
        for end, _, later in seen
        if 0 < end - begin <= 1.1
    )
    used_max = max(used for _, used, _ in seen)
    assert used_max <= 4 * MIB + busiest + MIB, (used_max, busiest)
    lines = fleet.ask("logs", select=["loud"], lines=5)["logs"][0]["lines"]
    assert any("a line of output that never ends" in str(line) for line in lines)
    fleet.seen.append(
        f"{written / MIB:.0f} MiB written, at most {used_max / MIB:.1f} MiB of disk used, "
        f"{(written - seen[-1][1]) / MIB:.0f} MiB trimmed; {rate / MIB:.0f} MiB/s, "
        f"into a plain file {plain_rate / MIB:.0f} MiB/s"
    )
    assert re.search(r"log\.trimmed agent=loud bytes=\d+", fleet.log_all())


def rate_into(path: Path) -> float:
    """Bytes a second that the loud one writes into a file of its own, when it has a core."""
    with path.open("ab") as file, subprocess.Popen(LOUD, stdout=file) as writer:
        begun, took_s, waited_s = time.monotonic(), 0.0, 0.0
        while took_s < 0.5 and path.stat().st_size < 256 * MIB:
            time.sleep(0.01)
            took_s = time.monotonic() - begun
        waited_s, written = waited_ms(Path(f"/proc/{writer.pid}")) / 1000, path.stat().st_size
        took_s = time.monotonic() - begun
        writer.kill()
    path.unlink()
    return written / (took_s - waited_s)


def cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def disk_use(fleet: Fleet, name: str) -> tuple[int, int]:
    """Bytes of disk that a log takes, and those that were dropped so far."""
    used = (fleet.root / "logs" / f"{name}.log").stat().st_blocks * 512
    return used, int(fleet.counters()["logs"]["bytes_trimmed"])


def test_f2_a_line_of_50_mb_is_shown_in_pieces_within_bounded_memory(fleet: Fleet) -> None:
    script = "head -c 50000000 /dev/zero | tr '\\0' x; echo; echo the end; exec sleep 600"
    fleet.shell("long", script)
    fleet.start()
    log = fleet.root / "logs" / "long.log"
    fleet.until_true(lambda: log.stat().st_size > 50_000_000)
    before = fleet.ask("daemon")["daemon"]["rss_bytes"]
    shown = fleet.ask("logs", select=["long"], lines=3, timeout_s=15)["logs"][0]["lines"]
    assert "the end" in str(shown[-1])
    assert max(len(str(line)) for line in shown) < MIB
    assert fleet.ask("daemon")["daemon"]["rss_bytes"] < before + 30 * MIB


def test_f7_what_was_printed_right_before_the_end_is_all_there(fleet: Fleet) -> None:
    code = "import os; os.write(1, b'y' * 65535 + b'\\n'); os.write(1, b'last\\n'); os._exit(9)"
    fleet.agent("hasty", [PYTHON, "-S", "-c", code], "[restart]\npolicy = 'never'\n" + PLAIN)
    fleet.start()
    last = fleet.until("hasty", lambda s: s["last_exit"] is not None)["last_exit"]
    assert last["code"] == 9
    lines = fleet.ask("logs", select=["hasty"], lines=100)["logs"][0]["lines"]
    text = "".join(str(line) for line in lines)
    assert text.count("y") >= 65535
    assert "last" in str(lines[-1])


# --- G


def test_g6_a_second_daemon_exits_1_and_names_the_first(fleet: Fleet) -> None:
    fleet.sleeper("one")
    fleet.start()
    before = fleet.until_state("one", "running")
    for _ in range(2):
        second = subprocess.run(
            [PYTHON, "-c", RUN, str(fleet.config)],
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        assert second.returncode == 1
        assert str(fleet.pid) in second.stderr
    assert fleet.status("one")["pid"] == before["pid"]
    assert fleet.copies()["one"] == 1


def test_g8_a_reexec_under_200_beats_a_second_charges_nobody(fleet: Fleet) -> None:
    for number in range(10):
        fleet.beater(f"n{number}", "every=0.05")
    fleet.start()
    names = [f"n{number}" for number in range(10)]
    before = {name: fleet.until(name, lambda s: s["heartbeats"] > 5) for name in names}
    fleet.heard()
    with fleet.away():
        watch = Stopwatch()
        fleet.signal(signal.SIGUSR2)
        fleet.await_notify("READY=1")
        fleet.ask("ping")
        in_time, gap_s, fair_s = watch.within(REEXEC_S_MAX), watch.wall_s, watch.fair_s
    for name in names:
        after = fleet.until(name, lambda s, n=before[name]["heartbeats"]: s["heartbeats"] > n + 10)
        assert (after["pid"], after["failures"]) == (before[name]["pid"], 0)
        assert after["health"] == "healthy"
    assert in_time, (fair_s, gap_s)
    told = {event["event"] for event in fleet.journal()}
    assert not told & {"agent.degraded", "agent.unreachable", "agent.exited"}
    fleet.seen.append(f"no answer for {gap_s:.1f} s, {fair_s:.1f} s of them with a core")


def test_g12_a_daemon_that_hangs_and_is_killed_leaves_agents_to_the_next(fleet: Fleet) -> None:
    fleet.program("beats", "trouble", "on")
    fleet.start()
    before = fleet.until("beats", lambda s: s["heartbeats"] > 3)
    with fleet.away():
        fleet.signal(signal.SIGSTOP)
        fleet.signal(signal.SIGABRT)  # as the watchdog of systemd does
        fleet.signal(signal.SIGCONT)
        assert fleet.process is not None
        assert fleet.process.wait(10) == -signal.SIGABRT
        assert alive(before["pid"])
        fleet.start()
    after = fleet.until("beats", lambda s: s["heartbeats"] > before["heartbeats"] + 5)
    assert (after["pid"], after["failures"]) == (before["pid"], 0)


# Asked of itself while a file is there, the loop stands still until it is gone.
STANDING = """
import os, time; from agentd.daemon import facts
measured = facts.own_rss_bytes
def own_rss_bytes():
    while os.path.exists({mark!r}):
        open({mark!r} + ".stands", "w").close(); time.sleep(0.01)
    return measured()
facts.own_rss_bytes = own_rss_bytes
"""


def test_g12_the_watchdog_is_fed_by_the_loop_and_by_nothing_else(fleet: Fleet) -> None:
    mark, stands = fleet.root / "mark", fleet.root / "mark.stands"
    fleet.run = STANDING.format(mark=str(mark)) + fleet.run
    fleet.start(env={"WATCHDOG_USEC": "4000000"})  # fed once a second

    def fed() -> bool:
        return "WATCHDOG=1" in fleet.heard()

    fleet.until_true(fed)
    with fleet.away(), fleet.connect() as channel:
        mark.touch()
        channel.sendall(b'{"id": 1, "cmd": "status", "args": {}}\n')
        fleet.until_true(stands.exists)
        fleet.heard()
        time.sleep(2.5)  # the fault itself
        assert not fed(), "fed while the loop stood still"
        mark.unlink()
        fleet.until_true(fed)
    fleet.seen.append("no WATCHDOG=1 for 2.5 s of a loop that stands still, then again")


@pytest.mark.timeout(60 + RESTARTS)
def test_g14_hundreds_of_restarts_leave_nothing_behind(fleet: Fleet) -> None:
    fleet.sleeper("one")
    fleet.start()
    rss: list[int] = []
    for number in range(RESTARTS):
        fleet.ask("restart", select=["one"])
        fleet.ask("wait", select=["one"], **{"for": "ready"})
        if number >= RESTARTS // 2:
            rss.append(fleet.ask("daemon")["daemon"]["rss_bytes"])
    started = [one for one in fleet.journal() if one["event"] == "agent.starting"]
    assert [one["agent"] for one in started].count("one") == RESTARTS + 1
    fleet.seen.append(f"{RESTARTS} real restarts: {rss[0] / MIB:.1f} > {rss[-1] / MIB:.1f} MiB")
    assert rss[-1] <= 1.05 * rss[0], (rss[0], rss[-1])
    shown = fleet.until_state("one", "running")
    assert (shown["failures"], len(fleet.leaders("one"))) == (0, 1)
