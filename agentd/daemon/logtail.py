"""The last lines of an agent's log, as evidence: few, short, escaped, with no secret in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agentd.daemon.loglines import Bytes, Source, position_of_last, read_page, shown

LINES: Final = 20
LINE_CHARS_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class UpTo:
    """A log as it was when it ended at `until`: what was written later is somebody else's."""

    log: Source
    until: int

    @property
    def start(self) -> int:
        return min(self.log.start, self.until)

    def end(self) -> int:
        return min(self.log.end(), self.until)

    def read(self, position: int, max_bytes: int) -> Bytes:
        return self.log.read(position, max(0, min(max_bytes, self.until - position)))


def last_lines(
    log: Source, *, until: int | None = None, secrets: Sequence[bytes] = (), lines: int = LINES
) -> list[str]:
    """Return the last lines, of those before the position `until` if it is given.

    Raises OSError.
    """
    source = UpTo(log, until) if until is not None else log
    return [text[:LINE_CHARS_MAX] for text in lines_from(source, lines, secrets)]


def lines_from(source: Source, lines: int, secrets: Sequence[bytes]) -> list[str]:
    """Return up to `lines` lines, the last there are; raises OSError."""
    position, end = position_of_last(source, lines), source.end()
    texts: list[str] = []
    while position < end:
        page = read_page(source, position, final=True, secrets=secrets)
        if page.position <= position:
            break
        position = page.position
        texts += [shown(line, secrets=secrets) for line in page.lines]
        del texts[:-lines]
    return texts
