"""Two hundred agents that beat, and somebody who looks ten times a second, beside a bare process.

The bare one (tests/faults/programs/listener.py) decodes the same lines and writes as much; what
the daemon takes beyond it is its own work.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import procs
from daemons import ROOT
from heartbeats import NO_LIMITS, External

AGENTS = 200
BARE_S_MAX = 60.0
"""It has nothing that could grow: a minute says as much as ten."""
PROGRAMS = ROOT / "tests" / "faults" / "programs"


@dataclass(frozen=True)
class Measured:
    """One side: its share of a core, and milliseconds from a heartbeat to the status showing it."""

    share: float
    rss_bytes: int
    seen_ms: list[float]

    def percentile(self, part: float) -> float:
        return self.seen_ms[min(len(self.seen_ms) - 1, int(len(self.seen_ms) * part))]


def measure(seconds: float) -> tuple[Measured, Measured]:
    """The daemon for so long, and after it the bare process under the same load."""
    with External(AGENTS, autostart=False, extra=NO_LIMITS) as daemon:
        people = daemon.home / "people.json"
        tokens = [(f"x{number}", f"secret-of-agent-{number:08d}") for number in range(AGENTS)]
        people.write_text(json.dumps(tokens))
        document = json.loads(subprocess.check_output(daemon.status()))
        ours = _sung(daemon.socket, people, seconds, daemon.process.pid)
        theirs = _bare(daemon.home, document, people, min(seconds, BARE_S_MAX))
    return ours, theirs


def _sung(path: Path, people: Path, seconds: float, pid: int) -> Measured:
    words = [sys.executable, "-S", str(PROGRAMS / "chorus.py"), str(path), str(people)]
    told = json.loads(subprocess.check_output([*words, str(seconds), str(pid)]))
    # By the length it was meant to have: on a busy machine the same load takes longer.
    share = told["cpu_s"] / seconds
    return Measured(share, procs.rss_bytes(pid), told["latencies_ms"])


def _bare(home: Path, document: Any, people: Path, seconds: float) -> Measured:  # noqa: ANN401 - JSON
    shown, path = home / "shown.json", home / "bare.sock"
    shown.write_text(json.dumps(document))
    words = [sys.executable, "-S", str(PROGRAMS / "listener.py"), str(path), str(shown)]
    listener = subprocess.Popen(words)
    try:
        procs.until(path.exists, 60, 0.01)
        return _sung(path, people, seconds, listener.pid)
    finally:
        listener.kill()
        listener.wait()
