"""The daemon has one heap, however many threads it has, and large pieces go back."""

import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from tests.daemon.harness import PYTHON, Daemon

HEAP_BYTES = 64 << 20
"""glibc reserves so much address space for each heap beyond the first, at a multiple of it."""
MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ 0\s*$")

# Eight threads at once, each of which asks malloc for something; then the first line is wanted.
THREADS = """
import ctypes, sys, threading
from agentd.daemon import allocator
if sys.argv[1] == "little":
    allocator.keep_little()
malloc = ctypes.CDLL(None).malloc
together = threading.Barrier(9)
def ask():
    together.wait()
    malloc(5000)
    together.wait()
    together.wait()
for _ in range(8):
    threading.Thread(target=ask, daemon=True).start()
together.wait()
together.wait()
print("asked", flush=True)
sys.stdin.read()
"""


def thread_heaps(pid: int) -> int:
    """How many heaps besides the first a process has: what is in use, then what is reserved."""
    found = [MAPPING.match(line) for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    parts = [(int(one[1], 16), int(one[2], 16), one[3]) for one in found if one]
    return sum(
        begins % HEAP_BYTES == 0
        and (used, free) == ("rw-p", "---p")
        and ends - begins == HEAP_BYTES
        for (begins, _, used), (_, ends, free) in pairwise(parts)
    )


@pytest.mark.parametrize(("how", "has_more"), [("as it comes", True), ("little", False)])
def test_threads_share_one_heap_where_little_is_to_be_kept(how: str, has_more: bool) -> None:
    with subprocess.Popen(
        [PYTHON, "-c", THREADS, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        assert bool(thread_heaps(process.pid)) == has_more


def test_a_daemon_with_threads_has_one_heap(daemon: Daemon) -> None:
    daemon.beater("worker")
    daemon.start()
    daemon.until("worker", lambda s: s["heartbeats"] >= 3)
    threads = len(list(Path(f"/proc/{daemon.pid}/task").iterdir()))
    assert threads > 1
    assert thread_heaps(daemon.pid) == 0
