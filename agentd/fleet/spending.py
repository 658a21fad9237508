"""What other hosts have spent, as last known: on disk, for a lost one can't be asked again."""

import asyncio
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec

from agentd.fleet import durable
from agentd.fleet.documents import Spent
from agentd.fleet.log import Log

WRITE_S: Final = 10.0
"""Figures that keep changing are written so often and no more, nor is a failure tried again."""


class SpendingFile:
    """`spent.json` in the link's directory. Without it, sums begin with what is heard."""

    def __init__(self, directory: Path, log: Log) -> None:
        self._path = directory / "spent.json"
        self._log = log
        self._written: dict[str, Spent] = {}
        self._begun_s = -WRITE_S
        self._writing: asyncio.Task[None] | None = None

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
        """Have written what is known now, if it is news and the last time was long enough ago.

        Nobody waits for it: a disk that stands still must not keep the daemon from being told.
        """
        is_busy = self._writing is not None and not self._writing.done()
        if is_busy or spent == self._written or monotonic() - self._begun_s < WRITE_S:
            return
        self._begun_s = monotonic()
        self._writing = asyncio.get_running_loop().create_task(self._replace(dict(spent)))

    async def _replace(self, spent: dict[str, Spent]) -> None:
        try:
            await asyncio.to_thread(durable.replace, self._path, msgspec.json.encode(spent))
        except OSError as error:
            self._log.seldom("fleet.spent_not_saved", why=error)
        else:
            self._written = spent
