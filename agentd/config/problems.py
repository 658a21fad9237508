"""Findings while a config is read, given their lines at the end in one pass a file."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from agentd.config.errors import ConfigError, KeyPath, clipped, dotted
from agentd.config.sources import Source
from agentd.config.suggest import Suggestions

# A file full of mistakes is told as a thousand of them and the number of the others.
PROBLEMS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Place:
    """A path in one file: where a value is, or where it would have to be."""

    source: Source
    path: KeyPath


@dataclass(frozen=True, slots=True)
class _Problem:
    places: tuple[Place, ...]
    key: str
    message: str
    hint: str


class Problems:
    """Collects findings of all files; `errors()` gives them in the order of files and lines."""

    def __init__(self) -> None:
        self.suggest = Suggestions()
        self._found: list[_Problem] = []
        self._located: list[ConfigError] = []
        self._left_out = 0

    def __len__(self) -> int:
        return len(self._found) + len(self._located) + self._left_out

    def add(self, key: KeyPath, places: Sequence[Place], message: str, hint: str = "") -> None:
        """Add a finding about `key`; its line is that of the first place that exists.

        The first of `places` names the file to blame where none of them exists.
        """
        if len(self) >= PROBLEMS_MAX:
            self._left_out += 1
            return
        problem = _Problem(tuple(places), dotted(key), clipped(message), clipped(hint))
        self._found.append(problem)

    def add_file(
        self, file: str, line: int | None, key: KeyPath, message: str, hint: str = ""
    ) -> None:
        """Add a finding about a whole file, or about a line of it that is already known."""
        if len(self) >= PROBLEMS_MAX:
            self._left_out += 1
            return
        found = ConfigError(clipped(file), line, dotted(key), clipped(message), clipped(hint))
        self._located.append(found)

    def errors(self) -> list[ConfigError]:
        """Return every finding with its line; each file with findings is walked once."""
        lines = _lines_of(self._found)
        found = [*self._located, *(_with_line(problem, lines) for problem in self._found)]
        found.sort(key=lambda error: (error.file, error.line or 0))
        if self._left_out:
            last = found[-1]
            found.append(ConfigError(last.file, None, "", f"and {self._left_out} more errors"))
        return found


def _lines_of(problems: Iterable[_Problem]) -> dict[int, dict[KeyPath, int]]:
    """Walk each file once for all paths asked of it; keyed by the source's identity."""
    wanted: dict[int, set[KeyPath]] = {}
    sources: dict[int, Source] = {}
    for problem in problems:
        for place in problem.places:
            sources[id(place.source)] = place.source
            paths = wanted.setdefault(id(place.source), set())
            first = len(place.source.prefix)
            paths.update(place.path[:end] for end in range(first + 1, len(place.path) + 1))
    return {key: sources[key].locate(paths) for key, paths in wanted.items()}


def _with_line(problem: _Problem, lines: dict[int, dict[KeyPath, int]]) -> ConfigError:
    for place in problem.places:
        line = lines[id(place.source)].get(place.path)
        if line is not None:
            return _error(problem, place, line)
    place = problem.places[0]
    for end in range(len(place.path) - 1, len(place.source.prefix), -1):
        line = lines[id(place.source)].get(place.path[:end])
        if line is not None:
            return _error(problem, place, line)
    return _error(problem, place, 1)


def _error(problem: _Problem, place: Place, line: int) -> ConfigError:
    return ConfigError(str(place.source.path), line, problem.key, problem.message, problem.hint)
