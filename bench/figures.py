"""The figures of agentd beside supervisord and circus, measured in one run.

    make bench                     all of them
    .venv/bin/python bench/figures.py restart status     some of them

Every figure names its bar and whether it holds; exit 1 if one does not. Absolute times
mean nothing on a machine that others share, so each is read beside a peer's or a bare
process's figure of the same run.
"""

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import detectors
import fleet200
import heartbeats
import history
import logs
import procs
import sdk
from daemons import DAEMONS, Agentd, Circus, Daemon, Supervisord, fsync_median_s

from agentd.store.retention import Bounds

MIB = 1 << 20
FAILED: list[str] = []


def bar(what: str, figure: str, holds: bool) -> None:  # noqa: FBT001 - a column of the table
    """Print one line of the table, and remember a bar that is missed."""
    print(f"  {what:58} {figure:>28}  {'ok' if holds else 'MISSED'}", flush=True)
    if not holds:
        FAILED.append(what)


def note(what: str, figure: str) -> None:
    print(f"  {what:58} {figure:>28}", flush=True)


def idle(seconds: float) -> None:
    """Memory and CPU of idle daemons, with 20 and with 100 agents."""
    cpu: dict[str, float] = {}
    for agents in (20, 100):
        for kind in DAEMONS:
            with kind(agents) as daemon:
                time.sleep(5)  # start-up is another figure
                before = sum(map(procs.cpu_s, daemon.pids()))
                time.sleep(seconds)
                used = (sum(map(procs.cpu_s, daemon.pids())) - before) * 60 / seconds
                rss = sum(map(procs.rss_bytes, daemon.pids())) / MIB
            what = f"{kind.name}: {agents} idle agents"
            cpu[f"{kind.name}{agents}"] = used
            if kind is Agentd and agents == 20:
                bar(f"{what}, RSS", f"{rss:.1f} MB (<= 40)", rss <= 40)
            else:
                note(f"{what}, RSS", f"{rss:.1f} MB")
            note(f"{what}, CPU", f"{used:.2f} s/min")
    for agents in (20, 100):
        ours, theirs = cpu[f"agentd{agents}"], cpu[f"supervisord{agents}"]
        bar(
            f"CPU at idle, {agents} agents, against supervisord + memmon",
            f"{ours:.2f} <= {theirs:.2f} s/min",
            ours <= theirs,
        )


def restart_latencies_ms(kind: type[Daemon], agents: int) -> tuple[list[float], float]:
    """SIGKILL of each agent once → its successor's exec; and fsync's median, both in ms."""
    took = []
    with kind(agents) as daemon:
        fsync_ms = fsync_median_s(daemon.home) * 1e3
        daemon_pid = daemon.process.pid
        for victim in procs.running([daemon_pid], "sleep"):
            known = set(procs.children(daemon_pid))

            def is_back(known: set[int] = known) -> bool:
                fresh = set(procs.children(daemon_pid)) - known
                return any(procs.command_of(pid) == "sleep" for pid in fresh)

            began = time.perf_counter()
            os.kill(victim, signal.SIGKILL)
            procs.until(is_back, 30, 0.0002)
            took.append((time.perf_counter() - began) * 1e3)
            time.sleep(0.05)
    return sorted(took), fsync_ms


def restart(agents: int) -> None:
    """Crash → restart of a first failure, SIGKILL to the successor's exec."""
    medians = {}
    for kind in DAEMONS:
        took, fsync_ms = restart_latencies_ms(kind, agents if kind is Agentd else 10)
        median, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
        medians[kind.name] = median
        if kind is not Agentd:
            note(f"{kind.name}: kill -9 → exec, median, p99", f"{median:.1f}, {p99:.1f} ms")
            continue
        beyond, beyond_p99 = median - 2 * fsync_ms, p99 - 2 * fsync_ms
        note("fdatasync of 4 KiB in this run, median (two a restart)", f"{fsync_ms:.2f} ms")
        bar("agentd: kill -9 → exec beyond fsync, median", f"{beyond:.1f} ms (<= 15)", beyond <= 15)
        bar(
            "agentd: kill -9 → exec beyond fsync, p99",
            f"{beyond_p99:.1f} ms (<= 50)",
            beyond_p99 <= 50,
        )
    best = min(medians["supervisord"], medians["circus"])
    bar(
        "agentd: median below both peers'",
        f"{medians['agentd']:.1f} < {best:.1f} ms",
        medians["agentd"] < best,
    )


