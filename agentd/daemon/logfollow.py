"""Followers of agents' output: whole lines as they are written, each once.

A file can't be waited for, so while somebody follows, its size is looked at some times a
second; nothing is read from disk, and no thread is bothered, until it has grown.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from agentd.daemon.followers import Stream
from agentd.daemon.loggrep import matcher
from agentd.daemon.logkeeper import Logs
from agentd.daemon.logreader import LogReader
from agentd.daemon.offload import Offload

LOOK_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class LogsWanted:
    """Which output, from where on, and which lines of it."""

    agents: Sequence[str]
    lines: int
    since_ms: int | None = None
    grep: str | None = None
    raw: bool = False
    offsets: Mapping[str, int] = field(default_factory=dict)
    """Where a follower that was cut off goes on, by agent."""


@dataclass(slots=True)
class _Tail:
    """One agent's log, read up to `position`; None: nothing was read yet."""

    agent: str
    reader: LogReader | None = None
    position: int | None = None


async def follow_logs(logs: Logs, wanted: LogsWanted, stream: Stream, offload: Offload) -> None:
    """Send the last lines of each agent and then what is added, until the reader leaves.

    Raises `GrepRefused`, `TooBusy` and OSError.
    """
    tails = [_Tail(agent) for agent in wanted.agents]
    while not stream.closed:
        moved = False
        for tail in tails:
            if _has_news(logs, tail, raw=wanted.raw):
                for line, offset in await offload.run(partial(_read, tail, wanted)):
                    moved = True
                    told = {"agent": tail.agent, "line": line, "offset": offset}
                    stream.emit({"log": told})
                await stream.drained()
        if not moved:
            await asyncio.sleep(LOOK_S)


def _has_news(logs: Logs, tail: _Tail, *, raw: bool) -> bool:
    if tail.reader is None:
        tail.reader = logs.reader(tail.agent, raw=raw)
    if tail.reader is None:
        # It has no log yet: whatever will be in one is new.
        tail.position = 0
        return False
    return tail.position is None or tail.reader.log.may_have_more(tail.position)


def _read(tail: _Tail, wanted: LogsWanted) -> list[tuple[str, int]]:
    """Read on from where it stands: lines, each with the offset behind it. Runs in a thread."""
    reader = tail.reader
    assert reader is not None
    if tail.position is None:
        tail.position = _begin(reader, wanted, wanted.offsets.get(tail.agent))
    page = reader.next_page(tail.position)
    tail.position = page.position
    if not page.lines:
        return []
    behind = [*(line.position for line in page.lines[1:]), page.position]
    with matcher(wanted.grep) as matching:
        texts = reader.matching(page.lines, matching)
    return [(text, end) for text, end in zip(texts, behind, strict=True) if text is not None]


def _begin(reader: LogReader, wanted: LogsWanted, offset: int | None) -> int:
    """Return where a follower begins; a log may have been emptied since it was told an offset."""
    if offset is not None:
        return max(0, min(offset, reader.log.end()))
    return reader.follow_from(wanted.lines, wanted.since_ms)
