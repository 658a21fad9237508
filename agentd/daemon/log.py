"""The daemon's own log: one line an event on stderr, `event key=value ...`.

What an agent says of itself is quoted and escaped, so that it can't forge a second line; the
text of an exception may quote it, too, so secrets are masked here, whoever writes.
Under systemd (JOURNAL_STREAM) a line starts with its priority, `<4>`. Writing never blocks
the loop: a line that stderr doesn't take at once is dropped, counted, and owned up to later.
"""

import os
import re
import select
from collections.abc import Callable
from typing import Final

PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}

# A pipe takes this much at once or nothing (PIPE_BUF), so a ready pipe can't block us.
LINE_BYTES_MAX: Final = 4096

_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@%+,\-\[\]*]+")
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def quote(value: object) -> str:
    """Write a value so that it stays one word of one line, whatever is in it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004 - one byte


class Log:
    """Lines of at least one severity to one file descriptor."""

    def __init__(self, fd: int = 2, level: str = "info", *, journal: bool | None = None) -> None:
        """Write to `fd`; `journal` (default: JOURNAL_STREAM is set) adds priorities."""
        self.level = level
        self.mask: Callable[[str], str] = str
        """Hides what must not be shown in a text; replaced once the configuration is read."""
        self._fd = fd
        self._journal = "JOURNAL_STREAM" in os.environ if journal is None else journal
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._dropped = 0

    def debug(self, event: str, /, **facts: object) -> None:
        self.write("debug", event, facts)

    def info(self, event: str, /, **facts: object) -> None:
        self.write("info", event, facts)

    def warning(self, event: str, /, **facts: object) -> None:
        self.write("warning", event, facts)

    def error(self, event: str, /, **facts: object) -> None:
        self.write("error", event, facts)

    def write(self, severity: str, event: str, facts: dict[str, object]) -> None:
        """Write one line, unless `severity` is below the level or nobody takes it."""
        if PRIORITIES[severity] > PRIORITIES[self.level]:
            return
        if self._dropped and self._put("warning", f"log.dropped lines={self._dropped}"):
            self._dropped = 0
        shown = (f"{key}={quote(self._masked(val))}" for key, val in facts.items())
        text = " ".join([quote(event), *shown])
        if not self._put(severity, text):
            self._dropped += 1

    def _masked(self, value: object) -> object:
        return value if value is None or isinstance(value, int) else self.mask(str(value))

    def _put(self, severity: str, text: str) -> bool:
        prefix = f"<{PRIORITIES[severity]}>" if self._journal else ""
        raw = f"{prefix}{text}".encode(errors="backslashreplace")[: LINE_BYTES_MAX - 1] + b"\n"
        try:
            if not self._poll.poll(0):
                return False
            os.write(self._fd, raw)
        except OSError:  # stderr is gone or full: the daemon has better things to do than to die
            return False
        return True


log: Final = Log()
"""The daemon's log; `log.level` is set from `[daemon] log_level`."""
