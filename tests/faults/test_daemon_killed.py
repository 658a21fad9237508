"""kill -9 of the daemon at any moment: what lives is adopted, what was decided stands.

The seed is printed; `AGENTD_SEED=n` draws the same moments again, `AGENTD_ROUNDS=n` makes it
longer. `make bench-killed` plays the part with the counting agents 200 times, and on other
supervisors, too.
"""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from bench.killed import play
from bench.killed_fleets import Agentd
from tests.daemon.harness import Document, Refused, alive
from tests.dice import seed
from tests.faults.guard import INNOCENT, PROGRAMS, Fleet
from tests.stopwatch import Stopwatch

ROUNDS = int(os.environ.get("AGENTD_ROUNDS", "25"))
COUNTED_ROUNDS = int(os.environ.get("AGENTD_ROUNDS", "4"))
COUNTING_AGENTS = 20
DEEDS = ["start", "stop", "restart", "kill", "pause", "resume", "hold", "unhold", "reset", "crash"]
DOWN = ("stopped", "killed")
STARTED_S_MAX = 10.0


@dataclass
class Ledger:
    """What the daemon acknowledged, and what it showed last."""

    intents: dict[str, str] = field(default_factory=dict)
    held: dict[str, bool] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    """Agents about which something was asked and not answered: either may be true."""
    failures: dict[str, int] = field(default_factory=dict)
    cooldowns: dict[str, tuple[Stopwatch, float]] = field(default_factory=dict)
    """Seconds that were left, and since when."""


@pytest.mark.timeout(240)  # so many starts of a daemon, each of some seconds of CPU under load
def test_g1_k1_k3_a_daemon_killed_at_any_moment_forgets_and_doubles_nothing(fleet: Fleet) -> None:
    rng = random.Random(seed())  # noqa: S311 - dice, not secrets
    names = ["steady", "beats", "crashy", "family", "deaf"]
    fleet.sleeper("steady")
    fleet.program("beats", "trouble", "on")
    fleet.shell("crashy", "sleep 0.3; exit 1", '[restart]\ncooldown = "1s"\nfailures_max = 1000')
    fleet.shell("family", "setsid sleep 600 & exec sleep 600")
    fleet.program("deaf", "trouble", "deaf", text='stop_timeout = "300ms"')
    fleet.start()
    ledger = Ledger(dict.fromkeys(names, "up"), dict.fromkeys(names, False))
    for number in range(ROUNDS):
        one_round(fleet, ledger, names, rng, number)
    settle_and_check(fleet, ledger, names)


@pytest.mark.timeout(60 + 30 * COUNTED_ROUNDS)
def test_g1_g3_agents_that_count_go_on_over_every_kill_of_the_daemon() -> None:
    """Same pids, one copy each, no number lost or twice, no stop undone, no exit invented."""
    with Agentd(COUNTING_AGENTS) as fleet:
        tally = play(fleet, COUNTED_ROUNDS, seed())
    assert tally.rounds == COUNTED_ROUNDS
    assert tally.untouched > 0
    assert tally.written > 0
    wrong = (tally.changed, tally.doubled, tally.missing, tally.undone, tally.never_told)
    assert wrong == (0, 0, 0, 0, 0), tally.notes
    assert (tally.lost, tally.repeated, tally.gaps) == (0, 0, 0), tally.notes
    assert not [told for told in tally.exits if told.startswith("invented")], tally.notes


def one_round(
    fleet: Fleet, ledger: Ledger, names: list[str], rng: random.Random, number: int
) -> None:
    """Some operations, a kill in the middle of them, and a look at what came back."""
    plan = [(rng.choice(names), rng.choice(DEEDS)) for _ in range(rng.randint(1, 6))]
    after_s = rng.uniform(0.0, 0.35)
    before = watch(fleet, ledger, names)
    killer = threading.Timer(after_s, fleet.kill_now)
    killer.start()
    try:
        for name, deed in plan:
            do(fleet, ledger, name, deed)
    finally:
        killer.join()
    assert fleet.process is not None
    fleet.process.wait(10)
    alive_before = {name: pid for name, pid in before.items() if pid and alive(pid)}
    living = {name: [pid for pid in fleet.leaders(name) if alive(pid)] for name in names}
    assert all(len(pids) <= 1 for pids in living.values()), (number, living)
    fleet.start()
    check_adopted(fleet, ledger, living, number)
    assert alive_before.keys() <= set(names)


def do(fleet: Fleet, ledger: Ledger, name: str, deed: str) -> None:
    """One operation; whether it was acknowledged decides what is known afterwards."""
    if deed == "crash":
        with contextlib.suppress(OSError, Refused, TypeError, ProcessLookupError):
            os.kill(fleet.status(name)["pid"], signal.SIGKILL)
        return
    try:
        result = fleet.ask(deed, select=[name], reason="by chance")
    except Refused:
        return  # a conflict: nothing has changed
    except (OSError, ValueError):
        ledger.doubtful.add(name)
        return
    told = result["agents"][0]
    if "error" in told:
        return
    ledger.intents[name] = told["intent"]
    if deed in ("hold", "unhold"):
        ledger.held[name] = deed == "hold"
    if deed in ("reset", "restart", "start", "resume"):
        ledger.failures.pop(name, None)
        ledger.cooldowns.pop(name, None)


