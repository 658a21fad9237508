"""Read `agentd.toml` and `agents.d/*.toml`: a typed config, or everything that is wrong with it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from agentd.config.agent import AgentConfig
from agentd.config.agent_tables import AgentReader, AgentTable, inherited
from agentd.config.checks import check_settings
from agentd.config.convert import (
    bare_type,
    convert,
    convert_rest,
    is_table,
    option_types,
    options_of,
)
from agentd.config.dependencies import check_dependencies
from agentd.config.errors import KeyPath
from agentd.config.fleet_warnings import fleet_warnings
from agentd.config.internal import extra_warnings
from agentd.config.loaded import Loaded
from agentd.config.names import agent_name_mistake
from agentd.config.no_effect import settings_without_effect
from agentd.config.problems import Place, Problems
from agentd.config.schema import BreakerConfig, Config, DaemonConfig, PriceConfig
from agentd.config.secret_warnings import secret_warnings
from agentd.config.sink_warnings import sink_warnings
from agentd.config.sources import (
    READ_SHORTAGES,
    BadTomlError,
    Ownership,
    Source,
    UnreadableError,
    decoded,
    parsed,
    read_bytes,
)
from agentd.config.trust import (
    StatusOf,
    mistrust,
    mistrust_above,
    mistrust_environment,
    ownership_of,
    uid_of,
    uids_of,
)

_NAMED_TABLES: Final[dict[str, type[Struct]]] = {"breakers": BreakerConfig, "prices": PriceConfig}
_SECTIONS: Final = (*(option.encode_name for option in options_of(Config)), "defaults")


def load(
    config_file: Path | None,
    *,
    required: bool = True,
    system: bool = False,
    status_of: StatusOf | None = None,
) -> Loaded:
    """Read the config; never raises for what stands in files, or for files that don't.

    Raises OSError where the host is short of descriptors or memory: then nothing is known.

    None, or a missing file that isn't `required`, stands for an empty one. With `system`, set
    where the daemon is root, files that others can change are refused; `status_of` takes the
    place of the system's answer about their owner and mode.
    """
    reading = _Reading(system=system, status_of=status_of)
    return reading.all(config_file, required=required)


class _Reading:
    """One reading of all files: what was found so far."""

    def __init__(self, *, system: bool, status_of: StatusOf | None) -> None:
        self._problems = Problems()
        self._system = system
        self._status_of = status_of
        self._owners: list[tuple[Path, Ownership]] = []
        self._main = Source(path=Path())
        self._sources: list[Source] = []
        self._files: list[Path] = []
        self._main_is_good = True

    def all(self, config_file: Path | None, *, required: bool) -> Loaded:
        if config_file is not None:
            self._read_main(config_file, required=required)
        settings = self._settings()
        defaults = inherited(self._main, self._problems)
        self._main_is_good = self._main_is_good and not self._problems
        tables = [*self._tables_of_main(), *self._tables_of_files(config_file, settings.daemon)]
        reader = AgentReader(self._main, defaults, self._problems)
        agents = self._agents(reader, tables)
        names = {table.name for table in tables}
        broken = names - agents.keys()
        broken |= self._wrong_dependencies({**reader.partial, **agents}, names, reader)
        # One that is wrong now may run still, as its config was before.
        uids = uids_of([*reader.partial.values(), *agents.values()])
        broken |= self._mistrusted(agents, uids)
        broken |= self._mistrusted_environments(agents, reader, uids)
        agents = {name: agent for name, agent in agents.items() if name not in broken}
        config = _with_agents(settings, agents)
        loaded = Loaded(
            config=config,
            errors=self._problems.errors(),
            broken=frozenset(broken),
            is_usable=self._main_is_good,
            environments={name: reader.environments[name] for name in agents},
            environment_origins={name: reader.environment_origins[name] for name in agents},
            sources=self._sources,
            files=[*self._files, *reader.files],
        )
        loaded.warnings = secret_warnings(config, self._main, tables)
        loaded.warnings += sink_warnings(config, self._main, broken)
        loaded.warnings += extra_warnings(config, self._main)
        loaded.warnings += fleet_warnings(config, self._main, tables)
        loaded.notices = settings_without_effect(self._main, tables)
        return loaded

    def _read_main(self, path: Path, *, required: bool) -> None:
        self._main.path = path
        if not required and not path.exists():
            return
        self._main_is_good = self._read(self._main, ())

    def _read(self, source: Source, key: KeyPath) -> bool:
        """Fill in a source; False, and the problem noted, if it isn't a TOML file."""
        self._files.append(source.path)
        try:
            content, ownership = read_bytes(source.path)
            self._owners.append((source.path, ownership))
            text = decoded(content)
            source.tables = parsed(text)
            source.text = text  # only now: lines are looked up in valid documents alone
        except UnreadableError as error:
            hint = f"agentd init {source.path.parent}" if self._is_absent_main(source) else ""
            self._problems.add_file(str(source.path), None, key, str(error), hint)
            return False
        except BadTomlError as error:
            self._problems.add_file(str(source.path), error.line, key, str(error))
            return False
        self._sources.append(source)
        return True

    def _is_absent_main(self, source: Source) -> bool:
        return source is self._main and not source.path.exists()

    def _add(self, path: KeyPath, message: str, hint: str = "") -> None:
        self._problems.add(path, [Place(self._main, path)], message, hint)

    def _settings(self) -> Config:
        """Read everything but the agents and their defaults."""
        tables: dict[str, Any] = {}
        suggest = self._problems.suggest
        for key, raw in self._main.tables.items():
            if key not in _SECTIONS:
                self._add((key,), "unknown option", self._section_hint(key))
            elif key in _NAMED_TABLES:
                tables[key] = self._named(key, raw)
            elif key not in {"agents", "defaults"}:
                struct = option_types(Config)[key]
                found, _ = convert_rest(raw, struct, self._below((key,)), suggest)
                tables[key] = found if found is not None else struct()
        config = Config(**tables)
        for path, message, hint in check_settings(config, suggest):
            self._add(path, message, hint)
        return config

    def _named(self, key: str, raw: object) -> dict[str, Any]:
        """Read a table of tables, `[breakers.NAME]`."""
        if not isinstance(raw, dict):
            self._add((key,), f"expected tables [{key}.NAME]")
            return {}
        struct = _NAMED_TABLES[key]
        found: dict[str, Any] = {}
        for name, table in raw.items():
            value = convert(table, struct, self._below((key, name)), self._problems.suggest)
            if value is not None:
                found[name] = value
        return found

    def _below(self, prefix: KeyPath) -> Any:  # noqa: ANN401 - a convert.Report
        return lambda path, message, hint: self._add((*prefix, *path), message, hint)

    def _section_hint(self, key: str) -> str:
        """Name the table that has an option of this name, else the nearest table."""
        if key in option_types(AgentConfig):
            return f'an option of an agent: write it below [agents.NAME], or as "defaults.{key}"'
        for section, hint in option_types(Config).items():
            if is_table(bare_type(hint)) and key in option_types(hint):
                return f'did you mean "{section}.{key}"?'
        return self._problems.suggest.hint(key, _SECTIONS)

    def _tables_of_main(self) -> list[AgentTable]:
        raw = self._main.tables.get("agents", {})
        if not isinstance(raw, dict):
            self._add(("agents",), "expected tables [agents.NAME]")
            self._main_is_good = False
            return []
        return [AgentTable(name, self._main, table) for name, table in raw.items()]

    def _tables_of_files(
        self, config_file: Path | None, daemon: DaemonConfig
    ) -> Iterable[AgentTable]:
        if config_file is None:
            return
        directory = config_file.parent / daemon.agents_dir
        try:
            paths = sorted(
                path
                for path in directory.iterdir()
                if path.suffix == ".toml" and not path.name.startswith(".")
            )
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in READ_SHORTAGES:
                raise
            self._problems.add_file(str(directory), None, (), f"cannot be listed: {error}")
            self._main_is_good = False  # else its agents would be taken for removed
            return
        if self._system:
            self._note_owner(directory)
        for path in paths:
            source = Source(path=path, prefix=("agents", path.stem))
            good = self._read(source, source.prefix)
            yield AgentTable(path.stem, source, source.tables if good else None)

    def _agents(self, reader: AgentReader, tables: Iterable[AgentTable]) -> dict[str, AgentConfig]:
        """Read the agents; one named twice is none, since neither table is the right one."""
        agents: dict[str, AgentConfig] = {}
        first: dict[str, AgentTable] = {}
        for table in tables:
            mistake = agent_name_mistake(table.name)
            if table.raw is None:
                first.setdefault(table.name, table)
                continue
            if mistake is not None:
                self._problems.add(table.path, [table.place], *mistake)
                continue
            agent = reader.read(table)
            if table.name in first:
                message = f"defined twice; the other is in {first[table.name].source.path}"
                self._problems.add(table.path, [table.place], message, "remove one of them")
                agents.pop(table.name, None)
                continue
            first[table.name] = table
            if agent is not None:
                agents[table.name] = agent
        return agents

    def _wrong_dependencies(
        self, agents: dict[str, AgentConfig], known: set[str], reader: AgentReader
    ) -> set[str]:
        wrong = set()
        for name, path, message, hint in check_dependencies(agents, known, self._problems.suggest):
            reader.blame(name, path, message, hint)
            wrong.add(name)
        return wrong

    def _note_owner(self, path: Path) -> None:
        ownership = ownership_of(path)
        if ownership is not None:
            self._owners.append((path, ownership))

    def _mistrusted(self, agents: dict[str, AgentConfig], uids: frozenset[int]) -> set[str]:
        """Refuse what others can change: the main file, else the agents of such files."""
        if not self._system or not self._files:
            return set()
        if self._main.path.parent.exists():
            self._note_owner(self._main.path.parent)
        refused: set[Path] = set()
        for path, seen in self._owners:
            ownership = seen
            if self._status_of is not None:
                ownership = ownership_of(path, self._status_of) or seen
            found = mistrust(ownership, uids)
            if found is not None:
                message, remedy = found
                self._problems.add_file(str(path), None, (), message, f"{remedy} {path}")
                refused.add(path)
        why = mistrust_above(self._main.path.parent, uids)
        if why:
            self._problems.add_file(str(self._main.path), None, (), f"refused: {why}", "move it")
            refused.add(self._main.path)
        if self._main.path in refused or self._main.path.parent in refused:
            self._main_is_good = False
            return set(agents)
        return {
            source.prefix[1]
            for source in self._sources
            if source.prefix and (source.path in refused or source.path.parent in refused)
        } & agents.keys()  # type: ignore[return-value]

    def _mistrusted_environments(
        self, agents: dict[str, AgentConfig], reader: AgentReader, uids: frozenset[int]
    ) -> set[str]:
        """Refuse agents of which an environment file can be changed, or exchanged, by others."""
        if not self._system:
            return set()
        refused: set[str] = set()
        for name, agent in agents.items():
            for index, file in enumerate(agent.environment_files):
                seen = reader.owners.get(file)
                why = seen and mistrust_environment(Path(file), seen, uid_of(agent), uids)
                if why:
                    path = ("environment_files", index)
                    reader.blame(name, path, f"{file}: {why}", "keep it where only root may write")
                    refused.add(name)
        return refused


def _with_agents(settings: Config, agents: dict[str, AgentConfig]) -> Config:
    values = {option.name: getattr(settings, option.name) for option in options_of(Config)}
    return Config(**{**values, "agents": agents})
