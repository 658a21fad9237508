"""`python -m agentd.wire.pricetable OUT`: write the price table from genai-prices.

A program of its own, because that package costs 20 MB and a tenth of a second: the daemon and
the command line run it and never import it. Nothing is fetched: the prices are those of the
installed package. Exit codes: 0 written, 1 not; one line says what or why.

What our usage can't tell apart is priced as text: audio, images. A model that is paid by the
request is left out, and so its cost is unknown. Of prices that depend on the time of day the
dearest is taken: a budget may stop an agent a little early, and never late.
"""

import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from agentd.core.pricing import UNPRICED
from agentd.wire.prices import VERSION, PriceShape, RateShape, TableShape, encode_table

DONE: Final = 0
FAILED: Final = 1
PACKAGE: Final = "genai-prices"

_MICROS: Final = Decimal(10**6)
_KEYS: Final = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
}
# Paid by something that no usage tells.
_UNTOLD: Final = ("requests_kcount",)
_KINDS: Final = {
    "ClauseEquals": ("=", "equals"),
    "ClauseStartsWith": ("^", "starts_with"),
    "ClauseContains": ("~", "contains"),
    "ClauseEndsWith": ("$", "ends_with"),
    "ClauseRegex": ("r", "regex"),
}


def main(words: list[str]) -> int:
    """Write the table to the file named; return the exit code."""
    try:
        from genai_prices.data import providers  # noqa: PLC0415 - the reason for this program
    except ImportError:
        sys.stderr.write(
            f"{PACKAGE} is not installed; it comes with the extra prices: "
            "pip install 'agentd-supervisor[prices]'\n"
        )
        return FAILED
    table = table_of(providers, f"{PACKAGE} {version(PACKAGE)}", datetime.now(tz=UTC))
    try:
        write(Path(words[0]), encode_table(table))
    except OSError as error:
        sys.stderr.write(f"{words[0]}: {error.strerror}\n")
        return FAILED
    count = sum(len(rules) for rules in table.rules.values())
    sys.stdout.write(f"{count} names of models of {len(table.rules)} providers, {table.source}\n")
    return DONE


def table_of(providers: list[Any], source: str, now: datetime) -> TableShape:
    """Turn the package's providers into our table; `Any`, because its types are its own."""
    table = TableShape(version=VERSION, source=source, prices=[], rules={})
    known: dict[str, int] = {}
    for provider in providers:
        rules = table.rules.setdefault(provider.id, [])
        for model in provider.models:
            price = _price(model, now)
            number = UNPRICED
            if price is not None:
                number = known.setdefault(repr(price), len(table.prices))
                if number == len(table.prices):
                    table.prices.append(price)
            rules += ((kind, text, number) for kind, text in _clauses(model.match))
        table.aliases += ((*one, provider.id) for one in _clauses(provider.provider_match))
        table.makers += ((*one, provider.id) for one in _clauses(provider.model_match))
        if provider.fallback_model_providers:
            table.fallbacks[provider.id] = list(provider.fallback_model_providers)
    return table


def write(path: Path, data: bytes) -> None:
    """Put the file in place as a whole, durably."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _clauses(match: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - the package's own types
    """Yield the alternatives of a match; what has to hold together is passed over."""
    name = type(match).__name__
    if name == "ClauseOr":
        for one in match.or_:
            yield from _clauses(one)
    elif name in _KINDS:
        kind, attribute = _KINDS[name]
        text = str(getattr(match, attribute))
        if kind != "r":
            yield kind, text.lower()
        elif _is_pattern(text):
            yield kind, text


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def _price(model: Any, now: datetime) -> PriceShape | None:  # noqa: ANN401 - as above
    prices = _valid(model.prices, now)
    if prices is None or any(getattr(prices, key, None) is not None for key in _UNTOLD):
        return None
    found = {name: _rate(getattr(prices, key, None)) for name, key in _KEYS.items()}
    if found["input"] is None and found["output"] is None:
        return None
    return PriceShape(**found)


def _valid(prices: Any, now: datetime) -> Any:  # noqa: ANN401 - as above
    """Return the price of now; of those for a time of day the dearest, which may hold by then."""
    if not isinstance(prices, list):
        return prices
    chosen: list[Any] = prices[:1]
    for one in prices:  # the last that holds wins
        if type(one.constraint).__name__ == "TimeOfDateConstraint":
            chosen.append(one)
        elif one.constraint is None or one.constraint.active(now):
            chosen = [one]
    return max((one.prices for one in chosen), key=_dearness, default=None)


def _dearness(prices: Any) -> int:  # noqa: ANN401 - as above
    rates = (_rate(getattr(prices, key, None)) for key in (_KEYS["input"], _KEYS["output"]))
    return sum(rate.base for rate in rates if rate is not None)


def _rate(price: Any) -> RateShape | None:  # noqa: ANN401 - as above
    if price is None:
        return None
    if isinstance(price, Decimal):
        return RateShape(_micros(price))
    return RateShape(
        _micros(price.base), [(tier.start, _micros(tier.price)) for tier in price.tiers]
    )


def _micros(dollars: Decimal) -> int:
    return int((dollars * _MICROS).to_integral_value())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
