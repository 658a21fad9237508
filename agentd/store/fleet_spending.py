"""What all hosts of a fleet had spent when all were last seen: a few numbers among the marks."""

import sqlite3
from contextlib import closing
from dataclasses import astuple, fields
from pathlib import Path
from typing import Final

from agentd.core.host_views import FleetSpending
from agentd.store.connection import open_reader

_NAMES: Final = tuple(f"fleet_{each.name}" for each in fields(FleetSpending))
_SAVE: Final = "REPLACE INTO marks VALUES (?, ?)"
_READ: Final = "SELECT name, value FROM marks WHERE name LIKE 'fleet_%'"


def save(connection: sqlite3.Connection, spending: FleetSpending) -> None:
    """Write it in place of what was known before."""
    connection.executemany(_SAVE, zip(_NAMES, astuple(spending), strict=True))


def read(path: Path) -> FleetSpending | None:
    """Return it; None: it was never written down."""
    with closing(open_reader(path)) as connection:
        known = {str(name): int(value) for name, value in connection.execute(_READ)}
    if not known.keys() >= set(_NAMES):
        return None
    return FleetSpending(*(known[name] for name in _NAMES))
