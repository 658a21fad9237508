"""What viewers of a fleet may see: as on the socket, nothing of what an agent has printed."""

from collections.abc import Mapping
from typing import Any, Final

NOT_FOR_VIEWERS: Final = frozenset(("log_tail", "locals"))
"""Keys that hold an agent's own text, wherever they stand; the daemon has the same."""


def for_viewers(value: Any) -> Any:  # noqa: ANN401 - any part of a JSON document
    """Return a document, or a part of one, without what viewers may not see."""
    if isinstance(value, Mapping):
        return {key: for_viewers(each) for key, each in value.items() if key not in NOT_FOR_VIEWERS}
    if isinstance(value, list):
        return [for_viewers(each) for each in value]
    return value
