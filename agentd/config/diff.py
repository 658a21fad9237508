"""What a reload would do: the plan from the running config to a new one."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import Struct

from agentd.config.convert import options_of
from agentd.config.errors import ConfigError, quoted_key
from agentd.config.loaded import Loaded
from agentd.config.schema import EXECUTED, Config

Environments = Mapping[str, Mapping[str, str]]

# Read once, at the start of the daemon.
FIXED_AT_START: Final = frozenset({"daemon.socket", "daemon.state_dir", "daemon.log_dir"})


@dataclass(frozen=True, slots=True)
class Change:
    """One agent, and its options that differ, as dotted paths."""

    agent: str
    keys: tuple[str, ...]

    def document(self) -> dict[str, object]:
        """Return the form of the reload document."""
        return {"agent": self.agent, "keys": list(self.keys)}


@dataclass(frozen=True, slots=True)
class Plan:
    """What differs, an agent in exactly one of the first five."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    restarted: tuple[Change, ...] = ()
    applied: tuple[Change, ...] = ()
    unchanged: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    """Options outside of the agents that differ."""

    fixed: tuple[str, ...] = field(default=())
    """Those of `settings` that take effect at the daemon's next start only."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        changes = (self.added, self.removed, self.restarted, self.applied, self.settings)
        return not any(changes)

    def document(self, *, dry_run: bool, errors: Collection[ConfigError] = ()) -> dict[str, object]:
        """Return the reload document; with `errors`, a plan that changes nothing goes with it."""
        return {
            "dry_run": dry_run,
            "added": list(self.added),
            "removed": list(self.removed),
            "restarted": [change.document() for change in self.restarted],
            "applied": [change.document() for change in self.applied],
            "unchanged": list(self.unchanged),
            "settings": list(self.settings),
            "at_next_start": list(self.fixed),
            "errors": [error.document() for error in errors],
        }


def plan(
    old: Config,
    new: Config,
    old_environments: Environments | None = None,
    new_environments: Environments | None = None,
) -> Plan:
    """Compare two configs; with their environments, changed contents of files count too.

    Only a change of what is executed restarts an agent. A renamed agent is one removed and
    one added.
    """
    restarted, applied, unchanged = [], [], []
    for name in sorted(old.agents.keys() & new.agents.keys()):
        keys = tuple(differing(old.agents[name], new.agents[name]))
        keys += _other_variables(name, keys, old_environments, new_environments)
        if not keys:
            unchanged.append(name)
        elif any(key.partition(".")[0] in EXECUTED for key in keys):
            restarted.append(Change(name, keys))
        else:
            applied.append(Change(name, keys))
    settings = tuple(key for key in differing(old, new) if not key.startswith("agents."))
    return Plan(
        added=tuple(sorted(new.agents.keys() - old.agents.keys())),
        removed=tuple(sorted(old.agents.keys() - new.agents.keys())),
        restarted=tuple(restarted),
        applied=tuple(applied),
        unchanged=tuple(unchanged),
        settings=settings,
        fixed=tuple(key for key in settings if key in FIXED_AT_START),
    )


def plan_of(old: Loaded, new: Loaded) -> Plan:
    """Compare two configs as they were read, contents of environment files included."""
    return plan(old.config, new.config, old.environments, new.environments)


def keeping_agents(old: Loaded, new: Loaded) -> Loaded:
    """Return `new` with the agents of `old` that it lacks.

    For reloads that nobody asked for: a file that an editor has just emptied is a config
    without agents, and must not stop them.
    """
    agents = {**old.config.agents, **new.config.agents}
    values = {option.name: getattr(new.config, option.name) for option in options_of(Config)}
    return Loaded(
        config=Config(**{**values, "agents": agents}),
        errors=new.errors,
        warnings=new.warnings,
        notices=new.notices,
        broken=new.broken,
        is_usable=new.is_usable,
        environments={**old.environments, **new.environments},
        environment_origins={**old.environment_origins, **new.environment_origins},
        sources=new.sources,
        files=new.files,
    )


def differing(old: Struct, new: Struct) -> Iterator[str]:
    """Yield the options that differ between two tables of one type, as dotted paths."""
    for option in options_of(type(old)):
        yield from _differing(
            getattr(old, option.name), getattr(new, option.name), option.encode_name
        )


def _differing(old: Any, new: Any, key: str) -> Iterator[str]:  # noqa: ANN401 - any option
    if isinstance(old, Struct) and type(old) is type(new):
        if old != new:
            yield from (f"{key}.{below}" for below in differing(old, new))
    elif isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            missing = name not in old or name not in new
            below = f"{key}.{quoted_key(name)}"
            if missing:
                yield below
            else:
                yield from _differing(old[name], new[name], below)
    elif old != new:
        yield key


def _other_variables(
    name: str,
    keys: tuple[str, ...],
    old: Environments | None,
    new: Environments | None,
) -> tuple[str, ...]:
    """Name the option whose files changed, where no option itself did."""
    if old is None or new is None or any(key.startswith("environment") for key in keys):
        return ()
    same = dict(old.get(name, {})) == dict(new.get(name, {}))
    return () if same else ("environment_files",)
