"""One agent's durable half as JSON, and its times carried over a reboot.

Times inside are CLOCK_BOOTTIME of the boot that wrote them. A later daemon of the same boot
takes them as they are, whatever the wall clock did meanwhile. After a reboot the wall clock
is the only witness of how long the host was away; it may lie, so that a deadline never moves
further away than it was, and one that has passed is due now.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from agentd.config.encodable import encodable, plain
from agentd.core import accounts
from agentd.core.records import Durable, Mark
from agentd.store.connection import SPOILT

_ENCODER = msgspec.json.Encoder(enc_hook=plain)
_DECODER = msgspec.json.Decoder(Durable)


@dataclass(frozen=True, slots=True)
class _Before:
    """How a row of before there were accounts is told from a later one, and what it alone has."""

    run: Mark | None = None
    cost_known: bool = False


_DECODER_OF_BEFORE = msgspec.json.Decoder(_Before)


@dataclass(frozen=True, slots=True)
class Moment:
    """Where the clocks stood: which boot, its BOOTTIME, and the wall's time since 1970."""

    boot_id: str
    boottime_ms: int
    wall_ms: int


def encode(durable: Durable) -> str:
    """Write it as JSON; a lone surrogate in an operator's text is written as an escape."""
    try:
        return _ENCODER.encode(durable).decode()
    except UnicodeEncodeError:
        return _ENCODER.encode(encodable(msgspec.to_builtins(durable, enc_hook=plain))).decode()


def decode(text: str) -> Durable:
    """Read what `encode` wrote; raises `msgspec.DecodeError` for anything else.

    In a row of before there were accounts, all of them begin now: how much of its totals was
    spent in the running cycle and run, nobody knows.
    """
    durable = _DECODER.decode(text)
    before = _DECODER_OF_BEFORE.decode(text)
    if before.run is None:
        durable.priced = int(before.cost_known)
        accounts.begin_run(durable)
    return durable


class Carrying:
    """Times of the boot that wrote a row, in BOOTTIME of the present one.

    Of the same boot they are what they were. After a reboot moments that lie behind move back
    by the time away, as the wall clock has it.
    """

    def __init__(self, written: Moment, now: Moment) -> None:
        self.needed = written.boot_id != now.boot_id or written.boottime_ms > now.boottime_ms
        """Whether any time has to move at all."""
        away_ms = max(0, now.wall_ms - written.wall_ms)
        self._shift_ms = now.boottime_ms - written.boottime_ms - away_ms if self.needed else 0
        self._now_ms = now.boottime_ms

    def past(self, then_ms: int) -> int:
        """Return a moment that lies behind."""
        return then_ms + self._shift_ms

    def moved(self, then_ms: int | None) -> int | None:
        """Return a moment that lies behind, if there was one."""
        return None if then_ms is None else self.past(then_ms)

    def due(self, then_ms: int | None) -> int | None:
        """Return a deadline: within [now, what remained of it]."""
        if then_ms is None or not self.needed:
            return then_ms
        return max(self._now_ms, self.past(then_ms))


class Times(Carrying):
    """All the times that something names, noted instead of moved."""

    def __init__(self) -> None:
        self.needed = True
        self.behind: list[int] = []
        self.deadlines: list[int] = []

    def past(self, then_ms: int) -> int:
        self.behind.append(then_ms)
        return then_ms

    def due(self, then_ms: int | None) -> int | None:
        if then_ms is not None:
            self.deadlines.append(then_ms)
        return then_ms


def mended(columns: Sequence[object], times: Times, now_wall_ms: int) -> Moment:
    """Return when a row was written, though its columns of a `Moment` may be spoilt.

    What can be read stays, and so do the row's times for as long as the boot is known and the
    present one. For what can't be read stands a bound: no deadline moves further away than it
    was, and nothing that lies behind comes to lie in the future.
    """
    boot_id, boottime_ms, wall_ms = columns
    if not isinstance(wall_ms, int):
        # Nobody knows of any time away: what remained of a deadline remains.
        wall_ms = now_wall_ms
    if not isinstance(boottime_ms, int):
        # Not before the last of what lies behind; and, because what remained of a deadline is
        # unknown, so long ago that it is due after a reboot. Too early is better than days late.
        boottime_ms = max(times.behind, default=0)
        longest_ms = max(times.deadlines, default=boottime_ms) - boottime_ms
        wall_ms = min(wall_ms, now_wall_ms - longest_ms)
    if not isinstance(boot_id, str) or SPOILT in boot_id:
        # No boot's: the wall clock is the witness, as after a reboot.
        boot_id = ""
    return Moment(boot_id, boottime_ms, wall_ms)


def times_of(durable: Durable) -> Times:
    """Return the times that `carried_over` moves."""
    times = Times()
    _moved(durable, times)
    return times


def carried_over(durable: Durable, written: Moment, now: Moment) -> Durable:
    """Express the times of `durable` in BOOTTIME of the present boot.

    Deadlines keep what remained of them, less the time away by the wall clock, within
    [0, what remained]; moments that lie behind move back by the time away.
    """
    carrying = Carrying(written, now)
    return _moved(durable, carrying) if carrying.needed else durable


def _moved(durable: Durable, carrying: Carrying) -> Durable:
    moved, due = carrying.moved, carrying.due
    last_exit = durable.last_exit
    if last_exit is not None:
        last_exit = replace(last_exit, at_ms=carrying.past(last_exit.at_ms))
    unfinished = tuple(
        replace(each, begun_at_ms=carrying.past(each.begun_at_ms)) for each in durable.unfinished
    )
    checkpoint = durable.checkpoint
    if checkpoint is not None:
        checkpoint = replace(checkpoint, at_ms=carrying.past(checkpoint.at_ms))
    return replace(
        durable,
        unfinished=unfinished,
        checkpoint=checkpoint,
        paused_at_ms=moved(durable.paused_at_ms),
        spawned_at_ms=moved(durable.spawned_at_ms),
        auto_start_at_ms=moved(durable.auto_start_at_ms),
        cooldown_until_ms=due(durable.cooldown_until_ms),
        parked_until_ms=due(durable.parked_until_ms),
        last_exit=last_exit,
    )
