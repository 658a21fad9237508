"""Every invariant is able to fail: daemons with a bug on purpose, each caught by the right one."""

import re
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.crash.bench import Bench
from tests.crash.operations import OPERATIONS
from tests.crash.planted import PLANTED, Planted
from tests.crash.points import killed_at
from tests.crash.tracing import LOOP, STRACE, Point
from tests.daemon import harness
from tests.daemon.process_bench import can_make_cgroups
from tests.faults.forked import ForkServer
from tests.places import short_root
from tests.sinks.receiver import Receiver

# A call that no operation makes: the daemon is killed once it has nothing to do any more.
NEVER = Point(LOOP, "symlink", 1_000)
# So long what never comes is waited for.
PATIENCE_S = 2.5


@pytest.fixture
def own_bench(fork_server: ForkServer) -> Iterator[Bench]:
    """A bench of its own, not begun yet: nobody uses it after that."""
    with (
        short_root() as root,
        Receiver() as receiver,
        closing(Bench(root, fork_server, receiver)) as bench,
    ):
        yield bench


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.parametrize("planted", PLANTED, ids=lambda one: f"{one.invariant}-{one.name}")
def test_g2_a_bug_on_purpose_breaks_its_invariant(
    own_bench: Bench, planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    if planted.needs_groups and not can_make_cgroups():
        pytest.skip("no cgroup v2 hierarchy to write to")
    own_bench.daemon.planted = planted.program
    own_bench.begin(spends=False)
    [operation] = [one for one in OPERATIONS if one.name == planted.operation]
    if planted.in_vain:
        monkeypatch.setattr(harness, "WAIT_S", PATIENCE_S)
    with pytest.raises(AssertionError) as caught:
        killed_at(own_bench, operation, NEVER, watched=planted.invariant == "INV9")
    named = re.search(r"INV\d+", str(caught.value))
    assert named is not None, caught.value
    assert named[0] == planted.invariant, caught.value


def test_g2_there_is_a_bug_for_each_invariant() -> None:
    assert {planted.invariant for planted in PLANTED} == {f"INV{n}" for n in range(1, 15)}
