"""Agents' output through a real daemon: what is masked, what is bounded, what a bad disk costs."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.harness import PYTHON, Daemon, Refused
from tests.daemon.process_bench import open_files

CANARY = "canary-1f2e3d4c5b6a"
PLAIN = "[heartbeat]\nrequired = false"
SAY = (
    "import socket; mouth = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
    "say = lambda text: mouth.sendto(text.encode(), os.environ['NOTIFY_SOCKET'])"
)
SLEEP = "import time; time.sleep(600)"


def lines_of(daemon: Daemon, name: str, **args: object) -> list[str]:
    found: list[str] = daemon.ask("logs", select=[name], **args)["logs"][0]["lines"]
    return found


def test_f3_a_declared_secret_is_masked_in_logs_and_a_new_one_after_a_reload(
    daemon: Daemon,
) -> None:
    told = daemon.root / "told"
    script = (
        f'echo "key=$API_KEY"; while [ ! -e {told} ]; do sleep 0.05; done; cat {told}; sleep 60'
    )
    secret = f'environment = {{ API_KEY = "{CANARY}" }}\n{PLAIN}'
    daemon.agent("talker", ["sh", "-c", script], secret)
    daemon.start()
    daemon.until_true(lambda: lines_of(daemon, "talker"))
    assert "key=" in lines_of(daemon, "talker")[0]
    assert CANARY not in str(lines_of(daemon, "talker"))
    stream = daemon.follow("logs", select=["talker"], lines=10)
    assert CANARY not in str(next(stream))
    # Another agent's secret that comes with a reload is one from then on, in old lines too.
    told.write_text("what of later-0123456789abcdef?\n")
    daemon.until_true(lambda: "later-0123" in str(lines_of(daemon, "talker")))
    daemon.sleeper("other", 'environment = { DB_PASSWORD = "later-0123456789abcdef" }')
    daemon.ask("reload")
    assert "later-0123" not in str(lines_of(daemon, "talker"))


def test_a_smaller_bound_of_the_log_applies_to_an_agent_that_runs(daemon: Daemon) -> None:
    script = "head -c 3000000 /dev/zero | tr '\\0' 'x' | fold -w 99; exec sleep 600"
    daemon.agent("talker", ["sh", "-c", script], PLAIN)
    daemon.start()
    pid = daemon.until_state("talker", "running")["pid"]
    log = daemon.root / "logs" / "talker.log"
    daemon.until_true(lambda: log.stat().st_size > 3_000_000)
    daemon.agent("talker", ["sh", "-c", script], f"{PLAIN}\n[logs]\nmax_size = '1M'")
    plan = daemon.ask("reload")
    assert plan["applied"] == [{"agent": "talker", "keys": ["logs.max_size"]}]
    daemon.until_true(lambda: log.stat().st_blocks * 512 <= 1 << 20)
    assert daemon.status("talker")["pid"] == pid
    # Disk is given back before it is counted; a file system may also hold it back for a while.
    daemon.until_true(lambda: daemon.ask("daemon")["counters"]["logs"]["bytes_trimmed"] > 0)


def test_f8_without_a_log_a_start_waits_and_is_no_failure(daemon: Daemon) -> None:
    logs = daemon.root / "logs"
    logs.mkdir(mode=0o750)
    (logs / "one.log").symlink_to("/dev/null")
    daemon.sleeper("one")
    daemon.sleeper("two")
    daemon.start()
    daemon.until_state("two", "running")
    daemon.until_true(lambda: any(_says_why(event, logs) for event in daemon.events("one")))
    shown = daemon.status("one")
    assert (shown["state"], shown["pid"], shown["failures"]) == ("starting", None, 0)
    # It can still be called off, and starts by itself once there is a log for it.
    daemon.ask("stop", select=["one"])
    daemon.until_state("one", "stopped")
    daemon.ask("start", select=["one"])
    (logs / "one.log").unlink()
    assert daemon.until_state("one", "running")["failures"] == 0


def test_more_output_than_fits_an_answer_is_refused_and_not_gathered(daemon: Daemon) -> None:
    (daemon.root / "logs").mkdir(mode=0o750)
    for name in ("one", "two", "three"):
        daemon.sleeper(name, "autostart = false")
        log = daemon.root / "logs" / f"{name}.log"
        log.write_text(f"{'x' * 1023}\n" * (8 << 10))
    daemon.start()
    assert len(lines_of(daemon, "one", lines=10_000)) > 8_000
    with pytest.raises(Refused, match="too much at once") as refused:
        daemon.ask("logs", select=["all"], lines=10_000)
    assert refused.value.error["code"] == "bad_request"


def test_the_log_of_an_agent_that_was_removed_is_let_go(daemon: Daemon) -> None:
    daemon.sleeper("one")
    daemon.sleeper("two")
    daemon.start()
    log = daemon.root / "logs" / "one.log"
    daemon.until_state("one", "running")
    assert str(log) in open_files(daemon.pid).values()
    (daemon.root / "agents.d" / "one.toml").unlink()
    assert daemon.ask("reload")["removed"] == ["one"]
    daemon.until_true(lambda: str(log) not in open_files(daemon.pid).values())
    assert log.exists()
    assert str(log.with_name("two.log")) in open_files(daemon.pid).values()


def _says_why(event: dict[str, object], logs: Path) -> bool:
    return event["event"] == "agent.starting" and str(logs) in str(event["message"])


@pytest.fixture
def small_logs(daemon: Daemon) -> Iterator[Path]:
    """The log directory as a disk of its own, a small one."""
    logs = daemon.root / "logs"
    logs.mkdir(mode=0o750)
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0750", "none", str(logs)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no tmpfs may be mounted here")
    yield logs
    daemon.close()
    subprocess.run(["umount", "-l", str(logs)], check=True)


@pytest.mark.root
def test_f8_on_a_read_only_log_disk_a_start_waits_and_goes_on_by_itself(
    daemon: Daemon, small_logs: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_logs)], check=True)
    daemon.sleeper("new")
    daemon.start()
    daemon.until_true(lambda: any(_says_why(event, small_logs) for event in daemon.events("new")))
    assert "Read-only" in str(daemon.events("new"))
    subprocess.run(["mount", "-o", "remount,rw", str(small_logs)], check=True)
    assert daemon.until_state("new", "running")["failures"] == 0


@pytest.mark.root
def test_f8_a_full_log_disk_is_told_once_and_so_is_its_recovery(
    daemon: Daemon, small_logs: Path
) -> None:
    daemon.sleeper("one")
    dies = f"while [ ! -e {daemon.root}/die ]; do sleep 0.05; done; exit 6"
    daemon.agent("writer", ["sh", "-c", dies], f"[restart]\npolicy = 'never'\n{PLAIN}")
    daemon.start()
    daemon.until_state("one", "running")
    daemon.until_state("writer", "running")
    filler = small_logs / "filler"
    with filler.open("wb", buffering=0) as file:
        while _takes(file.fileno()):
            pass
    daemon.until_true(lambda: _told(daemon, "full"))
    (daemon.root / "die").touch()
    last = daemon.until("writer", lambda s: s["last_exit"] is not None)["last_exit"]
    assert (last["reason"], last["code"]) == ("EXITED", 6)
    assert "log disk full" in last["evidence"], last
    daemon.ask("restart", select=["one"])  # an agent with little to say can live without a log
    daemon.until("one", lambda s: s["state"] == "running" and s["restarts"] == 1)
    filler.unlink()
    daemon.until_true(lambda: _told(daemon, "room again"))
    assert len(_told(daemon, "full")) == 1


def _takes(fd: int) -> bool:
    try:
        return os.write(fd, bytes(65536)) > 0
    except OSError:
        return False


def _told(daemon: Daemon, word: str) -> list[str]:
    return [e["message"] for e in daemon.events(kind="daemon.storage") if word in e["message"]]


def test_f3_a_secret_is_masked_in_events_and_evidence_that_an_agent_fills(daemon: Daemon) -> None:
    shell = "echo not with $API_KEY >&2; exit 1"
    restart = f"[restart]\ncooldown = '0s'\nvalidate = {json.dumps(['sh', '-c', shell])}"
    ready = f'import json, os; {SAY}; say("READY=1\\nSTATUS=" + os.environ["API_KEY"]); {SLEEP}'
    secret = f'environment = {{ API_KEY = "{CANARY}" }}\nready = "notify"\n{restart}\n{PLAIN}'
    daemon.agent("talker", [PYTHON, "-S", "-c", ready], secret)
    daemon.start()
    pid = daemon.until_state("talker", "running")["pid"]
    os.kill(pid, signal.SIGKILL)
    shown = daemon.until("talker", lambda s: s["reason"] == "STATE_INVALID")
    assert "not with ***" in shown["last_exit"]["evidence"]
    told = str(daemon.events())
    assert "not with ***" in told
    assert CANARY not in told
    assert CANARY not in str(shown["last_exit"]) + daemon.log()
