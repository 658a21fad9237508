"""The example agents as their own TOML has them, each several times: well, and in trouble."""

import json
import socket
import tomllib
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from tests.daemon.harness import DEFAULTS, PYTHON, Daemon, Document
from tests.places import short_root
from tests.programs.places import EXAMPLES

DEADLINE_S = 6
# A framework takes its seconds to be imported, the longer the more of them start at once.
PATIENT = {
    "startup_timeout": "60s",
    "heartbeat": {"interval": "3s", "degraded_after": "3s", "unreachable_after": "4s"},
}


@dataclass(frozen=True)
class Example:
    """One example: the directory it is in, and what its TOML calls the agent."""

    folder: str
    agent: str

    @property
    def settings(self) -> Document:
        """What its TOML says."""
        return tomllib.loads((EXAMPLES / self.folder / "agentd.toml").read_text())


@dataclass
class Fleet:
    """A daemon with one provider and any number of agents of one example, none started."""

    daemon: Daemon
    example: Example
    port: int
    running: str = ""

    def add(
        self, name: str, environment: Mapping[str, str], keys: Mapping[str, Any] | None = None
    ) -> None:
        """Add the example's agent by another name; `keys` win over what its TOML says."""
        table = self.example.settings["agents"][self.example.agent]
        told = {"LEDGER": str(self.ledger(name)), "CALL_DEADLINE_S": str(DEADLINE_S)}
        address = {"OPENAI_BASE_URL": self.address("v1")}
        table["environment"] = {**table["environment"], **address, **told, **environment}
        for more in (PATIENT, {"autostart": False}, keys or {}):
            table = _folded(table, more)
        table.pop("command")
        command = [PYTHON, "-u", str(EXAMPLES / self.example.folder / "agent.py")]
        self.daemon.agent(name, command, tomli_w.dumps(table))

    def address(self, path: str) -> str:
        """Return a URL of the provider's."""
        return f"http://127.0.0.1:{self.port}/{path}"

    def ledger(self, name: str) -> Path:
        """Return the file that stands for the world outside of one agent."""
        return self.daemon.root / f"{name}.ledger"

    def done_outside(self, name: str) -> list[str]:
        """Return what one agent has done in the world outside, in order."""
        path = self.ledger(name)
        return path.read_text().splitlines() if path.exists() else []

    def begin(self, name: str) -> None:
        """Start one agent by hand, once the one before it is out of its way."""
        if self.running:
            self.daemon.ask("kill", select=[self.running])
        self.running = name
        self.daemon.ask("start", select=[name])

    def await_provider(self) -> None:
        """Wait until the provider answers; its state says only that it runs."""

        def answers() -> bool:
            try:
                return "answers" in self.bill()
            except OSError:
                return False

        self.daemon.until_true(answers)

    def bill(self) -> Document:
        """Return what the provider has counted."""
        with urllib.request.urlopen(self.address("bill"), timeout=5) as reply:  # noqa: S310 - http
            found: Document = json.load(reply)
        return found

    def log(self, name: str) -> str:
        """Return what one agent has printed, of all its incarnations."""
        return (self.daemon.root / "logs" / f"{name}.log").read_text()


@contextmanager
def fleet_of(example: Example) -> Iterator[Fleet]:
    """A fleet of one example; its daemon has still to be started."""
    with short_root() as root:
        daemon = Daemon(root)
        shared = {
            key: table for key, table in example.settings.items() if key in ("prices", "breakers")
        }
        # Cycles follow each other without a pause: more lines than a real agent sends.
        daemon.configure("line_rate = 0", DEFAULTS + tomli_w.dumps(shared))
        fleet = Fleet(daemon, example, _free_port())
        stub = str(EXAMPLES / "stub_model.py")
        words = [PYTHON, "-u", stub, "--port", str(fleet.port), "--retry-after", "2"]
        daemon.agent("provider", words, "heartbeat.required = false")
        try:
            yield fleet
        finally:
            daemon.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _folded(table: Mapping[str, Any], more: Mapping[str, Any]) -> Document:
    """Fold `more` over a table; tables are merged, everything else is replaced."""
    found = dict(table)
    for key, value in more.items():
        below = found.get(key)
        is_table = isinstance(value, Mapping) and isinstance(below, dict)
        found[key] = _folded(below, value) if is_table else value
    return found
