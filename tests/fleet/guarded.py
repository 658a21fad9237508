"""A real NATS server with the configuration of contrib/nats: TLS, and a key for each user."""

import subprocess
import sys
from pathlib import Path

from agentd.fleet.connection import Connection
from agentd.fleet.settings import FleetSettings
from tests.fleet.conftest import TTL_MS
from tests.fleet.server import NatsServer

CONTRIB = Path(__file__).parents[2] / "contrib" / "nats"
NAMES = ("one", "two", "grace", "ada")


class Guarded:
    """A server as contrib/nats sets it up: some hosts, viewer grace, operator ada."""

    def __init__(self, directory: Path, hosts: tuple[str, ...], address: str = "127.0.0.1") -> None:
        self.directory = directory
        self._hosts = hosts
        self.make_users()
        subprocess.run(
            [str(CONTRIB / "tls.sh"), str(directory), address], check=True, capture_output=True
        )
        self.server = NatsServer(directory, address=address)
        text = (CONTRIB / "nats-server.conf").read_text()
        for shipped, here in (
            ("0.0.0.0:4222", f"{address}:{self.server.port}"),
            ('http: "127.0.0.1:8222"', ""),
            ("/etc/nats", str(directory)),
            ("/var/lib/nats", str(directory / "jetstream")),
        ):
            assert shipped in text
            text = text.replace(shipped, here)
        self.server.config.write_text(text)

    def make_users(self, *more: str) -> None:
        words = ["--hosts", *self._hosts, "--viewers", "grace", "--operators", "ada", *more]
        users = [sys.executable, str(CONTRIB / "users.py"), str(self.directory)]
        subprocess.run([*users, *words], check=True, capture_output=True)

    def settings(self, name: str, *, ca: bool = True, ttl_ms: int = TTL_MS) -> FleetSettings:
        return FleetSettings(
            (self.url,),
            name,
            credentials_file=self.directory / f"{name}.nk",
            tls_ca=self.directory / "ca.pem" if ca else None,
            ttl_ms=ttl_ms,
        )

    @property
    def url(self) -> str:
        return f"tls://{self.server.address}:{self.server.port}"

    async def connect(self, name: str) -> Connection:
        return await Connection.connect(self.settings(name))
