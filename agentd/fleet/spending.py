"""What other hosts have spent, as last known: on disk, for a lost one can't be asked again."""

import os
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec

from agentd.fleet.cursor import FILE_MODE
from agentd.fleet.documents import Spent
from agentd.fleet.log import Log

WRITE_S: Final = 10.0
"""Figures that keep changing are written so often and no more."""


class SpendingFile:
    """`spent.json` in the link's directory. Without it, sums begin with what is heard."""

    def __init__(self, directory: Path, log: Log) -> None:
        self._path = directory / "spent.json"
        self._log = log
        self._written: dict[str, Spent] = {}
        self._written_s = -WRITE_S

    def read(self) -> dict[str, Spent]:
        """Return what was last written, by host; nothing where that can't be read."""
        try:
            self._written = msgspec.json.decode(self._path.read_bytes(), type=dict[str, Spent])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            self._log.say("fleet.spent_not_read", why=error)
            return {}
        return dict(self._written)

    def write(self, spent: dict[str, Spent]) -> None:
        """Write what is known now, if it is news and the last time was long enough ago."""
        if spent == self._written or monotonic() - self._written_s < WRITE_S:
            return
        unfinished = self._path.with_suffix(".tmp")
        try:
            fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
            with os.fdopen(fd, "wb") as file:
                file.write(msgspec.json.encode(spent))
            unfinished.replace(self._path)
        except OSError as error:
            self._log.seldom("fleet.spent_not_saved", why=error)
        self._written, self._written_s = dict(spent), monotonic()
