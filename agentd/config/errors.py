"""What is wrong with a config: where, what, and what instead."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

KeyPath = tuple[str | int, ...]
"""Keys from the top of the document; an `int` is the index in a list."""

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
MESSAGE_MAX: Final = 300
_KEY_MAX: Final = 80


@dataclass(frozen=True, slots=True)
class ConfigError:
    """One finding, an error or a warning; `line` is None where there is no line to name."""

    file: str
    line: int | None
    key: str
    message: str
    hint: str = ""

    def text(self, program: str = "agentd") -> str:
        """Two lines for people: the finding, and the hint where there is one."""
        where = f"{self.file}:{self.line}" if self.line is not None else self.file
        parts = [part for part in (program, where, self.key, self.message) if part]
        return ": ".join(parts) + (f"\n  hint: {self.hint}" if self.hint else "")

    def document(self) -> dict[str, object]:
        """Return the form of `agentd check --json` and of a refused reload."""
        return {
            "file": self.file,
            "line": self.line,
            "key": self.key,
            "message": self.message,
            "hint": self.hint,
        }


def dotted(path: Iterable[str | int]) -> str:
    """Write a path as TOML would: `prices."gpt-4.1".input`, `alerts.sinks[0].type`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + quoted_key(part)
    return text


def quoted_key(key: str) -> str:
    """Return a key as it stands in a path: bare where TOML allows it, else in quotes."""
    if _BARE.fullmatch(key):
        return clipped(key, _KEY_MAX)
    return '"' + clipped(key, _KEY_MAX).replace("\\", "\\\\").replace('"', '\\"') + '"'


def clipped(text: str, length_max: int = MESSAGE_MAX) -> str:
    """Return `text` on one printable line of at most `length_max` characters."""
    shown = text if len(text) <= length_max else text[: length_max - 1] + "…"
    if shown.isprintable():
        return shown
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in shown
    )
