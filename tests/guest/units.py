"""The two units of agentd: made anew, stopped, restarted, hardened; who the OOM killer spares."""

import os
import signal
import subprocess
from pathlib import Path

from lab import AGENTS, Tally, agent, alive, leaf_of, main_pid, of_unit, pids, sh, until

OWN: dict[str, str] = {}


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
    with subprocess.Popen(["sleep", "91006"]) as stray:
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


def the_oom_killer_is_told_whom_to_spare(tally: Tally) -> None:
    def score(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    own = score(main_pid())
    tally.check("e7: the daemon's oom_score_adj", own == -900, own)
    scores = {name: score(pid) for name, pid in pids().items()}
    tally.check("e7: agents' are not below 0", min(scores.values()) >= 0, scores)


CHECKS = (
    the_oom_killer_is_told_whom_to_spare,
    the_agents_unit_is_made_anew,
    stop_and_restart_end_agents,
    unit_is_hardened,
)
