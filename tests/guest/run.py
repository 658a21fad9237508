#!/usr/bin/env python3
"""agentd under a real systemd, in the guest: run by `make test-guest` as root.

Prints a line a check and ends with `N passed, N failed`; reboots the guest once.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from lab import (
    AGENTS,
    CGROUPS,
    SOCKET,
    Tally,
    agent,
    alive,
    ask,
    leaf_of,
    main_pid,
    of_unit,
    running,
    sh,
    until,
    wait_for,
)

PROJECT = Path(__file__).parents[2]
KEPT = Path(os.environ.get("LAB_OUT", "/lab/out"))
CONFIG = Path("/etc/agentd")
SCRIPT = """#!/usr/bin/python3
import sys
sys.path.insert(0, {project!r})
from agentd.cli.{module} import main
main()
"""
DAEMON = """\
[defaults]
ready = "spawn"
stop_timeout = "20s"
startup_timeout = "2m"
[defaults.heartbeat]
required = false
[defaults.restart]
cooldown = "2s"
"""
AGENTS_TOML = {
    "steady": 'command = ["sh", "-c", "sleep 1001 & wait"]',
    "other": 'command = ["sleep", "1002"]',
    "killed": 'command = ["sleep", "1003"]',
    # Far beyond its limit in one go, and after the first sample, so that the kernel comes first.
    "hog": (
        "command = ['python3', '-c', 'import time; time.sleep(6); x = b\"1\" * (400 << 20)']\n"
        'autostart = false\nrestart.policy = "never"\n'
        'memory.limit = "48M"\nmemory.sample = "10m"'
    ),
    # Never says a word, and is only told of; emulated, everything is slow.
    "silent": (
        'command = ["sleep", "1007"]\nautostart = false\n[heartbeat]\nrequired = true\n'
        'interval = "1s"\ndegraded_after = "3s"\nunreachable_after = "10s"\n'
        'on_unreachable = "alert"'
    ),
    "tree": "command = ['sh', '-c', "
    "'setsid sh -c \"setsid sleep 1004 & sleep 1004\" & sleep 1004']",
    "busy": "command = ['sh', '-c', 'while :; do :; done']\nautostart = false\nnice = 5",
    "speaks": "command = ['sh', '-c', 'systemd-notify --ready --status=warm; exec sleep 1005']\n"
    'ready = "notify"',
    "redis": "command = ['redis-server', '--supervised', 'systemd', '--port', '0', '--save', '', "
    "'--unixsocket', '/tmp/redis.sock', '--dir', '/tmp']\nready = \"notify\"",
}
LIVING = ("steady", "other")


def install() -> None:
    """Put agentd into place as an administrator would, and enable it."""
    # As an installer does; the unit makes the place read-only, so the daemon can't.
    sh("python3", "-m", "compileall", "-q", "-j", "2", str(PROJECT / "agentd"))
    for name, module in (("agentd", "agentd"), ("agentctl", "main")):
        script = Path("/usr/local/bin") / name
        script.write_text(SCRIPT.format(project=str(PROJECT), module=module))
        script.chmod(0o755)
    sh("systemd-sysusers", str(PROJECT / "contrib/systemd/agentd.sysusers.conf"))
    (CONFIG / "agents.d").mkdir(parents=True, exist_ok=True)
    (CONFIG / "agentd.toml").write_text(DAEMON)
    for name, text in AGENTS_TOML.items():
        (CONFIG / "agents.d" / f"{name}.toml").write_text(text + "\n")
    unit = sh("agentd", "unit").stdout
    Path("/etc/systemd/system/agentd.service").write_text(unit)
    sh("systemctl", "daemon-reload")
    sh("systemctl", "enable", "agentd")


def starts_and_tells_systemd(tally: Tally) -> None:
    started = sh("systemctl", "start", "agentd")
    tally.check("systemctl start returns after READY=1", started.returncode == 0, started.stderr)
    if started.returncode != 0:
        print(sh("journalctl", "-u", "agentd", "-o", "cat", "-n", "40").stdout)
        tally.end()
    said = until(lambda: "9 agents" in of_unit("agentd", "StatusText"))
    tally.check("its status line is in systemctl", said, of_unit("agentd", "StatusText"))
    tally.check("systemd expects its beat", of_unit("agentd", "WatchdogUSec") == "20s")
    for name in LIVING:
        tally.check(f"{name} runs", wait_for(name, state="running"))
    pid = agent("steady")["pid"]
    tally.check("agents live in their own unit", AGENTS in leaf_of(pid).parents, leaf_of(pid))
    tally.check("with a memory controller", (leaf_of(pid) / "memory.max").exists())
    status = sh("agentctl", "status", "--json")
    tally.check("agentctl speaks over the socket", status.returncode == 0, status.stderr)
    pong = sh("runuser", "-u", "nobody", "--", "agentctl", "-s", SOCKET, "ping")
    tally.check("l1: a stranger is refused", pong.returncode in (4, 7), pong.returncode)


def foreign_programs_say_ready(tally: Tally) -> None:
    tally.check("systemd-notify makes an agent ready", wait_for("speaks", state="running"))
    tally.check("redis-server --supervised systemd too", wait_for("redis", state="running"))


def an_oom_kill_is_a_fact(tally: Tally) -> None:
    ask("start", select=["hog"])
    tally.check("a5: memory.max ends the hog", until(lambda: agent("hog").get("last_exit")))
    ended = agent("hog").get("last_exit") or {}
    tally.check("a5: OOM_KILLED", ended.get("reason") == "OOM_KILLED", ended)
    tally.check("a5: by signal 9, with evidence", ended.get("signal") == 9 and ended["evidence"])


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


def a_stall_is_looked_at_before_it_is_ended(tally: Tally) -> None:
    ask("start", select=["silent"])
    until(lambda: ask("incidents", select=["silent"]).get("incidents"))
    found = (ask("incidents", select=["silent"]).get("incidents") or [{}])[0]
    until(lambda: (ask("incidents", id=found.get("id", 0)).get("evidence") or {}).get("syscall"))
    seen = ask("incidents", id=found.get("id", 0)).get("evidence") or {}
    tally.check("b1: where it waits", seen.get("wchan") or seen.get("syscall"), seen.get("syscall"))
    pressure = seen.get("pressure") or {}
    tally.check("b1: its cgroup's pressure", {"cpu", "memory", "io"} <= pressure.keys(), pressure)
    limits = seen.get("memory_events") or seen.get("memory") or {}
    tally.check("b1: its cgroup's memory", limits, limits)
    tally.check("b1: no harm was done to it", agent("silent").get("restarts") == 0)
    ask("stop", select=["silent"])


def stopped_means_the_tree_is_empty(tally: Tally) -> None:
    wait_for("tree", state="running")
    leaf = leaf_of(agent("tree")["pid"])
    tally.check("d1: the tree has setsid children", until(lambda: len(running("sleep 1004")) >= 3))
    stopped = sh("agentctl", "stop", "tree", "--reason", "check")
    tally.check("d1: agentctl stop returns 0", stopped.returncode == 0, stopped.stderr)
    tally.check("d1: nobody survived", not running("sleep 1004"), running("sleep 1004"))
    tally.check("d1: its group is gone", until(lambda: not leaf.exists(), 10))
    killed = sh("agentctl", "kill", "killed", "--reason", "check")
    tally.check("agentctl kill returns 0", killed.returncode == 0, killed.stderr)
    tally.check("the kill took", wait_for("killed", intent="killed", pid=None))


def used_us(leaf: Path) -> int:
    words = (leaf / "cpu.stat").read_text().split()
    return int(words[words.index("usage_usec") + 1])


def pause_freezes(tally: Tally) -> None:
    ask("start", select=["busy"])
    wait_for("busy", state="running")
    leaf = leaf_of(agent("busy")["pid"])
    ask("pause", select=["busy"])
    tally.check("pause freezes the tree", wait_for("busy", state="paused"))
    frozen = until(lambda: "frozen 1" in (leaf / "cgroup.events").read_text(), 10)
    before_us = used_us(leaf)
    time.sleep(1)
    spent_us = used_us(leaf) - before_us
    tally.check("frozen, it uses no CPU", frozen and spent_us < 10_000, f"{spent_us} us")
    ask("resume", select=["busy"])
    tally.check("resume lets it run on", wait_for("busy", state="running"))
    thawed_us = used_us(leaf)
    tally.check("the same group computes again", until(lambda: used_us(leaf) > thawed_us, 20))
    ask("stop", select=["busy"])


def pids() -> dict[str, int]:
    return {name: agent(name).get("pid", 0) for name in LIVING}


def survives(tally: Tally, what: str, end_daemon: int) -> None:
    """Send the daemon a signal, and see it come back with the same agents."""
    before, daemon = pids(), main_pid()
    os.kill(daemon, end_daemon)
    back = until(
        lambda: main_pid() not in (0, daemon) and of_unit("agentd", "SubState") == "running"
    )
    tally.check(f"{what}: systemd starts it again", back, of_unit("agentd", "Result"))
    for name, pid in before.items():
        tally.check(f"{what}: {name} is adopted", wait_for(name, pid=pid, state="running"))
    tally.check(f"{what}: no second copy", len(running("sleep 1002")) == 1)
    tally.check(f"{what}: a kill stays", agent("killed").get("intent") == "killed")


def a_crash_spares_the_agents(tally: Tally) -> None:
    survives(tally, "g1 kill -9", signal.SIGKILL)
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
    honest = ended.get("reason") == "UNKNOWN" or ended.get("signal") == signal.SIGKILL
    tally.check("g3: a true reason, or UNKNOWN", honest, ended)


def reexec_spares_the_agents(tally: Tally) -> None:
    before, daemon = pids(), main_pid()
    uptime_s = ask("status")["daemon"]["uptime_s"]
    os.kill(daemon, signal.SIGUSR2)
    fresh = until(lambda: (ask("status").get("daemon") or {}).get("uptime_s", 1e9) < uptime_s)
    tally.check("g8 SIGUSR2: a new daemon answers", fresh)
    tally.check("g8: with the same pid", main_pid() == daemon)
    for name, pid in before.items():
        tally.check(f"g8: {name} is adopted", wait_for(name, pid=pid, state="running"))
    for verb in ("daemon-reload", "daemon-reexec"):
        sh("systemctl", verb)
        limits = leaf_of(before["steady"]) / "memory.max"
        tally.check(f"systemctl {verb} leaves the groups alone", limits.exists())
    tally.check("systemctl reload is heard", sh("systemctl", "reload", "agentd").returncode == 0)


def the_agents_unit_is_made_anew(tally: Tally) -> None:
    before = pids()
    os.kill(int(of_unit("agentd-agents", "MainPID")), signal.SIGKILL)
    for name, pid in before.items():
        fresh = until(lambda name=name, pid=pid: agent(name).get("pid") not in (None, 0, pid))
        tally.check(f"the sleeper is killed: {name} comes back", fresh, agent(name).get("state"))
    limits = leaf_of(agent("steady")["pid"]) / "memory.max"
    tally.check("its group has its controllers again", limits.exists(), limits)


def stop_and_restart_end_agents(tally: Tally) -> None:
    before = pids()
    again = sh("systemctl", "restart", "agentd")
    tally.check("systemctl restart", again.returncode == 0, again.stderr)
    for name, pid in before.items():
        fresh = until(lambda name=name, pid=pid: agent(name).get("pid") not in (None, 0, pid))
        tally.check(f"restart: {name} ended and was started again", fresh and not alive(pid))
    tally.check("restart: a stopped agent stays stopped", agent("tree").get("intent") == "stopped")
    before = pids()
    group = AGENTS / "stray"
    group.mkdir()
    with subprocess.Popen(["sleep", "1006"]) as stray:
        (group / "cgroup.procs").write_text(str(stray.pid))
        stopped = sh("systemctl", "stop", "agentd")
        tally.check("systemctl stop", stopped.returncode == 0 and not main_pid(), stopped.stderr)
        tally.check("stop: Result=success", of_unit("agentd", "Result") == "success")
        tally.check("stop: all agents ended", not any(alive(pid) for pid in before.values()))
        ended = until(lambda: stray.poll() is not None, 20)
        tally.check("stop: a stray of the agents' unit is ended too", ended)
    gone = until(lambda: of_unit("agentd-agents", "ActiveState") == "inactive", 20)
    tally.check("stop: the agents' unit is gone", gone and not AGENTS.exists())


def unit_is_hardened(tally: Tally) -> None:
    for option, bound in ((["--user"], 4.0), ([], 5.1)):
        unit = Path("/run/score/agentd.service")
        unit.parent.mkdir(exist_ok=True)
        unit.write_text(sh("agentd", "unit", *option).stdout)
        verdict = sh("systemd-analyze", "security", "--offline=true", "--no-pager", str(unit))
        overall = next(line for line in verdict.stdout.splitlines() if "Overall" in line)
        score = float(overall.split(":")[1].split()[0])
        tally.check(
            f"l12: `agentd unit {' '.join(option)}` scores <= {bound}", score <= bound, score
        )
        tally.check("systemd-analyze verify", not sh("systemd-analyze", "verify", str(unit)).stderr)


def reboot() -> None:
    """Start the daemon with its agents, and reboot under it; this script is then run again."""
    sh("systemctl", "start", "agentd")
    wait_for("steady", state="running")
    (KEPT / "rebooted").touch()
    sh("systemctl", "--no-block", "reboot")
    time.sleep(300)


def after_the_reboot(tally: Tally) -> None:
    tally.check("boot: systemd started the daemon", until(lambda: ask("ping")))
    for name in LIVING:
        tally.check(f"boot: {name} runs", wait_for(name, state="running"))
    tally.check("boot: a kill outlives it", agent("killed").get("intent") == "killed")
    tally.check("boot: a stop outlives it", agent("tree").get("intent") == "stopped")
    tally.check("boot: neither of them runs", not running("sleep 100[34]"))
    tally.check("boot: no copy", len(running("sleep 1002")) == 1)


CHECKS = (
    starts_and_tells_systemd,
    foreign_programs_say_ready,
    an_oom_kill_is_a_fact,
    an_oom_kill_is_an_incident_with_its_counters,
    a_stall_is_looked_at_before_it_is_ended,
    stopped_means_the_tree_is_empty,
    pause_freezes,
    a_crash_spares_the_agents,
    a_death_unseen_is_not_invented,
    reexec_spares_the_agents,
    the_agents_unit_is_made_anew,
    stop_and_restart_end_agents,
    unit_is_hardened,
)


def attempt(tally: Tally, check: object) -> None:
    """Run one group of checks; what it raises is its failure, not the end of the others."""
    try:
        check(tally)
    except Exception as error:  # noqa: BLE001 - the next group is to be seen too
        tally.check(check.__name__, holds=False, seen=repr(error))


def main() -> None:
    assert (CGROUPS / "cgroup.controllers").exists(), "this is for the guest"
    KEPT.mkdir(parents=True, exist_ok=True)
    tally = Tally(KEPT / "tally.json")
    if (KEPT / "rebooted").exists():
        attempt(tally, after_the_reboot)
        tally.end()
    install()
    for check in CHECKS:
        attempt(tally, check)
    if os.environ.get("LAB_REBOOT"):
        reboot()
    tally.end()


if __name__ == "__main__":
    main()
