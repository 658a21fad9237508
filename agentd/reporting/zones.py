"""The zone that a document names, as the host that shows it knows that zone."""

from datetime import tzinfo

from agentd.config.civil import zone_of

# What a host calls its own zone where it has a file of its own and no name for it.
_NAMELESS = "localtime"


def zone_named(name: str) -> tzinfo:
    """Return the zone; one that isn't known here is taken as UTC."""
    return zone_of("" if name == _NAMELESS else name)
