"""Ways to damage a store's file, and stores that were damaged so."""

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from tests.dice import seed
from tests.store.desk import Desk

Harm = Callable[[bytes, random.Random], bytes]

DRAWS: Final = 34
"""With three ways to do harm a hundred damaged stores, in a few seconds."""


def truncated(blob: bytes, draw: random.Random) -> bytes:
    return blob[: draw.randrange(len(blob))]


def zeroed(blob: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(blob))
    hole = bytes(draw.randrange(1, 8_192))[: len(blob) - at]
    return blob[:at] + hole + blob[at + len(hole) :]


def flipped(blob: bytes, draw: random.Random) -> bytes:
    changed = bytearray(blob)
    for _ in range(draw.choice((1, 8, 64))):
        changed[draw.randrange(len(blob))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def spoil(desk: Desk, table: str, column: str, row: str, value: str = "x'0f4240'") -> None:
    """Have text where a number belongs in a closed store, or another value (SQL)."""
    with closing(sqlite3.connect(desk.path)) as connection, connection:
        connection.execute(f"UPDATE {table} SET {column} = CAST({value} AS TEXT) WHERE {row}")  # noqa: S608 - words of ours


def ruin(desk: Desk) -> None:
    """Make zeros of all but the first page, under a store that is open."""
    blob = bytearray(desk.path.read_bytes())
    blob[4_096:] = bytes(len(blob) - 4_096)
    desk.path.write_bytes(bytes(blob))
    desk.store._writer._committer._opened.execute("PRAGMA shrink_memory").close()


def damaged(whole: Path, harm: Harm) -> Iterator[Desk]:
    """Yield copies of the closed store in `whole`, each damaged by chance."""
    draw = random.Random(seed())  # noqa: S311 - chance, not secrets
    blob = Desk(whole).path.read_bytes()
    for number in range(DRAWS):
        desk = Desk(whole.with_name(f"state-{number}"))
        shutil.copytree(whole, desk.directory)
        desk.path.write_bytes(harm(blob, draw))
        yield desk
        desk.close()
        shutil.rmtree(desk.directory)
