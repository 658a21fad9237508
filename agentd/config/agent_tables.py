"""From the table of one agent and the inherited one to an `AgentConfig` and its environment."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from agentd.config.agent import AgentConfig
from agentd.config.agent_checks import check_agent
from agentd.config.convert import clean, convert, convert_rest
from agentd.config.environment_files import BadLineError, read_variables
from agentd.config.errors import KeyPath
from agentd.config.loaded import Origin
from agentd.config.problems import Place, Problems
from agentd.config.sources import Ownership, Source

_DEFAULTS: Final = "defaults"


@dataclass(frozen=True, slots=True)
class AgentTable:
    """What was written for one agent alone; `raw` is None where its file isn't TOML."""

    name: str
    source: Source
    raw: object

    @property
    def path(self) -> KeyPath:
        """Return where the table stands in the whole config."""
        return ("agents", self.name)

    @property
    def place(self) -> Place:
        """Return where the table stands in its file."""
        return Place(self.source, self.path)


def inherited(main: Source, problems: Problems) -> dict[str, Any]:
    """Return the right part of `[defaults]`, paths in it absolute; the rest is reported once."""

    def report(path: KeyPath, message: str, hint: str) -> None:
        full = (_DEFAULTS, *path)
        problems.add(full, [Place(main, full)], message, hint)

    if _DEFAULTS not in main.tables:
        return {}
    good = clean(main.tables[_DEFAULTS], AgentConfig, report, problems.suggest)
    # A command that can't be wrong, so that only the options that are there are judged.
    agent = convert({"command": ["-"], **good}, AgentConfig, report, problems.suggest)
    if agent is None:
        return {}
    for path, message, hint in list(check_agent(agent, {}, problems.suggest)):
        if path[0] in good:
            report(path, message, hint)
            good.pop(str(path[0]))
    return _rebased(good, main.directory)


def merged(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Fold `own` over `defaults`; tables are merged, everything else is replaced."""
    found = dict(defaults)
    for key, value in own.items():
        below = found.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            found[key] = {**below, **value}
        else:
            found[key] = value
    return found


class AgentReader:
    """Reads one agent after the other, and keeps the environments of those that are right."""

    def __init__(self, main: Source, defaults: Mapping[str, Any], problems: Problems) -> None:
        self.environments: dict[str, dict[str, str]] = {}
        self.environment_origins: dict[str, dict[str, Origin]] = {}
        self.owners: dict[str, Ownership] = {}
        """Who may change each environment file that was read."""
        self.partial: dict[str, AgentConfig] = {}
        """What is right of agents that are wrong; good for finding further mistakes only."""
        self._main = main
        self._defaults = defaults
        self._problems = problems
        self._sources: dict[str, Source] = {}
        self._files: dict[str, dict[str, tuple[str, int]] | BadLineError] = {}

    @property
    def files(self) -> list[Path]:
        """Return the environment files that were looked at, each once."""
        return [Path(name) for name in self._files]

    def read(self, table: AgentTable) -> AgentConfig | None:
        """Return an agent; None, and everything that is wrong with it reported."""
        self._sources.setdefault(table.name, table.source)
        raw = table.raw
        if isinstance(raw, dict):
            raw = merged(self._defaults, _rebased(raw, table.source.directory))
            raw.setdefault("directory", _directory_of(raw, table.source))

        def report(path: KeyPath, message: str, hint: str) -> None:
            if path == ("agents",) and table.source is not self._main:
                hint = "this file is the agent: its keys stand at the top, without a header"
            self._blame(table.name, table.source, path, message, hint)

        suggest = self._problems.suggest
        agent, is_right = convert_rest(raw, AgentConfig, report, suggest)
        if agent is None or not isinstance(table.raw, dict):
            return None
        for path, message, hint in check_agent(agent, table.raw, suggest):
            if is_right or path != ("command",) or "command" not in table.raw:
                report(path, message, hint)
            is_right = False
        is_right = self._read_environment(table, agent) and is_right
        if is_right:
            return agent
        self.partial.setdefault(table.name, agent)
        return None

    def blame(self, name: str, path: KeyPath, message: str, hint: str) -> None:
        """Report a mistake of an agent that was read; `path` begins below the agent."""
        self._blame(name, self._sources[name], path, message, hint)

    def _blame(self, name: str, source: Source, path: KeyPath, message: str, hint: str) -> None:
        full = ("agents", name, *path)
        places: Sequence[Place] = (
            Place(source, full),
            Place(self._main, (_DEFAULTS, *path)),
        )
        self._problems.add(full, places if path else places[:1], message, hint)

    def _read_environment(self, table: AgentTable, agent: AgentConfig) -> bool:
        """Read the environment files of an agent; False, and reported, if one can't be used."""
        variables: dict[str, str] = {}
        origins: dict[str, Origin] = {}
        good = True
        for index, file in enumerate(agent.environment_files):
            if file not in self._files:
                self._files[file] = self._variables(file)
            found = self._files[file]
            if isinstance(found, BadLineError):
                good = False
                self._bad_environment_file(table, index, file, found)
                continue
            for name, (value, line) in found.items():
                variables[name] = value
                origins[name] = Origin(file, line)
        if good:
            self.environments[table.name] = {**variables, **agent.environment}
            own = agent.environment.keys()
            kept = {name: origin for name, origin in origins.items() if name not in own}
            self.environment_origins[table.name] = kept
        return good

    def _variables(self, file: str) -> dict[str, tuple[str, int]] | BadLineError:
        try:
            return read_variables(Path(file), partial(self.owners.setdefault, file))
        except BadLineError as error:
            return error

    def _bad_environment_file(
        self, table: AgentTable, index: int, file: str, error: BadLineError
    ) -> None:
        path = ("environment_files", index)
        if error.line is None:
            self._blame(table.name, table.source, path, f"{file} {error}", "")
        else:
            self._problems.add_file(file, error.line, (*table.path, *path), str(error))


def _directory_of(raw: Mapping[str, Any], source: Source) -> str:
    return "" if raw.get("external") is True else str(source.directory)


def _rebased(raw: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return a copy in which paths start from `directory`; what isn't a path stays as it is."""
    found = dict(raw)
    for key in ("directory", "token_file"):
        value = found.get(key)
        if isinstance(value, str) and value:
            found[key] = os.path.join(directory, value)  # noqa: PTH118 - of any string at all
    files = found.get("environment_files")
    if isinstance(files, list):
        found["environment_files"] = [
            os.path.join(directory, file) if isinstance(file, str) else file  # noqa: PTH118
            for file in files
        ]
    return found
