"""An agent that says to the daemon what the test says to it, and back: `puppet.py SOCKET`.

`{"exit": N}` from the test ends it with that code.
"""

import json
import os
import select
import socket
import sys


def connect(path: str) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX)
    channel.connect(path)
    return channel


def main() -> None:
    daemon, test = connect(os.environ["AGENTD_SOCKET"]), connect(sys.argv[1])
    daemon.sendall(json.dumps({"type": "hello", "token": os.environ["AGENTD_TOKEN"]}).encode())
    daemon.sendall(b"\n")
    sys.stdout.write(f"speaking through {sys.argv[1]}\n")
    sys.stdout.flush()
    said = b""
    while True:
        ready, _, _ = select.select([daemon, test], [], [])
        if daemon in ready:
            heard = daemon.recv(65_536)
            if not heard:
                return
            test.sendall(heard)
        if test in ready:
            part = test.recv(65_536)
            if not part:
                return
            *whole, said = (said + part).split(b"\n")
            for line in whole:
                if b'"exit"' in line:
                    sys.exit(json.loads(line)["exit"])
                daemon.sendall(line + b"\n")


main()
