"""A terminal of its own for a program, and what a person would see on it."""

import contextlib
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from fcntl import ioctl
from typing import Any, Self

# Cursor to a place, erase to the end of line or screen, and whatever changes no letter.
_CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b[=>]|\r|\n|\x08")
WAIT_S = 60.0  # for a machine that is busy; what holds, holds long before


class Picture:
    """Letters in rows, as the sequences that `agentctl top` writes put them there."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self._cells = [[" "] * columns for _ in range(rows)]
        self._row = self._column = 0
        self.is_other_screen = False
        self.is_cursor_shown = True
        self._held = ""

    def feed(self, text: str) -> None:
        text = self._held + text
        self._held = ""
        cut = text.rfind("\x1b")
        if cut >= 0 and not _CONTROL.match(text, cut):
            text, self._held = text[:cut], text[cut:]
        place = 0
        for found in _CONTROL.finditer(text):
            self._put(text[place : found.start()])
            self._obey(found)
            place = found.end()
        self._put(text[place:])

    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self._cells]

    def text(self) -> str:
        return "\n".join(self.lines())

    def _put(self, letters: str) -> None:
        for letter in letters:
            if self._row < self.rows and self._column < self.columns:
                self._cells[self._row][self._column] = letter
            self._column += 1

    def _obey(self, found: "re.Match[str]") -> None:
        if found[0] == "\r":
            self._column = 0
        elif found[0] == "\n":
            self._row += 1
        numbers, letter = found[1], found[2]
        if letter == "H":
            row, _, column = numbers.partition(";")
            self._row, self._column = int(row or 1) - 1, int(column or 1) - 1
        elif letter == "J":
            first = 0 if numbers == "2" else self._row
            for row in range(first, self.rows):
                self._cells[row] = [" "] * self.columns
        elif letter == "K" and self._row < self.rows:
            self._cells[self._row][self._column :] = [" "] * (self.columns - self._column)
        elif letter in {"h", "l"} and numbers == "?1049":
            self.is_other_screen = letter == "h"
        elif letter in {"h", "l"} and numbers == "?25":
            self.is_cursor_shown = letter == "h"


class Terminal:
    """A program on a terminal of `columns` by `rows`; what it writes is read into `picture`."""

    def __init__(
        self, words: Sequence[str], env: dict[str, str], *, columns: int = 80, rows: int = 24
    ) -> None:
        self._ours, self.theirs = pty.openpty()
        self._open = [self.theirs, self._ours]
        self.picture = Picture(columns, rows)
        self.written = b""
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self.theirs)
        kept = {name: word for name, word in env.items() if name not in {"COLUMNS", "LINES"}}
        self.process = subprocess.Popen(
            words,
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            env=kept,
            preexec_fn=lambda: os.login_tty(os.dup(0)),  # noqa: PLW1509 - Ctrl-C needs a session
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(10)
        self.hang_up()

    def hang_up(self) -> None:
        """Cut the line to the terminal."""
        while self._open:
            os.close(self._open.pop())

    def resize(self, columns: int, rows: int) -> None:
        self.picture.columns, self.picture.rows = columns, rows
        self.picture = Picture(columns, rows)
        ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def read(self, timeout_s: float) -> bool:
        """Take in what is there; False: nothing came within the time."""
        if not select.select([self._ours], [], [], timeout_s)[0]:
            return False
        with contextlib.suppress(OSError):  # EIO: the last user of the terminal is gone
            part = os.read(self._ours, 65536)
            self.written += part
            self.picture.feed(part.decode("utf-8", "replace"))
            return bool(part)
        return False

    def until(self, wanted: Callable[[str], Any], timeout_s: float = WAIT_S) -> str:
        """Wait until the screen is as wanted, and return it; fails when it isn't in time."""
        end = time.monotonic() + timeout_s
        while not wanted(self.picture.text()):
            left_s = end - time.monotonic()
            assert left_s > 0, f"not shown in time:\n{self.picture.text()}"
            assert self.read(min(left_s, 1.0)) or self.process.poll() is None, (
                f"it ended with {self.process.returncode}:\n{self.picture.text()}"
            )
        return self.picture.text()

    def ended(self, timeout_s: float = WAIT_S) -> int:
        """Read what is left, so that nobody blocks on us, and return the exit code."""
        end = time.monotonic() + timeout_s
        while self.process.poll() is None and time.monotonic() < end:
            self.read(0.1)
        while self.read(0.05):
            pass
        return self.process.wait(1)

    def is_as_before(self) -> bool:
        """Whether the terminal was given back: its modes, its screen, its cursor."""
        picture = self.picture
        same = termios.tcgetattr(self.theirs) == self.before
        return same and picture.is_cursor_shown and not picture.is_other_screen


def agentctl(*words: str) -> list[str]:
    return [sys.executable, "-m", "agentd.cli", *words]
