"""On which line of a TOML document each key stands.

`tomllib` gives values without positions. This walks the text of a document that is known to be
valid: it needs to tell strings, brackets and keys apart, and nothing else (why not tomlkit:
docs/decisions/0003).
"""

import re
import tomllib
from collections.abc import Collection
from typing import Final

from agentd.config.errors import KeyPath

_BLANK: Final = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_KEY_PART: Final = re.compile(
    r"[ \t]*+(?:([A-Za-z0-9_-]++)|\"((?:[^\"\\\n]++|\\.)*+)\"|'([^'\n]*+)')[ \t]*+(\.?)"
)
_SCALAR: Final = re.compile(
    r"\"\"\"(?:[^\"\\]++|\\.|\"(?!\"\"))*+\"{3,5}"
    r"|'''(?:[^']++|'(?!''))*+'{3,5}"
    r"|\"(?:[^\"\\\n]++|\\.)*+\""
    r"|'[^'\n]*+'"
    r"|[^\s,\[\]{}#\"']++",
    re.DOTALL,
)


def locate(text: str, wanted: Collection[KeyPath] | None = None) -> dict[KeyPath, int]:
    """Return the line (from 1) of each key, table and list item, or of those `wanted`.

    `text` is a document that tomllib accepts. A table without a header of its own has the
    line of its first key.
    """
    walk = _Walk(text, wanted)
    walk.document()
    return walk.lines


class _Walk:
    """One pass over a document, from the first character to the last."""

    def __init__(self, text: str, wanted: Collection[KeyPath] | None) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text.replace("\r\n", "\n")
        self._wanted = wanted
        self._at = 0
        self._line, self._counted = 1, 0
        self._tables: dict[KeyPath, int] = {}  # arrays of tables: how many elements so far

    def document(self) -> None:
        table: KeyPath = ()
        self._skip_blank()
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip_blank()

    def _header(self) -> KeyPath:
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        table = self._resolve(self._key(), is_array=is_array)
        self._record_all(table, 0)
        self._at += 2 if is_array else 1
        return table

    def _resolve(self, parts: KeyPath, *, is_array: bool) -> KeyPath:
        """Return the path of a header, with the index of each array of tables on its way."""
        table: KeyPath = ()
        for position, part in enumerate(parts):
            table = (*table, part)
            if is_array and position == len(parts) - 1:
                self._tables[table] = self._tables.get(table, 0) + 1
            if table in self._tables:
                table = (*table, self._tables[table] - 1)
        return table

    def _pair(self, table: KeyPath) -> None:
        path = (*table, *self._key())
        self._record_all(path, len(table))
        self._at += 1  # the equals sign
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        """Pass over one value; nesting is kept in a list, however deep it goes."""
        open_containers: list[tuple[KeyPath, int]] = []  # (path, next index); -1: an inline table
        self._skip_blank()
        while True:
            char = self._text[self._at]
            if char in "[{":
                self._at += 1
                open_containers.append((path, 0 if char == "[" else -1))
            elif char in "]}":
                self._at += 1
                open_containers.pop()
            elif char == ",":
                self._at += 1
            else:
                self._scalar()
            self._skip_blank()
            if not open_containers:
                return
            if self._text[self._at] not in ",]}":
                path = self._enter(open_containers)

    def _enter(self, open_containers: list[tuple[KeyPath, int]]) -> KeyPath:
        """Stand before an item of the innermost container: record it, return its path."""
        container, index = open_containers[-1]
        if index >= 0:
            path = (*container, index)
            open_containers[-1] = (container, index + 1)
            self._record(path)
            return path
        path = (*container, *self._key())
        self._record_all(path, len(container))
        self._at += 1  # the equals sign
        self._skip_blank()
        return path

    def _scalar(self) -> None:
        found = _SCALAR.match(self._text, self._at)
        assert found is not None, self._at  # the document is valid
        self._at = found.end()

    def _key(self) -> KeyPath:
        parts: list[str] = []
        while True:
            found = _KEY_PART.match(self._text, self._at)
            assert found is not None, self._at  # the document is valid
            self._at = found.end()
            bare, basic, literal, dot = found.groups()
            parts.append(bare or literal or _unescaped(basic or ""))
            if not dot:
                return tuple(parts)

    def _skip_blank(self) -> None:
        found = _BLANK.match(self._text, self._at)
        assert found is not None  # it matches nothing, too
        self._at = found.end()

    def _record_all(self, path: KeyPath, known: int) -> None:
        for length in range(known + 1, len(path) + 1):
            self._record(path[:length])

    def _record(self, path: KeyPath) -> None:
        if self._wanted is None or path in self._wanted:
            self._line += self._text.count("\n", self._counted, self._at)
            self._counted = self._at
            self.lines.setdefault(path, self._line)


def _unescaped(basic: str) -> str:
    if "\\" not in basic:
        return basic
    value: str = tomllib.loads(f'key = "{basic}"')["key"]
    return value
