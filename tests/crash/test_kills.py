"""kill -9 of the daemon at each call of each operation, then recovery and the 14 invariants.

`make test-crash` takes every point, `make test` a sample. What is enumerated, and what was found
by it: docs/crash.md.
"""

from collections.abc import Callable

import pytest

from tests.crash.bench import Bench
from tests.crash.operations import OPERATIONS, Operation
from tests.crash.points import (
    POINTS_MAX,
    STRIDE,
    TABLE,
    Tally,
    as_rows,
    counted,
    killed_at,
    points_of,
    taken,
)
from tests.crash.tracing import STRACE

# Calls after which something else is on the disk, in a process, or with somebody.
DEADLY = (
    "fdatasync",
    "fsync",
    "write",
    "sendto",
    "sendmsg",
    "vfork",
    "clone3",
    "pidfd_open",
    "pidfd_send_signal",
    "mkdir",
    "mkdirat",
    "rmdir",
    "rename",
    "renameat",
    "unlink",
    "unlinkat",
    "symlink",
    "chmod",
    "fchmodat",
    "fchownat",
    "bind",
    "pipe2",
    "ftruncate",
    "fallocate",
)
# Writes to the store are most of all points, and most of them are in the middle of a commit.
WRITES_MAX = 8
MOST = {**dict.fromkeys(DEADLY, POINTS_MAX), "pwrite64": WRITES_MAX}
# Not in `make test`: a re-exec starts two more interpreters, and a reload is in the sample already.
ONLY_WHOLE = ("reconfigure", "re-exec", "next image")
TAKEN = [one for one in OPERATIONS if STRIDE or one.name not in ONLY_WHOLE]
# In `make test`, of each operation and part of the daemon.
SAMPLE = 2
# What became of it, for the look at all of it in the end.
SAMPLED: list[Tally] = []


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("operation", TAKEN, ids=lambda one: one.name.replace(" ", "-"))
def test_g2_the_daemon_is_killed_at_each_call_of_an_operation(
    bench: Bench, operation: Operation, record_property: Callable[[str, object], None]
) -> None:
    tallies: list[Tally] = []
    for part in operation.parts:
        found = counted(bench, operation, part)
        by_call: dict[str, Tally] = {}
        # Of a sample, another one in each operation.
        place = OPERATIONS.index(operation) * 7
        for point in taken(points_of(operation, found, part, MOST), place, SAMPLE):
            name = f"{part}: {point.call}"
            # The next daemon is traced, too: once a call, or in a sample once an operation.
            watched = name not in by_call if STRIDE else not tallies and not by_call
            tally = by_call.setdefault(name, Tally(operation.name, "SIGKILL", name))
            tally.add(killed_at(bench, operation, point, watched=watched))
        tallies += by_call.values()
    record_property(TABLE, as_rows(tallies))
    SAMPLED.extend(tallies)
    if STRIDE == 1 and len(tallies) > 1:
        assert sum(tally.hit for tally in tallies), "nothing was ever hit"


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_g2_most_points_of_a_sample_were_hit() -> None:
    """Of one operation both points may lie past its end; of all of them most don't.

    Where another process had some of the operations, there is nothing to be said here.
    """
    if {tally.operation for tally in SAMPLED} == {one.name for one in TAKEN}:
        points, hit = (sum(getattr(one, what) for one in SAMPLED) for what in ("points", "hit"))
        assert 2 * hit > points, f"{hit} of {points} points were hit"
