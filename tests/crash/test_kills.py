"""kill -9 of the daemon at each call of each operation, then recovery and the 14 invariants.

`make test-crash` takes every point, `make test` a sample. What is enumerated, and what was found
by it: docs/crash.md.
"""

from collections.abc import Callable

import pytest

from tests.crash.bench import Bench
from tests.crash.operations import OPERATIONS, Operation
from tests.crash.points import STRIDE, TABLE, Tally, as_rows, counted, killed_at, points_of
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
    "pwrite64",
)
# Not in `make test`: each start under strace takes many seconds, or what it showed is still open
# (docs/crash.md).
ONLY_WHOLE = ("reload", "adoption", "re-exec")
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
        points = points_of(found, part, DEADLY)
        stride = STRIDE or max(1, len(points) // SAMPLE)
        # Of a sample, another one in each operation.
        first = 0 if STRIDE == 1 else OPERATIONS.index(operation) * 7 % stride
        by_call: dict[str, Tally] = {}
        for point in points[first::stride]:
            name = f"{part}: {point.call}"
            tally = by_call.setdefault(name, Tally(operation.name, "SIGKILL", name))
            tally.add(killed_at(bench, operation, point))
        tallies += by_call.values()
    record_property(TABLE, as_rows(tallies))
    if STRIDE == 1:
        assert sum(tally.hit for tally in tallies), "nothing was ever hit"
