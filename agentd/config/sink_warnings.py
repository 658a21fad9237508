"""Warnings about sinks that reach nobody, though their config is well-formed."""

from collections.abc import Collection

from agentd.config.errors import ConfigError
from agentd.config.names import AGENT_NAME
from agentd.config.problems import Place, Problems
from agentd.config.schema import Config
from agentd.config.sources import Source
from agentd.config.suggest import Suggestions


def sink_warnings(config: Config, main: Source, broken: Collection[str]) -> list[ConfigError]:
    """Return a warning for each plain name in a sink's `agents` that no agent has."""
    problems, suggest = Problems(), Suggestions()
    known = {*config.agents, *broken}
    for index, sink in enumerate(config.alerts.sinks):
        for at, name in enumerate(sink.agents):
            if not AGENT_NAME.fullmatch(name) or name in known:
                continue  # a glob, a tag or a host's agent may match what comes later
            path = ("alerts", "sinks", index, "agents", at)
            hint = suggest.hint(name, known)
            problems.add(path, [Place(main, path)], f'no agent is called "{name}"', hint)
    return problems.errors()
