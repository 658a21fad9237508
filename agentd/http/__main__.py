"""`python -m agentd.http --config FILE`: the dashboard that the daemon keeps running.

Started by the daemon alone, with one end of a socketpair (AGENTD_CHANNEL) whose role is fixed
there. When the daemon ends it, by its end or a new version, this process ends, too; whichever
daemon is there next starts it anew.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from agentd.client.aio import CHANNEL_ENV

EXTRA: Final = "pip install 'agentd-supervisor[http]'"


def main() -> int:
    """Return the exit code: 0 when the daemon has gone, 1 if it cannot run as it is set up."""
    parser = argparse.ArgumentParser(prog="python -m agentd.http", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="The daemon's own file.")
    config = parser.parse_args().config
    try:
        from agentd.http import internal  # noqa: PLC0415 - its imports need the extra
    except ModuleNotFoundError as error:
        print(f"agentd-http: {error.name} is not installed: {EXTRA}", file=sys.stderr)  # noqa: T201 - to its log
        return 1
    fd = os.environ.pop(CHANNEL_ENV, "")
    if not fd.isdecimal():
        print("agentd-http: started by agentd alone; try: agentctl dashboard", file=sys.stderr)  # noqa: T201 - as above
        return 1
    return asyncio.run(internal.run(config, int(fd)))


if __name__ == "__main__":
    sys.exit(main())
