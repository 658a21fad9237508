"""The dead man's switch: it is fed while agentd supervises, and by nothing else."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from agentd.config.schema import ReportConfig
from agentd.config.units import Milliseconds
from agentd.daemon.log import log
from agentd.daemon.ping import Ping
from agentd.sinks.http import Http
from tests.daemon.harness import WAIT_S, Daemon
from tests.sinks.receiver import Mood, Receiver
from tests.sinks.samples import CANARY

EVERY_MS = 60_000


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


@dataclass
class PingHarness:
    """A switch whose clock stands still unless it is moved."""

    url: str
    now_ms: int = 1_000_000
    faults: int = 0
    ping: Ping = field(init=False)

    def __post_init__(self) -> None:
        self.ping = Ping(
            asyncio.get_running_loop(),
            faults=lambda: self.faults,
            now_ms=lambda: self.now_ms,
            http=Http(deadline_s=0.5),
        )
        self.use(self.url)

    def use(self, url: str, every_ms: int = EVERY_MS) -> None:
        self.ping.use(ReportConfig(ping_url=url, ping_every_ms=Milliseconds(every_ms)))

    async def period(self) -> None:
        """Let one period pass, second by second, and wait for what comes of it."""
        for _ in range(EVERY_MS // 1000):
            self.now_ms += 1000
            self.ping.tick()
            for thread in threading.enumerate():
                if thread.name == "ping":
                    await asyncio.to_thread(thread.join, WAIT_S)
            await asyncio.sleep(0)  # what it left with the loop comes first

    def counted(self) -> tuple[int, int, int, int]:
        counters = self.ping.counters()
        return tuple(counters[name] for name in ("sent", "failed", "withheld", "failing"))  # type: ignore[return-value]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged, as text, secrets and all."""
    lines: list[str] = []
    for level in ("info", "warning"):
        monkeypatch.setattr(
            log, level, lambda event, **data: lines.append(f"{event} {data}"), raising=True
        )
    return lines


async def test_a_host_without_threads_misses_one_and_no_more(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    harness = PingHarness(receiver.url)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        harness.ping.tick()
    assert harness.counted() == (0, 1, 0, 1)
    await harness.period()
    assert harness.counted() == (1, 1, 0, 0)


async def test_it_is_fed_at_once_and_then_once_a_period(receiver: Receiver) -> None:
    harness = PingHarness(receiver.url)
    for periods in range(1, 4):
        await harness.period()
        assert harness.counted() == (periods, 0, 0, 0)
    assert [one.method for one in receiver.received] == ["GET"] * 3
    assert receiver.received[0].path == "/hook"


async def test_without_ticks_nobody_feeds_it(receiver: Receiver) -> None:
    harness = PingHarness(receiver.url)
    harness.now_ms += 10 * EVERY_MS
    await asyncio.sleep(0)
    assert harness.counted() == (0, 0, 0, 0)
    assert receiver.received == []


async def test_a_bug_of_ours_leaves_one_out_and_more_bugs_more(receiver: Receiver) -> None:
    harness = PingHarness(receiver.url)
    await harness.period()
    for _ in range(2):
        harness.faults += 1
        await harness.period()
    assert harness.counted() == (1, 0, 2, 0)
    await harness.period()
    assert harness.counted() == (2, 0, 2, 0)


@pytest.mark.parametrize("mood", [Mood.ERROR, Mood.RESET, Mood.REDIRECT, Mood.SLOW, Mood.DRIP])
async def test_a_failure_is_told_once_and_tried_again_next_time(
    receiver: Receiver, logged: list[str], mood: Mood
) -> None:
    receiver.mood, receiver.redirect_to, receiver.drip_s = mood, receiver.at("/elsewhere"), 0.05
    harness = PingHarness(receiver.at(f"/{CANARY}"))
    for _ in range(3):
        await harness.period()
    assert harness.counted() == (0, 3, 0, 1)
    assert len(logged) == 1
    receiver.mood = Mood.OK
    await harness.period()
    assert harness.counted() == (1, 3, 0, 0)
    assert [line.split()[0] for line in logged] == ["ping.failed", "ping.sent"]
    assert CANARY not in repr(logged)
    assert all(one.path != "/elsewhere" for one in receiver.received)


async def test_a_url_that_can_not_be_called_is_told_and_not_quoted(logged: list[str]) -> None:
    harness = PingHarness(f"https://u:{CANARY}@[::1")
    await harness.period()
    assert harness.counted() == (0, 1, 0, 1)
    assert "ping.failed" in logged[0]
    assert CANARY not in logged[0]


async def test_another_url_counts_at_once_and_none_ends_it(receiver: Receiver) -> None:
    with Receiver() as other:
        harness = PingHarness(receiver.url)
        await harness.period()
        harness.use(other.url)
        harness.ping.tick()
        await harness.period()
        assert len(receiver.received) == 1
        assert len(other.received) == 2
        harness.use("")
        await harness.period()
        assert len(receiver.received) + len(other.received) == 3


async def test_a_shorter_period_counts_at_once(receiver: Receiver) -> None:
    harness = PingHarness(receiver.url)
    harness.use(receiver.url, every_ms=3_600_000)
    await harness.period()
    harness.use(receiver.url, every_ms=20_000)
    await harness.period()
    assert len(receiver.received) == 1 + 3


# --- a real daemon


def told(receiver: Receiver, daemon: Daemon, every: str = "1s") -> None:
    url = receiver.at(f"/{CANARY}")
    daemon.configure(extra=f'[report]\nping_url = "{url}"\nping_every = "{every}"\n')


def test_a_daemon_feeds_it_while_it_runs_and_not_when_it_hangs(
    receiver: Receiver, daemon: Daemon
) -> None:
    told(receiver, daemon)
    daemon.sleeper("one")
    daemon.start()
    receiver.wait_for(2)
    daemon.signal(signal.SIGSTOP)
    receiver.pause(0.5)  # for one that was on its way
    before = len(receiver.received)
    receiver.pause(2.5)
    assert len(receiver.received) == before
    daemon.signal(signal.SIGCONT)
    receiver.wait_for(before + 1)
    counters = daemon.ask("daemon")["counters"]["ping"]
    assert counters["sent"] >= 2
    assert counters["failing"] == 0
    assert daemon.end() == 0
    ended = len(receiver.received)
    assert all(one.path == f"/{CANARY}" for one in receiver.received)
    assert receiver.pause(1.5) is False
    assert len(receiver.received) == ended


def test_l7_the_url_is_shown_nowhere_and_a_reload_changes_it(
    receiver: Receiver, daemon: Daemon
) -> None:
    told(receiver, daemon, every="1h")
    receiver.mood = Mood.ERROR
    daemon.sleeper("one")
    daemon.start()
    receiver.wait_for(1)
    daemon.until_true(lambda: daemon.ask("daemon")["counters"]["ping"]["failing"])
    with Receiver() as other:
        told(other, daemon)
        plan = daemon.ask("reload")
        other.wait_for(1)
    shown = [plan, daemon.ask("show"), daemon.ask("daemon"), daemon.ask("status"), daemon.events()]
    assert CANARY not in repr(shown)
    assert "ping.failed" in daemon.log()
    assert CANARY not in daemon.log()
