"""Calls its model over and over within one cycle: no CPU, no error, only money."""

import time

import agentd

agentd.heartbeat(status="working", task="essay-3", step="draft")
while True:
    with agentd.call("chat", provider="demo", model="demo-1", deadline_s=60) as call:
        time.sleep(0.5)
        call.usage({"input_tokens": 20_000, "output_tokens": 1_500})
