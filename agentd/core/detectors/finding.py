"""What a detector found, in one shape for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What the core should tell: an event's name, a sentence for people, the figures behind it."""

    event: str
    message: str
    data: Mapping[str, object]
    is_verdict: bool = False
    """Whether the config's action follows; else it is said, and no more."""
    forecast_ms: int | None = None
    """From now until what is feared happens; None where nothing is forecast."""
