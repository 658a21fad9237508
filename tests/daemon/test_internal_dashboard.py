"""The real dashboard, kept running by a real daemon: on a port that it chose, and back again."""

import contextlib
import http.client
import json
import os
import signal
from pathlib import Path

from tests.daemon.harness import DEFAULTS, Daemon, Document, alive
from tests.daemon.test_internal_agents import again
from tests.daemon.test_reexec import reexec

TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 - made up
HTTP = '[http]\nlisten = "127.0.0.1:0"\ntoken_file = "token"\n'


def begin(daemon: Daemon, more: str = "") -> Document:
    """Start it with a dashboard, and wait until that listens."""
    token = daemon.root / "token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    daemon.configure(extra=f"{DEFAULTS}\n{HTTP}{more}")
    daemon.sleeper("plain")
    daemon.start()
    daemon.until_state("plain", "running")
    return daemon.until_state("agentd-http", "running")


def port_of(daemon: Daemon) -> int:
    """Return the port, from what it says that it does."""
    step = daemon.status("agentd-http")["step"] or ""
    return int(step.rpartition(":")[2].rstrip("/"))


def ask(daemon: Daemon, path: str, body: Document | None = None, token: str = TOKEN) -> Document:
    """One request; the document that it is answered with, and its `status_code`."""
    port = port_of(daemon)
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(link):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        link.request(
            "GET" if body is None else "POST",
            path,
            None if body is None else json.dumps(body),
            headers,
        )
        answer = link.getresponse()
        raw = answer.read()
        found = json.loads(raw) if "json" in (answer.headers["Content-Type"] or "") else {}
        return {**found, "status_code": answer.status}


def serves(daemon: Daemon) -> bool:
    """Whether the status can be read from it by now."""
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
        found = ask(daemon, "/api/v1/status")
        return [agent["name"] for agent in found["agents"]] == ["plain"]
    return False


def test_the_daemon_keeps_a_dashboard_running_that_is_a_viewer(daemon: Daemon) -> None:
    begin(daemon)
    assert serves(daemon)
    assert ask(daemon, "/api/v1/status", token="")["status_code"] == http.HTTPStatus.UNAUTHORIZED
    killed = ask(daemon, "/api/v1/agents/plain/kill", {"reason": "by the page"})
    assert killed["status_code"] == http.HTTPStatus.FORBIDDEN
    assert daemon.status("plain")["intent"] == "up"
    # Nothing of it is on TCP but its own process.
    assert not _listens(daemon.pid)


def test_the_dashboard_kills_for_good_where_it_may_operate(daemon: Daemon) -> None:
    begin(daemon, "operate = true\n")
    killed = ask(daemon, "/api/v1/agents/plain/kill", {"reason": "by the page"})
    assert killed["status_code"] == http.HTTPStatus.OK
    shown = daemon.until_state("plain", "stopped")
    assert (shown["intent"], shown["intent_by"]) == ("killed", "agentd-http")


def test_l11_the_dashboard_is_back_after_its_kill_its_daemons_and_a_new_version(
    daemon: Daemon,
) -> None:
    pid, plain = begin(daemon)["pid"], daemon.status("plain")["pid"]
    os.kill(pid, signal.SIGKILL)
    pid = again(daemon, "agentd-http", pid)
    daemon.until_true(lambda: serves(daemon))

    reexec(daemon)
    second = again(daemon, "agentd-http", pid)
    assert not alive(pid)
    daemon.until_true(lambda: serves(daemon))

    daemon.crash()
    daemon.until_true(lambda: not alive(second))
    daemon.start()
    again(daemon, "agentd-http", second)
    daemon.until_true(lambda: serves(daemon))
    assert daemon.status("plain")["pid"] == plain


def test_the_link_of_the_fleet_runs_and_comes_back_while_there_is_no_server(
    daemon: Daemon,
) -> None:
    # Of port 1 nobody listens; the link says so and tries again, and is no agent in trouble.
    daemon.configure(extra=f'{DEFAULTS}\n[fleet]\nnats = ["nats://127.0.0.1:1"]\nname = "here"\n')
    daemon.start()
    shown = daemon.until("agentd-fleet", lambda one: "not connected" in (one["step"] or ""))
    assert shown["state"] == "running"
    daemon.crash()
    daemon.until_true(lambda: not alive(shown["pid"]))
    daemon.start()
    again(daemon, "agentd-fleet", shown["pid"])
    assert not daemon.events("agentd-fleet", "incident.opened")


def _listens(pid: int) -> bool:
    """Whether a process has a TCP socket open that listens."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            link = str(entry.readlink())
            if link.startswith("socket:["):
                inodes.add(link[8:-1])
    listening = "0A"
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == listening and fields[9] in inodes:
                return True
    return False
