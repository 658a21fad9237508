"""In a daemon under test: tells how much it keeps, each time that somebody asks for it.

Python runs this as it starts, where PYTHONPATH leads here. Who makes the file CENSUS.PID.ask is
answered by CENSUS.PID.told: allocated blocks, bytes that malloc has given out, alerts that wait in
memory, and where the file says `objects`, how many objects there are of each type. Other programs
tell nothing.
"""

import ctypes
import gc
import json
import os
import sys
import threading
import time
import weakref
from collections import Counter
from pathlib import Path

LOOK_S = 0.05
# The queues are looked for among all objects, which takes a while; they change with the config.
QUEUES_EVERY_S = 30.0
# struct mallinfo2 of glibc 2.33: ten figures, of which the third last is what is in use.
FIGURES = 10
IN_USE = 7


class MallInfo(ctypes.Structure):
    """As `mallinfo2` returns it."""

    _fields_ = [("figures", ctypes.c_size_t * FIGURES)]


def in_use_bytes() -> int | None:
    """What malloc has given out; None: this libc doesn't tell."""
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        return None
    mallinfo.restype = MallInfo
    return int(mallinfo().figures[IN_USE])


def objects() -> dict[str, int]:
    """How many objects there are of each type, garbage left out; stops the daemon meanwhile."""
    gc.collect()
    kinds = map(type, gc.get_objects())
    return dict(Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds))


class AlertCount:
    """How many alerts wait in memory, for all receivers together."""

    def __init__(self) -> None:
        self._queues: weakref.WeakSet[object] = weakref.WeakSet()
        self._found_s = -QUEUES_EVERY_S

    def now(self) -> int:
        module = sys.modules.get("agentd.daemon.alertqueue")
        if module is None:
            return 0
        if time.monotonic() - self._found_s > QUEUES_EVERY_S:
            self._found_s = time.monotonic()
            kind = module.SinkQueue
            self._queues.update(one for one in gc.get_objects() if type(one) is kind)
        return sum(len(queue._waiting) for queue in self._queues)


def answer(place: Path) -> None:
    """Answer as long as the daemon lives."""
    names = [place.with_name(f"{place.name}.{os.getpid()}.{word}") for word in ("ask", "told")]
    asked, told = names
    unfinished = told.with_suffix(".unfinished")
    alerts = AlertCount()
    while True:
        if asked.exists():
            wants_objects = asked.read_text() == "objects"
            asked.unlink()
            kept = {
                "blocks": sys.getallocatedblocks(),
                "in_use_bytes": in_use_bytes(),
                "alerts": alerts.now(),
            }
            unfinished.write_text(json.dumps(kept | (objects() if wants_objects else {})))
            unfinished.rename(told)
        time.sleep(LOOK_S)


if "CENSUS" in os.environ and any("agentd.daemon.main" in word for word in sys.orig_argv):
    where = Path(os.environ["CENSUS"])
    threading.Thread(target=answer, args=(where,), name="census", daemon=True).start()
