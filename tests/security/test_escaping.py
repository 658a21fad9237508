"""What an agent says is data: no view lets it write to the terminal, or begin a line of ours."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.harness import PYTHON, Daemon, environment

AGENTCTL = Path(sys.executable).with_name("agentctl")

EVIL = (
    "evil\x1b[2J\x1b]0;own\x07\u202e<img src=x onerror=alert(1)>|x|\n# Head\n"
    "[a](javascript:x) `rm` \x9b31m \u2028 \u2066 \r\x08 {0.__class__} %s $(id)"
)
# Everything that a terminal obeys or that turns text around; what we print of our own is none.
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\u200e\u200f]"
)
OUR_COLOURS = re.compile("\x1b\\[[0-9;]*m")

SAYS = """
import json, os, socket, sys, time
evil, lives_s = json.loads(sys.argv[1]), float(sys.argv[2])
daemon = socket.socket(socket.AF_UNIX)
daemon.connect(os.environ["AGENTD_SOCKET"])
answers = daemon.makefile()
said = dict.fromkeys(("task", "step", "tool", "goal", "model", "provider"), evil)
print(evil, flush=True)
for number, line in enumerate((
    {"status": "ok", "tokens": 3, **said},
    {"type": "hello", "sdk": evil},
    {"type": "call", "phase": "start", "call": evil, "op": evil, "model": evil},
    {"type": "breaker", "name": evil, "ok": False, "error": evil},
    {"type": "breaker", "name": "openai", "ok": False, "error": evil},
    {"type": "intent", "key": evil, "action": evil, "detail": {evil: evil}},
    {"type": "step", "step": 1, "tool": evil, "error": evil, "note": evil},
    {"type": evil}, {"cmd": evil}, {"agent": evil, "status": "ok"},
)):
    daemon.sendall(json.dumps({"id": number, **line}).encode() + b"\\n")
    answers.readline()
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.sendto(f"STATUS={evil}".encode(), os.environ["NOTIFY_SOCKET"])
time.sleep(lives_s)
raise SystemExit(evil)
"""

VIEWS = [
    *("status", "status evil", "status live", "show evil", "events -n 200", "incidents"),
    *("incident 1", "history", "report --date today", "report --date today --markdown"),
    *("alerts", "breakers", "checkpoints", "logs evil", "logs live", "daemon"),
    "events --trace live",
]


@pytest.mark.parametrize("color", ["always"])
def test_c7_no_view_obeys_what_an_agent_says(daemon: Daemon, color: str) -> None:
    once = "[restart]\nfailures_max = 1\n[heartbeat]\nrequired = false"
    for name, lives_s in (("evil", "0.2"), ("live", "600")):
        daemon.agent(name, [PYTHON, "-S", "-c", SAYS, json.dumps(EVIL), lives_s], once)
    daemon.start()
    daemon.until_state("evil", "escalated")
    daemon.until("live", lambda shown: shown["task"])
    daemon.until_true(lambda: daemon.ask("incidents")["incidents"])
    obeyed, begun = {}, {}
    for view in VIEWS:
        done = subprocess.run(
            [str(AGENTCTL), "--socket", str(daemon.socket), *view.split(), "--color", color],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=environment(),
        )
        shown = OUR_COLOURS.sub("", done.stdout + done.stderr)
        assert shown, view
        obeyed[view] = sorted({repr(found) for found in OBEYED.findall(shown)})
        begun[view] = [line for line in shown.splitlines() if line.startswith("# Head")]
    assert {view: found for view, found in obeyed.items() if found} == {}
    # In its own log it wrote a line of that name; nowhere else is one.
    assert {view for view, lines in begun.items() if lines} == {"logs evil", "logs live"}
    own = (daemon.root / "stderr").read_text()
    assert OBEYED.findall(own) == []
    assert not [line for line in own.splitlines() if line.startswith(("# Head", "[a]"))]
