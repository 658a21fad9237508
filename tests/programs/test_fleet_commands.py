"""`agentctl fleet` and `-H nats:HOST` on two real daemons, over the server of contrib/nats."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon.harness import DEFAULTS, Daemon
from tests.fleet.guarded import Guarded
from tests.places import short_root
from tests.programs.places import AGENTCTL
from tests.programs.test_agentctl import environment, read_until

WAIT_S = 90.0
TTL_S = 4

FLEET = """
[fleet]
nats = ["tls://127.0.0.1:{port}"]
name = "{name}"
credentials_file = "{directory}/{name}.nk"
tls_ca = "{directory}/ca.pem"
ttl = "{ttl_s}s"
"""


class Machines:
    """Hosts `one` and `two`; their operator is ada, grace looks on."""

    def __init__(self, root: Path) -> None:
        (root / "nats").mkdir()
        self.root = root
        self.guarded = Guarded(root / "nats", ("one", "two"))
        self.guarded.server.start()
        self.daemons: dict[str, Daemon] = {}
        for name in ("one", "two"):
            (root / name).mkdir(mode=0o755)
            daemon = Daemon(root / name)
            daemon.configure(extra=DEFAULTS + self.table(name))
            daemon.beater("worker", text='tags = ["shop"]')
            self.daemons[name] = daemon
        self.daemons["one"].sleeper("idler")
        for name in ("ada", "grace"):
            (root / f"{name}.toml").write_text(self.table(name))
        make = [sys.executable, "-m", "agentd.fleet", "--create", "--config", f"{root}/ada.toml"]
        subprocess.run(make, check=True, timeout=60, stdout=subprocess.DEVNULL)

    def table(self, name: str) -> str:
        return FLEET.format(port=self.guarded.server.port, name=name, ttl_s=TTL_S,
                            directory=self.guarded.directory)  # fmt: skip

    def close(self) -> None:
        for daemon in self.daemons.values():
            daemon.close()
        self.guarded.server.close()

    def run(self, *words: str, user: str = "ada") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [AGENTCTL, *words], env=self.environment(user), capture_output=True, text=True,
            timeout=100, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def environment(self, user: str = "ada") -> dict[str, str]:
        env = environment(self.daemons["one"], AGENTD_CONFIG=str(self.root / f"{user}.toml"))
        return {**env, "AGENTD_SOCKET": str(self.root / "nobody")}

    def until(self, holds: Callable[["subprocess.CompletedProcess[str]"], object],
              *words: str) -> "subprocess.CompletedProcess[str]":  # fmt: skip
        end = time.monotonic() + WAIT_S
        while not holds(done := self.run(*words)):
            assert time.monotonic() < end, (done.stdout, done.stderr)
            time.sleep(0.2)
        return done


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    with short_root() as root:
        made = Machines(root)
        try:
            for daemon in made.daemons.values():
                daemon.start()
            made.until(lambda done: done.stdout.count("healthy") >= 4, "fleet", "status")
            yield made
        finally:
            made.close()


def test_all_agents_of_all_hosts_are_in_one_table(machines: Machines) -> None:
    done = machines.run("fleet", "status", user="grace")
    rows = {tuple(line.split()[:3]) for line in done.stdout.splitlines()}
    assert {("one", "idler", "running"), ("one", "worker", "running"),
            ("two", "worker", "running")} <= rows  # fmt: skip
    assert "agentd-fleet" not in done.stdout
    assert done.stdout.splitlines()[-1].startswith("2 hosts; ")
    (host,) = json.loads(machines.run("fleet", "status", "two", "--json").stdout)["hosts"]
    assert (host["host"], host["state"], host["error"]) == ("two", "up", None)
    assert "agentd OK: " in machines.run("fleet", "status", "--check").stdout
    assert machines.run("fleet", "status", "x*").returncode == 5


def test_settings_may_stand_on_the_command_line(machines: Machines) -> None:
    keys = machines.guarded.directory
    words = ("--nats", f"tls://127.0.0.1:{machines.guarded.server.port}",
             "--credentials", str(keys / "ada.nk"), "--ca", str(keys / "ca.pem"))  # fmt: skip
    (machines.root / "empty.toml").touch()
    env = machines.environment("empty")
    for line in (("fleet", *words, "status"), ("fleet", "status", *words)):
        done = subprocess.run([AGENTCTL, *line], env=env, capture_output=True, text=True,
                              timeout=60, check=False)  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert "worker" in done.stdout


def test_a_kill_from_afar_is_waited_for_and_holds(machines: Machines) -> None:
    done = machines.run("fleet", "kill", "*/tag:shop", "--reason", "too dear")
    assert done.stdout.splitlines() == [
        f"{name}: worker: stopped (killed; stays down)" for name in ("one", "two")
    ]
    assert (done.returncode, done.stderr) == (0, "")
    shown = machines.daemons["two"].until_state("worker", "stopped")
    assert shown["intent"] == "killed"
    assert shown["intent_reason"].endswith("too dear")
    assert machines.run("-H", "nats:one,nats:two", "resume", "worker").returncode == 0
    machines.daemons["two"].until_state("worker", "running")


def test_a_viewer_sees_everything_and_changes_nothing(machines: Machines) -> None:
    assert machines.run("-H", "nats:one", "status", user="grace").returncode == 0
    done = machines.run("fleet", "kill", "one/worker", user="grace")
    assert (done.returncode, done.stdout) == (4, "")
    assert "these credentials may not use" in done.stderr
    assert machines.daemons["one"].until_state("worker", "running")["intent"] == "up"


def test_each_host_says_what_came_of_it(machines: Machines) -> None:
    done = machines.run("fleet", "hold", "one/idler", "two/idler", "nobody/idler")
    assert done.stdout.startswith("one: idler: running (held")
    assert 'agentctl: two: no agent matches "idler"' in done.stderr
    assert "agentctl: nobody: host nobody is not there" in done.stderr
    assert done.returncode == 7
    assert machines.run("fleet", "unhold", "all/idler").returncode == 5
    assert machines.run("fleet", "stop", "worker").returncode == 2


def test_events_of_all_hosts_are_shown_and_followed(machines: Machines) -> None:
    events = json.loads(machines.run("fleet", "events", "-n", "500", "--json").stdout)["events"]
    assert {event["host"] for event in events} == {"one", "two"}
    with subprocess.Popen(
        [AGENTCTL, "fleet", "events", "-f", "--json", "-n", "1", "two"],
        env=machines.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as follower:  # fmt: skip
        assert follower.stdout is not None
        out = follower.stdout.fileno()
        os.set_blocking(out, False)
        try:
            read_until(out, lambda seen: seen.endswith(b"\n"), timeout_s=WAIT_S)
            machines.run("fleet", "hold", "two/worker", "--reason", "first")
            read_until(out, lambda seen: b"first" in seen and seen.endswith(b"\n"),
                       timeout_s=WAIT_S)  # fmt: skip
            machines.guarded.server.kill()
            machines.guarded.server.start()
            machines.until(lambda done: not done.returncode, "-H", "nats:two", "ping")
            machines.run("fleet", "unhold", "two/worker", "--reason", "second")
            seen = read_until(out, lambda seen: b"agent.unheld" in seen and seen.endswith(b"\n"),
                              timeout_s=WAIT_S)  # fmt: skip
        finally:
            follower.terminate()
            follower.wait(30)
    events = [json.loads(line) for line in seen.splitlines()]
    assert {event["host"] for event in events} == {"two"}
    ids = [event["id"] for event in events]
    assert ids == sorted(set(ids)), "none twice, over a gap of the connection"


def test_a_host_that_is_lost_is_a_row_and_never_a_stale_one(machines: Machines) -> None:
    machines.daemons["two"].crash()
    done = machines.until(lambda done: " lost " in done.stdout, "fleet", "status")
    (row,) = (line for line in done.stdout.splitlines() if line.startswith("two"))
    assert "silent" in row
    assert "healthy" not in row
    assert done.stdout.splitlines()[-1].startswith("2 hosts, 1 lost; ")
    assert machines.run("fleet", "status", "--check").returncode == 2
    assert "two   error" in machines.run("fleet", "incidents").stdout
    machines.daemons["two"].start()
    machines.until(lambda done: " lost " not in done.stdout and "two   worker" in done.stdout,
                   "fleet", "status")  # fmt: skip


def test_servers_that_are_not_there_are_said_at_once(machines: Machines) -> None:
    done = machines.run("fleet", "--nats", "nats://127.0.0.1:1", "status")
    assert done.returncode == 7
    assert "no NATS server on nats://127.0.0.1:1" in done.stderr
    assert machines.run("fleet", "--nats", "http://x", "status").returncode != 0
