"""An agent that counts: `killed_agent.py HOME NAME plain|hardened`.

Each number goes to stdout first, which its supervisor logs, and then to a file of its own, so
that a number in the file and not in the log was lost. A `plain` one ends when stdout is broken,
as any program does that does not expect it; a `hardened` one goes on without. SIGUSR1: exit 3.
"""

import os
import signal
import sys
import time
from pathlib import Path

EVERY_S = 0.05


def main() -> None:
    home, name, temper = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    signal.signal(signal.SIGUSR1, lambda *_: os._exit(3))
    pid = os.getpid()
    run = f"{pid}.{time.monotonic_ns()}"
    own = os.open(home / "counted" / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    fresh = home / "runs" / f".{name}.{pid}"
    fresh.write_text(f"{pid} {os.environ.get('AGENTD_INCARNATION', '')}")
    fresh.rename(home / "runs" / name)
    number = 0
    while True:
        number += 1
        line = f"{name} {run} {number}\n".encode()
        try:
            os.write(1, line)
        except OSError:
            if temper == "plain":
                raise
        os.write(own, line)
        time.sleep(EVERY_S)


if __name__ == "__main__":
    main()
