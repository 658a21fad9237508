import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from agentd.config.errors import KeyPath
from agentd.config.origins import locate

TEXT = '''\
# a comment with [brackets] and "quotes"
top = 1

[a]
plain = "x # no comment [no] table"
many = """
[not.a.table]
key = 1
""" # after
last = 'C:\\'
"quoted key" = 1
dotted.below = { inline = 1, "q" = [1, 2], deep = { x = [ { y = 1 } ] } }
list = [
  "one", # a comment, with ] in it
  """two
  lines""",
  ["three", "four"],
]

[b.c]
d = 1979-05-27 07:32:00
[a.later]
x = 1
[[sinks]]
name = "a"
[[sinks]]
name = "b"
[sinks.below]
x = 1
'''

LINES: dict[KeyPath, int] = {
    ("top",): 2,
    ("a",): 4,
    ("a", "plain"): 5,
    ("a", "many"): 6,
    ("a", "last"): 10,
    ("a", "quoted key"): 11,
    ("a", "dotted"): 12,
    ("a", "dotted", "below"): 12,
    ("a", "dotted", "below", "inline"): 12,
    ("a", "dotted", "below", "q"): 12,
    ("a", "dotted", "below", "q", 1): 12,
    ("a", "dotted", "below", "deep", "x", 0, "y"): 12,
    ("a", "list"): 13,
    ("a", "list", 0): 14,
    ("a", "list", 1): 15,
    ("a", "list", 2): 17,
    ("a", "list", 2, 1): 17,
    ("b",): 20,
    ("b", "c"): 20,
    ("b", "c", "d"): 21,
    ("a", "later"): 22,
    ("sinks",): 24,
    ("sinks", 0): 24,
    ("sinks", 0, "name"): 25,
    ("sinks", 1, "name"): 27,
    ("sinks", 1, "below", "x"): 29,
}


@pytest.mark.parametrize("path", LINES)
def test_a_key_is_found_on_its_line(path: KeyPath) -> None:
    assert locate(TEXT)[path] == LINES[path]


def test_only_what_is_wanted_is_told() -> None:
    assert locate(TEXT, {("a", "later"), ("nowhere",)}) == {("a", "later"): 22}


@pytest.mark.parametrize("quotes", ['""""a"""', '"""a""""', '"""a"""""', '"""\\""""', '""""""'])
def test_quotes_next_to_quotes_are_told_apart(quotes: str) -> None:
    text = f"a = {quotes}\nb = 1\n"
    assert tomllib.loads(text).keys() == {"a", "b"}
    assert locate(text) == {("a",): 1, ("b",): 2}


def test_nesting_of_any_depth_is_passed_over() -> None:
    depth = 250  # as far as the parser goes
    text = f"a = {'[' * depth}{']' * depth}\nb = 1\n"
    assert "b" in tomllib.loads(text)
    assert locate(text, {("b",)}) == {("b",): 2}


KEYS = st.text(max_size=8)
VALUES = st.recursive(
    st.integers(-5, 5) | st.booleans() | st.text(max_size=12) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.booleans())
def test_every_key_of_any_document_is_found(tables: dict[str, Any], multiline: bool) -> None:
    text = tomli_w.dumps(tables, multiline_strings=multiline)
    parsed = tomllib.loads(text)
    lines = locate(text)
    assert set(lines) == set(paths(parsed, ()))
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())


def paths(value: object, path: KeyPath) -> Iterator[KeyPath]:
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, below in items:
        yield (*path, key)
        yield from paths(below, (*path, key))
