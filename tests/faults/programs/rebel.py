"""An agent that wants to command: asks for a sibling's end in every way, and writes what it heard.

Arguments: the file for the answers (JSON, put in place at once), and how it disguises itself:
plain, empty (a new environment), setsid (a session and an environment of its own), orphan (its
parent is gone besides).
"""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

WANTED = ("kill", "stop", "restart", "reload", "shutdown", "hold", "status")


def ask(path: str, line: dict[str, object]) -> dict[str, object]:
    channel = socket.socket(socket.AF_UNIX)
    channel.settimeout(10)
    channel.connect(path)
    channel.sendall(json.dumps(line).encode() + b"\n")
    answer = b""
    while not answer.endswith(b"\n"):
        part = channel.recv(65536)
        if not part:
            break
        answer += part
    channel.close()
    found: dict[str, object] = json.loads(answer)
    return found


def main() -> None:
    target, disguise, path = sys.argv[1], sys.argv[2], os.environ.get("AGENTD_SOCKET", "")
    if len(sys.argv) > 3:
        path = sys.argv[3]
    if disguise != "plain":
        if disguise == "orphan" and os.fork():
            time.sleep(600)
        words = [sys.executable, "-S", __file__, target, "plain", path]
        session = disguise in ("setsid", "orphan")
        subprocess.Popen(words, env={}, start_new_session=session)
        if disguise == "orphan":
            os._exit(0)
        time.sleep(600)
    time.sleep(0.3)
    answers = [ask(path, {"id": cmd, "cmd": cmd, "args": {"select": ["victim"]}}) for cmd in WANTED]
    part = Path(target + ".part")
    part.write_text(json.dumps(answers))
    part.rename(target)
    time.sleep(600)


main()
