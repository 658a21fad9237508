"""What a simulated process says and uses, by the way in which it lives."""

from random import Random
from typing import Protocol

from agentd.core.lines import Heartbeat, Line, Notify, Status
from tests.sim.chance import MIB
from tests.sim.talk import Talk

# A leak begins here and grows by so much a round: past 60 % of 100 MiB in some two minutes.
LEAK_FROM_BYTES = 20 * MIB
LEAK_BYTES = MIB // 2
# A burst spends and takes a hundred times the usual, from this round on.
BURST_FROM_ROUND = 45
USUAL_TOKENS, BURST_TOKENS = 10, 1_000
USUAL_MS, BURST_MS = 50.0, 5_000.0


class Living(Protocol):
    """What of a process decides what it says."""

    life: str
    pid: int
    rounds: int
    talks: bool


class Around(Protocol):
    """What of its world does."""

    random: Random
    talk: Talk
    healed: bool


def lines_of(world: Around, process: Living) -> tuple[Line, ...]:
    """What ends one round of its work loop; the first says that it is ready, where it may."""
    beat = said(world, process)
    if beat is None:
        return ()
    ready = process.rounds == (2 if process.life == "park" else 1)
    return (Notify(ready=True), beat) if ready else (beat,)


def said(world: Around, process: Living) -> Heartbeat | None:
    """Return the heartbeat that ends one round of its work loop; None: it says nothing."""
    random = world.random
    if process.life == "hang" and not world.healed and random.random() < 0.3:
        process.life = "hung"
    if process.life in ("hung", "never_ready"):
        return None
    if process.life == "hollow":
        return Heartbeat()
    if process.life == "leak":
        task = "t" if process.pid % 2 else None  # whoever tells of none can be stopped at once
        return Heartbeat(status=Status.WORKING, task=task, tokens=10)
    if process.life == "burst":
        wild = process.rounds > BURST_FROM_ROUND
        took_ms = BURST_MS if wild else USUAL_MS
        tokens = BURST_TOKENS if wild else USUAL_TOKENS
        return Heartbeat(status=Status.WORKING, tokens=tokens, latencies_ms=(took_ms, took_ms))
    if (
        process.life == "park"
        and not world.healed
        and random.random() < (0.5 if process.rounds == 1 else 0.1)
    ):
        return Heartbeat(status=Status.ERROR, retry_after_ms=random.randint(0, 30_000))
    if not world.healed and random.random() < 0.02:
        return Heartbeat(silence_ms=random.randint(0, 60_000))
    if process.talks and not world.healed:
        return world.talk.heartbeat()
    return Heartbeat(status=Status.WORKING, tokens=10)


def sample_of(process: Living) -> tuple[int, int, int] | None:
    """Return what a sample shows: bytes of memory, ms of CPU and bytes moved since the spawn.

    None: nobody takes one now.
    """
    if process.life == "hollow":  # a thread that beats over a dead loop
        return LEAK_FROM_BYTES, 0, 0
    if process.life == "leak":
        rss_bytes = LEAK_FROM_BYTES + process.rounds * LEAK_BYTES
        return rss_bytes, process.rounds * 500, process.rounds * 4_096
    return None
