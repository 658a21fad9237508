"""Ways to damage a store's file, and stores that were damaged so."""

import random
import shutil
from collections.abc import Callable, Iterator
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
