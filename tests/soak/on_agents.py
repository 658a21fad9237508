"""Faults of agents: they die, hang, flood, fork, grow, print, and fail in what they depend on."""

import random
import signal
import subprocess
import time

from tests.daemon.harness import PYTHON, alive
from tests.faults.guard import environ_of
from tests.soak.kinds import kind
from tests.soak.soak import NOBODY, Missed, Soak

WAIT_S = 90.0
HOGS = 4
IGNORED = Missed("not taken")


def ended(soak: Soak, name: str, incarnation: str) -> str:
    """Wait for the end of an incarnation in the journal; its reason."""
    end = time.monotonic() + WAIT_S
    while (name, incarnation) not in soak.listener.ends:
        if time.monotonic() > end:
            soak.broke(f"the end of {name} ({incarnation}) was never told")
            return "nothing"
        time.sleep(0.05)
    return str(soak.listener.ends[name, incarnation]["reason"])


def shot(soak: Soak, rng: random.Random, by: signal.Signals, count: int = 1) -> str:
    victims = soak.victims(rng, count)
    running = {name: soak.fleet.status(name)["incarnation"] for name, _ in victims}
    hit = [name for name, pid in victims if soak.shoot(pid, by)]
    reasons = [ended(soak, name, running[name]) for name in hit]
    return ", ".join(sorted(set(reasons))) or NOBODY


@kind("an agent is killed", "A3", weight=3)
def _killed(soak: Soak, rng: random.Random) -> str:
    return shot(soak, rng, signal.SIGKILL)


@kind("an agent breaks down", "A3")
def _breaks_down(soak: Soak, rng: random.Random) -> str:
    return shot(soak, rng, rng.choice([signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS]))


@kind("fifteen agents are killed at once", "A13")
def _killed_at_once(soak: Soak, rng: random.Random) -> str:
    return shot(soak, rng, signal.SIGKILL, 15)


@kind("an agent stands still for a moment", "B1")
def _stands_still(soak: Soak, rng: random.Random) -> str:
    [(_, pid)] = soak.victims(rng) or [("", 0)]
    if not pid or not soak.shoot(pid, signal.SIGSTOP):
        return NOBODY
    time.sleep(rng.uniform(0.2, 1.2))
    soak.shoot(pid, signal.SIGCONT)
    return "went on"


@kind("an agent hangs", "B1")
def _hangs(soak: Soak, rng: random.Random) -> str:
    [(name, _)] = soak.victims(rng, kind="raw lines") or [("", 0)]
    if not name:
        return NOBODY
    shown = soak.fleet.status(name)
    if shown["open_call"] or shown["expected_silence_s"]:
        return Missed("may be silent")  # hostile lines in its name have announced it
    return ended(soak, name, shown["incarnation"]) if soak.tempt(name, "hang") else IGNORED


@kind("an agent is stopped for good", "B2")
def _stopped(soak: Soak, rng: random.Random) -> str:
    [(name, pid)] = soak.victims(rng, kind="SDK worker") or [("", 0)]
    if not name:
        return NOBODY
    incarnation = soak.fleet.status(name)["incarnation"]
    return ended(soak, name, incarnation) if soak.shoot(pid, signal.SIGSTOP) else NOBODY


def _by_agent(soak: Soak, rng: random.Random, deed: str, figure: int) -> str:
    [(name, _)] = soak.victims(rng, kind="raw lines") or [("", 0)]
    return soak.hostile(deed, figure, name) if name else NOBODY


@kind("a flood of heartbeats", "C15")
def _flood(soak: Soak, rng: random.Random) -> str:
    return _by_agent(soak, rng, "flood", 40_000)


@kind("hostile lines", "C4 C5 C7 C21")
def _lines(soak: Soak, rng: random.Random) -> str:
    return _by_agent(soak, rng, "mutate", rng.randrange(1 << 30))


