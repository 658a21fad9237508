"""Memory of one agent's tree: its limit, the pressure under it, and what the leak detector says.

The limit is judged by sampling, so that the graceful path comes before the kernel's.
"""

from dataclasses import dataclass
from typing import Final

from agentd.config.agent import MemoryConfig
from agentd.config.units import format_duration
from agentd.core.detectors.leak import LeakDetector
from agentd.core.events import Sampled

# Pressure is told above this share of the limit, and may be told again once below the other.
PRESSURE_SHARE: Final = 0.90
RELIEF_SHARE: Final = 0.85
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class MemoryNews:
    """Something about its memory that is worth an event."""

    event: str
    message: str
    data: dict[str, object]


@dataclass(slots=True)
class Memory:
    """The last sample and the judgement of this incarnation's memory."""

    rss_bytes: int | None = None
    cpu_ms: int | None = None
    cpu_percent: float | None = None
    io_bytes: int | None = None
    processes: int | None = None
    wait_channel: str = ""
    sampled_at_ms: int | None = None
    pressed: bool = False
    limit_told: bool = False
    detector: LeakDetector | None = None
    restart_wanted_at_ms: int | None = None
    """Since when a restart for a leak waits for a good moment."""
    restart_by_ms: int | None = None
    """When it waits no longer; None: none is wanted."""
    restart_evidence: str = ""

    def begin(self, config: MemoryConfig, now_ms: int) -> None:
        """A new incarnation, a new series."""
        self.rss_bytes = self.cpu_ms = self.cpu_percent = self.io_bytes = None
        self.processes = self.sampled_at_ms = None
        self.wait_channel = ""
        self.pressed = self.limit_told = False
        self.restart_wanted_at_ms = self.restart_by_ms = None
        self.detector = None
        if config.leak != "off":
            self.detector = LeakDetector(
                limit_bytes=config.limit_bytes,
                settle_ms=config.settle_ms,
                started_at_ms=now_ms,
            )

    def observe(self, sample: Sampled, config: MemoryConfig, now_ms: int) -> list[MemoryNews]:
        """Take one sample into account, and return what it means."""
        if sample.rss_bytes < 0:
            return []
        self._measure(sample, now_ms)
        news = []
        if self.detector is not None:
            finding = self.detector.observe(sample.rss_bytes, now_ms)
            if finding is not None:
                news.append(MemoryNews(finding.event, finding.message, dict(finding.data)))
        if config.limit_bytes:
            news += self._against_limit(sample.rss_bytes, config.limit_bytes)
        return news

    def forecast_ms(self) -> int | None:
        """Time to the limit at the present trend, in ms; None where no trend is believed."""
        return self.detector.forecast_ms if self.detector is not None else None

    def _measure(self, sample: Sampled, now_ms: int) -> None:
        if (
            sample.cpu_ms is not None
            and self.cpu_ms is not None
            and self.sampled_at_ms is not None
            and now_ms > self.sampled_at_ms
        ):
            used_ms = max(0, sample.cpu_ms - self.cpu_ms)
            self.cpu_percent = round(100.0 * used_ms / (now_ms - self.sampled_at_ms), 1)
        self.rss_bytes = sample.rss_bytes
        self.cpu_ms = sample.cpu_ms
        self.io_bytes = sample.io_bytes
        self.processes = sample.processes
        self.wait_channel = sample.wait_channel
        self.sampled_at_ms = now_ms

    def _against_limit(self, rss_bytes: int, limit_bytes: int) -> list[MemoryNews]:
        share = rss_bytes / limit_bytes
        figures: dict[str, object] = {"rss_bytes": rss_bytes, "limit_bytes": int(limit_bytes)}
        told = f"{rss_bytes / _MIB:.0f} of {limit_bytes / _MIB:.0f} MiB"
        news = []
        if share > PRESSURE_SHARE and not self.pressed:
            self.pressed = True
            forecast_ms = self.forecast_ms()
            left = f", full in about {_roughly(forecast_ms)}" if forecast_ms else ""
            news.append(MemoryNews("memory.pressure", f"memory at {told}{left}", figures))
        elif share < RELIEF_SHARE:
            self.pressed = False
            self.limit_told = False
        if share >= 1.0 and not self.limit_told:
            self.limit_told = True
            news.append(MemoryNews("memory.limit", f"memory limit reached: {told}", figures))
        return news


def _roughly(duration_ms: int) -> str:
    """Write a forecast no finer than it can be: whole minutes, below one whole seconds."""
    unit_ms = 60_000 if duration_ms >= 60_000 else 1_000  # noqa: PLR2004 - a minute
    return format_duration(max(unit_ms, duration_ms // unit_ms * unit_ms))
