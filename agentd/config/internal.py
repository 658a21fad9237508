"""The internal agents: programs of agentd's own that the config asks for without a command.

`[http] listen` wants the dashboard (`agentd-http`), `[fleet] nats` the link to the other
machines (`agentd-fleet`). Each is an agent like any other, of a config made here: the core
starts it, restarts it and calls a human for it as it does for all.
"""

import hashlib
import importlib
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from msgspec import structs

from agentd.config.agent import AgentConfig, HeartbeatConfig, LogsConfig, RestartConfig
from agentd.config.errors import ConfigError
from agentd.config.loaded import Loaded
from agentd.config.names import FLEET_AGENT, HTTP_AGENT, SWITCHES
from agentd.config.problems import Place, Problems
from agentd.config.schema import Config, FleetBudgetConfig
from agentd.config.sources import Source
from agentd.config.units import Bytes, Milliseconds

COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    HTTP_AGENT: (sys.executable, "-m", "agentd.http"),
    FLEET_AGENT: (sys.executable, "-m", "agentd.fleet"),
}
"""What is run, with `--config FILE` behind it."""

SETTINGS_ENV: Final = "AGENTD_SETTINGS"
"""A digest of the tables that a process reads from the file by itself. So another table is
another environment, and a reload restarts the process, and no other one."""

# What each extra brings that its process can't start without.
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "http": ("prometheus_client", "starlette", "uvicorn"),
    "fleet": ("nats", "nkeys"),
}
_EXTRAS: Final[Mapping[str, str]] = {HTTP_AGENT: "http", FLEET_AGENT: "fleet"}
_DESCRIPTIONS: Final[Mapping[str, str]] = {
    HTTP_AGENT: "the dashboard and API of [http] listen",
    FLEET_AGENT: "the link to the other machines of [fleet] nats",
}

# Short, so that a dashboard that fell over is back before anybody reloads the page; growing, so
# that one that can't start asks little of the host; and after these failures, in some three
# minutes all told, a human is called as for any agent.
_RESTART: Final = RestartConfig(
    policy="always",
    cooldown_ms=Milliseconds(1_000),
    backoff=2.0,
    cooldown_max_ms=Milliseconds(60_000),
    failures_max=10,
    stable_after_ms=Milliseconds(60_000),
)


def with_internal(loaded: Loaded, config_file: Path) -> Loaded:
    """Return a config as read from `config_file`, with the internal agents that it asks for."""
    found = internal_agents(loaded.config, config_file)
    agents = {**loaded.config.agents, **found}
    loaded.config = structs.replace(loaded.config, agents=agents)
    return loaded


def internal_agents(config: Config, config_file: Path) -> dict[str, AgentConfig]:
    """Return the internal agents that a config asks for, by name."""
    return {name: _agent(name, config, config_file) for name in _wanted(config)}


def is_wanted(name: str, config: Config) -> bool:
    """Whether a config asks for the internal agent of this name."""
    return bool(config.http.listen if name == HTTP_AGENT else config.fleet.nats)


def missing_extra(name: str) -> str:
    """Return why an internal agent can't start for want of packages; empty: it has them all."""
    extra = _EXTRAS[name]
    importlib.invalidate_caches()  # it may have been installed a moment ago
    missing = [module for module in _NEEDED[extra] if find_spec(module) is None]
    if not missing:
        return ""
    return f"needs {', '.join(missing)}: pip install 'agentd-supervisor[{extra}]'"


def extra_warnings(config: Config, main: Source) -> list[ConfigError]:
    """Return a warning for each internal agent that is wanted and whose packages are missing."""
    problems = Problems()
    for name in _wanted(config):
        told, _, remedy = missing_extra(name).partition(": ")
        if told:
            path = SWITCHES[name]
            problems.add(path, [Place(main, path)], told, remedy)
    return problems.errors()


def _wanted(config: Config) -> list[str]:
    return [name for name in COMMANDS if is_wanted(name, config)]


def _agent(name: str, config: Config, config_file: Path) -> AgentConfig:
    return AgentConfig(
        command=[*COMMANDS[name], "--config", str(config_file)],
        description=_DESCRIPTIONS[name],
        environment={SETTINGS_ENV: _digest(name, config)},
        ready="notify",
        startup_timeout_ms=Milliseconds(60_000),
        stop_timeout_ms=Milliseconds(5_000),
        umask="077",
        heartbeat=HeartbeatConfig(required=False),
        restart=_RESTART,
        logs=LogsConfig(max_size_bytes=Bytes(10 << 20)),
    )


def _digest(name: str, config: Config) -> str:
    """Return what changes with the tables that the process goes by.

    The dashboard shows the fleet too. The names for ssh and the budget over all hosts are
    others' matter.
    """
    fleet = structs.replace(config.fleet, hosts={}, budget=FleetBudgetConfig())
    tables = [fleet] if name == FLEET_AGENT else [config.http, fleet]
    return hashlib.sha256(repr(tables).encode()).hexdigest()[:16]
