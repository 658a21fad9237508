"""The effective config for people: each value as a file would have it, secrets masked."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import Struct

from agentd.config.agent import AgentConfig
from agentd.config.argv import argv
from agentd.config.convert import options_of
from agentd.config.errors import quoted_key
from agentd.config.loaded import Loaded, Origin
from agentd.config.schema import Config
from agentd.config.secrets import is_secret, is_secret_value, secret_words
from agentd.config.units import (
    Bytes,
    MicroDollars,
    Milliseconds,
    format_dollars,
    format_duration,
    format_size,
)

Shown = dict[str, dict[str, object]]
SECRET_LENGTH_MIN: Final = 6  # a shorter one would be found in half of all texts


def show(loaded: Loaded, agents: Iterable[str] | None = None) -> dict[str, dict[str, Shown]]:
    """Return `{"agents": {NAME: {key: {"value", "origin"}}}}`, for the given agents or all.

    Keys are dotted paths below the agent; origin is `FILE:LINE` or `default`. Of variables only
    name and length are shown.
    """
    names = loaded.config.agents if agents is None else agents
    return {"agents": {name: _agent(loaded, name) for name in names}}


def masked(value: str) -> str:
    """Return what may be shown of a secret: how long it is."""
    return f"({len(value)} characters)"


def shown_command(command: str | list[str]) -> str | list[str]:
    """Return a command with the words that look like secrets masked."""
    words = argv(command)
    hidden = secret_words(words)
    if not hidden:
        return command
    for index in hidden:
        open_part, secret = _parted(words[index])
        words[index] = open_part + masked(secret)
    return words


def secrets_of(loaded: Loaded) -> frozenset[str]:
    """Return the values that must not appear in events, alerts and reports."""
    variables = (
        value
        for variables in loaded.environments.values()
        for name, value in variables.items()
        if is_secret(name, value)
    )
    # Whoever knows such an address may write to it.
    addresses = (*(sink.url for sink in loaded.config.alerts.sinks), loaded.config.report.ping_url)
    found = (*variables, *addresses, *_in_commands(loaded.config))
    return frozenset(one for one in found if len(one) >= SECRET_LENGTH_MIN)


def _in_commands(config: Config) -> Iterator[str]:
    """Yield the secrets on command lines; /proc shows them, but nothing of ours has to."""
    commands = [sink.command for sink in config.alerts.sinks]
    for agent in config.agents.values():
        restart = agent.restart
        commands += [agent.command, restart.validate, restart.on_escalate, agent.judge.command]
    for words in map(argv, commands):
        yield from (_parted(words[index])[1] for index in secret_words(words))


def _parted(word: str) -> tuple[str, str]:
    """Return what may be shown of a word that holds a secret, and the secret: `--key=`, `x`.

    Where it isn't plain that a name stands before the `=`, all of it is secret: a token may end
    with one, and an address with a password in it may hold one.
    """
    name, equals, value = word.partition("=")
    if equals and not is_secret_value(name) and is_secret(name, value):
        return name + equals, value
    return "", word


def as_written(value: Any) -> Any:  # noqa: ANN401 - any option
    """Return the value of an option as a file would have it: durations as "5m"."""
    if isinstance(value, Milliseconds):
        return format_duration(value)
    if isinstance(value, Bytes):
        return format_size(value)
    if isinstance(value, MicroDollars):
        return format_dollars(value)
    return value


def _agent(loaded: Loaded, name: str) -> Shown:
    shown: Shown = {}
    agent = loaded.config.agents[name]
    for key, value in _options(agent, ""):
        origin = loaded.origin(name, key)
        shown[key] = {"value": value, "origin": str(origin or "default")}
    files = loaded.environment_origins.get(name, {})
    for variable, value in sorted(loaded.environments.get(name, {}).items()):
        key = f"environment.{quoted_key(variable)}"
        found: Origin | None = files.get(variable) or loaded.origin(name, key)
        shown[key] = {"value": masked(value), "origin": str(found or "default")}
    return shown


def _options(table: Struct, prefix: str) -> Iterator[tuple[str, object]]:
    """Yield each option of a table and of the tables in it; the environment is left out."""
    for option in options_of(type(table)):
        key = prefix + option.encode_name
        value = getattr(table, option.name)
        if key == "environment":
            continue
        if key == "ready" and isinstance(table, AgentConfig):
            yield key, table.ready_by
        elif key == "heartbeat.degraded_after":
            yield key, format_duration(table.degraded_after_ms)  # type: ignore[attr-defined]
        elif key == "heartbeat.unreachable_after":
            yield key, format_duration(table.unreachable_after_ms)  # type: ignore[attr-defined]
        elif isinstance(value, Struct):
            yield from _options(value, f"{key}.")
        elif key in {"command", "restart.validate", "restart.on_escalate", "judge.command"}:
            yield key, shown_command(value)
        elif isinstance(value, dict):
            yield from ((f"{key}.{quoted_key(name)}", value[name]) for name in sorted(value))
        else:
            yield key, as_written(value)
