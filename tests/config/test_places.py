from pathlib import Path
from typing import Any

import pytest

from agentd.config.places import Places, User, config_place, places
from agentd.config.schema import DaemonConfig

HOME = Path("/home/ada")
SYSTEMD = {
    "RUNTIME_DIRECTORY": "/run/sd:/run/other",
    "STATE_DIRECTORY": "/var/lib/sd",
    "LOGS_DIRECTORY": "/var/log/sd",
    "CONFIGURATION_DIRECTORY": "/etc/sd",
}
XDG = {
    "XDG_CONFIG_HOME": "/x/config",
    "XDG_RUNTIME_DIR": "/run/user/7",
    "XDG_STATE_HOME": "/x/state",
}


def root(**environ: str) -> User:
    return User(environ, 0, Path("/root"))


def ada(**environ: str) -> User:
    return User(environ, 7, HOME)


def every(found: Places) -> tuple[str, ...]:
    return tuple(str(path) for path in (found.socket, found.state_dir, found.log_dir))


@pytest.mark.parametrize(
    ("user", "option", "expected"),
    [
        (root(), None, ("/etc/agentd/agentd.toml", False)),
        (root(**XDG), None, ("/etc/agentd/agentd.toml", False)),
        (ada(), None, ("/home/ada/.config/agentd/agentd.toml", False)),
        (ada(**XDG), None, ("/x/config/agentd/agentd.toml", False)),
        (ada(XDG_CONFIG_HOME="relative"), None, ("/home/ada/.config/agentd/agentd.toml", False)),
        (ada(**SYSTEMD, **XDG), None, ("/etc/sd/agentd.toml", False)),
        (ada(**SYSTEMD, AGENTD_CONFIG="e.toml"), None, ("e.toml", True)),
        (ada(**SYSTEMD, AGENTD_CONFIG="e.toml"), "o.toml", ("o.toml", True)),
    ],
)
def test_the_main_file_is_the_first_that_was_named(
    user: User, option: str | None, expected: tuple[str, bool]
) -> None:
    path, is_required = config_place(user, option)
    assert (str(path), is_required) == expected


@pytest.mark.parametrize(
    ("user", "daemon", "option", "expected"),
    [
        (root(), {}, None, ("/run/agentd/agentd.sock", "/var/lib/agentd", "/var/log/agentd")),
        (
            *(ada(), {}, None),
            (
                "/home/ada/.local/state/agentd/agentd.sock",
                "/home/ada/.local/state/agentd",
                "/home/ada/.local/state/agentd/logs",
            ),
        ),
        (
            *(ada(**XDG), {}, None),
            ("/run/user/7/agentd/agentd.sock", "/x/state/agentd", "/x/state/agentd/logs"),
        ),
        (
            *(ada(**XDG, **SYSTEMD), {}, None),
            ("/run/sd/agentd.sock", "/var/lib/sd", "/var/log/sd"),
        ),
        (
            *(root(**SYSTEMD), {"socket": "/s", "state_dir": "st", "log_dir": "/l"}, None),
            ("/s", "/c/st", "/l"),
        ),
        # Logs follow the state of a user; those of the system have a place of their own.
        (
            *(ada(), {"state_dir": "/st"}, None),
            ("/home/ada/.local/state/agentd/agentd.sock", "/st", "/st/logs"),
        ),
        (
            *(root(), {"state_dir": "/st"}, None),
            ("/run/agentd/agentd.sock", "/st", "/var/log/agentd"),
        ),
        (
            *(root(AGENTD_SOCKET="/env", **SYSTEMD), {"socket": "/s"}, None),
            ("/env", "/var/lib/sd", "/var/log/sd"),
        ),
        (
            *(root(AGENTD_SOCKET="/env", **SYSTEMD), {"socket": "/s"}, "/option"),
            ("/option", "/var/lib/sd", "/var/log/sd"),
        ),
    ],
)
def test_places_follow_the_order_of_precedence(
    user: User, daemon: dict[str, Any], option: str | None, expected: tuple[str, ...]
) -> None:
    found = places(user, Path("/c/agentd.toml"), DaemonConfig(**daemon), option)
    assert every(found) == expected
    assert found.runtime_dir == found.socket.parent


def test_agent_files_stand_beside_the_main_file() -> None:
    assert places(root(), Path("/c/x.toml")).agents_dir == Path("/c/agents.d")
    daemon = DaemonConfig(agents_dir="/elsewhere")
    assert places(root(), Path("/c/x.toml"), daemon).agents_dir == Path("/elsewhere")
