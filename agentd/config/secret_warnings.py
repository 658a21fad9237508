"""Warnings about secrets that others can read: in the config itself, or in files left open."""

import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentd.config.agent_tables import AgentTable
from agentd.config.argv import argv
from agentd.config.errors import ConfigError, KeyPath
from agentd.config.problems import Place, Problems
from agentd.config.schema import Config
from agentd.config.secrets import is_secret, is_secret_value, secret_words
from agentd.config.sources import Source

_IN_ENVIRONMENT = "keep it in a file of KEY=value lines (mode 0600) named in environment_files"
_IN_COMMAND = "everybody on this host can read it; hand it over in environment_files"
_SINK_FILES = ("url_file", "routing_key_file", "secret_file")
# Read by the internal agents; how each goes on until its file is there.
_NETWORK_FILES = (
    (("http", "token_file"), "the dashboard does not start"),
    (("http", "tls_key"), "the dashboard does not start"),
    (("fleet", "credentials_file"), "this host is not in the fleet"),
)
_OF_OTHERS = stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH


def secret_warnings(
    config: Config, main: Source, tables: Sequence[AgentTable]
) -> list[ConfigError]:
    """Return a warning for each value that looks like a secret; values are never quoted."""
    problems = Problems()
    defaults = main.tables.get("defaults")
    for path, hint in _of_agent(defaults):
        _add(problems, main, ("defaults", *path), hint)
    for table in tables:
        for path, hint in _of_agent(table.raw):
            _add(problems, table.source, (*table.path, *path), hint)
    for index, sink in enumerate(config.alerts.sinks):
        # The URL of such a sink is the permission to write to it.
        if sink.url and (sink.type in {"slack", "apprise"} or is_secret_value(sink.url)):
            path = ("alerts", "sinks", index, "url")
            _add(problems, main, path, "keep it in a file (mode 0600) named by url_file")
        for key in _SINK_FILES:
            if name := getattr(sink, key):
                place = ("alerts", "sinks", index, key)
                _look_at(problems, main, place, name, "its alerts wait")
    _look_at_network(problems, main, config)
    return problems.errors()


def _look_at_network(problems: Problems, main: Source, config: Config) -> None:
    """Warn of what `[http]` and `[fleet]` are given."""
    for path, until_then in _NETWORK_FILES:
        if name := getattr(getattr(config, path[0]), path[1]):
            _look_at(problems, main, path, name, until_then)
    for index, url in enumerate(config.fleet.nats):
        if "@" in url:  # a user's name and password stand before it
            hint = "keep it in a file (mode 0600) named by credentials_file"
            _add(problems, main, ("fleet", "nats", index), hint)


def _add(problems: Problems, source: Source, path: KeyPath, hint: str) -> None:
    problems.add(path, [Place(source, path)], "looks like a secret in the config file", hint)


def _look_at(problems: Problems, main: Source, path: KeyPath, name: str, until_then: str) -> None:
    """Warn of a secret's file that is not there, or that others may read or change."""
    file = main.directory / name
    try:
        mode = file.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        hint = f"write it to {file}, with mode 0600; until then {until_then}"
        problems.add(path, [Place(main, path)], "there is no such file", hint)
    except (OSError, ValueError):  # whoever checks may not look there; agentd itself may
        return
    else:
        if not stat.S_ISREG(mode):
            hint = "name a file that holds the secret, with mode 0600"
            problems.add(path, [Place(main, path)], f"{file} is not a regular file", hint)
        elif mode & _OF_OTHERS:
            message = "others may read or change the secret in this file"
            problems.add(path, [Place(main, path)], message, f"chmod 600 {file}")


def _of_agent(raw: Any) -> Iterator[tuple[KeyPath, str]]:  # noqa: ANN401 - anything TOML can hold
    if not isinstance(raw, dict):
        return
    environment = raw.get("environment")
    if isinstance(environment, Mapping):
        for name, value in environment.items():
            if isinstance(value, str) and is_secret(name, value):
                yield ("environment", name), _IN_ENVIRONMENT
    for index in secret_words(_words(raw.get("command"))):
        path = ("command", index) if isinstance(raw["command"], list) else ("command",)
        yield path, _IN_COMMAND


def _words(command: object) -> list[str]:
    if isinstance(command, list) and all(isinstance(word, str) for word in command):
        return command
    if isinstance(command, str):
        try:
            return argv(command)
        except ValueError:  # reported as an error already
            return []
    return []
