"""[prices]: what tokens cost, in dollars per million, where the agent doesn't say it itself.

Cached tokens are part of the input tokens. A model without a price has an unknown cost, which
is never 0: budgets of dollars don't see it, budgets of tokens do.
"""

from typing import Final

from tests.scenarios.scenario import Scenario
from tests.scenarios.traces import beat, called, end

HEAD: Final = """\
[prices."model-x"]
input = 3.0
output = 15.0
cache_read = 0.3
cache_write = 3.75
"""
STOPS: Final = (
    "10 budget.exceeded critical BUDGET_EXCEEDED",
    "10 agent.paused BUDGET_EXCEEDED",
    "10 freeze",
)
MILLION: Final = 1_000_000


def _priced(what: str, usage: dict[str, int], below_usd: float) -> tuple[Scenario, ...]:
    """A million tokens of one kind: a little more than one budget, a little less than another."""
    line = called(10, model="model-x", usage=usage)
    return (
        Scenario(
            f"{what}: dearer than the budget",
            (f"prices.{what} beyond",),
            [line, end(20)],
            f"budget = {{ usd_per_run = {below_usd - 0.01:.2f}, warn_at = 1.0 }}\n",
            STOPS,
            head=HEAD,
        ),
        Scenario(
            f"{what}: cheaper than the budget",
            (f"prices.{what} below",),
            [line, end(20)],
            f"budget = {{ usd_per_run = {below_usd + 0.01:.2f}, warn_at = 1.0 }}\n",
            head=HEAD,
        ),
    )


def _unknown(name: str, limit: str, *told: str, **line: object) -> Scenario:
    return Scenario(
        name,
        (f"budget.{limit.split(' ', maxsplit=1)[0]} {'beyond' if told else 'below'}",),
        [called(10, model="mystery", usage={"input_tokens": MILLION}, **line), end(20)],
        f"budget = {{ {limit}, warn_at = 1.0 }}\n",
        told,
        head=HEAD,
    )


SCENARIOS: Final = (
    *_priced("input", {"input_tokens": MILLION}, 3.0),
    *_priced("output", {"output_tokens": MILLION}, 15.0),
    *_priced("cache_read", {"input_tokens": MILLION, "cache_read_input_tokens": MILLION}, 0.3),
    *_priced("cache_write", {"input_tokens": MILLION, "cache_write_input_tokens": MILLION}, 3.75),
    Scenario(
        "a heartbeat's usage is priced like a call's",
        ("prices.input beyond",),
        [beat(10, model="model-x", usage={"input_tokens": MILLION}), end(20)],
        "budget = { usd_per_run = 2.99, warn_at = 1.0 }\n",
        STOPS,
        head=HEAD,
    ),
    Scenario(
        "what an agent says of its cost is believed before a price",
        ("prices.input below",),
        [called(10, model="model-x", usage={"input_tokens": MILLION}, cost_usd=0.5), end(20)],
        "budget = { usd_per_run = 1.0, warn_at = 1.0 }\n",
        head=HEAD,
    ),
    Scenario(
        "a model without a price: people are told that a budget of dollars can't hold it",
        ("budget.usd_per_run below",),
        [called(10, model="mystery", usage={"input_tokens": MILLION}), end(20)],
        "budget.usd_per_run = 0.01\n",
        ("10 budget.warning warning known=False",),
    ),
    _unknown("but its tokens are known", "tokens_per_run = 999_999", *STOPS),
    _unknown("and so is what it says itself", "usd_per_run = 0.01", *STOPS, cost_usd=0.02),
)
