"""The two units of agentd: made anew, stopped, restarted, hardened; who the OOM killer spares."""

import os
import pwd
import re
import shutil
import signal
import subprocess
from pathlib import Path

from lab import (
    AGENTS,
    LIVING,
    PROJECT,
    Tally,
    agent,
    alive,
    ask,
    leaf_of,
    main_pid,
    of_unit,
    pids,
    sh,
    until,
    wait_for,
)

OWN: dict[str, str] = {}
USER = "agentd"
# The documents name systemd 252, and another version weighs a directive a little otherwise.
SCORE_OFF_MAX = 0.2
ROUNDS = 4


def the_agents_unit_is_made_anew(tally: Tally) -> None:
    """More than once: systemd and the daemon both work at the new group, in either order."""
    for again in range(ROUNDS):
        before, restarts = pids(), int(of_unit("agentd-agents", "NRestarts"))
        os.kill(int(of_unit("agentd-agents", "MainPID")), signal.SIGKILL)
        for name, pid in before.items():
            fresh = until(lambda name=name, pid=pid: is_back(name, pid))
            state = agent(name).get("state")
            tally.check(f"the sleeper is killed: {name} comes back", fresh, (again, state))
        limits = leaf_of(agent("steady")["pid"]) / "memory.max"
        tally.check("its group has its controllers again", limits.exists(), limits)
        made = int(of_unit("agentd-agents", "NRestarts")) - restarts
        tally.check("systemd made its process once", made == 1, made)
        ask("reset", select=list(LIVING))  # or the third end would be the last


def is_back(name: str, pid: int) -> bool:
    shown = agent(name)
    return shown.get("state") == "running" and shown.get("pid") not in (None, 0, pid)


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


def published() -> dict[str, set[float]]:
    """The exposures that the documents name: of the unit with a user of its own, and without."""
    threats = (PROJECT / "docs" / "threat-model.md").read_text()
    operations = (PROJECT / "docs" / "operations.md").read_text()
    system = re.findall(r"^\| daemon of root's, .*\| ([0-9.]+) \|$", threats, re.MULTILINE)
    user = re.findall(r"^\| daemon and agents of one user \| ([0-9.]+) \|$", threats, re.MULTILINE)
    row = r"^\| `systemd-analyze security .*` *, systemd 252 \| ([0-9.]+) \| ([0-9.]+) \|$"
    [both] = re.findall(row, operations, re.MULTILINE)
    return {
        "": {float(one) for one in (*system, both[0])},
        "--user": {float(one) for one in (*user, both[1])},
    }


def unit_is_hardened(tally: Tally) -> None:
    named = published()
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
        told = named[" ".join(option)]
        near = all(round(abs(score - one), 1) <= SCORE_OFF_MAX for one in told) and len(told) == 1
        tally.check("l12: as the documents say", near, f"{score}, told: {sorted(told)}")
        tally.check("systemd-analyze verify", not sh("systemd-analyze", "verify", str(unit)).stderr)


def the_unit_with_a_user_runs_an_agent(tally: Tally) -> None:
    """The printed unit, with places of its own; the other one's are put back in the end."""
    places = [Path(place) for place in ("/etc/agentd", "/var/lib/agentd", "/var/log/agentd")]
    unit = Path("/etc/systemd/system/agentd.service")
    system = unit.read_text()
    forget_the_agents_unit(tally)
    for place in places:
        place.rename(place.with_suffix(".kept"))
    try:
        unit.write_text(sh("agentd", "unit", "--user", USER).stdout)
        (places[0] / "agents.d").mkdir(parents=True)
        (places[0] / "agentd.toml").write_text("[defaults.heartbeat]\nrequired = false\n")
        (places[0] / "agents.d" / "one.toml").write_text('command = ["sleep", "91008"]\n')
        sh("systemctl", "daemon-reload")
        started = sh("systemctl", "start", "agentd")
        tally.check("l12: the unit with a user starts", started.returncode == 0, started.stderr)
        tally.check("l12: its agent runs", wait_for("one", state="running"), agent("one"))
        for pid in (main_pid(), agent("one").get("pid") or 0):
            told = status_of(pid)
            by_user = told["Uid"].split() == [str(pwd.getpwnam(USER).pw_uid)] * 4
            tally.check("l12: it and its agent run as the user", by_user, told["Uid"])
            nothing = (told["NoNewPrivs"], int(told["CapEff"], 16)) == ("1", 0)
            tally.check("l12: without privileges, and get none", nothing, told["CapEff"])
        own = agent("one").get("pid") or 0
        tally.check("l12: its agent lives in the agents' unit", AGENTS in leaf_of(own).parents)
        stopped = sh("systemctl", "stop", "agentd")
        tally.check("l12: its stop ends its agent", stopped.returncode == 0 and not alive(own))
    finally:
        forget_the_agents_unit(tally)
        for place in places:
            shutil.rmtree(place, ignore_errors=True)
            place.with_suffix(".kept").rename(place)
        unit.write_text(system)
        sh("systemctl", "daemon-reload")


def forget_the_agents_unit(tally: Tally) -> None:
    """End the daemon and the agents' unit of its user, as the documents say (operations.md)."""
    sh("systemctl", "stop", "agentd")
    gone = until(lambda: of_unit("agentd-agents", "ActiveState") == "inactive", 20)
    tally.check("l12: the agents' unit ends with the daemon", gone)
    Path("/run/systemd/transient/agentd-agents.service").unlink(missing_ok=True)
    sh("systemctl", "daemon-reload")


def status_of(pid: int) -> dict[str, str]:
    """Return /proc/PID/status as a mapping."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: rest.strip() for name, _, rest in (line.partition(":") for line in lines)}


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
    the_unit_with_a_user_runs_an_agent,
)
