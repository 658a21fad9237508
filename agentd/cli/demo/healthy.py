"""Works through tickets, says so, and is well."""

import random
import time

from beat import beat

ticket = 900
while True:
    ticket += 1
    for step in ("read", "search", "answer"):
        time.sleep(0.7)
        beat(status="working", task=f"ticket-{ticket}", step=step, tool="web_search")
    tokens = random.randint(700, 1200)
    print(f"ticket-{ticket} answered with {tokens} tokens", flush=True)
    beat(
        status="working",
        task=f"ticket-{ticket}",
        tokens=tokens,
        cost_usd=tokens * 3e-6,
        success=True,
        latency_ms=random.randint(180, 420),
        progress=(ticket % 50) / 50,
    )
