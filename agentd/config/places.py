"""Where everything lives: config, socket, state, logs; as root and as a user.

Nothing here looks at the system: environment, uid and home come in as values.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentd.config.schema import DaemonConfig

SOCKET_NAME: Final = "agentd.sock"
CONFIG_NAME: Final = "agentd.toml"


@dataclass(frozen=True, slots=True)
class User:
    """Who runs, and with what environment."""

    environ: Mapping[str, str]
    euid: int
    home: Path

    @property
    def is_root(self) -> bool:
        """Whether this is system mode."""
        return self.euid == 0


@dataclass(frozen=True, slots=True)
class Places:
    """Every path of one daemon."""

    config_file: Path
    agents_dir: Path
    socket: Path
    state_dir: Path
    log_dir: Path

    @property
    def runtime_dir(self) -> Path:
        """Return the directory of the socket, where other sockets of this daemon stand too."""
        return self.socket.parent


def config_place(user: User, option: str | None = None) -> tuple[Path, bool]:
    """Return (the main file, whether it was asked for by name and so has to exist).

    `option` is what `--config` says; it wins over `AGENTD_CONFIG`, and that over systemd's
    `CONFIGURATION_DIRECTORY`, and that over the default place.
    """
    named = option or user.environ.get("AGENTD_CONFIG")
    if named:
        return Path(named), True
    directory = _from_systemd(user, "CONFIGURATION_DIRECTORY")
    if directory is None and user.is_root:
        directory = Path("/etc/agentd")
    if directory is None:
        directory = _xdg(user, "XDG_CONFIG_HOME", ".config") / "agentd"
    return directory / CONFIG_NAME, False


def places(
    user: User,
    config_file: Path,
    daemon: DaemonConfig | None = None,
    socket_option: str | None = None,
) -> Places:
    """Return all places. Relative paths in `[daemon]` start from the main file's directory.

    For each: what was asked for by name (`--socket`, `AGENTD_SOCKET`), else `[daemon]`, else
    systemd's directory, else the default of system or user mode.
    """
    asked = daemon if daemon is not None else DaemonConfig()
    base = config_file.parent
    state_dir = base / asked.state_dir if asked.state_dir else _state_dir(user)
    return Places(
        config_file=config_file,
        agents_dir=base / asked.agents_dir,
        socket=_socket(user, base, asked, socket_option),
        state_dir=state_dir,
        log_dir=base / asked.log_dir if asked.log_dir else _log_dir(user, state_dir),
    )


def _socket(user: User, base: Path, daemon: DaemonConfig, option: str | None) -> Path:
    named = option or user.environ.get("AGENTD_SOCKET")
    if named:
        return Path(named).absolute()  # agents run in directories of their own
    if daemon.socket:
        return base / daemon.socket
    directory = _from_systemd(user, "RUNTIME_DIRECTORY")
    if directory is not None:
        return directory / SOCKET_NAME
    if user.is_root:
        return Path("/run/agentd") / SOCKET_NAME
    runtime = user.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/"):
        return Path(runtime) / "agentd" / SOCKET_NAME
    return user.home / ".local/state/agentd" / SOCKET_NAME


def _state_dir(user: User) -> Path:
    directory = _from_systemd(user, "STATE_DIRECTORY")
    if directory is not None:
        return directory
    if user.is_root:
        return Path("/var/lib/agentd")
    return _xdg(user, "XDG_STATE_HOME", ".local/state") / "agentd"


def _log_dir(user: User, state_dir: Path) -> Path:
    directory = _from_systemd(user, "LOGS_DIRECTORY")
    if directory is not None:
        return directory
    return Path("/var/log/agentd") if user.is_root else state_dir / "logs"


def _from_systemd(user: User, name: str) -> Path | None:
    """Return the first directory of a list that systemd made, or None."""
    first = user.environ.get(name, "").partition(":")[0]
    return Path(first) if first.startswith("/") else None


def _xdg(user: User, name: str, default: str) -> Path:
    """Return a base directory; a relative one is to be ignored, as its specification says."""
    value = user.environ.get(name, "")
    return Path(value) if value.startswith("/") else user.home / default
