"""An agent on the SDK whose second thread beats: `hang` or `work` in the work loop."""

import sys
import threading
import time

import agentd


def beat_on() -> None:
    while True:
        agentd.heartbeat()
        time.sleep(0.1)


def main() -> None:
    agentd.heartbeat(task="order-17", step="fetch")
    threading.Thread(target=beat_on, daemon=True).start()
    if sys.argv[1] == "hang":
        threading.Event().wait()
    steps = 0
    while True:
        steps += 1
        agentd.heartbeat(step=steps)
        time.sleep(0.2)


main()
