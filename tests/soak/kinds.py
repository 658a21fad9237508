"""The kinds of faults, each registered with a name, and what is drawn from them by a seed."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.soak.soak import Soak

Injection = Callable[[Soak, random.Random], str]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault; `inject` returns in a few words what was seen, or why it was `Missed`."""

    name: str
    ids: str
    """Rows of FAULTS.md that it belongs to."""
    inject: Injection
    ends_daemon: bool = False
    """The daemon's memory begins anew with it."""
    weight: int = 1
    """How many of them are in a deck."""
    needs_disk: bool = False


KINDS: dict[str, Kind] = {}


def kind(
    name: str, ids: str, *, ends_daemon: bool = False, weight: int = 1, needs_disk: bool = False
) -> Callable[[Injection], Injection]:
    """Register a fault under a name that is unique."""

    def register(inject: Injection) -> Injection:
        assert name not in KINDS, name
        KINDS[name] = Kind(name, ids, inject, ends_daemon, weight, needs_disk)
        return inject

    return register


def decks(seed: int, kinds: list[Kind]) -> Iterator[tuple[Kind, int]]:
    """All kinds in an order of chance, then all of them again, without end; a seed for each."""
    rng = random.Random(seed)  # noqa: S311 - dice, not secrets
    while True:
        deck = [one for one in kinds for _ in range(one.weight)]
        rng.shuffle(deck)
        for one in deck:
            yield one, rng.randrange(1 << 32)
