"""The same with errors: the daemon survives, tells no lie, and charges no shortage to an agent."""

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
    failed_at,
    points_of,
    taken,
)
from tests.crash.tracing import LOOP, STRACE, Point

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
    "mkdirat": ("ENOSPC", "ENOMEM"),
    "chmod": ("EIO", "EROFS"),
    "fchmodat": ("EIO", "EROFS"),
    "fsync": ("EIO", "ENOSPC"),
    "write": ("ENOMEM", "ENOSPC"),
    "ftruncate": ("EIO", "EROFS"),
    "rename": ("ENOSPC", "EIO"),
    "renameat": ("ENOSPC", "EIO"),
    "unlink": ("EROFS", "EIO"),
    "unlinkat": ("EROFS", "EIO"),
    "pidfd_send_signal": ("EPERM", "EPERM"),
}
# These are made by the hundred: most of them to read /proc, or in the middle of a commit.
MOST = {**dict.fromkeys(ERRORS, POINTS_MAX), "openat": 6, "pwrite64": 4}
# The interpreter's own: the byte that tells the loop of SIGUSR2. The socket pair that it goes to
# has no such errors, and whom they befell would never have been asked.
WORD_OF_A_SIGNAL = Point(LOOP, "write", 1)
SAMPLE = 1
# Not in `make test`: they take longest, and a reload is in the sample already.
ONLY_WHOLE = ("reconfigure", "alert", "adoption", "re-exec", "next image")
TAKEN = [one for one in OPERATIONS if STRIDE or one.name not in ONLY_WHOLE]


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("operation", TAKEN, ids=lambda one: one.name.replace(" ", "-"))
def test_h3_h4_a_call_of_an_operation_fails(
    bench: Bench, operation: Operation, record_property: Callable[[str, object], None]
) -> None:
    tallies: list[Tally] = []
    surest: list[Point] = []
    for part in operation.parts:
        found = counted(bench, operation, part)
        by_call: dict[str, Tally] = {}
        place = OPERATIONS.index(operation) * 5
        of_part = points_of(operation, found, part, MOST)
        if operation.name == "re-exec":
            of_part = [point for point in of_part if point != WORD_OF_A_SIGNAL]
        for point in taken(of_part, place, SAMPLE):
            give(bench, operation, point, by_call)
        tallies += by_call.values()
        # The first time that a call is made is the last one to be past the end of an operation.
        surest += [point for point in of_part if point.number == 1]
    while surest and not sum(tally.hit for tally in tallies):
        again: dict[str, Tally] = {}
        give(bench, operation, surest.pop(0), again)
        tallies += again.values()
    record_property(TABLE, as_rows(tallies))
    assert sum(tally.hit for tally in tallies), "no error was ever given"


def give(bench: Bench, operation: Operation, point: Point, by_call: dict[str, Tally]) -> None:
    error = ERRORS[point.call][point.number % 2]
    name = f"{point.part}: {point.call}"
    tally = by_call.setdefault(name, Tally(operation.name, "error", name))
    tally.add(failed_at(bench, operation, point, error))
