"""In a daemon under test: tells how much it keeps, each time that somebody asks for it.

Python runs this as it starts, where PYTHONPATH leads here. Who makes the file CENSUS.PID.ask is
answered by CENSUS.PID.told: allocated blocks, bytes that malloc has given out, and where the
file says `objects`, how many objects there are of each type. Other programs tell nothing.
"""

import ctypes
import gc
import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path

LOOK_S = 0.05
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


def answer(place: Path) -> None:
    """Answer as long as the daemon lives."""
    names = [place.with_name(f"{place.name}.{os.getpid()}.{word}") for word in ("ask", "told")]
    asked, told = names
    unfinished = told.with_suffix(".unfinished")
    while True:
        if asked.exists():
            wants_objects = asked.read_text() == "objects"
            asked.unlink()
            kept = {"blocks": sys.getallocatedblocks(), "in_use_bytes": in_use_bytes()}
            unfinished.write_text(json.dumps(kept | (objects() if wants_objects else {})))
            unfinished.rename(told)
        time.sleep(LOOK_S)


if "CENSUS" in os.environ and any("agentd.daemon.main" in word for word in sys.orig_argv):
    where = Path(os.environ["CENSUS"])
    threading.Thread(target=answer, args=(where,), name="census", daemon=True).start()
