"""Every kind of sink there is, by the `type` of its config."""

from collections.abc import Callable, Mapping
from typing import Final

from agentd.config.schema import SinkConfig
from agentd.sinks.apprise import Apprise
from agentd.sinks.command import Command
from agentd.sinks.message import Resources, Sink
from agentd.sinks.pagerduty import PagerDuty
from agentd.sinks.slack import Slack
from agentd.sinks.webhook import Webhook

Factory = Callable[[SinkConfig, Resources], Sink]

SINKS: Final[Mapping[str, Factory]] = {
    "slack": Slack,
    "pagerduty": PagerDuty,
    "webhook": Webhook,
    "command": Command,
    "apprise": Apprise,
}


def sink_of(config: SinkConfig, resources: Resources) -> Sink:
    """Return a sink as its config describes it; nothing is read or opened before it delivers."""
    return SINKS[config.type](config, resources)
