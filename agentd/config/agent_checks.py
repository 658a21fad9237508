"""What the types of one agent's options can't say, in the user's words."""

import re
import resource
import shlex
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from agentd.config.agent import AgentConfig
from agentd.config.environment_files import RESERVED, name_mistake
from agentd.config.errors import KeyPath
from agentd.config.names import HOST_AGENT, LABEL, NAME_RULE, agent_name_mistake
from agentd.config.suggest import Suggestions

Finding = tuple[KeyPath, str, str]
"""The path below the agent, what is wrong, and what instead."""

Check = Callable[[AgentConfig, Mapping[str, Any], Suggestions], Iterator[Finding]]
"""Takes an agent, the table that was written for it alone, and the finder of near names."""

LIMITS: Final = frozenset(
    name.removeprefix("RLIMIT_").lower() for name in dir(resource) if name.startswith("RLIMIT_")
)
LIMIT_MAX: Final = 2**63 - 1
LOG_BYTES_MIN: Final = 4096
# An agent can't be asked to stop by a signal that leaves every process as it is.
_NO_STOP: Final = frozenset({"SIGSTOP", "SIGCONT", "SIGCHLD", "SIGURG", "SIGWINCH"})
SIGNALS: Final = frozenset(found.name for found in signal.Signals) - _NO_STOP
_OCTAL: Final = re.compile(r"0?[0-7]{1,3}")
# Options that only make sense for a process that agentd starts.
_OF_A_PROCESS: Final = (
    "command",
    "directory",
    "environment",
    "environment_files",
    "user",
    "group",
    "limits",
    "ready",
)
_DURATIONS_NOT_NIL: Final[tuple[tuple[str, Callable[[AgentConfig], int]], ...]] = (
    ("startup_timeout", lambda agent: agent.startup_timeout_ms),
    ("heartbeat.no_progress_after", lambda agent: agent.heartbeat.no_progress_ms),
    ("restart.validate_timeout", lambda agent: agent.restart.validate_timeout_ms),
    ("cost.rate_window", lambda agent: agent.cost.rate_window_ms),
    ("judge.timeout", lambda agent: agent.judge.timeout_ms),
    ("pause.checkpoint_timeout", lambda agent: agent.pause.checkpoint_timeout_ms),
)


def check_agent(
    agent: AgentConfig, written: Mapping[str, Any], suggest: Suggestions
) -> Iterator[Finding]:
    """Yield everything that is wrong with one agent by itself."""
    for check in CHECKS:
        yield from check(agent, written, suggest)


def _command(agent: AgentConfig, written: Mapping[str, Any], _: Suggestions) -> Iterator[Finding]:
    if agent.external:
        for key in _OF_A_PROCESS:
            if key in written:
                message = f"an external agent isn't started by agentd, so {key} means nothing"
                yield (key,), message, f"leave out {key}, or external = true"
        return
    if not agent.command:
        yield ("command",), "missing", 'for example command = ["python", "-u", "agent.py"]'
    elif isinstance(agent.command, list) and not agent.command[0]:
        yield ("command",), "the name of the program is empty", ""
    if agent.token_file:
        yield ("token_file",), "only external agents have one", "leave it out"


def _words(agent: AgentConfig, _: Mapping[str, Any], __: Suggestions) -> Iterator[Finding]:
    commands = (
        (("command",), agent.command),
        (("restart", "validate"), agent.restart.validate),
        (("restart", "on_escalate"), agent.restart.on_escalate),
        (("judge", "command"), agent.judge.command),
    )
    for path, command in commands:
        if "\0" in "".join(command):
            yield path, "holds a NUL character", ""
        elif isinstance(command, str):
            try:
                words = shlex.split(command)
            except ValueError as error:
                hint = "close the quote, or write a list of strings"
                yield path, f"can't be split into words: {str(error).lower()}", hint
            else:
                if command and not words:
                    yield path, "holds no words", ""


