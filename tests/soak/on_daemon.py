"""Faults of the daemon: killed, stopped, executed anew, without descriptors, disk or receivers."""

import os
import random
import resource
import signal
import subprocess
import time

from tests.daemon.harness import PYTHON, RUN, Document, Refused, alive, environment
from tests.faults.test_group_h import fill
from tests.sinks.receiver import Mood
from tests.soak.kinds import kind
from tests.soak.soak import Missed, Soak


def living(soak: Soak) -> dict[str, Document]:
    agents = soak.fleet.ask("status")["agents"]
    return {one["name"]: one for one in agents if one["pid"] and one["state"] == "running"}


def back(soak: Soak, before: dict[str, Document]) -> str:
    """Start it again: whoever lives is adopted with its pid, and counters stand."""
    still = {name for name, one in before.items() if alive(one["pid"])}
    soak.fleet.start()
    shown = {one["name"]: one for one in soak.fleet.ask("status")["agents"]}
    for name in still:
        was, now = before[name], shown[name]
        if alive(was["pid"]) and now["pid"] != was["pid"]:
            soak.broke(f"G1: {name} lived as {was['pid']} and is shown as {now['pid']}")
    return "adopted"


@kind("the daemon is killed", "G1", ends_daemon=True, weight=2)
def _killed(soak: Soak, rng: random.Random) -> str:
    before = living(soak)
    cooling = {
        one["name"]: one["failures"]
        for one in soak.fleet.ask("status")["agents"]
        if one["state"] == "cooldown" and (one["cooldown_s"] or 0) > 1
    }
    soak.crash()
    time.sleep(rng.uniform(0, 0.5))
    said = back(soak, before)
    for name, failures in cooling.items():
        now = soak.fleet.status(name)
        if now["failures"] < failures and now["intent"] == "up":
            soak.broke(f"INV8: {name} had {failures} failures and has {now['failures']}")
    return said


@kind("the daemon is killed, agents die meanwhile", "G3", ends_daemon=True)
def _killed_with_agents(soak: Soak, rng: random.Random) -> str:
    before = living(soak)
    victims = soak.victims(rng, 3)
    soak.crash()
    dead = [soak.shoot(pid) for _, pid in victims]
    said = back(soak, before)
    return said if any(dead) else Missed(f"{said}, nobody died")


@kind("the daemon is killed while it acts", "G2 G5", ends_daemon=True)
def _killed_at_work(soak: Soak, rng: random.Random) -> str:
    told = [
        soak.order(rng.choice(["restart", "stop", "start", "pause", "resume"]), name)
        for name in rng.sample(sorted(soak.people), 3)
    ]
    time.sleep(rng.uniform(0, 0.1))
    soak.crash()
    soak.fleet.start()
    is_at_work = any(one is not None and "error" not in one for one in told)
    return "started" if is_at_work else Missed("started, nothing to do")


@kind("the daemon is killed while it starts", "G1 G5", ends_daemon=True)
def _killed_twice(soak: Soak, rng: random.Random) -> str:
    before = living(soak)
    soak.crash()
    for _ in range(2):
        soak.fleet.start(ready=False)
        time.sleep(rng.uniform(0.1, 1.0))
        soak.crash()
    return back(soak, before)


@kind("the daemon executes itself anew", "G8", ends_daemon=True, weight=2)
def _reexec(soak: Soak, rng: random.Random) -> str:
    before = living(soak)
    soak.fleet.heard()
    with soak.fleet.away():
        if rng.random() < 0.5:
            soak.fleet.signal(signal.SIGUSR2)
        else:
            soak.fleet.ask("daemon", action="reexec")
        soak.fleet.await_notify("READY=1")
    for name, was in before.items():
        now = soak.fleet.status(name)
        if alive(was["pid"]) and now["pid"] != was["pid"]:
            soak.broke(f"G8: {name} lived as {was['pid']} and is shown as {now['pid']}")
    return "same pids"


@kind("a second daemon is started", "G6")
def _second(soak: Soak, _rng: random.Random) -> str:
    done = subprocess.run(
        [PYTHON, "-c", RUN, str(soak.fleet.config)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    if done.returncode != 1 or str(soak.fleet.pid) not in done.stderr:
        soak.broke(f"G6: a second daemon ended with {done.returncode}: {done.stderr[-200:]}")
    return f"exit {done.returncode}"


@kind("the daemon is stopped", "B10 B11")
def _stopped(soak: Soak, rng: random.Random) -> str:
    with soak.fleet.away():
        soak.fleet.signal(signal.SIGSTOP)
        time.sleep(rng.choice([0.3, 1.0, 3.0, 8.0]))
        soak.fleet.signal(signal.SIGCONT)
        soak.fleet.ask("ping")
    return "went on"


@kind("the daemon has no descriptors left", "P8 EMFILE")
def _without_descriptors(soak: Soak, rng: random.Random) -> str:
    pid = soak.fleet.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    count = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - the shortest way to a count
    victims = soak.victims(rng, 2)
    with soak.fleet.away():
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (count + rng.randint(0, 6), before[1]))
        try:
            for _, victim in victims:
                soak.shoot(victim)
            said = soak.hostile("hold", 40)
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        soak.fleet.until_true(lambda: answers(soak))
    return f"went on ({said})"


def answers(soak: Soak) -> bool:
    try:
        soak.fleet.ask("ping")
    except (OSError, Refused, ValueError):
        return False
    return True


@kind("the disk is full", "H1 H2 H4", needs_disk=True, weight=2)
def _disk_full(soak: Soak, rng: random.Random) -> str:
    filler = soak.fleet.root / "state" / "filler"
    fill(filler)
    try:
        for _, pid in soak.victims(rng, 2):
            soak.shoot(pid)
        for name in rng.sample(sorted(soak.people), 2):
            soak.order(rng.choice(["kill", "stop", "restart", "pause"]), name, reason="disk full")
        time.sleep(rng.uniform(0.5, 3))
        seen = soak.fleet.ask("status")["daemon"]["storage"]
    finally:
        filler.unlink()
    soak.fleet.until_true(lambda: soak.fleet.ask("status")["daemon"]["storage"] == "ok")
    return f"storage {seen}, then ok" if seen != "ok" else Missed("nothing was written")


@kind("the daemon is killed on a full disk", "H1 G15", needs_disk=True, ends_daemon=True)
def _killed_on_full_disk(soak: Soak, rng: random.Random) -> str:
    before = living(soak)
    filler = soak.fleet.root / "state" / "filler"
    fill(filler)
    time.sleep(rng.uniform(0, 1))
    soak.crash()
    soak.later(rng.uniform(0.5, 2), lambda: filler.unlink(missing_ok=True))
    said = back(soak, before)
    time.sleep(rng.uniform(0, 1))
    filler.unlink(missing_ok=True)
    soak.fleet.until_true(lambda: soak.fleet.ask("status")["daemon"]["storage"] == "ok")
    return said


@kind("a receiver of alerts is in trouble", "K8", weight=2)
def _receiver(soak: Soak, rng: random.Random) -> str:
    mood = rng.choice([Mood.ERROR, Mood.SLOW, Mood.RESET, Mood.CLOSED, Mood.GARBAGE, None])
    if mood is None:
        soak.bad.dead()
    else:
        soak.bad.slow_s = 2.0
        soak.bad.mood = mood

    def mend() -> None:
        soak.bad.mood = Mood.OK
        soak.bad.alive()

    soak.later(rng.uniform(5, 20), mend)
    return mood.name.lower() if mood else "dead"
