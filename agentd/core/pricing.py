"""What tokens cost: by the user's own prices, then by the price table, else nobody knows.

A cost that nobody knows is None, never 0. Amounts are pico-dollars (millionths of a
micro-dollar), because a single token can cost less than a micro-dollar.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from agentd.config.schema import PriceConfig
from agentd.core.lines import Usage

# Model names are supplied by agents: no more of them are remembered at a time.
MEMO_MAX: Final = 1_024

# No model has a longer name, and no rule is tried on one.
MODEL_CHARS_MAX: Final = 200

# In a rule in place of a price: this model is known, and nobody can say what it costs.
UNPRICED: Final = -1

# As providers date their models: gpt-4o-2024-08-06, claude-sonnet-4-20250514, …@20240620.
_DATED: Final = re.compile(r"[-@](20\d\d)-?(\d\d)-?(\d\d)$")


@dataclass(frozen=True, slots=True)
class Rate:
    """Micro-dollars per million tokens, which is pico-dollars per token."""

    base_micros: int
    tiers: tuple[tuple[int, int], ...] = ()
    """(input tokens, micro-dollars per million): applies above so many, the largest last."""

    def at(self, input_tokens: int) -> int:
        """Return the rate of a call with so many input tokens."""
        found = self.base_micros
        for above, micros in self.tiers:
            if input_tokens > above:
                found = micros
        return found


@dataclass(frozen=True, slots=True)
class Price:
    """The rates of one model; None: not known."""

    of_input: Rate | None = None
    of_output: Rate | None = None
    of_cache_read: Rate | None = None
    of_cache_write: Rate | None = None

    def cost_picos(self, usage: Usage) -> int | None:
        """Return what `usage` costs; None if a rate that it needs is not known.

        Cached tokens are part of `input_tokens`. A cache without a rate of its own costs what
        input costs. Whoever tells more cached tokens than input has told them apart.
        """
        cached_tokens = usage.cache_read_tokens + usage.cache_write_tokens
        parts = (
            (max(0, usage.input_tokens - cached_tokens), self.of_input),
            (usage.cache_read_tokens, self.of_cache_read or self.of_input),
            (usage.cache_write_tokens, self.of_cache_write or self.of_input),
            (usage.output_tokens, self.of_output),
        )
        if any(tokens and rate is None for tokens, rate in parts):
            return None
        level = max(usage.input_tokens, cached_tokens)
        return sum(tokens * rate.at(level) for tokens, rate in parts if rate is not None)


Rule = tuple[str, str, int]
"""How a model's name is matched (`=` all of it, `^` its beginning, `~` a part, `$` its end, `r` by
a regular expression), the text, and which price."""

Naming = tuple[str, str, str]
"""The same for what tells a provider: how, the text, and which provider."""


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Published prices, by provider."""

    prices: Sequence[Price] = ()
    rules: Mapping[str, Sequence[Rule]] = field(default_factory=dict)
    """Of each provider, in the order in which they are tried; all texts in lower case."""
    aliases: Sequence[Naming] = ()
    """Other names of providers."""
    makers: Sequence[Naming] = ()
    """By the name of a model, the provider whose prices hold where none is named."""
    fallbacks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Providers that also sell what others make: whose prices hold then."""
    source: str = ""

    def find(self, model: str, provider: str) -> Price | None:
        """Return the price of a model, both names in lower case; `provider` may be empty.

        A provider that the table knows has the last word on what its own models cost.
        """
        known = self._provider(provider)
        named, _, rest = model.partition("/")
        if known is None and rest and named in self.rules:
            known, model = named, rest
        if known is None:
            known = _first(self.makers, model)
        if known is None:
            return None
        for name in dict.fromkeys((model, model.removeprefix(f"{known}/"), _last_part(model))):
            for form in (name, _dated(name)):
                found = self._of(known, form) if form is not None else None
                if found is not None:
                    return found
        return None

    def _provider(self, name: str) -> str | None:
        if not name or name in self.rules:
            return name or None
        return _first(self.aliases, name)

    def _of(self, provider: str, model: str) -> Price | None:
        for name in (provider, *self.fallbacks.get(provider, ())):
            for kind, text, number in self.rules.get(name, ()):
                if _matches(kind, text, model):
                    return None if number == UNPRICED else self.prices[number]
        return None


@dataclass(slots=True)
class Prices:
    """The user's prices over the price table."""

    own: Mapping[str, PriceConfig] = field(default_factory=dict)
    table: PriceTable = field(default_factory=PriceTable)
    _memo: dict[tuple[str | None, str], Price | None] = field(default_factory=dict)

    def use(
        self,
        own: Mapping[str, PriceConfig] | None = None,
        table: PriceTable | None = None,
    ) -> None:
        """Go by other prices from now on; what was spent has its cost already."""
        self.own = self.own if own is None else own
        self.table = self.table if table is None else table
        self._memo.clear()

    def cost_picos(self, usage: Usage, model: str | None, provider: str | None) -> int | None:
        """Return what `usage` of this model costs; None: nobody knows."""
        if model is None or len(model) > MODEL_CHARS_MAX:
            return None
        key = (provider, model)
        if key not in self._memo:
            if len(self._memo) >= MEMO_MAX:
                self._memo.clear()
            self._memo[key] = self._find(model, provider)
        price = self._memo[key]
        return None if price is None else price.cost_picos(usage)

    def _find(self, model: str, provider: str | None) -> Price | None:
        """Look for the model itself; a price of the user's own also holds for its dated forms."""
        found = self._find_own(model, provider)
        if found is None:
            found = self.table.find(model.lower(), (provider or "").lower())
        dated = _DATED.search(model)
        if found is None and dated is not None:
            found = self._find_own(model[: dated.start()], provider)
        return found

    def _find_own(self, model: str, provider: str | None) -> Price | None:
        for name in _forms(model, provider):
            found = self.own.get(name)
            if found is not None:
                return _own_price(found)
        return None


def _forms(model: str, provider: str | None) -> Iterator[str]:
    """Yield the names under which a config may know a model."""
    yield model
    if provider:
        yield f"{provider}/{model}"
    while "/" in model:
        model = model.partition("/")[2]
        yield model


def _last_part(model: str) -> str:
    return model.rpartition("/")[2]


def _dated(model: str) -> str | None:
    """Return a name with its date written as tables write it; None: it has no other date."""
    found = _DATED.search(model)
    if found is None:
        return None
    written = f"{model[: found.start()]}-{'-'.join(found.groups())}"
    return written if written != model else None


def _first(namings: Sequence[Naming], name: str) -> str | None:
    for kind, text, provider in namings:
        if _matches(kind, text, name):
            return provider
    return None


def _matches(kind: str, text: str, name: str) -> bool:
    match kind:
        case "=":
            return name == text
        case "^":
            return name.startswith(text)
        case "~":
            return text in name
        case "$":
            return name.endswith(text)
        case "r":
            return re.search(text, name) is not None
        case _:
            return False


def _own_price(config: PriceConfig) -> Price:
    return Price(
        _own_rate(config.input_micros),
        _own_rate(config.output_micros),
        _own_rate(config.cache_read_micros),
        _own_rate(config.cache_write_micros),
    )


def _own_rate(micros: int | None) -> Rate | None:
    return None if micros is None else Rate(int(micros))
