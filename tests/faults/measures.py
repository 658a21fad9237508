"""What the guard measured of one daemon under one fault, for the table of `make test-faults`."""

import re
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20
MEASURED: Final = "guard"
SEEN: Final = "seen"
UNJUDGED: Final = "time not judged"
"""Names of the properties that travel with a test's report: figures, and words."""


@dataclass(frozen=True, slots=True)
class Idle:
    """A daemon that has nothing but the bystander to look after."""

    files: Counter[str]
    anonymous_bytes: int


@dataclass(slots=True)
class Measures:
    """Milliseconds leave out what was spent waiting for a core; None: not measured."""

    lag_ms: float | None = None
    status_ms: float | None = None
    files_before: int | None = None
    files_after: int | None = None
    rss_before_mib: float | None = None
    rss_after_mib: float | None = None
    beyond_idle_mib: float | None = None

    def document(self) -> dict[str, object]:
        return asdict(self)


def memory_of(pid: int) -> tuple[int, int]:
    """What a process has in memory, in bytes: all of it, and what no file stands behind."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    kib = {name: int(rest.split()[0]) for name, rest in re.findall(r"(VmRSS|RssAnon):(.*)", text)}
    return kib["VmRSS"] * 1024, kib["RssAnon"] * 1024
