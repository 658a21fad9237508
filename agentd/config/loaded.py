"""A config as read: what is usable of it, what is wrong with the rest, where it all stands."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from agentd.config.errors import ConfigError, dotted
from agentd.config.names import SWITCHES
from agentd.config.schema import Config
from agentd.config.sources import Source


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written: a file and a line from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass
class Loaded:
    """The outcome of reading all files. It may hold a usable config and errors at once.

    `environments` has the variables of each agent, those of its files first and those of its
    `environment` over them. They are kept apart from `config`, so that whatever prints,
    compares or stores the config never meets a secret that stood in one of these files.
    """

    config: Config
    errors: list[ConfigError] = field(default_factory=list)
    warnings: list[ConfigError] = field(default_factory=list)
    notices: list[ConfigError] = field(default_factory=list)
    """Options that were set and have no effect in this version."""

    broken: frozenset[str] = frozenset()
    """Agents that are configured, but wrongly: named in `errors`, absent from `config`."""

    is_usable: bool = True
    """False if the main file itself is wrong, beyond single agents of it."""

    environments: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)
    environment_origins: dict[str, dict[str, Origin]] = field(default_factory=dict)
    """Where each variable that came from an environment file was written."""

    sources: list[Source] = field(default_factory=list, repr=False)
    """The files that could be read, the main file first if there is one."""

    files: list[Path] = field(default_factory=list)
    """Every file that was looked at, environment files and unreadable ones too."""

    @cached_property
    def origins(self) -> Mapping[str, Origin]:
        """Return where each key stands: `agents.NAME.restart.cooldown`, `defaults.nice`.

        Worked out when first asked for: the daemon itself never asks, only people do.
        """
        return {
            dotted(path): Origin(str(source.path), line)
            for source in self.sources
            for path, line in source.lines.items()
        }

    def origin(self, agent: str, key: str) -> Origin | None:
        """Return where an option of an agent was written: for it, in defaults, or nowhere.

        All of an internal agent's follow from the one option that asks for it.
        """
        if agent in SWITCHES:
            return self.origins.get(dotted(SWITCHES[agent]))
        found = self.origins.get(f"{dotted(('agents', agent))}.{key}")
        return found or self.origins.get(f"defaults.{key}")

    def findings(self) -> Iterator[ConfigError]:
        """Yield errors, then warnings, then notices."""
        yield from self.errors
        yield from self.warnings
        yield from self.notices
