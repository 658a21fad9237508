"""The least that a daemon must do: read lines, decode them, and write a document when asked.

Arguments: the socket to listen on, and a file with what `status` answers. What it is told last
of anybody's `step` stands in that answer. Beside it the daemon's own work is seen.
"""

import json
import selectors
import socket
import sys
from pathlib import Path


def main() -> None:
    document = json.loads(Path(sys.argv[2]).read_text())
    server = socket.socket(socket.AF_UNIX)
    server.bind(sys.argv[1])
    server.listen(512)
    waiting = selectors.DefaultSelector()
    waiting.register(server, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is server:
                channel, _ = server.accept()
                waiting.register(channel, selectors.EVENT_READ, bytearray())
            elif not take(key.fileobj, key.data, document):
                waiting.unregister(key.fileobj)
                key.fileobj.close()


def take(channel: socket.socket, rest: bytearray, document: dict[str, object]) -> bool:
    """Read what is there and answer it; False: the other side is gone."""
    part = channel.recv(65536)
    rest += part
    *lines, left = bytes(rest).split(b"\n")
    rest[:] = left
    for line in lines:
        told = json.loads(line)
        if "step" in told:
            document["step"] = str(told["step"])
        if "id" in told:
            result = document if "cmd" in told else {}
            answer = {"id": told["id"], "ok": True, "result": result}
            channel.sendall(json.dumps(answer).encode() + b"\n")
    return bool(part)


main()
