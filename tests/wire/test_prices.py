"""The price table: against the package it is made of, and what is no table."""

import json
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agentd.core.lines import Usage
from agentd.core.pricing import Prices
from agentd.wire.prices import BadTable, RateShape, decode_table, encode_table, models_in
from agentd.wire.pricetable import _clauses, _rate, table_of, write

GOOD: dict[str, Any] = {
    "version": 1,
    "source": "a test",
    "prices": [{"input": {"base": 3_000_000, "tiers": [[200_000, 6_000_000]]}}],
    "rules": {"openai": [["=", "gpt-4o", 0]]},
    "makers": [["^", "gpt-", "openai"]],
}


def test_a_table_is_read() -> None:
    table = decode_table(json.dumps(GOOD).encode())
    assert Prices(table=table).cost_picos(Usage(300_000), "gpt-4o", None) == 300_000 * 6_000_000
    assert models_in(table) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"prices": [{"input": {"base": -1}}]},
        {"prices": [{"input": {"base": 1.5}}]},
        {"rules": {"openai": [["=", "gpt-4o", 1]]}},
        {"rules": {"openai": [["=", "gpt-4o", -2]]}},
        {"rules": {"openai": [["=", "gpt-4o"]]}},
        {"makers": [["^"]]},
        {"prices": None},
    ],
)
def test_what_is_no_table_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadTable):
        decode_table(json.dumps({**GOOD, **change}).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b" " * (17 << 20)])
def test_any_bytes_are_survived(data: bytes) -> None:
    with pytest.raises(BadTable):
        decode_table(data)


def test_a_table_is_put_in_place_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    write(path, b"one")
    write(path, b"two")
    assert path.read_bytes() == b"two"
    assert [one.name for one in tmp_path.iterdir()] == ["prices.json"]


def test_our_prices_are_those_of_genai_prices() -> None:
    """Each name of each model, with tiers and caches: the same to a billionth, or unknown."""
    genai = pytest.importorskip("genai_prices")
    from genai_prices.data import providers  # noqa: PLC0415 - an extra

    now = datetime.now(tz=UTC)
    prices = Prices(table=decode_table(encode_table(table_of(providers, "x", now))))
    usages = (Usage(1_000_000, 500_000), Usage(150_000, 20_000, 100_000, 10_000), Usage(1_000, 1))
    compared = unknown = 0
    for provider in providers:
        names = {
            text
            for number, model in enumerate(provider.models)
            for kind, text in _clauses(model.match)
            if kind in "=^" and number < 40
        }
        for name in sorted(names):
            for usage in usages:
                found = prices.cost_picos(usage, name, provider.id)
                if found is None:
                    unknown += 1
                    continue
                want, dearest = _asked(genai, usage, name, provider.id)
                assert found == pytest.approx(want, rel=1e-6) or found == pytest.approx(dearest), (
                    provider.id,
                    name,
                )
                compared += 1
    assert compared > 2_000
    assert unknown < compared / 5


def _asked(genai: ModuleType, usage: Usage, model: str, provider: str) -> tuple[float, float]:
    """What the package says, now and at the dearest time of the day, in pico-dollars."""
    told = genai.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens or None,
        cache_write_tokens=usage.cache_write_tokens or None,
    )
    now = datetime.now(tz=UTC)
    costs = [
        float(
            genai.calc_price(
                told,
                model_ref=model,
                provider_id=provider,
                genai_request_timestamp=now.replace(hour=hour, minute=31),
            ).total_price
            * 10**12
        )
        for hour in (now.hour, 2, 8, 14, 20)
    ]
    return costs[0], max(costs)


def test_a_price_is_a_whole_number_of_micro_dollars_a_million() -> None:
    from decimal import Decimal  # noqa: PLC0415 - of this test alone

    assert _rate(Decimal("0.0375")) == RateShape(37_500)
    assert _rate(None) is None
