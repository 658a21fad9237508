"""Usage as the providers' packages put it, understood by its names alone.

    openai        chat: prompt_tokens, completion_tokens and their `_details`; responses:
                  input_tokens, output_tokens and theirs. Cached ones are part of the input.
    anthropic     input_tokens without the cached ones, which stand in cache_read_input_tokens
                  and cache_creation_input_tokens.
    LangChain     usage_metadata: input_tokens with the cached ones, input_token_details; or
                  response_metadata.token_usage, llm_output.token_usage, as the provider said it.
    pydantic-ai   input_tokens with the cached ones, cache_read_tokens, cache_write_tokens.
    Google        prompt_token_count with the cached ones, candidates_token_count,
                  thoughts_token_count beside it.

Nothing of these packages is imported: attributes and keys are read, never called.
"""

from __future__ import annotations

from agentd.sdk.fields import TOKENS_MAX, USAGE_NAMES, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

DEPTH_MAX: Final = 3
"""LLMResult → generations → message → usage_metadata."""
_CACHED: Final = ("cache_read", "cached_tokens", "cache_read_tokens")
_WRITTEN: Final = ("cache_creation", "cache_write", "cache_write_tokens", "cache_creation_tokens")
_REASONING: Final = ("reasoning", "reasoning_tokens")


class Reading:
    """What was found: tokens by the wire's names, and which reply of which model said so."""

    __slots__ = ("continues", "model", "reply_id", "tokens")

    def __init__(self, tokens: Mapping[str, int]) -> None:
        self.tokens = dict(tokens)
        self.model: str | None = None
        self.reply_id: str | None = None
        self.continues = False
        """A later part of the reply before it, with totals so far."""


def larger(one: Reading, other: Reading) -> Reading:
    """Merge two readings of one reply, such as parts of a stream: totals only grow."""
    names = one.tokens | other.tokens
    merged = Reading({k: max(one.tokens.get(k, 0), other.tokens.get(k, 0)) for k in names})
    merged.model = other.model or one.model
    merged.reply_id = one.reply_id
    return merged


def read(reply: object) -> Reading | None:
    """Return the usage of a reply, of a usage object or of plain numbers; None: none in it."""
    if isinstance(reply, (int, float)) and not isinstance(reply, bool):
        count = _count(reply)
        return None if count is None else Reading({"input_tokens": count})
    return _search(reply, DEPTH_MAX)


def _search(reply: object, depth: int) -> Reading | None:
    for holder, name in ((reply, ""), *_holders(reply)):
        usage = _get(holder, name) if name else holder
        tokens = _tokens(usage)
        if tokens is not None:
            found = Reading(tokens)
            found.model = _model(reply)
            found.reply_id = words(_get(reply, "id")) if usage is not reply else None
            found.continues = _get(reply, "type") == "message_delta"
            return found
    if depth == 0:
        return None
    for part in _parts(reply):
        inner = _search(part, depth - 1)
        if inner is not None:
            inner.model = inner.model or _model(reply)
            return inner
    return None


def _holders(reply: object) -> list[tuple[object, str]]:
    """Return where usage may stand in a reply, the fullest account first."""
    return [
        (reply, "usage_metadata"),
        (reply, "usage"),
        (_get(reply, "response_metadata"), "token_usage"),
        (_get(reply, "response_metadata"), "usage"),
        (_get(reply, "llm_output"), "token_usage"),
    ]


def _parts(reply: object) -> list[object]:
    """Return what of a reply may itself be one: a stream's event, a result of LangChain."""
    parts = [_get(reply, "response"), _get(reply, "message")]
    generations = _get(reply, "generations")
    while isinstance(generations, (list, tuple)) and generations:
        generations = generations[0]
    parts.append(generations)
    if isinstance(reply, (list, tuple)) and reply:  # chunks of a stream: usage is in the last
        parts.append(reply[-1])
    return [part for part in parts if part is not None and part is not reply]


def _tokens(usage: object) -> dict[str, int] | None:
    """Return the tokens that a usage object tells, by the wire's names."""
    if usage is None or isinstance(usage, (str, bytes, int, float)):
        return None
    first = _first(usage, "input_tokens", "prompt_tokens", "prompt_token_count")
    last = _first(usage, "output_tokens", "completion_tokens", "candidates_token_count")
    if first is None and last is None:
        return None
    cached, written, outside = _cache(usage)
    thoughts = _first(usage, "thoughts_token_count") or 0
    first = (first or 0) + (cached + written if outside else 0)
    counts = (first, (last or 0) + thoughts, cached, written, _reasoning(usage) or thoughts)
    named = zip(USAGE_NAMES, counts, strict=True)
    return {
        name: min(count, TOKENS_MAX)
        for name, count in named
        if count or name in ("input_tokens", "output_tokens")
    }


def _cache(usage: object) -> tuple[int, int, bool]:
    """Return tokens read from and written to a cache, and whether the input leaves them out.

    Only anthropic counts them outside, and only its usage says `cache_creation_input_tokens`.
    The wire's own names mean the input with them, unless more was cached than came in.
    """
    details = [_get(usage, "input_token_details"), _get(usage, "input_tokens_details")]
    details.append(_get(usage, "prompt_tokens_details"))
    for detail in details:
        if detail is not None:
            return _first(detail, *_CACHED) or 0, _first(detail, *_WRITTEN) or 0, False
    cached = _first(usage, "cache_read_input_tokens")
    created = _first(usage, "cache_creation_input_tokens")
    if created is None and not isinstance(usage, dict) and cached is not None:
        created = 0
    if created is not None:
        return cached or 0, created, True
    written = _first(usage, "cache_write_input_tokens", "cache_write_tokens") or 0
    if cached is None:
        return _first(usage, "cache_read_tokens", "cached_content_token_count") or 0, written, False
    return cached, written, cached > (_first(usage, "input_tokens") or 0)


def _reasoning(usage: object) -> int:
    direct = _first(usage, "reasoning_output_tokens")
    if direct is not None:
        return direct
    for name in ("output_token_details", "output_tokens_details", "completion_tokens_details"):
        found = _first(_get(usage, name), *_REASONING)
        if found is not None:
            return found
    return 0


def _model(reply: object) -> str | None:
    metadata = _get(reply, "response_metadata") or _get(reply, "llm_output")
    for holder, name in (
        (reply, "model"),
        (metadata, "model_name"),
        (metadata, "model"),
        (reply, "model_name"),
    ):
        found = _get(holder, name)
        if isinstance(found, str) and found:
            return words(found)
    return None


def _first(holder: object, *names: str) -> int | None:
    for name in names:
        count = _count(_get(holder, name))
        if count is not None:
            return count
    return None


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if 0 <= value <= TOKENS_MAX else None


def _get(holder: Any, name: str) -> Any:  # noqa: ANN401 - whatever a package put there
    """Return a key of a mapping or an attribute; None where there is none."""
    if holder is None:
        return None
    if isinstance(holder, dict):
        return holder.get(name)
    try:
        return getattr(holder, name, None)
    except Exception:  # noqa: BLE001 - a property of someone else's object
        return None
