"""What is seen of an agent's work beside its heartbeats: what it tells, CPU time, bytes moved.

Two stretches of time are kept, each beginning anew whenever it is broken. In the quiet one
there is no progress, no CPU and no I/O; in the spinning one there is CPU and nothing else,
and no heartbeat comes from the work loop itself.
"""

from dataclasses import dataclass
from typing import Final

# What a program uses by itself: 10 ms are a tick of /proc, and a collection of garbage or
# a timer of a library takes a few of them.
CPU_BASE_MS: Final = 50
# A heartbeat of the SDK from a thread of its own costs 0.15 ms (`bench/beat_cost.py`);
# on a slow host, with a line in a log, some times that.
CPU_PER_BEAT_MS: Final = 1
# A line in a log at each beat is not work. What is sent over sockets isn't counted here.
IO_PER_BEAT_BYTES: Final = 4_096
# A loop without end takes a whole core where it gets one; a busy host leaves it half of that.
SPINNING_PERCENT: Final = 50


@dataclass(slots=True)
class Stretch:
    """A time without a sign of work: since when, and what the counters stood at."""

    since_ms: int
    cpu_ms: int | None = None
    io_bytes: int | None = None
    beats: int = 0
    """Heartbeats in this time."""

    def begin(self, now_ms: int, cpu_ms: int | None, io_bytes: int | None) -> None:
        """Begin anew; in place, since that happens with most heartbeats."""
        self.since_ms, self.cpu_ms, self.io_bytes, self.beats = now_ms, cpu_ms, io_bytes, 0


@dataclass(slots=True)
class Progress:
    """Of one incarnation; plain figures, without a judgement."""

    quiet: Stretch | None = None
    spinning: Stretch | None = None
    cpu_ms: int | None = None
    io_bytes: int | None = None
    sampled_at_ms: int | None = None
    loop_beat_at_ms: int | None = None
    """Last heartbeat of the work loop itself."""
    beside: int = 0
    """Heartbeats from other threads since then."""
    tokens: int | None = None
    """Tokens that the last heartbeat of the work loop told of."""
    state_fp: str | None = None

    def note_work(self, now_ms: int) -> None:
        """It did something: both stretches begin anew."""
        if self.quiet is None or self.spinning is None:
            self.quiet = Stretch(now_ms, self.cpu_ms, self.io_bytes)
            self.spinning = Stretch(now_ms, self.cpu_ms, self.io_bytes)
        else:
            self.quiet.begin(now_ms, self.cpu_ms, self.io_bytes)
            self.spinning.begin(now_ms, self.cpu_ms, self.io_bytes)

    def note_beat(self, now_ms: int, *, off_thread: bool, worked: bool = False) -> None:
        """It lives; a beat of the loop itself says that the loop goes round.

        `worked`: the beat tells of work, and both stretches begin anew with it.
        """
        if self.quiet is None or self.spinning is None:
            self.note_work(now_ms)
        elif worked:
            self.quiet.begin(now_ms, self.cpu_ms, self.io_bytes)
            if off_thread:
                self.spinning.begin(now_ms, self.cpu_ms, self.io_bytes)
        assert self.quiet is not None
        assert self.spinning is not None
        self.quiet.beats += 1
        if off_thread:
            self.spinning.beats += 1
            self.beside += 1
        else:
            self.beside = 0
            self.loop_beat_at_ms = now_ms
            self.spinning.begin(now_ms, self.cpu_ms, self.io_bytes)

    def note_sample(self, cpu_ms: int | None, io_bytes: int | None, now_ms: int) -> None:
        """Take in the counters of the whole tree since its spawn; None: not to be had."""
        if cpu_ms is None:
            return
        self.cpu_ms, self.sampled_at_ms = cpu_ms, now_ms
        self.io_bytes = io_bytes if io_bytes is not None else self.io_bytes
        if self._has_worked(self.quiet):
            self.quiet = Stretch(now_ms, self.cpu_ms, self.io_bytes)
        if self._has_not_spun(self.spinning, now_ms):
            self.spinning = Stretch(now_ms, self.cpu_ms, self.io_bytes)

    def used(self, stretch: Stretch) -> tuple[int, int]:
        """CPU time in ms and bytes moved since a stretch began, as of the last sample."""
        cpu_ms = (self.cpu_ms or 0) - (stretch.cpu_ms or 0)
        return cpu_ms, (self.io_bytes or 0) - (stretch.io_bytes or 0)

    def shift(self, gap_ms: int, now_ms: int) -> None:
        """Time that was nobody's, such as a pause: no time without work either."""
        for stretch in (self.quiet, self.spinning):
            if stretch is not None:
                stretch.since_ms = min(now_ms, stretch.since_ms + gap_ms)

    def _has_worked(self, stretch: Stretch | None) -> bool:
        if stretch is None or stretch.cpu_ms is None:
            return True  # nothing to compare with: it begins here
        cpu_ms, _ = self.used(stretch)
        allowed_ms = CPU_BASE_MS + stretch.beats * CPU_PER_BEAT_MS
        return cpu_ms < 0 or cpu_ms > allowed_ms or self._has_moved_bytes(stretch)

    def _has_not_spun(self, stretch: Stretch | None, now_ms: int) -> bool:
        if stretch is None or stretch.cpu_ms is None:
            return True
        cpu_ms, _ = self.used(stretch)
        least_ms = (now_ms - stretch.since_ms) * SPINNING_PERCENT // 100 - CPU_BASE_MS
        return cpu_ms < least_ms or self._has_moved_bytes(stretch)

    def _has_moved_bytes(self, stretch: Stretch) -> bool:
        if stretch.io_bytes is None:
            stretch.io_bytes = self.io_bytes
        _, io_bytes = self.used(stretch)
        return io_bytes > IO_PER_BEAT_BYTES * (1 + stretch.beats)
