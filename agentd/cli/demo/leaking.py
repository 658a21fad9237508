"""Keeps everything it ever saw; its memory rises until it is stopped."""

import time

from beat import beat

kept = []
while True:
    kept.append(bytearray(1 << 20))
    kept[-1][::4096] = b"x" * len(kept[-1][::4096])
    beat(status="working", task="crawl", step=len(kept))
    time.sleep(0.5)
