"""A recovery of one agent, as a daemon that follows another makes it."""

from typing import Any, cast

from agentd.core.records import Durable
from agentd.daemon.recovery import Recorded, Recovery
from agentd.store.rows import SpawnRow

ROW = SpawnRow("a", 1, "run", "token", 7, 100, None, "boot", None, 0)


def recovery_of(durable: Durable, row: SpawnRow = ROW, processes: object = None) -> Recovery:
    """Of the agent `a`, with what the store has of it; nobody is welcomed."""
    return Recovery(
        Recorded({"a": durable}, {"a": row}, {}),
        "boot",
        processes=cast("Any", processes),
        config_of=lambda _: None,
        welcome=lambda _: None,
    )
