"""What is durable before what, of one real daemon, by the order of its system calls.

A page of the store's log that holds the words in question is written, the log is synced, and the
sync has returned, before the deed begins and before the answer is sent.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from agentd.core.effects import Spawn
from agentd.daemon.processes import Prepared
from agentd.store.rows import Batch, Outcome, SpawnRow
from tests.crash.tracing import ALL, STRACE, Trace
from tests.daemon.harness import Daemon, Document, read_line
from tests.daemon.starting import starts_with
from tests.faults.guard import environ_of

PAGE_BYTES: Final = 8_192
SLOW_US: Final = 50_000
WAL: Final = r"<[^>]*agentd\.db-wal>"
SYNC: Final = re.compile(r"^(\d+) +(?:fdatasync|fsync)\(\d+" + WAL)
SYNCED: Final = re.compile(r"^(\d+) +(?:<\.\.\. )?(?:fdatasync|fsync)\b.* = 0(?: \(DELAYED\))?$")
STOPPED: Final = r"pidfd_send_signal\(.*SIGTERM"
KILLED: Final = r"cgroup\.kill>, \"1|pidfd_send_signal\(.*SIGKILL"
FROZEN: Final = r"cgroup\.freeze>, \"1|pidfd_send_signal\(.*SIGSTOP"
THAWED: Final = r"cgroup\.freeze>, \"0|pidfd_send_signal\(.*SIGCONT"
FORKED: Final = r"(?:vfork|clone|clone3)\("
LET_GO: Final = r"write\(\d+<[^>]*>, \"go\\n\""
# What is asked, in this order; the state in which it is over; the deed that it is for.
COMMANDS: Final = (
    ("pause", "paused", FROZEN),
    ("resume", "running", THAWED),
    ("hold", "running", ""),
    ("unhold", "running", ""),
    ("stop", "stopped", STOPPED),
    ("start", "running", FORKED),
    ("kill", "stopped", KILLED),
)


class Pages(Trace):
    """A trace of the whole daemon that has whole pages in it. The disk is slow under it, so that
    whoever doesn't wait is seen to come first.
    """

    def __init__(self, pid: int, log: Path) -> None:
        super().__init__(pid, ALL, log)
        self._words += ["-s", str(PAGE_BYTES)]
        self._words += ["-e", f"inject=fdatasync,fsync:delay_enter={SLOW_US}"]

    def lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()


def place_of(lines: list[str], pattern: str, after: int = 0) -> int | None:
    """Where the first line is that has it."""
    found = (place for place in range(after, len(lines)) if re.search(pattern, lines[place]))
    return next(found, None)


def durable_at(lines: list[str], words: str) -> int | None:
    """Where the sync returns by which a page with these words is on disk; None: it never does."""
    written = place_of(lines, rf"pwrite64\(\d+{WAL}, .*{re.escape(words)}")
    if written is None:
        return None
    syncing: set[str] = set()
    for place in range(written, len(lines)):
        if begun := SYNC.match(lines[place]):
            syncing.add(begun[1])
        ended = SYNCED.match(lines[place])
        if ended and ended[1] in syncing:
            return place
    return None


def check(lines: list[str], words: str, *later: str) -> None:
    """Assert that the words are durable before each of what comes later."""
    durable = durable_at(lines, words)
    assert durable is not None, f"{words} was never synced"
    for pattern in later:
        place = place_of(lines, pattern)
        assert place is not None, f"{pattern} never came"
        assert durable < place, f"{words}: {lines[place][:200]} before {lines[durable][:200]}"


def reply_to(request: str) -> str:
    return rf"(?:sendto|sendmsg|write)\(\d+<[^>]*>, .*\\\"id\\\": ?\\\"{request}\\\""


@pytest.fixture
def traced(daemon: Daemon) -> Iterator[tuple[Daemon, Pages]]:
    """A daemon with one agent, and every call that it makes from then on."""
    if STRACE is None:
        pytest.skip("strace is not installed")
    daemon.sleeper("one", 'stop_timeout = "5s"')
    daemon.start()
    daemon.until_state("one", "running")
    with Pages(daemon.pid, daemon.root / "calls") as trace:
        yield daemon, trace


def test_p3_an_intent_is_durable_before_its_deed_and_before_the_answer(
    traced: tuple[Daemon, Pages],
) -> None:
    daemon, trace = traced
    for cmd, state, deed in COMMANDS:
        request, begun = f"order-{cmd}", len(trace.lines())
        with daemon.connect(15) as channel:
            daemon.ask_on(channel, cmd, request, select=["one"])
        daemon.until_state("one", state)
        later = [reply_to(request), *([deed] if deed else [])]
        daemon.until_true(lambda: all(place_of(trace.lines(), each, begun) for each in later))  # noqa: B023 - called at once
        lines = trace.lines()[begun:]
        check(lines, request, *later)
        if cmd == "start":
            # The id before the fork; who it is, of which only that row has the token, before "go".
            environ = environ_of(daemon.status("one")["pid"])
            check(lines, environ["AGENTD_INCARNATION"], FORKED)
            check(lines, environ["AGENTD_TOKEN"], LET_GO)


def test_inv10_what_an_agent_is_told_to_be_kept_is_durable(traced: tuple[Daemon, Pages]) -> None:
    daemon, trace = traced
    token = environ_of(daemon.status("one")["pid"])["AGENTD_TOKEN"]
    asked: list[Document] = [
        {"type": "checkpoint.put", "id": "order-put", "state": "kept-words"},
        {"type": "intent", "id": "order-intent", "key": "meant-words", "action": "mail"},
        {"type": "done", "id": "order-done", "key": "meant-words"},
    ]
    for line, words in zip(asked, ("kept-words", "meant-words", ""), strict=True):
        begun = len(trace.lines())
        with daemon.connect(15) as channel:
            channel.sendall(json.dumps({**line, "token": token}).encode() + b"\n")
            assert json.loads(read_line(channel))["ok"]
        daemon.until_true(lambda: place_of(trace.lines(), reply_to(line["id"])) is not None)  # noqa: B023 - called at once
        # Of a deed that is done the record says nothing any more: any page will do.
        check(trace.lines()[begun:], words, reply_to(line["id"]))


def test_g5_a_child_is_let_go_only_when_who_it_is_is_durable() -> None:
    released: list[Prepared] = []
    held: list[tuple[Batch, Callable[[Outcome], None]]] = []
    starts = starts_with(released, submit=lambda batch, done: held.append((batch, done)))
    prepared = Prepared("a", 1, "a-1", 7, 9, 1234, 99, "boot", "", "token", 0)
    starts._go_on(Spawn("a", 1, "a-1", "autostart"), prepared)
    [(batch, done)] = held
    [row] = batch.rows
    assert isinstance(row, SpawnRow)
    assert (row.incarnation_id, row.pid, row.pidfd_inode, row.boot_id) == ("a-1", 7, 99, "boot")
    assert released == []
    done(Outcome())
    assert released == [prepared]


def test_h1_a_child_whose_record_the_disk_refused_is_let_go_all_the_same() -> None:
    released: list[Prepared] = []
    starts = starts_with(released, submit=lambda _, done: done(Outcome(error="disk full")))
    prepared = Prepared("a", 1, "a-1", 7, 9, 1234, 99, "boot", "", "token", 0)
    starts._go_on(Spawn("a", 1, "a-1", "autostart"), prepared)
    assert released == [prepared]
