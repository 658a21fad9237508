"""Kill the daemon, or have a call of it fail, at one point of one operation; and look at it all."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from tests.crash.bench import Bench, Follower
from tests.crash.invariants import After, check, inv1_at_most_one_living_tree_an_agent
from tests.crash.invariants import inv5_acknowledged_is_done_and_done_once as inv5
from tests.crash.operations import Operation
from tests.crash.tracing import ALL, Point, Trace

STRIDE = int(os.environ.get("AGENTD_CRASH_STRIDE", "0"))
"""Every so many points; 0: the sample that `make test` takes."""
WRITES_STRIDE = int(os.environ.get("AGENTD_CRASH_WRITES_STRIDE", "1"))
"""Of the writes to the store, which are most of all points, every so many of those."""
KILL = "signal=SIGKILL"
# Noise of a neighbour may move the last call of an operation by so many.
POINTS_MAX = 1_000
TABLE = "crash-table"
# What a daemon opens some time after its start and keeps: a file an agent, two of the recorder.
OPENED_LATER = ("statm", "recorder", ".frames")


@dataclass
class Tally:
    """One row of the table that `make test-crash` prints."""

    operation: str
    injected: str
    call: str
    points: int = 0
    hit: int = 0
    """Killed there, or given the error; the others were past the end of the operation."""
    recovery_s_max: float = 0.0

    def add(self, took_s: float | None) -> None:
        self.points += 1
        if took_s is not None:
            self.hit += 1
            self.recovery_s_max = round(max(self.recovery_s_max, took_s), 2)


def as_rows(tallies: list[Tally]) -> list[dict[str, object]]:
    return [asdict(tally) for tally in tallies]


@contextmanager
def under_way(
    bench: Bench, operation: Operation, point: Point | None, inject: str, part: str
) -> Iterator[Trace]:
    """Prepare, attach, and be attached for as long as the operation takes."""
    operation.prepare(bench)
    bench.before = bench.look()
    if operation.fresh:
        bench.daemon.crash()
        bench.start_stopped()
    bench.daemon.heard()
    call = point.call if point is not None else ""
    what = f"{inject}:when={point.number}" if point is not None else ""
    with Trace(bench.daemon.pid, part, bench.daemon.root / "trace", what, call) as trace:
        yield trace


def counted(bench: Bench, operation: Operation, part: str) -> dict[str, int]:
    """How often each call is made when nothing is injected."""
    with under_way(bench, operation, None, "", part) as trace:
        attempt = operation.begin(bench, f"count-{next(bench.numbers)}")
        assert bench.wait_for(lambda: operation.is_over(bench, bench.before.cursor))
    inv5(bench, After(operation, attempt))
    check(
        bench,
        After(operation, attempt, [], trace.calls(), trace.children(), "nothing injected"),
    )
    return dict(trace.most())


def killed_at(bench: Bench, operation: Operation, point: Point) -> float | None:
    """Kill it there; seconds that the next one took until it was ready, None: it survived."""
    with under_way(bench, operation, point, KILL, point.part) as trace:
        follower = None if operation.fresh else Follower(bench, bench.before.cursor)
        attempt = operation.begin(bench, f"kill-{next(bench.numbers)}")
        survived = bench.wait_for(lambda: operation.is_over(bench, bench.before.cursor))
    process = bench.daemon.process
    assert process is not None
    if survived:
        bench.daemon.crash()
    assert process.poll() == -signal.SIGKILL, (point, bench.daemon.log())
    story = f"{operation.name}: killed at {point}; log: {bench.daemon.log()[-1500:]}"
    inv1_at_most_one_living_tree_an_agent(bench, story)
    shown = follower.shown() if follower is not None else []
    after = After(operation, attempt, shown, trace.calls(), trace.children(), story)
    took_s = bench.restart()
    inv5(bench, after)
    check(bench, after)
    return None if survived else took_s


def failed_at(bench: Bench, operation: Operation, point: Point, error: str) -> float | None:
    """Have the call fail there once; the daemon lives, and whatever it answered is true.

    Seconds until the operation had come to its end, None: no such call was made.
    """
    files = None if operation.fresh else bench.open_files()
    with under_way(bench, operation, point, f"error={error}", point.part) as trace:
        begun = time.monotonic()
        attempt = operation.begin(bench, f"fail-{next(bench.numbers)}")
        over = (attempt.reply is not None and not attempt.acknowledged) or bench.wait_for(
            lambda: operation.is_over(bench, bench.before.cursor)
        )
    story = f"{operation.name}: {error} at {point}; {attempt}; log: {bench.daemon.log()[-1500:]}"
    assert over, ("it did not survive", story)
    after = After(operation, attempt, [], trace.calls(), trace.children(), story)
    if attempt.acknowledged or not attempt.line:
        bench.until(operation.agent, operation.expect)
    else:
        if attempt.reply is not None:  # refused: whoever asks again means another one
            attempt.line["id"] = attempt.request = f"{attempt.request}-anew"
            attempt.reply = None
        inv5(bench, after)
    took_s = time.monotonic() - begun
    shown = bench.daemon.status(operation.agent)
    unjust = operation.agent in ("target", "extra") and operation.name != "crash"
    assert not (unjust and shown["failures"]), ("a shortage was charged", shown, story)
    check(bench, after)
    if files is not None and operation.name != "re-exec":
        expect_no_more_files(bench, files, story)
    bench.daemon.crash()
    bench.restart()
    inv5(bench, after)
    check(bench, after)
    return took_s if trace.injected() else None


def expect_no_more_files(bench: Bench, before: object, story: str) -> None:
    """INV12 of a daemon that lives on: what an error left open stays open."""
    assert isinstance(before, dict)

    def more() -> dict[str, int]:
        now = bench.open_files()
        return {
            kind: now[kind] - before[kind]
            for kind in now
            if now[kind] > before[kind] and kind not in OPENED_LATER
        }

    bench.daemon.until_true(lambda: not more(), lambda: f"INV12 more files {more()} {story}")


def points_of(found: dict[str, int], part: str, calls: tuple[str, ...]) -> list[Point]:
    """Every point of an operation as it was counted."""
    return [
        Point(part, call, number)
        for call in calls
        for number in range(
            1, min(found.get(call, 0), POINTS_MAX) + 1, WRITES_STRIDE if call == "pwrite64" else 1
        )
    ]


__all__ = ["ALL", "Tally", "as_rows", "counted", "failed_at", "killed_at", "points_of"]
