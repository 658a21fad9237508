"""Where a sink's messages go to, as its config says."""

from agentd.config.schema import SinkConfig
from agentd.sinks.message import Resources
from agentd.sinks.secret_files import first_line


def address(config: SinkConfig, resources: Resources) -> str:
    """Return the URL of a sink, read from its file if it stands in one; raises DeliveryFailed."""
    return first_line(resources, config.url_file) if config.url_file else config.url
