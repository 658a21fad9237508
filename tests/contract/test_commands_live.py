"""The exit codes that scripts depend on (CONTRACT 6), through a real daemon."""

import os
import signal
import subprocess
import sys

import pytest

from tests.daemon.harness import Daemon, daemon

__all__ = ["daemon"]


def _ctl(under: Daemon, *words: str) -> "subprocess.CompletedProcess[str]":
    kept = {key: word for key, word in os.environ.items() if not key.startswith("AGENTD_")}
    return subprocess.run(
        [sys.executable, "-m", "agentd.cli", "-s", str(under.socket), *words],
        env=kept,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("wait", [(), ("--no-wait",)], ids=["waits", "no-wait"])
def test_of_several_agents_the_exit_code_is_the_worst(
    daemon: Daemon, wait: tuple[str, ...]
) -> None:
    daemon.sleeper("killed")
    daemon.sleeper("well")
    (daemon.root / "agents.d" / "far.toml").write_text("external = true\n")
    daemon.start()
    assert _ctl(daemon, "kill", "killed").returncode == 0
    done = _ctl(daemon, "start", "all", *wait)
    assert done.returncode == 1
    assert "well: running" in done.stdout
    assert "far: stopped (is external: left alone)" in done.stdout
    assert '"killed" is killed' in done.stderr
    assert "hint: agentctl resume killed" in done.stderr
    assert _ctl(daemon, "stop", "all", *wait).returncode == 0


def test_a_resume_into_a_cooldown_is_done_and_waits_for_nothing(daemon: Daemon) -> None:
    text = 'heartbeat.required = false\nrestart.cooldown = "1h"'
    daemon.agent("crashing", ["sh", "-c", "exit 3"], text)
    daemon.start()
    daemon.until_state("crashing", "cooldown")
    assert _ctl(daemon, "pause", "crashing").returncode == 0
    done = _ctl(daemon, "resume", "crashing")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "crashing: cooldown (goes on with its cooldown)\n"
    shown = daemon.status("crashing")
    assert (shown["intent"], shown["reason"]) == ("up", "EXITED")
    assert shown["cooldown_s"] > 3000


def test_a_path_too_long_for_a_socket_is_called_that(daemon: Daemon) -> None:
    daemon.socket = daemon.root / ("x" * 120)
    done = _ctl(daemon, "ping")
    assert done.returncode == 7
    assert "too long a path for a socket" in done.stderr


def test_a_reexec_that_could_not_start_again_is_refused_and_the_daemon_goes_on(
    daemon: Daemon,
) -> None:
    daemon.sleeper("one")
    daemon.start()
    good = daemon.config.read_text()
    daemon.config.write_text(good + "x = [\n")
    done = _ctl(daemon, "daemon", "reexec")
    assert done.returncode == 1
    assert f"{daemon.config}:" in done.stderr
    assert "hint: agentd check" in done.stderr
    daemon.signal(signal.SIGUSR2)
    daemon.until_true(lambda: "it would not start again" in daemon.log())
    assert daemon.status("one")["state"] == "running"
    daemon.config.write_text(good)
    assert _ctl(daemon, "daemon", "reexec").returncode == 0
    daemon.await_notify("READY=1")
    assert daemon.status("one")["state"] == "running"
