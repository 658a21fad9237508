"""Answers to `agentctl logs`: the last lines, those since a time, those that match, and on."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from agentd.daemon.loggrep import GrepRefused, Matcher, matcher
from agentd.daemon.loglines import LogLine, Page, head_of, position_of_last, read_page, shown
from agentd.daemon.logs import LogFile

SEARCH_S_MAX: Final = 10.0
LINES_MAX: Final = 10_000
ANSWER_BYTES_MAX: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class LogReader:
    """One agent's log for one question. Reads disk: for a thread, not for the event loop."""

    log: LogFile
    raw: bool = False
    secrets: Sequence[bytes] = ()

    def last(
        self, lines: int, *, since_ms: int | None = None, grep: str | None = None
    ) -> list[str]:
        """Return the last `lines` lines there are, at most LINES_MAX and ANSWER_BYTES_MAX.

        With `since_ms` (wall time) of those written since, with `grep` of those that match.
        Raises `GrepRefused` for a bad pattern or a search that takes too long, and OSError.
        """
        if since_ms is not None:
            begin = self.since(since_ms)
        elif grep:
            begin = head_of(self.log)
        else:
            begin = position_of_last(self.log, lines)
        kept = _Last(min(lines, LINES_MAX))
        until_s = time.monotonic() + SEARCH_S_MAX
        with matcher(grep, limit_s=SEARCH_S_MAX) as wanted:
            for page in self._pages(begin):
                for text in self.texts(page.lines, wanted):
                    kept.add(text)
                if time.monotonic() > until_s:
                    raise GrepRefused("the search takes too long; use --since")
        return list(kept.texts)

    def since(self, wall_ms: int) -> int:
        """Return a position before which nothing was written at `wall_ms` or later."""
        position = self.log.index.position_since(wall_ms)
        return position if position > self.log.start else head_of(self.log)

    def follow_from(self, lines: int, since_ms: int | None = None) -> int:
        """Return where a follower begins: with the last lines, or at a time."""
        if since_ms is not None:
            return self.since(since_ms)
        return position_of_last(self.log, lines)

    def next_page(self, position: int) -> Page:
        """Return what was written from `position` on, whole lines only; see `read_page`."""
        return read_page(self.log, position, secrets=self.secrets)

    def texts(self, lines: Sequence[LogLine], wanted: Matcher) -> list[str]:
        """Return the lines that match, as they are shown."""
        return [text for text in self.matching(lines, wanted) if text is not None]

    def matching(self, lines: Sequence[LogLine], wanted: Matcher) -> list[str | None]:
        """Return each line as it is shown, None for one that doesn't match."""
        texts = [shown(line, raw=self.raw, secrets=self.secrets) for line in lines]
        found = wanted.matches(texts)
        return [text if matches else None for text, matches in zip(texts, found, strict=True)]

    def _pages(self, begin: int) -> Iterator[Page]:
        """Read up to where the log ends now: a fast writer must not keep us forever."""
        end, position = self.log.end(), begin
        while position < end:
            page = read_page(self.log, position, final=True, secrets=self.secrets)
            if page.position <= position:
                return
            position = page.position
            yield page


@dataclass(slots=True)
class _Last:
    """The last texts, bounded in number and in bytes."""

    lines_max: int
    texts: deque[str] = field(default_factory=deque)
    chars: int = 0

    def add(self, text: str) -> None:
        self.texts.append(text)
        self.chars += len(text)
        while self.texts and (len(self.texts) > self.lines_max or self.chars > ANSWER_BYTES_MAX):
            self.chars -= len(self.texts.popleft())