def _environment(agent: AgentConfig, _: Mapping[str, Any], __: Suggestions) -> Iterator[Finding]:
    for name, value in agent.environment.items():
        mistake = name_mistake(name)
        if mistake is not None:
            yield ("environment", name), mistake, "leave it out" if name in RESERVED else ""
        if "\0" in value:
            yield ("environment", name), "the value holds a NUL character", ""


def _plain_text(agent: AgentConfig, _: Mapping[str, Any], __: Suggestions) -> Iterator[Finding]:
    for key in ("directory", "user", "group", "token_file", "description"):
        if "\0" in getattr(agent, key):
            yield (key,), "holds a NUL character", ""
    for index, tag in enumerate(agent.tags):
        if not LABEL.fullmatch(tag):
            message = f"{tag!r} can't be a tag: letters, digits, and . _ - after the first"
            yield ("tags", index), message, ""
    for index, pattern in enumerate(agent.loop.poll_tools):
        if not pattern:
            yield ("loop", "poll_tools", index), "an empty pattern matches nothing", ""


def _stopping(agent: AgentConfig, _: Mapping[str, Any], suggest: Suggestions) -> Iterator[Finding]:
    name = agent.stop_signal
    if name not in SIGNALS:
        why = "doesn't stop a process" if name in _NO_STOP else "not the name of a signal"
        prefixed = f"SIG{name.upper()}"
        full = prefixed if prefixed in SIGNALS else suggest.nearest(name, SIGNALS)
        yield ("stop_signal",), f"{name!r}: {why}", f'did you mean "{full}"?' if full else ""


def _system(agent: AgentConfig, _: Mapping[str, Any], suggest: Suggestions) -> Iterator[Finding]:
    if not _OCTAL.fullmatch(agent.umask):
        yield ("umask",), f"{agent.umask!r} is not an octal mask", 'such as "022" or "077"'
    for name, value in agent.limits.items():
        if name not in LIMITS:
            hint = suggest.hint(name.lower().removeprefix("rlimit_"), LIMITS)
            yield ("limits", name), "unknown limit", hint
        elif not 0 <= value <= LIMIT_MAX:
            yield ("limits", name), f"must be between 0 and {LIMIT_MAX}", ""


def _readiness(agent: AgentConfig, _: Mapping[str, Any], __: Suggestions) -> Iterator[Finding]:
    if agent.ready == "heartbeat" and not agent.heartbeat.required and not agent.external:
        message = "heartbeats are not required of this agent, so none would make it ready"
        yield ("ready",), message, 'ready = "notify" or "spawn", or heartbeat.required = true'


def _durations(agent: AgentConfig, written: Mapping[str, Any], _: Suggestions) -> Iterator[Finding]:
    for key, duration_ms in _DURATIONS_NOT_NIL:
        if duration_ms(agent) < 1:
            yield tuple(key.split(".")), "must be longer than nothing", ""
    restart = agent.restart
    own = written.get("restart")
    says_max = isinstance(own, dict) and "cooldown_max" in own
    if says_max and restart.cooldown_max_ms < restart.cooldown_ms:
        yield ("restart", "cooldown_max"), "cooldown_max must not be shorter than cooldown", ""
    if agent.logs.max_size_bytes < LOG_BYTES_MIN:
        yield ("logs", "max_size"), "must be at least 4K", ""


def _dependencies(agent: AgentConfig, _: Mapping[str, Any], __: Suggestions) -> Iterator[Finding]:
    """Only how a name is written; whether there is such an agent is seen with all of them."""
    for index, name in enumerate(agent.depends_on):
        if not HOST_AGENT.fullmatch(name) and agent_name_mistake(name) is not None:
            message = f"{name!r} can't be the name of an agent"
            yield ("depends_on", index), message, f"names are made of {NAME_RULE}"


CHECKS: Final[tuple[Check, ...]] = (
    _command,
    _words,
    _environment,
    _plain_text,
    _stopping,
    _system,
    _readiness,
    _durations,
    _dependencies,
)