def start_stop(agents: int) -> None:
    """Time from the command until no agent runs, and until all run again."""
    starts, stops = {}, {}
    for kind in (Agentd, Supervisord, Circus):
        with kind(agents) as daemon:
            time.sleep(2)
            for goal, command, into in (
                (0, daemon.stop_all(), stops),
                (agents, daemon.start_all(), starts),
            ):
                began = time.perf_counter()
                asked = subprocess.Popen(
                    command, cwd=daemon.home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                procs.until(lambda d=daemon, goal=goal: d.alive() == goal, 120, 0.01)
                into[kind.name] = time.perf_counter() - began
                asked.wait(120)
        note(
            f"{kind.name}: start, stop of {agents}",
            f"{starts[kind.name]:.2f}, {stops[kind.name]:.2f} s",
        )
    for what, took, most in (("start", starts, 1.0), ("stop", stops, 0.5)):
        ours = took["agentd"]
        best = min(took["supervisord"], took["circus"])
        bar(f"agentd: {what} of {agents}", f"{ours:.2f} s (<= {most})", ours <= most)
        bar(
            f"agentd: {what} of {agents} below both peers'",
            f"{ours:.2f} < {best:.2f} s",
            ours < best,
        )


def cpu_of(command: list[str], rounds: int = 15) -> float:
    """Median CPU seconds of a command."""
    took = []
    for _ in range(rounds):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, _, usage = os.wait4(child.pid, 0)
        child.returncode = 0
        took.append(usage.ru_utime + usage.ru_stime)
    return statistics.median(took)


def status() -> None:
    """CPU of one `agentctl status --json` with 20 agents."""
    bare = cpu_of([sys.executable, "-c", "pass"])
    with Agentd(20) as daemon:
        ours = cpu_of(daemon.status())
    with Supervisord(20) as daemon:
        theirs = cpu_of(daemon.status())
    note("python -c pass", f"{bare * 1e3:.0f} ms")
    bar("agentctl status --json", f"{ours / bare:.1f} x (<= 6)", ours <= 6 * bare)
    bar("against supervisorctl status", f"{ours * 1e3:.0f} < {theirs * 1e3:.0f} ms", ours < theirs)


def beats(count: int) -> None:
    """Heartbeats accepted a second, on one core."""
    for connections, least in ((1, 100_000), (1_000, 50_000)):
        rate, daemon_cpu_s, accepted = heartbeats.flood(connections, count)
        per_core = accepted / daemon_cpu_s
        bar(
            f"heartbeats a second of one core, {connections} connections",
            f"{per_core:,.0f} (>= {least:,})",
            per_core >= least and accepted >= count,
        )
        note("  by the wall, sender on the other core", f"{rate:,.0f}")


def recorder(count: int, pairs: int) -> None:
    """What the recorder takes of the heartbeats accepted, told as fast as they are taken."""
    for connections in (1, 1_000):
        ratios = [heartbeats.with_recorder(connections, count) for _ in range(pairs)]
        ratio = statistics.median(ratios)
        bar(
            f"heartbeats with the recorder, {connections} connections, median of {pairs} pairs",
            f"{ratio:.1%} of those without (>= 90 %)",
            ratio >= 0.90,
        )


def detector_costs() -> None:
    """What each detector costs for one line or sample; more: bench/detectors.py."""
    found = detectors.costs()
    for what, micros in found.items():
        note(what, f"{micros:.2f} us")
    ours, decoding = sum(found[what] for what in detectors.OF_A_STEP), found[detectors.DECODING]
    bar(
        "all that judges a step, beside decoding it",
        f"{ours:.1f} <= half of {decoding:.1f} us",
        ours <= decoding / 2,
    )


def external(seconds: float) -> None:
    """2,000 external agents, one beat a second each."""
    share = heartbeats.chorus(2_000, seconds)
    bar(
        "2,000 external agents beating once a second",
        f"{share:.1%} of a core (<= 15 %)",
        share <= 0.15,
    )


def two_hundred(seconds: float) -> None:
    """200 agents, a beat a second each, `status` of all ten times a second."""
    ours, theirs = fleet200.measure(seconds)
    bar("daemon's share of a core", f"{ours.share:.1%} (<= 15 %)", ours.share <= 0.15)
    note("a process that decodes and writes as much", f"{theirs.share:.1%}")
    rss = ours.rss_bytes / MIB
    bar("RSS", f"{rss:.1f} MB (<= 150)", rss <= 150)
    seen_ms = ours.percentile(0.99)
    bar(
        "from a beat to the status that shows it, p99", f"{seen_ms:.0f} ms (<= 200)", seen_ms <= 200
    )
    note(
        "  p50, and of the other process",
        f"{ours.percentile(0.5):.0f}, {theirs.percentile(0.5):.0f} ms",
    )


def log_throughput(pairs: int) -> None:
    """A writer of 100-byte lines under agentd against the same one writing to a file."""
    ratio, daemon_share = logs.compare(pairs)
    bar(
        f"log throughput, median of {pairs} pairs",
        f"{ratio:.1%} of a bare file (>= 90 %)",
        ratio >= 0.90,
    )
    bar("daemon's CPU against the writer's", f"{daemon_share:.2%} (<= 1 %)", daemon_share <= 0.01)


def agent_side() -> None:
    """The SDK in an agent: import, and a heartbeat whatever becomes of the daemon."""
    bare_ms, ours_ms = sdk.import_ms()
    above_ms = ours_ms - bare_ms
    what = "import agentd and one beat, above bare Python"
    bar(what, f"{above_ms:.1f} ms (<= 25)", above_ms <= 25)
    # Of one that lives the reader's awakening is part, and its share of the machine.
    note("heartbeat, daemon alive: median", f"{sdk.beats('alive').median_us:.1f} us")
    for fate in sdk.FATES:
        found = sdk.beats(fate)
        bar(
            f"heartbeat, daemon {fate}: median",
            f"{found.median_us:.1f} us (<= 20)",
            found.median_us <= 20,
        )
        bar(
            f"heartbeat, daemon {fate}: CPU p99.9, maximum",
            f"{found.cpu_p999_us:.0f}, {found.cpu_us_max:.0f} us (< 1000)",
            found.cpu_us_max < 1000,
        )
        bar(
            f"heartbeat, daemon {fate}: wall p99.9, control loop",
            f"{found.wall_p999_us:.0f}, {found.control_p999_us:.0f} us (<= 3 x)",
            found.wall_p999_us <= 3 * found.control_p999_us,
        )


def old_store(days: int) -> None:
    """A million events beside none; and a year of fifty agents by the minute, folded."""
    now_ms = time.time_ns() // 1_000_000
    with tempfile.TemporaryDirectory(prefix="bench-history-") as name:
        stores = {}
        week = int(history.EVENTS * history.WEEK_DAYS / history.EVENTS_DAYS)
        for what, count, over in (
            ("old", history.EVENTS, history.EVENTS_DAYS),
            ("young", week, history.WEEK_DAYS),
            ("empty", 0, history.WEEK_DAYS),
        ):
            stores[what] = Path(name) / what / "agentd.db"
            history.journal(stores[what], count, over, now_ms)
        old_ms, found = history.week_ms(stores["old"], now_ms)
        young_ms, _ = history.week_ms(stores["young"], now_ms)
        answers_of_an_old_store(stores["empty"], stores["old"])
        bar(
            f"CPU for {found:,} events of a week, beside a store of that week",
            f"{old_ms:.0f} against {young_ms:.0f} ms (<= 1.5 x)",
            old_ms <= 1.5 * young_ms,
        )
        note("a million events take up", f"{stores['old'].stat().st_size / MIB:.0f} MB")
    growth = history.show_year(50, days)
    bound = Bounds().history_max_bytes
    bar(
        f"{days} days of 50 agents, largest file",
        f"{growth.file_bytes / MIB:.1f} MB (<= {bound / MIB:.0f})",
        growth.file_bytes <= bound,
    )


def answers_of_an_old_store(empty: Path, old: Path) -> None:
    """What agentctl takes beside a daemon with a million events, against one with none."""
    daemons = []
    with contextlib.ExitStack() as stack:
        for source in (empty, old):
            daemon = history.Furnished(20)
            daemon.source = source
            daemons.append(stack.enter_context(daemon))
        for words in (("status", "--json"), ("events", "-n", "50", "--json")):
            none_ms, million_ms = history.asked_ms(daemons, *words)
            bar(
                f"agentctl {' '.join(words)} with a million events",
                f"{million_ms:.0f} against {none_ms:.0f} ms (< +50)",
                million_ms < none_ms + 50,
            )


def main() -> int:
    figures: dict[str, Callable[[], None]] = {
        "idle": lambda: idle(arguments.seconds),
        "restart": lambda: restart(60),
        "start-stop": lambda: start_stop(100),
        "status": status,
        "heartbeats": lambda: beats(600_000),
        "recorder": lambda: recorder(200_000, 5),
        "detectors": detector_costs,
        "external": lambda: external(arguments.seconds),
        "fleet200": lambda: two_hundred(arguments.seconds),
        "logs": lambda: log_throughput(7),
        "sdk": agent_side,
        "history": lambda: old_store(arguments.days),
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figures", nargs="*", help=f"some of: {', '.join(figures)}")
    parser.add_argument("--seconds", type=float, default=60, help="length of an idle measurement")
    parser.add_argument("--days", type=int, default=365, help="of fifty agents' minutes")
    arguments = parser.parse_args()
    if unknown := set(arguments.figures) - set(figures):
        parser.error(f"no figure {', '.join(unknown)}; there are {', '.join(figures)}")
    for name in arguments.figures or figures:
        print(f"{name}: {figures[name].__doc__ or ''}".rstrip(": "), flush=True)
        figures[name]()
    print(f"{len(FAILED)} bars missed" + "".join(f"\n  {what}" for what in FAILED))
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
