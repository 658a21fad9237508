"""Which options that were set do nothing in this version."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from agentd.config.agent_tables import AgentTable
from agentd.config.errors import ConfigError, KeyPath
from agentd.config.problems import Place, Problems
from agentd.config.schema import NO_EFFECT_YET
from agentd.config.sources import Source

MESSAGE: Final = "read and checked, but without effect in this version"


def is_without_effect(key: str) -> bool:
    """Return whether an option does nothing yet; `key` as in the schema, `agents.*.cost.window`."""
    return any(key == none or key.startswith(f"{none}.") for none in NO_EFFECT_YET)


def settings_without_effect(main: Source, tables: Sequence[AgentTable]) -> list[ConfigError]:
    """Return a notice for each option, or table as a whole, that was set and does nothing."""
    problems = Problems()
    for source, path in _without_effect(main, tables):
        problems.add(path, [Place(source, path)], MESSAGE)
    return problems.errors()


def _without_effect(main: Source, tables: Iterable[AgentTable]) -> Iterator[tuple[Source, KeyPath]]:
    for pattern in NO_EFFECT_YET:
        keys = pattern.split(".")
        if keys[0] != "agents":
            if _is_set(main.tables, keys):
                yield main, tuple(keys)
            continue
        below = keys[2:]
        if _is_set(main.tables.get("defaults"), below):
            yield main, ("defaults", *below)
        for table in tables:
            if _is_set(table.raw, below):
                yield table.source, (*table.path, *below)


def _is_set(raw: Any, keys: Sequence[str]) -> bool:  # noqa: ANN401 - anything TOML can hold
    for key in keys:
        if not isinstance(raw, dict) or key not in raw:
            return False
        raw = raw[key]
    return True