@kind("a line without an end", "C2")
def _endless(soak: Soak, rng: random.Random) -> str:
    said = _by_agent(soak, rng, "endless", 0)
    if said == "ok":
        soak.broke(f"a line without an end: {said}")
    return said


@kind("an agent claims to be another", "C9")
def _claims(soak: Soak, rng: random.Random) -> str:
    said = _by_agent(soak, rng, "claim", 0)
    if said == "ok":
        soak.broke("an agent spoke as the bystander")
    return said


@kind("an agent wants to command", "C10 L14")
def _commands(soak: Soak, rng: random.Random) -> str:
    said = _by_agent(soak, rng, "command", 0)
    if said == "ok":
        soak.broke("an agent has killed the bystander")
    return said


@kind("a storm of forks, then stop", "D1 D3")
def _forks(soak: Soak, rng: random.Random) -> str:
    [(name, _)] = soak.victims(rng, kind="raw lines") or [("", 0)]
    if not name or not soak.tempt(name, f"fork {rng.randint(20, 60)}"):
        return IGNORED
    told = soak.order("stop", name, reason="forks")
    if told is None or "error" in told:
        return Missed("refused")
    soak.fleet.until(name, lambda s: s["pid"] is None and s["state"] == "stopped")
    left = [pid for pid in soak.fleet.survivors() if name == agent_of(pid)]
    if left:
        soak.broke(f"{name} is stopped and {left} live")
    soak.order("start", name)
    return "stopped means empty"


def agent_of(pid: int) -> str:
    """Whose process it is; empty: nobody's, or gone."""
    try:
        return environ_of(pid).get("AGENTD_AGENT", "") if alive(pid) else ""
    except OSError:
        return ""


@kind("an agent grows", "E1 E3")
def _grows(soak: Soak, rng: random.Random) -> str:
    [(name, _)] = soak.victims(rng, kind="raw lines") or [("", 0)]
    return "grew" if name and soak.tempt(name, f"grow {rng.randint(20, 60)}") else IGNORED


@kind("an agent prints 16 MB at once", "F1")
def _prints(soak: Soak, rng: random.Random) -> str:
    [(name, _)] = soak.victims(rng, kind="raw lines") or [("", 0)]
    return "printed" if name and soak.tempt(name, f"print {16 << 20}") else IGNORED


@kind("a shared dependency is down", "K9")
def _dependency(soak: Soak, rng: random.Random) -> str:
    soak.places.down.touch()
    soak.later(rng.uniform(2, 6), lambda: soak.places.down.unlink(missing_ok=True))
    if not soak.victims(rng, kind="shares a dependency"):
        return NOBODY
    return f"breaker {soak.fleet.ask('breakers')['breakers'][0]['state']} before"


@kind("the validate command refuses", "A9")
def _invalid(soak: Soak, rng: random.Random) -> str:
    soak.places.invalid.touch()
    soak.later(rng.uniform(2, 6), lambda: soak.places.invalid.unlink(missing_ok=True))
    shown = soak.fleet.status("valid")
    hit = bool(shown["pid"]) and soak.shoot(shown["pid"])
    return "restart refused" if hit else NOBODY


@kind("the judge fails", "C16")
def _judge(soak: Soak, rng: random.Random) -> str:
    mood = rng.choice(["fail", "hang", "garbage"])
    soak.places.judge.write_text(mood)
    soak.later(rng.uniform(5, 15), lambda: soak.places.judge.write_text("ok"))
    return mood if soak.victims(rng, kind="SDK worker with a judge") else NOBODY


@kind("every core is taken", "P5")
def _starved(_soak: Soak, rng: random.Random) -> str:
    spin = "import sys, time; end = time.monotonic() + float(sys.argv[1])\n"
    words = [PYTHON, "-S", "-c", f"{spin}while time.monotonic() < end: pass"]
    seconds = str(rng.uniform(1, 3))
    hogs = [subprocess.Popen([*words, seconds]) for _ in range(HOGS)]
    for hog in hogs:
        hog.wait()
    return "nobody harmed"
