"""The terminal of the live view: taken over, drawn on, and given back as it was in any case."""

import contextlib
import os
import termios
import tty
from collections.abc import Sequence
from typing import Final, Self

from rich.cells import cell_len, set_cell_size
from rich.color import ColorSystem
from rich.console import COLOR_SYSTEMS
from rich.style import Style

from agentd.cli.top.lines import Line
from agentd.cli.views import terminal

# The other screen; no cursor; a line that is too long, as wide letters may make it, is cut;
# what is pasted comes marked as such, so that no letter of it is taken for a key.
_TAKE: Final = "\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[?7l\x1b[H\x1b[2J"
_GIVE_BACK: Final = "\x1b[?7h\x1b[?2004l\x1b[0m\x1b[?25h\x1b[?1049l"
SIZE_WITHOUT_ONE: Final = (80, 24)


class Screen:
    """Lines on a terminal: only those that changed are written.

    Without `colored` there is no colour, and emphasis is left: bold, dim and reverse.
    """

    def __init__(self, keys_fd: int, shown_fd: int, *, colored: bool) -> None:
        self._keys_fd = keys_fd
        self._shown_fd = shown_fd
        self._colored = colored
        name = terminal.console().color_system or "standard"
        self._colors: ColorSystem = COLOR_SYSTEMS[name]
        self._styles: dict[str, Style] = {}
        self._shown: list[str] = []
        self._before: list[int | list[bytes | int]] | None = None

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()

    def take(self) -> None:
        """Take the terminal over: single keys, unechoed, on a screen of our own."""
        before = termios.tcgetattr(self._keys_fd)
        self._before = before
        tty.setcbreak(self._keys_fd)
        self._shown = []
        self._write(_TAKE)

    def give_back(self) -> None:
        """Put the terminal back; again is once."""
        before, self._before = self._before, None
        if before is None:
            return
        with contextlib.suppress(OSError, termios.error):  # it is gone, and wants nothing back
            self._write(_GIVE_BACK)
            # Keys that nobody has read are not the shell's: `y` behind a `q` is no command.
            termios.tcsetattr(self._keys_fd, termios.TCSAFLUSH, before)

    def size(self) -> tuple[int, int]:
        """Return columns and rows."""
        try:
            columns, rows = os.get_terminal_size(self._shown_fd)
        except OSError:  # it does not tell
            return SIZE_WITHOUT_ONE
        return columns or SIZE_WITHOUT_ONE[0], rows or SIZE_WITHOUT_ONE[1]

    def forget(self) -> None:
        """Draw everything anew next time: the terminal was resized, or written to by others."""
        self._shown = []

    def draw(self, lines: Sequence[Line]) -> None:
        """Show the lines; what stands there already is not written again."""
        width, _ = self.size()
        drawn = [self._rendered(line, width) for line in lines]
        parts = [] if self._shown else ["\x1b[H\x1b[2J"]
        for index, text in enumerate(drawn):
            if index >= len(self._shown) or self._shown[index] != text:
                parts.append(f"\x1b[{index + 1};1H{text}\x1b[K")
        if len(self._shown) > len(drawn):
            parts.append(f"\x1b[{len(drawn) + 1};1H\x1b[J")
        self._shown = drawn
        if parts:
            self._write("".join(parts))

    def _rendered(self, line: Line, width: int) -> str:
        parts, left = [], width
        for entry in line:
            text, taken = entry.text, cell_len(entry.text)
            if taken > left:
                text, taken = set_cell_size(text, left), left
            if text:
                parts.append(self._style(entry.style).render(text, color_system=self._colors))
            left -= taken
        return "".join(parts)

    def _style(self, name: str) -> Style:
        if name not in self._styles:
            style = Style.parse(name)
            self._styles[name] = style if self._colored else style.without_color
        return self._styles[name]

    def _write(self, text: str) -> None:
        left = text.encode("utf-8", "replace")
        while left:
            left = left[os.write(self._shown_fd, left) :]
