"""An agent that keeps what it allocates.

Arguments: who does (leader, helper), MiB a second, and how many at most (without: no bound).
"""

import os
import sys
import time


def main() -> None:
    who, rate, most = sys.argv[1], float(sys.argv[2]), float([*sys.argv, "inf"][3])
    if who == "helper" and os.fork():
        time.sleep(600)
    kept = []
    while len(kept) / 10 * rate < most:
        kept.append(os.urandom(1024) * int(rate / 10 * 1024))
        time.sleep(0.1)
    time.sleep(600)


main()
