"""Kill the daemon, or have a call of it fail, at one point of one operation; and look at it all."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from tests.crash.bench import Attempt, Bench, Follower
from tests.crash.invariants import After, check, inv1_at_most_one_living_tree_an_agent
from tests.crash.invariants import inv5_acknowledged_is_done_and_done_once as inv5
from tests.crash.operations import Operation
from tests.crash.tracing import ALL, Point, Trace

STRIDE = int(os.environ.get("AGENTD_CRASH_STRIDE", "0"))
"""Every so many points; 0: the sample that `make test` takes."""
SHARE = os.environ.get("AGENTD_CRASH_SHARE", "1/1")
"""`2/3`: the second of three shares of the points, so that a long run can be made in pieces."""
POINTS_MAX = int(os.environ.get("AGENTD_CRASH_POINTS_MAX", "16"))
"""Of one call in one operation at most so many points, spread evenly; fewer of some calls."""
KILL = "signal=SIGKILL"
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
    if operation.stand is not None:
        operation.stand(bench)
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


def killed_at(
    bench: Bench, operation: Operation, point: Point, *, watched: bool = False
) -> float | None:
    """Kill it there; seconds that the next one took until it was ready, None: it survived.

    `watched`: the next one is traced from its first call on until the operation has come to its
    end, which makes it slower; its seconds count all the same.
    """
    files = None if operation.begins else bench.usual_files()
    with under_way(bench, operation, point, KILL, point.part) as trace:
        follower = None if operation.begins else Follower(bench, bench.before.cursor)
        attempt = operation.begin(bench, f"kill-{next(bench.numbers)}")
        unanswered = bool(attempt.line) and attempt.reply is None  # it has died, or is about to
        survived = bench.wait_for(
            lambda: not unanswered and operation.is_over(bench, bench.before.cursor)
        )
    process = bench.daemon.process
    assert process is not None
    if survived:
        bench.daemon.crash()
    assert process.poll() == -signal.SIGKILL, (point, bench.daemon.log())
    story = f"{operation.name}: killed at {point}; log: {bench.daemon.log()[-1500:]}"
    inv1_at_most_one_living_tree_an_agent(bench, story)
    shown = follower.shown() if follower is not None else []
    after = After(operation, attempt, shown, trace.calls(), trace.children(), story)
    took_s = recovered(bench, after, watched=watched)
    check(bench, after)
    if files is not None:
        expect_no_more_files(bench, files, story)
    return None if survived else took_s


def recovered(bench: Bench, after: After, *, watched: bool) -> float:
    """Start the next daemon, and have it end the operation; seconds until it was ready."""
    if not watched:
        took_s = bench.restart()
        inv5(bench, after)
        return took_s
    bench.start_stopped()
    with Trace(bench.daemon.pid, ALL, bench.daemon.root / "trace-next") as trace:
        took_s = bench.let_go()
        inv5(bench, after)
        bench.look()  # what it took for its own is behind it by now
    after.followed_by, after.children = trace.calls(), after.children | trace.children()
    assert after.followed_by, ("nothing was seen of the next daemon", after.story)
    return took_s


def failed_at(bench: Bench, operation: Operation, point: Point, error: str) -> float | None:
    """Have the call fail there once; the daemon lives, and whatever it answered is true.

    Seconds until the operation had come to its end, None: no such call was made.
    """
    seen = False

    def is_over() -> bool:  # what says so may be there to be heard only once
        nonlocal seen
        seen = seen or operation.is_over(bench, bench.before.cursor)
        return seen

    files = None if operation.begins else bench.usual_files()
    with under_way(bench, operation, point, f"error={error}", point.part) as trace:
        begun = time.monotonic()
        attempt = operation.begin(bench, f"fail-{next(bench.numbers)}")
        refused = attempt.reply is not None and not attempt.acknowledged
        asked = f"{error} at {point}; {attempt}"
        # Of all threads each has its nth call, those to come too: one error is enough.
        over = refused or bench.wait_for(
            lambda: is_over() or (point.part == ALL and trace.injected()), asked
        )
    over = over and (refused or bench.wait_for(is_over, asked))
    story = f"{operation.name}: {asked}; log: {bench.daemon.log()[-1500:]}"
    if not over:
        return refused_to_start(bench, operation, story)
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
    if files is not None:
        expect_no_more_files(bench, files, story)
    bench.daemon.crash()
    bench.restart()
    inv5(bench, after)
    check(bench, after)
    return took_s if trace.injected() else None


def refused_to_start(bench: Bench, operation: Operation, story: str) -> float:
    """A daemon that begins may end for want of something: it says what, and the next one runs.

    One that runs already has to live on.
    """
    process = bench.daemon.process
    assert process is not None
    assert operation.begins, ("it did not survive", story)
    assert process.poll() == 1, ("it ended otherwise than by a refusal", process.poll(), story)
    last = bench.daemon.log().splitlines()[-1]
    assert last.startswith("agentd: "), ("its last word is no message", last, story)
    after = After(operation, Attempt(), story=story)
    took_s = bench.restart()
    check(bench, after)
    return took_s


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


def points_of(
    operation: Operation, found: dict[str, int], part: str, most: dict[str, int]
) -> list[Point]:
    """The points of an operation as it was counted, call by call; `most`: of each so many."""
    return [
        Point(part, call, number)
        for call, points_max in most.items()
        for number in spread(found.get(call, 0), min(points_max, POINTS_MAX, operation.points_max))
    ]


def spread(count: int, points_max: int) -> list[int]:
    """Of 1 to `count` at most so many, the first and the last among them."""
    if count <= points_max or points_max < 2:
        return list(range(1, min(count, max(points_max, 0)) + 1))
    return [1 + place * (count - 1) // (points_max - 1) for place in range(points_max)]


def taken(points: list[Point], place: int, sample: int) -> list[Point]:
    """What this run takes of them: all, each so many, or a sample that `place` decides."""
    share, shares = (int(number) for number in SHARE.split("/"))
    stride = STRIDE or max(1, len(points) // sample)
    first = 0 if STRIDE == 1 else place % stride
    return points[first::stride][share - 1 :: shares]


__all__ = ["ALL", "Tally", "as_rows", "counted", "failed_at", "killed_at", "points_of", "taken"]
