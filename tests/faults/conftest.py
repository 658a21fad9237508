"""Fixtures of the fault suite: a fleet on a directory of its own, checked after each test."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.faults.forked import ForkServer
from tests.faults.guard import SEGMENT, Fleet
from tests.faults.measures import MEASURED, SEEN, Idle, memory_of
from tests.places import short_root


@contextmanager
def a_fleet() -> Iterator[Fleet]:
    """A fleet that isn't started yet, on a short path (a socket's limit)."""
    with short_root() as root, closing(Fleet(root)) as fleet:
        yield fleet


@pytest.fixture(scope="session")
def idle() -> Idle:
    """A daemon that has nothing but the bystander to look after: its files by kind, its memory."""
    with a_fleet() as fleet:
        fleet.start()
        fleet.stop_watching()
        seen: list[Counter[str]] = []

        def quiet() -> bool:
            seen.append(fleet.open_files())
            # The bystander's memory is measured, the recorder has written, and nothing more
            # is opened.
            is_all = seen[-1]["statm"] == 1 and seen[-1][SEGMENT] == 1
            return is_all and len(seen) > 10 and seen[-1] == seen[-10]

        fleet.until_true(quiet)
        return Idle(seen[-1], memory_of(fleet.pid)[1])


@pytest.fixture
def fleet(request: pytest.FixtureRequest, idle: Idle) -> Iterator[Fleet]:
    """A guarded fleet; a test that went well is followed by the look at what must hold."""
    with a_fleet() as under_test:
        under_test.idle_files, under_test.idle_bytes = idle.files, idle.anonymous_bytes
        failed_before = request.session.testsfailed
        yield under_test
        try:
            if under_test.process is not None and request.session.testsfailed == failed_before:
                under_test.verify()
        finally:
            # They travel with the report of what follows a test, to the table of the faults.
            properties = request.node.user_properties
            properties.append((MEASURED, under_test.measures.document()))
            properties += [(SEEN, words) for words in under_test.seen]


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """Where daemons come from that are started for each point of a crash."""
    with ForkServer() as server:
        yield server
