"""Fixtures of the fault suite: a fleet on a directory of its own, checked after each test."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.forked import ForkServer
from tests.faults.guard import SEGMENT, Fleet


@contextmanager
def a_fleet() -> Iterator[Fleet]:
    """A fleet that isn't started yet, on a short path (a socket's limit)."""
    with tempfile.TemporaryDirectory(prefix="agentd-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        fleet = Fleet(root)
        try:
            yield fleet
        finally:
            fleet.close()


@pytest.fixture(scope="session")
def idle_files() -> Counter[str]:
    """The open files of a daemon that has nothing but the bystander to look after, by kind."""
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
        return seen[-1]


@pytest.fixture
def fleet(request: pytest.FixtureRequest, idle_files: Counter[str]) -> Iterator[Fleet]:
    """A guarded fleet; a test that went well is followed by the look at what must hold."""
    with a_fleet() as under_test:
        under_test.idle_files = idle_files
        failed_before = request.session.testsfailed
        yield under_test
        if under_test.process is not None and request.session.testsfailed == failed_before:
            under_test.verify()


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """Where daemons come from that are started for each point of a crash."""
    with ForkServer() as server:
        yield server
