"""The guest's plain life: systemd starts the daemon, foreign programs talk to it, agents stop."""

import time
from pathlib import Path

from lab import (
    AGENTS,
    LIVING,
    SOCKET,
    Document,
    Tally,
    agent,
    ask,
    leaf_of,
    of_unit,
    running,
    sh,
    until,
    wait_for,
)

OWN = {
    # Never says a word, and is only told of; emulated, everything is slow.
    "silent": (
        'command = ["sleep", "91007"]\nautostart = false\n[heartbeat]\nrequired = true\n'
        'interval = "1s"\ndegraded_after = "3s"\nunreachable_after = "10s"\n'
        'on_unreachable = "alert"'
    ),
    # Likewise, and it can't get the memory that it wants.
    "pressed": (
        "command = ['python3', '-S', '-c', 'while True: bytearray(40 << 20)']\nautostart = false\n"
        '[memory]\nsample = "10m"\n[heartbeat]\nrequired = true\n'
        'interval = "1s"\ndegraded_after = "3s"\nunreachable_after = "10s"\n'
        'on_unreachable = "alert"'
    ),
    "busy": "command = ['sh', '-c', 'while :; do :; done']\nautostart = false\nnice = 5",
    "speaks": "command = ['sh', '-c', 'systemd-notify --ready --status=warm; exec sleep 91005']\n"
    'ready = "notify"',
    "redis": "command = ['redis-server', '--supervised', 'systemd', '--port', '0', '--save', '', "
    "'--unixsocket', '/tmp/redis.sock', '--dir', '/tmp']\nready = \"notify\"",
}


def starts_and_tells_systemd(tally: Tally) -> None:
    started = sh("systemctl", "start", "agentd")
    tally.check("systemctl start returns after READY=1", started.returncode == 0, started.stderr)
    if started.returncode != 0:
        print(sh("journalctl", "-u", "agentd", "-o", "cat", "-n", "40").stdout)
        tally.end()
    many = len(list(Path("/etc/agentd/agents.d").iterdir()))
    said = until(lambda: f"{many} agents" in of_unit("agentd", "StatusText"))
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


def looked_at(name: str, part: str) -> tuple[Document, Document]:
    """Return an agent's incident and what was seen of it, once that holds `part`."""
    until(lambda: ask("incidents", select=[name]).get("incidents"))
    found = (ask("incidents", select=[name]).get("incidents") or [{}])[0]
    until(lambda: (ask("incidents", id=found.get("id", 0)).get("evidence") or {}).get(part))
    return found, ask("incidents", id=found.get("id", 0)).get("evidence") or {}


def a_stall_is_looked_at_before_it_is_ended(tally: Tally) -> None:
    ask("start", select=["silent", "pressed"])
    wait_for("pressed", state="running")
    leaf = leaf_of(agent("pressed")["pid"])
    (leaf / "memory.high").write_text(str(12 << 20))
    _, seen = looked_at("silent", "syscall")
    tally.check("b1: where it waits", seen.get("wchan") or seen.get("syscall"), seen.get("syscall"))
    pressure = seen.get("pressure") or {}
    tally.check("b1: its cgroup's pressure", {"cpu", "memory", "io"} <= pressure.keys(), pressure)
    limits = seen.get("memory_events") or seen.get("memory") or {}
    tally.check("b1: its cgroup's memory", limits, limits)
    tally.check("b1: no harm was done to it", agent("silent").get("restarts") == 0)
    late_for_memory(tally)
    ask("stop", select=["silent", "pressed"])


def late_for_memory(tally: Tally) -> None:
    found, seen = looked_at("pressed", "memory_events")
    stalls = (seen.get("pressure") or {}).get("memory") or {}
    waited = (stalls.get("some") or {}).get("avg10", 0)
    tally.check("e8: the pressure on its memory is seen", waited >= 20, stalls)
    counted = seen.get("memory_events") or {}
    tally.check("e8: with the counter of memory.high", counted.get("high", 0) > 0, counted)
    told = [event["message"] for event in ask("events", select=["pressed"]).get("events", [])]
    named = [one for one in told if "waits for memory" in one]
    tally.check("e8: and named as why it is late", named, (found.get("summary"), told[-3:]))
    quiet = [event["message"] for event in ask("events", select=["silent"]).get("events", [])]
    tally.check("e8: of it alone", not [one for one in quiet if "waits for memory" in one])


def stopped_means_the_tree_is_empty(tally: Tally) -> None:
    wait_for("tree", state="running")
    leaf = leaf_of(agent("tree")["pid"])
    tally.check("d1: the tree has setsid children", until(lambda: len(running("sleep 91004")) >= 3))
    stopped = sh("agentctl", "stop", "tree", "--reason", "check")
    tally.check("d1: agentctl stop returns 0", stopped.returncode == 0, stopped.stderr)
    tally.check("d1: nobody survived", not running("sleep 91004"), running("sleep 91004"))
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


CHECKS = (
    foreign_programs_say_ready,
    a_stall_is_looked_at_before_it_is_ended,
    stopped_means_the_tree_is_empty,
    pause_freezes,
)
