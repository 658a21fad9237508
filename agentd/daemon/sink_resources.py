"""What sinks may use of the daemon: where their files are, and how a command is run."""

import asyncio
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as StillRunning
from pathlib import Path
from typing import Final

from agentd.config.agent import AgentConfig
from agentd.daemon.errands import Ended, Errand, Errands
from agentd.sinks.message import Program, ProgramEnd, Resources

# Beyond the deadline of the program itself: a loop that is this late has other troubles.
MARGIN_S: Final = 10.0


def resources_of(directory: Path, aio: asyncio.AbstractEventLoop, errands: Errands) -> Resources:
    """Return the resources of all sinks; `directory` is that of the config file."""

    def run(program: Program) -> ProgramEnd:
        """Have the loop run it, which waits for it as for any command of the config."""
        errand = Errand(
            agent="",
            command=program.argv,
            config=AgentConfig(command=list(program.argv), environment=dict(program.environment)),
            timeout_ms=program.timeout_ms,
            payload=program.stdin,
        )
        running = asyncio.run_coroutine_threadsafe(errands.carry_out(errand), aio)
        try:
            return running.result(program.timeout_ms / 1000 + MARGIN_S)
        except (StillRunning, CancelledError):
            running.cancel()
            return Ended(ok=False, told="was not waited for: agentd is too busy, or going away")

    return Resources(directory, run)
