"""Fails a little while after each start, as a bad deploy does."""

import sys
import time

from beat import beat

for second in range(5):
    beat(status="working", task="nightly-import", step=second)
    time.sleep(1)
print("import failed: column 'price' is missing", file=sys.stderr, flush=True)
sys.exit(3)
