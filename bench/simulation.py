"""Run a trace through `agentd simulate`, so that what is measured is the daemon's own core."""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

TIMEOUT_S = 300


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every scorer: which agentd, how many at once, whether to judge."""
    parser.add_argument("--agentd", default=default_agentd(), help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=2, help="simulations at a time")
    parser.add_argument("--check", action="store_true", help="exit 1 unless every bar holds")


def default_agentd() -> str:
    """Find the agentd beside the python that runs, else the one on the path."""
    beside = Path(sys.executable).with_name("agentd")
    return str(beside) if beside.exists() else shutil.which("agentd") or "agentd"


def simulate(
    agentd: str, config: str, lines: Iterable[Mapping[str, object]]
) -> list[dict[str, Any]]:
    """Return the events and effects that agentd would have produced.

    A simulation that fails or takes longer than five minutes is a RuntimeError.
    """
    with tempfile.TemporaryDirectory() as folder:
        config_file, trace = Path(folder, "agentd.toml"), Path(folder, "trace.jsonl")
        config_file.write_text(config, encoding="utf-8")
        trace.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        command = [agentd, "simulate", "--config", str(config_file), str(trace)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RuntimeError(f"{agentd} simulate: {error}") from error
    if done.returncode != 0:
        raise RuntimeError(f"{agentd} simulate exited {done.returncode}: {done.stderr[-400:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]


def verdict(below: Iterable[str], *, check: bool) -> int:
    """Print which bars are missed; return the exit code."""
    missed = list(below)
    for line in missed:
        print("BELOW THE BAR", line)
    if not missed:
        print("all bars hold")
    return 1 if missed and check else 0
