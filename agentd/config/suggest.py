"""The nearest known name to one that isn't known."""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Final

# Comparing two names costs some microseconds: a file full of unknown names must not take minutes.
COMPARISONS_MAX: Final = 50_000
NAME_LENGTH_MAX: Final = 80


class Suggestions:
    """Finds near names, up to a bound on the comparisons made in all; then it stays silent."""

    def __init__(self, comparisons_max: int = COMPARISONS_MAX) -> None:
        self._left = comparisons_max

    def nearest(self, name: str, known: Collection[str], besides: str = "") -> str | None:
        """Return the known name nearest to `name`, or None where none is near."""
        if len(name) > NAME_LENGTH_MAX or self._left < len(known):
            return None
        self._left -= len(known)
        folded = {other.lower(): other for other in known if other != besides}
        found = get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
        return folded[found[0]] if found else None

    def hint(self, name: str, known: Collection[str], besides: str = "") -> str:
        """Return `did you mean "x"?`, never the name `besides`, or the empty string."""
        found = self.nearest(name, known, besides)
        return f'did you mean "{found}"?' if found else ""
