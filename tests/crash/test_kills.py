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
    "rmdir",
    "rename",
    "unlink",
    "symlink",
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
            tally = by_call.setdefault(name, Tally(operation.name, "SIGKILL", name))
            tally.add(killed_at(bench, operation, point))
        tallies += by_call.values()
    record_property(TABLE, as_rows(tallies))
    if STRIDE == 1 and len(tallies) > 1:
        assert sum(tally.hit for tally in tallies), "nothing was ever hit"
