"""What a judge command prints: one JSON object on stdout, checked before it is believed."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from agentd.wire.limits import Dollars
from agentd.wire.lines import PARSE_ERRORS, BadLine, describe, examined

REASON_CHARS_MAX: Final = 500
_MICROS: Final = 1_000_000


class Judgement(Struct, frozen=True, kw_only=True):
    """`{"closer": false, "confidence": 0.95, "reason": "…", "cost_usd": 0.002}`.

    The first two are required; whatever else is in it is passed over.
    """

    closer: bool
    confidence: Annotated[float, Meta(ge=0, le=1)]
    reason: str = ""
    cost_usd: Dollars | None = None

    @property
    def cost_micros(self) -> int | None:
        return None if self.cost_usd is None else round(self.cost_usd * _MICROS)

    @property
    def short_reason(self) -> str:
        return " ".join(self.reason.split())[:REASON_CHARS_MAX]


_decode: Final = msgspec.json.Decoder(Judgement).decode


def decode_judgement(raw: bytes) -> Judgement:
    """Return what a judge said; ValueError says in one line what is wrong with it."""
    if not raw.strip():
        raise ValueError("it printed nothing on stdout")
    try:
        return _decode(examined(raw))
    except BadLine as bad:
        raise ValueError(f"not a judgement: {bad.message}") from None
    except PARSE_ERRORS as error:
        raise ValueError(f"not a judgement: {describe(error)}") from None
