"""The same with errors: the daemon survives, tells no lie, and charges no shortage to an agent."""

from collections.abc import Callable

import pytest

from tests.crash.bench import Bench
from tests.crash.operations import OPERATIONS, Operation
from tests.crash.points import STRIDE, TABLE, Tally, as_rows, counted, failed_at, points_of
from tests.crash.tracing import STRACE

# What a host that is short of something, or a disk that breaks, answers.
ERRORS = {
    "fdatasync": ("EIO", "ENOSPC"),
    "pwrite64": ("EIO", "ENOSPC"),
    "vfork": ("EAGAIN", "ENOMEM"),
    "clone3": ("EAGAIN", "ENOMEM"),
    "pidfd_open": ("EMFILE", "ENOMEM"),
    "pipe2": ("EMFILE", "ENFILE"),
    "socket": ("EMFILE", "ENOMEM"),
    "accept4": ("EMFILE", "ENFILE"),
    "sendto": ("EAGAIN", "ENOMEM"),
    "sendmsg": ("EAGAIN", "ENOMEM"),
    "mkdir": ("ENOSPC", "ENOMEM"),
    "bind": ("ENOSPC", "ENOMEM"),
    "openat": ("EMFILE", "ENOMEM"),
}
# These are made by the hundred, most of them to read /proc: every so many in the whole run.
MANY = {"openat": 12, "pwrite64": 6}
SAMPLE = 1
# Only in the whole run: what they showed is still open (docs/crash.md).
ONLY_WHOLE = ("reload", "crash", "alert", "adoption", "re-exec")
TAKEN = [one for one in OPERATIONS if STRIDE or one.name not in ONLY_WHOLE]


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("operation", TAKEN, ids=lambda one: one.name.replace(" ", "-"))
def test_h3_h4_a_call_of_an_operation_fails(
    bench: Bench, operation: Operation, record_property: Callable[[str, object], None]
) -> None:
    tallies: list[Tally] = []
    for part in operation.parts:
        found = counted(bench, operation, part)
        points = [
            (point, ERRORS[point.call][point.number % 2])
            for point in points_of(found, part, tuple(ERRORS))
            if point.number % MANY.get(point.call, 1) == 0 or point.number == 1
        ]
        stride = STRIDE or max(1, len(points) // SAMPLE)
        first = 0 if STRIDE == 1 else OPERATIONS.index(operation) * 5 % stride
        by_call: dict[str, Tally] = {}
        for point, error in points[first::stride]:
            name = f"{part}: {point.call}"
            tally = by_call.setdefault(name, Tally(operation.name, "error", name))
            tally.add(failed_at(bench, operation, point, error))
        tallies += by_call.values()
    record_property(TABLE, as_rows(tallies))
