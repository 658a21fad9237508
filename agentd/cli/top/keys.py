"""What a terminal sends when keys are pressed, as the names of keys."""

import codecs
from typing import Final

PASTED: Final = "pasted "
"""Before a letter that was pasted: text for a prompt, and never a key."""
PASTE_BEGINS: Final = "paste begins"
PASTE_ENDS: Final = "paste ends"
_ESCAPE: Final = "\x1b"
# What terminals send for a key, in the modes of xterm, of the Linux console and of screen.
_SEQUENCES: Final = {
    "[A": "up",
    "[B": "down",
    "[C": "right",
    "[D": "left",
    "OA": "up",
    "OB": "down",
    "OC": "right",
    "OD": "left",
    "[H": "home",
    "[F": "end",
    "OH": "home",
    "OF": "end",
    "[1~": "home",
    "[4~": "end",
    "[7~": "home",
    "[8~": "end",
    "[5~": "page up",
    "[6~": "page down",
    "[200~": PASTE_BEGINS,
    "[201~": PASTE_ENDS,
}
_CONTROLS: Final = {
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x03": "interrupt",  # where the terminal sends it as a byte
    "\x04": "interrupt",
    "\x0c": "redraw",
    "\x15": "clear",
}
_SEQUENCE_CHARS_MAX: Final = 16
"""A longer one is of no terminal; it is thrown away, so that nothing waits for its end."""


class Keyboard:
    """Bytes of a terminal in, names of keys out; a key may come in pieces.

    A printable character is its own name; a key that nobody knows is none.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self._is_pasting = False

    @property
    def is_waiting(self) -> bool:
        """Whether what came last may be the beginning of a key, or Esc itself."""
        return bool(self._held)

    def take(self, typed: bytes) -> list[str]:
        """Return the keys that are complete by now."""
        text = self._held + self._decoder.decode(typed)
        self._held = ""
        keys: list[str] = []
        while text:
            if text[0] != _ESCAPE:
                keys += self._plain(text[0])
                text = text[1:]
                continue
            length = _sequence_length(text)
            if length is None:
                self._held = text
                break
            keys += self._escaped(text[1:length])
            text = text[length:]
        return keys

    def _plain(self, char: str) -> list[str]:
        if self._is_pasting:
            return [PASTED + char] if char.isprintable() else []
        if char in _CONTROLS:
            return [_CONTROLS[char]]
        return [char] if char.isprintable() else []

    def _escaped(self, sequence: str) -> list[str]:
        key = _SEQUENCES.get(sequence, "") if sequence else "escape"
        if key in {PASTE_BEGINS, PASTE_ENDS}:
            self._is_pasting = key == PASTE_BEGINS
            return []
        return [key] if key and not self._is_pasting else []

    def give_up(self) -> list[str]:
        """Return what is held back, since nothing follows: Esc by itself."""
        held, self._held = self._held, ""
        return ["escape"] if held else []


def _sequence_length(text: str) -> int | None:
    """Return the length of the escape sequence at the beginning; None: its end isn't here yet."""
    if len(text) == 1:
        return None
    if text[1] == "O":
        return 3 if len(text) > 2 else None  # noqa: PLR2004 - ESC, O, a letter
    if text[1] != "[":
        return 1  # Esc, and then another key
    for index in range(2, min(len(text), _SEQUENCE_CHARS_MAX)):
        if "@" <= text[index] <= "~":
            return index + 1
    return None if len(text) < _SEQUENCE_CHARS_MAX else len(text)
