"""What the guest's checks share: a tally, systemd's and the daemon's answers, bounded waits."""

import json
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

SOCKET = "/run/agentd/agentd.sock"
CGROUPS = Path("/sys/fs/cgroup")
AGENTS = CGROUPS / "agentd.slice" / "agentd-agents.service"
WAIT_S = 180.0  # emulated: the daemon takes half a minute to start where the host is busy

PROJECT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"

# Two that live through everything, one that is killed and one that is stopped for good.
BASE = {
    "steady": 'command = ["sh", "-c", "sleep 91001 & wait"]',
    "other": 'command = ["sleep", "91002"]',
    "killed": 'command = ["sleep", "91003"]',
    "tree": "command = ['sh', '-c', "
    "'setsid sh -c \"setsid sleep 91004 & sleep 91004\" & sleep 91004']",
}
LIVING = ("steady", "other")

Document = dict[str, Any]


class Tally:
    """Counts checks, kept in a file so that they outlive a reboot of the guest."""

    def __init__(self, kept: Path) -> None:
        self._kept = kept
        self.passed, self.failed = json.loads(kept.read_text()) if kept.exists() else (0, 0)

    def check(self, name: str, holds: object, seen: object = "") -> None:
        """Print one line for one check and count it."""
        self.passed += bool(holds)
        self.failed += not holds
        more = f"  ({seen})" if seen != "" else ""
        print(f"{'ok  ' if holds else 'FAIL'} {name}{more}", flush=True)
        if not holds:
            said = sh("journalctl", "-b", "-u", "agentd", "-o", "short-monotonic", "-n", "12")
            print("     | " + said.stdout.rstrip().replace("\n", "\n     | "), flush=True)
        self._kept.write_text(json.dumps([self.passed, self.failed]))

    def end(self) -> None:
        """Print the sum and exit: 0 if nothing failed; else with the daemon's log before it."""
        if self.failed:
            log = sh("journalctl", "-b", "-u", "agentd", "-o", "short-monotonic", "--no-pager")
            print(log.stdout[-12_000:])
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(self.failed > 0)


def sh(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=WAIT_S)


def of_unit(unit: str, name: str) -> str:
    return sh("systemctl", "show", "-P", name, unit).stdout.strip()


def main_pid() -> int:
    return int(of_unit("agentd", "MainPID") or 0)


def until(holds: Callable[[], object], seconds: float = WAIT_S) -> bool:
    """Wait until `holds()` is true; False when it isn't within the time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.1)
    return False


def ask(cmd: str, patience_s: float = 30, **args: object) -> Document:
    """Send one command to the daemon; the result, or {} where there is no answer in time."""
    # The same id again would be taken for the same command, sent twice.
    line = json.dumps({"id": uuid.uuid4().hex, "cmd": cmd, "args": args}) + "\n"
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(patience_s)
            connection.connect(SOCKET)
            connection.sendall(line.encode())
            reply = json.loads(connection.makefile("rb").readline())
    except (OSError, ValueError):  # it is down, or just going: the caller asks again
        return {}
    result: Document = reply.get("result") or {"error": reply.get("error")}
    return result


def agent(name: str) -> Document:
    """Return one agent's part of the status, {} if unknown."""
    found: list[Document] = ask("status", select=[name]).get("agents") or [{}]
    return found[0]


def wait_for(name: str, **wanted: object) -> bool:
    """Wait until the status of an agent shows these values."""
    return until(lambda: wanted.items() <= agent(name).items())


def pids() -> dict[str, int]:
    """Return the pids of those that live through everything."""
    return {name: agent(name).get("pid", 0) for name in LIVING}


def settled(name: str) -> Document:
    """Wait until an agent has ended and is over; return how it stands."""
    until(lambda: agent(name).get("last_exit") and not agent(name).get("pid"))
    return agent(name)


def leaf_of(pid: int) -> Path:
    """Return the control group of a process."""
    path = Path(f"/proc/{pid}/cgroup").read_text().strip().split("::")[1]
    return CGROUPS / path.lstrip("/")


def alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def running(command_part: str) -> list[str]:
    """Return the pids whose command line holds a text."""
    return sh("pgrep", "-f", command_part).stdout.split()
