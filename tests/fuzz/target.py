"""What a fuzz target is: inputs from dice, and an oracle that says what came of each."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

Dice = random.Random
Outcome = Counter[str]


@dataclass(frozen=True, slots=True)
class Target:
    """One parser under fuzz. An input is bytes, so that what was found can be kept as a file."""

    name: str
    about: str
    """Which parser, and what must hold of it."""
    make: Callable[[Dice], bytes]
    check: Callable[[bytes], Outcome]
    """Count what came of the input, one a line or document; whatever is raised is a find."""
    weight: int = 1
    """How many of a hundred lines of a long run this target gets."""


def pick(dice: Dice, values: Sequence[T]) -> T:
    """Return one of `values`, as `choice` does, five times as fast: inputs are made by millions."""
    return values[int(dice.random() * len(values))]


def told(word: str) -> Outcome:
    """Return the outcome of one document."""
    return Counter((word,))
