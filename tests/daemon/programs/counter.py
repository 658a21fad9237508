"""Writes numbered lines and beats as often, through the SDK; SIGTERM ends it after a beat.

One argument: seconds between two. Its last line tells how many beats there were.
"""

import itertools
import signal
import sys
import time

import agentd

over: list[int] = []
signal.signal(signal.SIGTERM, lambda number, _frame: over.append(number))
for number in itertools.count(1):
    sys.stdout.write(f"line {number}\n")
    sys.stdout.flush()
    agentd.heartbeat(tokens=1)
    time.sleep(float(sys.argv[1]))
    if over:
        break
sys.stdout.write(f"total {number}\n")
