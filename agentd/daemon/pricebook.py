"""The price table: read at the start and at each reload, and kept fresh by a program of its own.

Where the extra `prices` is installed and the file is missing or old, it is written anew, in
another process. A file that can't be used is logged and left alone; without one, only the
user's own prices hold, and the cost of everything else is unknown.
"""

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import agentd
from agentd.config.agent import AgentConfig
from agentd.core.events import Event, PricesRead
from agentd.core.pricing import PriceTable
from agentd.daemon.errands import Errand, Errands
from agentd.daemon.log import log
from agentd.daemon.offload import Offload, TooBusy
from agentd.wire.prices import FILE_BYTES_MAX, BadTable, decode_table, models_in

PROGRAM: Final = "agentd.wire.pricetable"
PACKAGE: Final = "genai_prices"

# Prices change some times a month, and the package a little more often.
FRESH_S: Final = 7 * 86_400.0
LOOK_EVERY_TICKS: Final = 3_600
# Agents come first: making the table takes half a second of CPU time.
LOOK_FIRST_TICK: Final = 5
WRITE_TIMEOUT_MS: Final = 60_000


@dataclass(slots=True)
class PriceBook:
    """The file, and who reads and writes it."""

    path: Path
    post: Callable[[Event], None]
    offload: Offload
    errands: Errands
    wall_ms: Callable[[], int]
    _read: tuple[int, int] | None = None
    """Size and time of change of the file that was read last."""

    async def look(self) -> None:
        """Write the file anew if it is due, and read it if it is another one."""
        try:
            due = await self.offload.run(self._is_due)
        except (OSError, TooBusy) as error:
            log.warning("prices.unwritten", path=self.path, told=error)
            due = False
        if due:
            await self._write()
        await self.read()

    async def read(self) -> None:
        """Read the file if it is another one than before, and tell the core."""
        try:
            table = await self.offload.run(self._changed_table)
        except (OSError, BadTable, TooBusy) as error:
            log.warning("prices.unread", path=self.path, error=error)
            return
        if table is not None:
            log.info("prices.read", path=self.path, models=models_in(table), source=table.source)
            self.post(PricesRead(table))

    def _is_due(self) -> bool:
        if importlib.util.find_spec(PACKAGE) is None:
            return False
        try:
            written_s = self.path.stat().st_mtime
        except FileNotFoundError:
            return True
        return not 0 <= self.wall_ms() / 1000 - written_s < FRESH_S

    async def _write(self) -> None:
        # The program must find this very agentd, wherever it was started from.
        places = os.pathsep.join([str(Path(agentd.__file__).parent.parent), *sys.path])
        config = AgentConfig(environment={"PYTHONPATH": places})
        words = [sys.executable, "-m", PROGRAM, str(self.path)]
        ended = await self.errands.carry_out(Errand("", words, config, WRITE_TIMEOUT_MS))
        if not ended.ok:
            log.warning("prices.unwritten", path=self.path, told=ended.told)

    def _changed_table(self) -> PriceTable | None:
        """Read the file; None: there is none, or it is the one that was read before."""
        try:
            with self.path.open("rb") as file:
                found = os.fstat(file.fileno())
                if self._read == (found.st_size, found.st_mtime_ns):
                    return None
                # What can't be used is told once, not each hour.
                self._read = (found.st_size, found.st_mtime_ns)
                data = file.read(FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        return decode_table(data)
