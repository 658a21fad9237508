"""Commands that go on without end (`-f`), on several machines at once."""

import json
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any, Final

from agentd.cli.commands.logs import text
from agentd.cli.exits import TIMED_OUT
from agentd.cli.invocation import Invocation
from agentd.cli.remote.answers import Answer, answer_of, refused, worst
from agentd.cli.remote.hosts import Host
from agentd.cli.remote.ssh import Ran, Runs
from agentd.cli.remote.views import error_text
from agentd.cli.remote.words import Asked
from agentd.cli.views.journal import event_line
from agentd.reporting.words import visible

Document = dict[str, Any]

LINES_WAITING_MAX: Final = 1_000
"""More are not read: a reader of ours that is slow slows the hosts down, and keeps nothing."""
LINE_BYTES_MAX: Final = 8 << 20
COMPLAINT_BYTES_MAX: Final = 64 << 10


class Followers:
    """Each host's lines in one queue; a host whose stream has ended is an `Answer` in it."""

    def __init__(self, runs: Runs, hosts: Sequence[Host]) -> None:
        self._runs = runs
        self._hosts = hosts
        self._came: queue.Queue[tuple[Host, Document] | Answer] = queue.Queue(LINES_WAITING_MAX)

    def lines(
        self, argv_of: Callable[[Host], list[str]], until: float | None
    ) -> Iterator[tuple[Host, Document] | Answer]:
        """Yield what comes, until every host's stream has ended, or that moment."""
        for host in self._hosts:
            threading.Thread(target=self._follow, args=(host, argv_of), daemon=True).start()
        left = len(self._hosts)
        while left:
            try:
                found = self._came.get(
                    timeout=None if until is None else max(0.01, until - monotonic())
                )
            except queue.Empty:
                return
            left -= isinstance(found, Answer)
            yield found

    def _follow(self, host: Host, argv_of: Callable[[Host], list[str]]) -> None:
        try:
            answer = self._streamed(host, argv_of(host))
        except Exception as error:  # noqa: BLE001 - told as this host's, the others go on
            answer = refused(host.label, error)
        self._came.put(answer)

    def _streamed(self, host: Host, argv: list[str]) -> Answer:
        with self._runs.started(argv) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            complaint: list[bytes] = []
            listener = threading.Thread(
                target=_drain, args=(process.stderr.fileno(), complaint), daemon=True
            )
            listener.start()
            while line := process.stdout.readline(LINE_BYTES_MAX):
                document = _decoded(line)
                if document is None:
                    return answer_of(host, Ran(1, line[:1000], ""), 0)
                self._came.put((host, document))
            exit_code = process.wait()
            listener.join(1.0)
            err = b"".join(complaint).decode("utf-8", "replace")
        ended = answer_of(host, Ran(exit_code, b"{}", err), 0)
        return ended._replace(document=None) if ended.error else ended


def _drain(fd: int, kept: list[bytes]) -> None:
    """Read to the end, so that the writer never waits, and keep as much as is shown."""
    size = 0
    while part := os.read(fd, 1 << 16):
        if size < COMPLAINT_BYTES_MAX:
            kept.append(part)
        size += len(part)


def _decoded(line: bytes) -> Document | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def follow(
    call: Invocation,
    asked: Asked,
    hosts: Sequence[Host],
    argv_of: Callable[[Host], list[str]],
    until: float | None,
) -> int:
    """Print what comes from all hosts, each line with its host, and return the exit code.

    A host whose stream ends says why, and the others go on.
    """
    runs, ended = Runs(), list[int]()
    width = max(len(host.label) for host in hosts)
    try:
        for found in Followers(runs, hosts).lines(argv_of, until):
            if isinstance(found, Answer):
                ended.append(found.exit_code)
                _tell_end(call, found)
                continue
            host, document = found
            if call.json:
                call.print_json({**document, "host": host.label})
            else:
                call.show(f"{host.label:<{width}}  {_line(asked, document, call.today())}")
    finally:
        runs.end()
    return worst(ended if len(ended) == len(hosts) else [*ended, TIMED_OUT])


def _tell_end(call: Invocation, answer: Answer) -> None:
    if call.json and answer.error:
        call.print_json({"host": answer.host, "error": answer.error})
    elif answer.error:
        call.note(f"agentctl: {answer.host}: {error_text(answer)}")
    else:
        call.note(f"agentctl: {answer.host}: has ended")


def _line(asked: Asked, document: Document, today: str) -> str:
    if asked.name == "events":
        return event_line(document, today)
    line = text(str(document.get("line", "")), raw=bool(asked.params.get("raw")))
    return f"{visible(document.get('agent', '-'))} | {line}"
