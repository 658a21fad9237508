"""What tables and columns there are, and what kind of value each holds.

SQLite keeps a value of any kind in any column, and none of its checks minds: one flipped bit
makes text of a number, in a row that is whole in every other way. Nor does it mind another name
of a column in the words with which a table was made.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import cache
from itertools import chain
from typing import Final

from agentd.store.schema import STEPS

# The columns of an index are told by name alone.
_SHAPE: Final = (
    'SELECT made.name, of.name, of.type, of."notnull", of.pk FROM sqlite_master AS made'
    " JOIN pragma_table_info(made.name) AS of WHERE made.type = 'table'"
    " UNION ALL SELECT made.name, coalesce(of.name, ''), '', 0, 0 FROM sqlite_master AS made"
    " JOIN pragma_index_info(made.name) AS of WHERE made.type = 'index'"
)
_PYTHON: Final[Mapping[str, type]] = {"INTEGER": int, "TEXT": str, "BLOB": bytes}


Shape = Mapping[str, Sequence[tuple[str, str, int, int]]]
"""By table and index the columns: name, SQL's kind, whether NULL is refused, place in the key."""


@cache
def ours() -> Shape:
    """Return the shape of a store of this version."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in chain.from_iterable(STEPS):
            connection.execute(statement)
        return shape(connection)


def shape(connection: sqlite3.Connection) -> Shape:
    """Return the shape of a store, by the words with which its tables were made."""
    found: dict[str, list[tuple[str, str, int, int]]] = {}
    for table, *column in connection.execute(_SHAPE):
        found.setdefault(table, []).append((column[0], column[1], column[2], column[3]))
    return found


@cache
def tables() -> Mapping[str, Mapping[str, str]]:
    """Return the columns of each table of this version in their order, with SQL's kind of each."""
    columns = {name: {column: kind for column, kind, *_ in ours()[name]} for name in ours()}
    return {name: kinds for name, kinds in columns.items() if any(kinds.values())}


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
