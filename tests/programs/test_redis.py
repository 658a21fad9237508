"""A foreign program that nobody wrote for agentd: Debian's redis-server."""

import shutil
import socket

import pytest

from tests.daemon.harness import Daemon
from tests.programs.waiting import awaited

REDIS = shutil.which("redis-server")


@pytest.mark.skipif(REDIS is None, reason="redis-server isn't installed")
def test_redis_is_ready_when_it_says_so_shows_its_status_and_stops_gracefully(
    daemon: Daemon,
) -> None:
    door = daemon.root / "redis.sock"
    daemon.agent(
        "redis",
        [
            *(str(REDIS), "--supervised", "systemd", "--daemonize", "no", "--port", "0"),
            *("--unixsocket", str(door), "--dir", str(daemon.root), "--save", ""),
        ],
        'ready = "notify"\nheartbeat.required = false',
    )
    daemon.agent("client", ["sleep", "600"], 'depends_on = ["redis"]\nheartbeat.required = false')
    daemon.start()
    shown = daemon.until_state("redis", "running")
    assert shown["health"] == "healthy"
    [ready] = awaited(daemon, "redis", "agent.ready")
    assert "READY=1" in ready["message"]
    daemon.until("redis", lambda s: s["step"] == "Ready to accept connections")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(door))
        client.sendall(b"PING\r\n")
        assert client.recv(64) == b"+PONG\r\n"
    # Whoever depends on it was started after that word, not before.
    [started] = awaited(daemon, "client", "agent.started")
    assert started["id"] > ready["id"]
    daemon.ask("stop", select=["redis"])
    gone = daemon.until_state("redis", "stopped")
    assert (gone["last_exit"]["code"], gone["last_exit"]["reason"]) == (0, "USER_STOPPED")
    assert not door.exists()  # it had the time to clean up
    log = daemon.ask("logs", select=["redis"])["logs"][0]["lines"]
    assert any("bye bye" in line for line in log)
