"""Many agents that beat once a second, and somebody who asks for `status` ten times a second.

Arguments: the socket, a file with a JSON list of [name, token], seconds, and the pid of who
listens. Each question follows a heartbeat, and is asked again until the answer shows it. Prints
JSON: `cpu_s` of the listener, beats, questions, and the `latencies_ms` from a heartbeat to the
answer that shows it, less the time for which listener or asker had no core to run on.
"""

import json
import os
import socket
import sys
import time
from pathlib import Path

from starvation import CoreWatch

ASKED_PER_S = 10
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Line:
    """A connection; `ask` waits for one line."""

    def __init__(self, path: str) -> None:
        self.channel = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.channel.connect(path)
            except BlockingIOError:
                time.sleep(0.005)
            else:
                break
        self.answers = self.channel.makefile("rb")

    def tell(self, document: dict[str, object]) -> None:
        self.channel.sendall(json.dumps(document).encode() + b"\n")

    def ask(self, document: dict[str, object]) -> bytes:
        self.tell(document)
        return self.answers.readline()


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def main() -> None:
    path, people, seconds, pid = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    agents = []
    for _, token in json.loads(Path(people).read_text()):
        line = Line(path)
        line.ask({"type": "hello", "token": token, "id": "hello"})
        agents.append(line)
    asker, latencies, asked, sent = Line(path), [], 0, 0
    used, began = cpu_s(pid), time.monotonic()
    every_s = 1 / len(agents)
    while (at := began + sent * every_s) < began + seconds:
        while (wait := at - time.monotonic()) > 0:
            time.sleep(wait)
        sent += 1
        line = agents[sent % len(agents)]
        is_asked = sent * every_s * ASKED_PER_S >= asked
        watch = CoreWatch(pid) if is_asked else None
        line.tell({"status": "ok", "tokens": 900, "task": "ticket-918", "step": sent})
        if watch is not None:
            mark = f'"step":"{sent}"'.encode()
            while True:
                asked += 1
                question = {"id": str(asked), "cmd": "status", "args": {}}
                if mark in asker.ask(question).replace(b": ", b":"):
                    break
            took_ms, starved_ms = watch.took_ms()
            latencies.append(max(0.0, took_ms - starved_ms))
    used = cpu_s(pid) - used
    took = time.monotonic() - began
    told = {"cpu_s": used, "took_s": took, "beats": sent, "asked": asked}
    sys.stdout.write(json.dumps({**told, "latencies_ms": sorted(latencies)}))


main()
