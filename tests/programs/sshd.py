"""A real sshd on the loopback with keys of its own; a "host" is a key that leads to a daemon."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

START_S = 30.0
_SSHD = """
HostKey {root}/host_key
ListenAddress 127.0.0.1
Port {port}
PidFile {root}/sshd.pid
AuthorizedKeysFile {root}/authorized_keys
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PermitUserEnvironment yes
MaxStartups 100
"""
_HOST = """
Host {name}
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {root}/{name}
    IdentitiesOnly yes
    UserKnownHostsFile {root}/known_hosts
"""


class Sshd:
    """A server in the foreground, and the configuration of a client that knows its hosts."""

    def __init__(self, root: Path, hosts: Mapping[str, Path]) -> None:
        """Take the sockets of daemons by the names of their hosts."""
        self.root = root
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        _key(root / "host_key")
        lines = []
        for name, path in hosts.items():
            _key(root / name)
            public = (root / f"{name}.pub").read_text()
            lines.append(f'environment="AGENTD_SOCKET={path}" {public}')
        (root / "authorized_keys").write_text("".join(lines))
        public = (root / "host_key.pub").read_text()
        (root / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public}")
        (root / "sshd_config").write_text(_SSHD.format(root=root, port=self.port))
        self.config = root / "ssh_config"
        self.config.write_text("".join(self.host(name) for name in hosts))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # it refuses to start without
        sshd = shutil.which("sshd") or "/usr/sbin/sshd"
        self.process = subprocess.Popen(
            [sshd, "-D", "-e", "-f", str(root / "sshd_config")],
            stderr=(root / "sshd.log").open("ab"),
        )
        self._await()

    def host(self, name: str, port: int | None = None) -> str:
        return _HOST.format(name=name, port=port or self.port, user=self.user, root=self.root)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def _await(self) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert self.process.poll() is None, (self.root / "sshd.log").read_text()
            time.sleep(0.05)
        raise AssertionError("sshd did not start in time")


def _key(path: Path) -> None:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(words, check=True, timeout=30)
