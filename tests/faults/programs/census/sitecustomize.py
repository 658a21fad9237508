"""In a daemon under test: counts its objects by type, each time that somebody asks for it.

Python runs this as it starts, where PYTHONPATH leads here. Who makes the file CENSUS.ask is
answered by the file CENSUS.told. Programs that the daemon starts count nothing.
"""

import gc
import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path

LOOK_S = 0.05


def count() -> dict[str, int]:
    """How many objects there are of each type, garbage left out."""
    gc.collect()
    kinds = map(type, gc.get_objects())
    return dict(Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds))


def answer(place: Path) -> None:
    """Answer as long as the daemon lives."""
    asked, told = place.with_suffix(".ask"), place.with_suffix(".told")
    while True:
        if asked.exists():
            asked.unlink()
            unfinished = place.with_suffix(".unfinished")
            unfinished.write_text(json.dumps(count()))
            unfinished.rename(told)
        time.sleep(LOOK_S)


if "CENSUS" in os.environ and any("agentd.daemon.main" in word for word in sys.orig_argv):
    where = Path(os.environ["CENSUS"])
    threading.Thread(target=answer, args=(where,), name="census", daemon=True).start()
