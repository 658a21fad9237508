"""Daemons of the enumeration, and the table at the end of it."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.crash.bench import Bench
from tests.crash.points import TABLE
from tests.crash.summary import by_operation, columns
from tests.daemon.process_bench import can_make_cgroups
from tests.faults.conftest import fork_server
from tests.faults.forked import ForkServer
from tests.places import short_root
from tests.sinks.receiver import Receiver


class Benches:
    """The bench of all operations; after a failure the next one begins with a new one."""

    def __init__(self, server: ForkServer) -> None:
        self._server = server
        self._stack: ExitStack | None = None
        self._failed = -1
        self.bench: Bench | None = None

    def take(self, failed: int) -> Bench:
        if self.bench is None or failed != self._failed:
            self.close()
            self._failed, self._stack = failed, ExitStack()
            root = self._stack.enter_context(short_root())
            receiver = self._stack.enter_context(Receiver())
            self.bench = Bench(root, self._server, receiver)
            self._stack.callback(self.bench.close)
            self.bench.begin()
        return self.bench

    def close(self) -> None:
        if self._stack is not None:
            self._stack.close()
        self.bench = self._stack = None


@pytest.fixture(scope="session")
def benches(fork_server: ForkServer) -> Iterator[Benches]:
    benches = Benches(fork_server)
    try:
        yield benches
    finally:
        benches.close()


@pytest.fixture
def bench(request: pytest.FixtureRequest, benches: Benches) -> Bench:
    """A daemon with its fleet, running."""
    return benches.take(request.session.testsfailed)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was enumerated, one row an operation and a call; then one an operation."""
    rows = [
        row
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, told in getattr(report, "user_properties", ())
        if name == TABLE
        for row in told
    ]
    if not rows:
        return
    terminalreporter.section("crash enumeration")
    for line in [*columns(rows), "", *by_operation(rows)]:
        terminalreporter.line(line)
    hit = sum(row["hit"] for row in rows)
    terminalreporter.line(f"{sum(row['points'] for row in rows)} points, {hit} of them hit")
    if not can_make_cgroups():
        terminalreporter.line("no cgroup v2 to write to here: INV12 looked for no orphan groups")


__all__ = ["bench", "fork_server"]
