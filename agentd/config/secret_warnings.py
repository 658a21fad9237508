"""Warnings about secrets that stand in the config itself, where more people read them."""

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
    return problems.errors()


def _add(problems: Problems, source: Source, path: KeyPath, hint: str) -> None:
    problems.add(path, [Place(source, path)], "looks like a secret in the config file", hint)


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