def watch(fleet: Fleet, ledger: Ledger, names: list[str]) -> dict[str, int | None]:
    """Write down what is shown now; return the pids."""
    shown = {agent["name"]: agent for agent in fleet.ask("status")["agents"]}
    watch = Stopwatch()
    for name in names:
        agent = shown[name]
        ledger.failures[name] = agent["failures"]
        ledger.cooldowns.pop(name, None)
        if agent["cooldown_s"]:
            ledger.cooldowns[name] = watch, agent["cooldown_s"]
        # What was in doubt is known again.
        ledger.intents[name] = agent["intent"]
        ledger.held[name] = agent["held"]
        ledger.doubtful.discard(name)
    return {name: shown[name]["pid"] for name in names}


def check_adopted(fleet: Fleet, ledger: Ledger, living: dict[str, list[int]], number: int) -> None:
    """INV1, INV3, INV4, INV5, INV8: after the start that follows."""
    shown = {agent["name"]: agent for agent in fleet.ask("status")["agents"]}
    story = f"round {number}: {[brief(agent) for agent in shown.values()]}\n{fleet.log()}"
    for name, leaders in living.items():
        agent = shown[name]
        if name not in ledger.doubtful:
            assert agent["intent"] == ledger.intents[name], (name, ledger.intents[name], story)
            assert agent["held"] == ledger.held[name], (name, story)
            check_counters(ledger, agent, story)
        if agent["intent"] in DOWN:
            fleet.until_state(name, "stopped")
            assert fleet.leaders(name) == [], (name, story)
        elif leaders and alive(leaders[0]):
            assert agent["pid"] == leaders[0], (name, leaders, story)
        assert len(fleet.leaders(name)) <= 1, (name, story)


def check_counters(ledger: Ledger, agent: Document, story: str) -> None:
    name = agent["name"]
    if name in ledger.failures and agent["intent"] == "up":
        assert agent["failures"] >= ledger.failures[name], (name, ledger.failures[name], story)
    begun = ledger.cooldowns.get(name)
    if begun is not None and agent["state"] == "cooldown" and agent["cooldown_s"]:
        watch, left_s = begun
        assert watch.wall_s + agent["cooldown_s"] >= left_s - 0.25 - watch.starved_s, (name, story)


def brief(agent: Document) -> str:
    words = ("name", "intent", "state", "pid", "failures", "cooldown_s", "held")
    return " ".join(f"{word}={agent[word]}" for word in words)


def settle_and_check(fleet: Fleet, ledger: Ledger, names: list[str]) -> None:
    """The quiet period: INV2, and the intents as they stand."""
    watch(fleet, ledger, names)
    for name in ("steady", "beats", "family", "deaf"):
        with contextlib.suppress(Refused):
            fleet.ask("unhold", select=[name])
        intent = ledger.intents[name]
        if intent == "up":
            fleet.until(name, lambda s: s["state"] in ("running", "escalated", "cooldown"))
        elif intent == "paused":
            assert fleet.status(name)["state"] in ("paused", "stopping")
        else:
            fleet.until(name, lambda s: s["pid"] is None)
    # Told as ended is at most once; INV7 is looked at when the fixture is torn down.
    assert fleet.status(INNOCENT)["pid"] == fleet.bystander_pid


def moments_of(rng: random.Random, count: int) -> list[float]:
    return [rng.uniform(0.0, 0.05) for _ in range(count)]


@pytest.mark.parametrize("deed", ["stop", "kill", "restart", "pause"])
def test_g2_a_crash_right_after_the_word_of_an_operator(fleet: Fleet, deed: str) -> None:
    """The daemon dies within milliseconds of a command: done or undone, never half of it."""
    fleet.sleeper("one")
    fleet.start()
    expected: dict[str, Callable[[Document], object]] = {
        "stop": lambda s: s["intent"] == "stopped" and s["state"] == "stopped",
        "kill": lambda s: s["intent"] == "killed" and s["state"] == "stopped",
        "restart": lambda s: s["intent"] == "up" and s["state"] == "running",
        "pause": lambda s: s["intent"] == "paused" and s["state"] == "paused",
    }
    rng = random.Random(1)  # noqa: S311 - dice, not secrets
    for moment in moments_of(rng, 4):
        fleet.until("one", lambda s: s["state"] == "running")
        fleet.ask(deed, select=["one"])
        time.sleep(moment)
        fleet.crash()
        fleet.start()
        fleet.until("one", expected[deed])
        assert len(fleet.leaders("one")) <= 1
        if deed != "restart":
            fleet.ask("start" if deed == "stop" else "resume", select=["one"])
    fleet.until("one", lambda s: s["state"] == "running")


def test_g3_an_end_that_nobody_saw_is_decided_once(fleet: Fleet) -> None:
    fleet.sleeper("one")
    fleet.shell("gone", f"{PROGRAMS}/none", "[restart]\npolicy = 'never'")
    fleet.start()
    pid = fleet.until_state("one", "running")["pid"]
    fleet.crash()
    os.kill(pid, signal.SIGKILL)
    fleet.start()
    shown = fleet.until("one", lambda s: s["state"] == "running" and s["pid"] not in (None, pid))
    assert (shown["restarts"], shown["failures"]) == (1, 1)
    assert len(fleet.events("one", "agent.exited")) == 1
    fleet.crash()
    fleet.start()
    assert fleet.until_state("one", "running")["pid"] == shown["pid"]
    assert len(fleet.events("one", "agent.exited")) == 1
