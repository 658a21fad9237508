"""heartbeat.no_progress_after: a thread that beats over a dead loop says nothing of the work."""

from typing import Final

from tests.scenarios.scenario import Scenario
from tests.scenarios.traces import Line, beat, chain, command, cycles, end

CONFIG: Final = 'heartbeat.no_progress_after = "10m"\n'
MIB: Final = 1 << 20


def _samples(last: float, cpu_ms_each: int = 0, io_bytes_each: int = 0) -> list[Line]:
    """A look at the process every half a minute, and what it used since the one before."""
    return [
        {
            "t": 5 + 30 * n,
            "rss": 50 * MIB,
            "cpu_ms": 100 + n * cpu_ms_each,
            "io_bytes": 4096 + n * io_bytes_each,
        }
        for n in range(int(last // 30))
    ]


def _beating(last: float, **fields: object) -> list[Line]:
    return cycles(0, int(last // 30) + 1, **fields)


SCENARIOS: Final = (
    Scenario(
        "beats without CPU, I/O or progress, not yet for long",
        ("heartbeat.no_progress_after below",),
        chain(_beating(590), _samples(590), end(595)),
        CONFIG,
    ),
    Scenario(
        "and for long: degraded, with what was seen",
        ("heartbeat.no_progress_after beyond",),
        chain(_beating(1200), _samples(1200), end(1200)),
        CONFIG,
        ("600..660 agent.degraded warning",),
        never=("agent.unreachable", "signal", "freeze"),
    ),
    Scenario(
        "who computes is no corpse",
        ("heartbeat.no_progress_after below",),
        chain(_beating(1800), _samples(1800, cpu_ms_each=2000), end(1800)),
        CONFIG,
    ),
    Scenario(
        "who reads and writes is none",
        ("heartbeat.no_progress_after below",),
        chain(_beating(1800), _samples(1800, io_bytes_each=4 * MIB), end(1800)),
        CONFIG,
    ),
    Scenario(
        "nor who tells of progress",
        ("heartbeat.no_progress_after below",),
        chain([beat(30 * n, progress=n / 100) for n in range(60)], _samples(1800), end(1790)),
        CONFIG,
    ),
    Scenario(
        "who says that it has nothing to do may do nothing",
        ("heartbeat.no_progress_after below",),
        chain(_beating(1800, status="idle"), _samples(1800), end(1800)),
        CONFIG,
    ),
    Scenario(
        "time in which it was paused is no time without progress",
        ("heartbeat.no_progress_after below",),
        chain(
            _beating(300),
            _samples(300),
            command(310, "pause"),
            command(3000, "resume"),
            [beat(3010 + 30 * n) for n in range(9)],
            [{"t": 3015 + 30 * n, "rss": MIB, "cpu_ms": 100, "io_bytes": 4096} for n in range(9)],
            end(3270),
        ),
        CONFIG,
        ("310 agent.paused", "310 freeze", "3000 agent.resumed", "3000 thaw"),
    ),
    Scenario(
        "nor is the time in which it waits for a human",
        ("heartbeat.no_progress_after below",),
        chain(_beating(1800, status="waiting_human"), _samples(1800), end(1800)),
        CONFIG,
    ),
    Scenario(
        "nor that in which its provider lets it wait",
        ("heartbeat.no_progress_after below",),
        chain(
            beat(1, status="error", retry_after_s=1790),
            [beat(10 + t, status="error", retry_after_s=1790 - t) for t in range(0, 1740, 30)],
            _samples(1740),
            end(1780),
        ),
        CONFIG,
        ("1 agent.parked",),
    ),
    Scenario(
        "work after all: recovered",
        ("heartbeat.no_progress_after beyond",),
        chain(
            _beating(900),
            _samples(900),
            {"t": 905, "rss": 50 * MIB, "cpu_ms": 9_000, "io_bytes": 9 * MIB},
            beat(930, progress=0.5),
            end(950),
        ),
        CONFIG,
        ("600..660 agent.degraded warning", "905..930 agent.recovered"),
    ),
)
