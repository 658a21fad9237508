"""An agent on the SDK that beats on, and from SIGUSR1 on so many times in a row as it is told.

Each beat has its number, from 1 on, as its task. Its log has the number of the last beat of the
row, and how often the thread that beat had to wait meanwhile.
"""

import signal
import sys
from pathlib import Path

import agentd


def waits() -> int:
    """How often this thread has given up its core of its own, as whoever waits does."""
    status = Path("/proc/thread-self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("voluntary_ctxt_switches"))
    return int(line.split()[1])


def main() -> None:
    in_a_row = int(sys.argv[1])
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    number = 0
    while True:
        number += 1
        agentd.heartbeat(task=str(number))
        if signal.sigtimedwait([signal.SIGUSR1], 0.1) is None:
            continue
        before = waits()
        for number in range(number + 1, number + 1 + in_a_row):  # noqa: B020 - the same count
            agentd.heartbeat(task=str(number))
        sys.stdout.write(f"{number} {waits() - before}\n")
        sys.stdout.flush()


main()
