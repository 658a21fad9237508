"""Four hosts in network namespaces, a real daemon on each, and a NATS server on a fifth."""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.daemon.harness import DEFAULTS, Daemon
from tests.fleet.guarded import Guarded

SCRIPT: Final = Path(__file__).with_name("netns_hosts.sh")
HOSTS: Final = ("host1", "host2", "host3", "host4")
AGENTS: Final = tuple(f"agent-{letter}" for letter in "abcde")
SERVER: Final = 5
CLONE_NEWNET: Final = 0x40000000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class Hosts:
    """The hosts by number from 1, each with its daemon; NATS as contrib/nats sets it up."""

    def __init__(self, directory: Path, ttl_ms: int) -> None:
        self.directory = directory
        self.ttl_ms = ttl_ms
        self._script("up", "5")
        with self.entered(SERVER):
            self.nats = Guarded(directory / "nats", HOSTS, "10.77.0.5")
            self.nats.server.start()
        self.daemons = [self._daemon(number) for number in range(1, 5)]

    def _script(self, verb: str, *words: str) -> str:
        run = [str(SCRIPT), verb, str(self.directory), *words]
        return subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()

    @contextlib.contextmanager
    def entered(self, number: int) -> Iterator[None]:
        """Have this thread, and what it starts, on the network of a host for a while."""
        with (
            Path("/proc/thread-self/ns/net").open(encoding="ascii") as home,
            Path(self._script("path", str(number))).open(encoding="ascii") as there,
        ):
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def _daemon(self, number: int) -> Daemon:
        name = HOSTS[number - 1]
        root = self.directory / name
        root.mkdir()
        daemon = Daemon(root)
        keep = json.dumps(["sh", "-c", f"cat >> {root}/alerts; echo >> {root}/alerts"])
        alerts = (
            '[[alerts.sinks]]\nname = "file"\ntype = "command"\nmin_severity = "info"\n'
            f"command = {keep}\n"
        )
        fleet = (
            f'[fleet]\nname = "{name}"\nnats = ["{self.nats.url}"]\nttl = "{self.ttl_ms}ms"\n'
            f'credentials_file = "{self.nats.directory}/{name}.nk"\n'
            f'tls_ca = "{self.nats.directory}/ca.pem"\n'
        )
        daemon.configure(extra=DEFAULTS + alerts + fleet)
        for agent in AGENTS:
            daemon.sleeper(agent, '[restart]\ncooldown = "500ms"\n')
        return daemon

    def start(self, *numbers: int) -> None:
        """Start the daemons of some hosts at once, and wait until they serve."""
        for number in numbers:
            with self.entered(number):
                self.daemons[number - 1].start(ready=False)
        for number in numbers:
            self.daemons[number - 1].await_notify("READY=1")

    def cut(self, number: int) -> None:
        """Take a host off the network; nobody is told."""
        self._script("cut", str(number))

    def join(self, number: int) -> None:
        self._script("join", str(number))

    def power_off(self, number: int) -> None:
        """End everything on a host at once, agents and all."""
        daemon = self.daemons[number - 1]
        pids = subprocess.run(
            ["ip", "netns", "pids", Path(self._script("path", str(number))).name],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        assert daemon.process is not None
        daemon.process.wait(30)

    def alerts(self, key: str) -> list[tuple[str, str]]:
        """Return (host that sent it, its kind) of every alert with a dedup key."""
        found = []
        for name in HOSTS:
            path = self.directory / name / "alerts"
            lines = path.read_text().splitlines() if path.exists() else []
            sent = [json.loads(line) for line in lines if line.strip()]
            found += [(name, one["kind"]) for one in sent if one["dedup_key"] == key]
        return found

    def close(self) -> None:
        for daemon in self.daemons:  # all at once: each takes its time
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.process.terminate()
        for daemon in self.daemons:
            daemon.close()
        self.nats.server.close()
        self._script("down")


@contextlib.contextmanager
def four_hosts(ttl_ms: int) -> Iterator[Hosts]:
    """All of it, the daemons not started yet, on a directory with a short path."""
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        directory = Path(folder)
        directory.chmod(0o755)
        (directory / "nats").mkdir()
        hosts = Hosts(directory, ttl_ms)
        try:
            yield hosts
        finally:
            hosts.close()


def _enter(namespace: int) -> None:
    if _LIBC.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
