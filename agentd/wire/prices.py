"""The price table as a file: written by `agentd prices`, read at the start of the daemon."""

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from agentd.core.pricing import UNPRICED, Price, PriceTable, Rate

FILE_NAME: Final = "prices.json"
VERSION: Final = 1

# A table of 2,300 models takes some 300 KB; one this large is none.
FILE_BYTES_MAX: Final = 16 << 20

Micros = Annotated[int, Meta(ge=0, le=10**15)]
Tokens = Annotated[int, Meta(ge=0, le=10**12)]
Text = Annotated[str, Meta(max_length=500)]


class BadTable(ValueError):  # noqa: N818 - named after what it is about
    """A file that is no price table, and why."""


class RateShape(Struct, gc=False, omit_defaults=True):
    """Micro-dollars per million tokens."""

    base: Micros
    tiers: list[tuple[Tokens, Micros]] = []


class PriceShape(Struct, gc=False, omit_defaults=True):
    """One price that any number of models may have."""

    input: RateShape | None = None
    output: RateShape | None = None
    cache_read: RateShape | None = None
    cache_write: RateShape | None = None


class TableShape(Struct, kw_only=True):
    """The whole file; see `agentd.core.pricing.PriceTable`."""

    version: int
    source: Text
    prices: list[PriceShape]
    rules: dict[Text, list[tuple[Text, Text, int]]]
    aliases: list[tuple[Text, Text, Text]] = []
    makers: list[tuple[Text, Text, Text]] = []
    fallbacks: dict[Text, list[Text]] = {}


def encode_table(shape: TableShape) -> bytes:
    """Return the file's bytes."""
    return msgspec.json.encode(shape)


def decode_table(data: bytes) -> PriceTable:
    """Read the file's bytes; `BadTable` says what is wrong with them."""
    if len(data) > FILE_BYTES_MAX:
        raise BadTable(f"larger than {FILE_BYTES_MAX} bytes")
    try:
        shape = msgspec.json.decode(data, type=TableShape)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadTable(str(error)) from None
    if shape.version != VERSION:
        raise BadTable(f"its version is {shape.version}, not {VERSION}")
    count = len(shape.prices)
    if any(not UNPRICED <= rule[2] < count for rules in shape.rules.values() for rule in rules):
        raise BadTable("a model has a price that isn't there")
    _check_patterns(shape)
    return PriceTable(
        prices=tuple(_price(one) for one in shape.prices),
        rules=shape.rules,
        aliases=shape.aliases,
        makers=shape.makers,
        fallbacks=shape.fallbacks,
        source=shape.source,
    )


def models_in(table: PriceTable) -> int:
    """How many names and patterns of models a table knows."""
    return sum(len(rules) for rules in table.rules.values())


def _check_patterns(shape: TableShape) -> None:
    """Raise `BadTable` for a regular expression that is none: it would be met at some call."""
    namings = [
        *shape.aliases,
        *shape.makers,
        *(one for all_ in shape.rules.values() for one in all_),
    ]
    for kind, text, _ in namings:
        if kind == "r":
            try:
                re.compile(text)
            except (re.error, RecursionError, OverflowError) as error:
                raise BadTable(f"{text!r:.80} is no pattern: {error}") from None


def _price(shape: PriceShape) -> Price:
    return Price(
        _rate(shape.input), _rate(shape.output), _rate(shape.cache_read), _rate(shape.cache_write)
    )


def _rate(shape: RateShape | None) -> Rate | None:
    return None if shape is None else Rate(shape.base, tuple(sorted(shape.tiers)))
