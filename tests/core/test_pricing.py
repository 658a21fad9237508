"""What tokens cost: whose price holds, what of a usage has which rate, and what nobody knows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.config.schema import PriceConfig
from agentd.config.units import parse_dollars
from agentd.core.lines import Usage
from agentd.core.pricing import MEMO_MAX, UNPRICED, Price, Prices, PriceTable, Rate

USD = 10**12  # pico-dollars


def own(**dollars: float) -> PriceConfig:
    rates = {f"{name}_micros": parse_dollars(amount) for name, amount in dollars.items()}
    return PriceConfig(**rates)


FULL = own(input=3.0, output=15.0, cache_read=0.3, cache_write=3.75)


def cost(price: PriceConfig, usage: Usage) -> float | None:
    found = Prices(own={"m": price}).cost_picos(usage, "m", None)
    return None if found is None else found / USD


@pytest.mark.parametrize(
    ("price", "usage", "dollars"),
    [
        (FULL, Usage(1_000_000), 3.0),
        (FULL, Usage(0, 1_000_000), 15.0),
        (FULL, Usage(1_000_000, 0, 400_000), 0.6 * 3.0 + 0.4 * 0.3),  # cached is part of input
        (FULL, Usage(1_000_000, 0, 400_000, 600_000), 0.4 * 0.3 + 0.6 * 3.75),
        (FULL, Usage(100, 0, 1_000_000), 0.3),  # told apart from the input
        (FULL, Usage(1_000_000, 1_000_000, reasoning_tokens=900_000), 18.0),  # part of the output
        (FULL, Usage(), 0.0),
        (own(input=3.0, output=15.0), Usage(1_000_000, 0, 400_000, 100_000), 3.0),  # no discount
        (own(input=3.0), Usage(1_000_000), 3.0),  # an embedding has no output
        (own(input=3.0), Usage(1_000_000, 1), None),
        (own(output=3.0), Usage(1), None),
        (own(output=3.0, cache_read=1.0), Usage(10, 0, 10), 0.00001),
        (own(output=3.0, cache_read=1.0), Usage(11, 0, 10), None),
        (own(input=0.0, output=0.0), Usage(10, 10), 0.0),  # free, and known to be
    ],
)
def test_what_a_usage_costs(price: PriceConfig, usage: Usage, dollars: float | None) -> None:
    assert cost(price, usage) == pytest.approx(dollars)


@pytest.mark.parametrize(("tokens", "dollars"), [(200_000, 0.2), (200_001, 0.400002)])
def test_a_tier_holds_for_the_whole_call_above_so_many_tokens(tokens: int, dollars: float) -> None:
    rate = Rate(1_000_000, ((200_000, 2_000_000),))
    assert Price(of_input=rate).cost_picos(Usage(tokens)) == pytest.approx(dollars * USD)


ONE, TWO, THREE, FOUR = (Price(Rate(n), Rate(n)) for n in (1, 2, 3, 4))
TABLE = PriceTable(
    prices=(ONE, TWO, THREE, FOUR),
    rules={
        "openai": [
            ("=", "gpt-4o", 0),
            ("=", "gpt-4o-2024-05-13", 1),
            ("^", "gpt-4o-audio", 2),
            ("=", "gpt-paid-by-request", UNPRICED),
            ("^", "gpt-paid", 2),
        ],
        "anthropic": [("~", "sonnet-4", 3), ("$", "-mini", 2)],
        "openrouter": [("=", "openai/gpt-4o", 1)],
        "azure": [("=", "gpt-4o", 2)],
    },
    aliases=[("^", "azure", "azure"), ("=", "claude", "anthropic")],
    makers=[("^", "gpt-", "openai"), ("~", "claude", "anthropic"), ("r", "^o[134]", "openai")],
    fallbacks={"azure": ["openai"]},
)


@pytest.mark.parametrize(
    ("provider", "model", "price"),
    [
        (None, "gpt-4o", 1),
        ("openai", "gpt-4o", 1),
        ("OpenAI", "GPT-4o", 1),
        (None, "openai/gpt-4o", 1),
        ("openai", "openai/gpt-4o", 1),
        ("openrouter", "openai/gpt-4o", 2),  # the provider's own name for it
        ("azure", "gpt-4o", 3),
        ("azure_openai", "gpt-4o", 3),
        ("azure", "gpt-4o-audio-x", 3),  # sold for openai
        (None, "gpt-4o-2024-05-13", 2),
        (None, "gpt-4o-20240513", 2),  # the same date
        (None, "gpt-4o-2099-01-01", None),  # another one: another model
        (None, "claude-sonnet-4-5", 4),
        ("claude", "claude-3-mini", 3),
        (None, "anthropic.claude-sonnet-4-v1:0", 4),
        ("litellm", "anthropic/claude-sonnet-4", 4),  # a provider that the table doesn't know
        (None, "gpt-paid-by-request", None),
        (None, "gpt-paid-x", 3),
        ("openai", "claude-sonnet-4", None),  # known not to be theirs
        (None, "llama", None),
        (None, "", None),
        ("openai", "gpt-4o" * 100, None),
    ],
)
def test_which_published_price_holds(provider: str | None, model: str, price: int | None) -> None:
    assert Prices(table=TABLE).cost_picos(Usage(1), model, provider) == price


@pytest.mark.parametrize(
    ("provider", "model", "price"),
    [
        (None, "gpt-4o", 7),
        (None, "openai/gpt-4o", 7),
        (None, "a/b/gpt-4o", 7),
        (None, "gpt-4o-2024-08-06", 7),  # its dated forms, where nobody has a price of their own
        (None, "gpt-4o-2024-05-13", 2),
        ("vertex", "sonnet", 8),  # written with its provider
        (None, "sonnet", None),
    ],
)
def test_a_price_of_ones_own_wins(provider: str | None, model: str, price: int | None) -> None:
    written = {
        "gpt-4o": own(input=0.000007, output=1.0),
        "vertex/sonnet": own(input=0.000008, output=1.0),
    }
    assert Prices(own=written, table=TABLE).cost_picos(Usage(1), model, provider) == price


def test_unknown_is_never_nothing() -> None:
    assert Prices().cost_picos(Usage(), "m", None) is None
    assert Prices(own={"m": FULL}).cost_picos(Usage(1), None, "openai") is None


def test_other_prices_hold_from_the_moment_they_come() -> None:
    prices = Prices()
    assert prices.cost_picos(Usage(1), "gpt-4o", None) is None
    prices.use(table=TABLE)
    assert prices.cost_picos(Usage(1), "gpt-4o", None) == 1
    prices.use(own={"gpt-4o": FULL})
    assert prices.cost_picos(Usage(1), "gpt-4o", None) == 3_000_000


def test_what_agents_call_their_models_takes_no_memory_without_end() -> None:
    prices = Prices(table=TABLE)
    for number in range(3 * MEMO_MAX):
        prices.cost_picos(Usage(1), f"m{number}", None)
    assert len(prices._memo) <= MEMO_MAX


@given(st.lists(st.integers(0, 10**9), min_size=4, max_size=4))
def test_more_tokens_never_cost_less(counts: list[int]) -> None:
    less = cost(FULL, Usage(*counts))
    more = cost(FULL, Usage(counts[0], counts[1] + 1, counts[2], counts[3]))
    assert less is not None
    assert more is not None
    assert more >= less >= 0
