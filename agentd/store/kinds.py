"""What kind of value each column holds.

SQLite keeps a value of any kind in any column, and none of its checks minds: one flipped bit
makes text of a number, in a row that is whole in every other way.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from itertools import chain
from typing import Final

from agentd.store.schema import STEPS

_PYTHON: Final[Mapping[str, type]] = {"INTEGER": int, "TEXT": str, "BLOB": bytes}


@cache
def tables() -> Mapping[str, Mapping[str, str]]:
    """Return the columns of each table of this version in their order, with SQL's kind of each."""
    found: dict[str, dict[str, str]] = {}
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in chain.from_iterable(STEPS):
            connection.execute(statement)
        query = (
            "SELECT tables.name, columns.name, columns.type FROM sqlite_master AS tables"
            " JOIN pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'"
        )
        for table, column, kind in connection.execute(query):
            found.setdefault(table, {})[column] = kind
    return found


def fits(table: str, row: tuple[object, ...]) -> bool:
    """Say whether each value is of its column's kind, or NULL, and none is missing."""
    kinds = tables()[table].values()
    return len(row) == len(kinds) and all(
        value is None or isinstance(value, _PYTHON[kind])
        for value, kind in zip(row, kinds, strict=True)
    )


def misnumbered(connection: sqlite3.Connection, table: str) -> bool:
    """Say whether a column of numbers holds anything else; texts are read whatever they are."""
    numbers = [column for column, kind in tables()[table].items() if kind == "INTEGER"]
    if not numbers:
        return False
    other = " OR ".join(f"{one} IS NOT NULL AND typeof({one}) <> 'integer'" for one in numbers)
    query = f"SELECT EXISTS (SELECT 1 FROM {table} WHERE {other})"  # noqa: S608 - words of ours
    return bool(connection.execute(query).fetchone()[0])
