"""The link's own log: lines on stderr, which the daemon keeps; the same trouble is told once."""

import json
import sys
from time import monotonic
from typing import Final

AGAIN_S: Final = 600.0
"""A trouble that lasts is told again after so long."""
_KINDS_MAX: Final = 256


class Log:
    """`event key=value …` lines; `seldom` keeps a repeated one from filling the log."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], float] = {}

    def say(self, event: str, **facts: object) -> None:
        """Write a line. Values are quoted, so that none of them can forge another line."""
        words = [event, *(f"{key}={_quoted(value)}" for key, value in facts.items())]
        sys.stderr.write(" ".join(words) + "\n")
        sys.stderr.flush()

    def seldom(self, event: str, **facts: object) -> None:
        """Write a line, unless the same was written lately."""
        key, now_s = (event, str(facts)), monotonic()
        if now_s - self._told.get(key, -AGAIN_S) < AGAIN_S:
            return
        if len(self._told) >= _KINDS_MAX:
            self._told.clear()
        self._told[key] = now_s
        self.say(event, **facts)

    def over(self, event: str) -> None:
        """Forget that a trouble was told: it has ended, and the next one is another."""
        self._told = {key: at for key, at in self._told.items() if key[0] != event}


def _quoted(value: object) -> str:
    text = str(value)
    return (
        text
        if text and text.isprintable() and '"' not in text and " " not in text
        else (json.dumps(text))
    )
