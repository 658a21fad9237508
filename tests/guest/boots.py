"""What outlives the guest itself: it is shut down once, and once its power is cut."""

import json
import os
import signal
import time
from pathlib import Path

from lab import LIVING, Document, Tally, agent, ask, running, sh, until, wait_for

UNTOUCHED = ("intent", "failures")
"""What a boot must leave as it was."""


def begin(kept: Path) -> None:
    """Start the daemon with its agents, and shut the guest down under it."""
    sh("systemctl", "start", "agentd")
    wait_for("steady", state="running")
    (kept / "booting").write_text("shut down")
    sh("systemctl", "--no-block", "reboot")
    time.sleep(300)


def go_on(tally: Tally, kept: Path) -> None:
    """Look at what a boot has made of it; the first one is followed by another."""
    how = (kept / "booting").read_text()
    came_back(tally, how)
    if how == "shut down":
        cut_the_power(tally, kept)
    nobody_is_charged(tally, json.loads((kept / "before").read_text()))


def came_back(tally: Tally, how: str) -> None:
    tally.check("a19: systemd started the daemon", until(lambda: ask("ping")), how)
    for name in LIVING:
        tally.check("a19: who shall run runs", wait_for(name, state="running"), f"{name}, {how}")
    tally.check("a19: a kill outlives it", agent("killed").get("intent") == "killed", how)
    tally.check("a19: a stop outlives it", agent("tree").get("intent") == "stopped", how)
    tally.check("a19: neither of them runs", not running("sleep 9100[34]"), how)
    tally.check("a19: there is no second copy", len(running("sleep 91002")) == 1, how)


def cut_the_power(tally: Tally, kept: Path) -> None:
    """Have one failure on record, and reset the machine; what was not synced is lost."""
    ask("reset", select=["other"])  # the sections before have counted some
    tally.check("a19: its row of failures is empty", until(lambda: failures_of_other() == 0))
    pid = agent("other")["pid"]
    os.kill(pid, signal.SIGKILL)
    again = until(lambda: agent("other").get("pid") not in (None, pid))
    tally.check("a19: one failure is on record", again and failures_of_other() == 1)
    sh("sync")  # of the guest's own files; the daemon's are on disk already
    (kept / "before").write_text(json.dumps({name: was(name) for name in LIVING}))
    (kept / "booting").write_text("power cut")
    sh("sync")
    Path("/proc/sysrq-trigger").write_text("b")
    time.sleep(300)


def failures_of_other() -> int | None:
    shown = agent("other")
    return shown.get("failures") if shown.get("state") == "running" else None


def was(name: str) -> Document:
    shown = agent(name)
    return {key: shown.get(key) for key in UNTOUCHED}


def nobody_is_charged(tally: Tally, before: dict[str, Document]) -> None:
    """A stored boot id that differs: every recorded pid is void, and nobody failed."""
    events = ask("events", limit=2000)["events"]
    begun = max(event["id"] for event in events if event["event"] == "daemon.started")
    for name in LIVING:
        last = agent(name).get("last_exit") or {}
        rebooted = last.get("reason") == "HOST_REBOOTED"
        tally.check("a19: power cut: the end is HOST_REBOOTED", rebooted, f"{name}, {last}")
        same = was(name) == before[name]
        tally.check("a19: power cut: nobody is charged", same, f"{name}, {was(name)}")
        starts = [
            event["id"]
            for event in events
            if (event["event"], event["agent"]) == ("agent.starting", name)
        ]
        once = len([number for number in starts if number > begun]) == 1
        tally.check("a19: power cut: each was started once", once, f"{name}, {starts}, {begun}")
