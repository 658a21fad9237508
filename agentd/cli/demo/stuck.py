"""Works, then waits for ever in recv() on a peer that never answers: alive, and useless."""

import socket
import time

from beat import beat

for second in range(6):
    beat(status="waiting_llm", task="summary-17", step=second, tool="chat")
    time.sleep(1)
ours, theirs = socket.socketpair()
print("calling the model", flush=True)
ours.recv(1)
