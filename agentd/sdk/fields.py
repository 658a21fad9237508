"""What a field of a line may hold: a Python value to its JSON text, or nothing if it is wrong.

The bounds are the daemon's: a line with one wrong field would be refused as a whole, so that
what it would refuse is left out here, and the rest arrives.
"""

from __future__ import annotations

from math import isfinite

from agentd.sdk.jsontext import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final

TEXT_MAX: Final = 1024
"""Characters. The daemon takes 4,096, but a line of all texts must stay below 64 KiB."""
NAME_MAX: Final = 256
TOKENS_MAX: Final = 1_000_000_000
COST_USD_MAX: Final = 100_000.0
COUNT_MAX: Final = 1_000_000_000
SECONDS_MAX: Final = 315_360_000.0
MILLIS_MAX: Final = 315_360_000_000.0
LATENCIES_MAX: Final = 64
INTEGER_MAX: Final = (1 << 53) - 1

_AT_WORK: Final = ("ok", "working", "idle", "waiting_llm", "waiting_tool", "waiting_human")
STATUSES: Final = frozenset((*_AT_WORK, "shutting_down", "draining", "error", "done"))
USAGE_NAMES: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_write_input_tokens",
    "reasoning_output_tokens",
)


def number(value: object) -> float | None:
    """Return a finite number; None for anything else. A text or a bool is no number."""
    if type(value) is float:  # nearly always, and a heartbeat is to be short
        return value if isfinite(value) else None
    if isinstance(value, (str, bytes, bool)):
        return None
    try:
        found = float(value)  # type: ignore[arg-type]  # Decimal, numpy and the like are welcome
    except Exception:  # noqa: BLE001 - no number, or someone else's object that raises
        return None
    return found if isfinite(found) else None


def whole(value: object, most: int = TOKENS_MAX) -> int | None:
    """Return a whole number from 0 to `most`; None for anything else."""
    if type(value) is not int:
        found = number(value)
        if found is None:
            return None
        value = int(found)
    return value if 0 <= value <= most else None


def amount(value: object, most: float) -> float | None:
    """Return a number from 0 to `most`; None for anything else."""
    found = number(value)
    return found if found is not None and 0 <= found <= most else None


def words(value: object, most: int = TEXT_MAX) -> str | None:
    """Return a text of at most so many characters, from a text or a number; else None."""
    if not isinstance(value, str):
        if isinstance(value, (bool, bytes)) or number(value) is None:
            return None
        value = str(value)
    value = value[:most]
    # The daemon would show these two as six characters each, and might find it too long then.
    if "\0" in value:
        value = value.replace("\0", "?")
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def text(value: object) -> str | None:
    """Return the JSON of a text."""
    found = words(value)
    return None if found is None else quoted(found)


def name(value: object) -> str | None:
    """Return the JSON of a short text that isn't empty."""
    found = words(value, NAME_MAX)
    return quoted(found) if found else None


def tokens(value: object) -> str | None:
    """Return the JSON of a count of tokens."""
    found = whole(value)
    return None if found is None else str(found)


def dollars(value: object) -> str | None:
    """Return the JSON of an amount of dollars."""
    found = amount(value, COST_USD_MAX)
    return None if found is None else repr(found)


def seconds(value: object) -> str | None:
    """Return the JSON of a duration in seconds."""
    found = amount(value, SECONDS_MAX)
    return None if found is None else repr(found)


def flag(value: object) -> str | None:
    """Return the JSON of true or false."""
    if isinstance(value, bool) or value in (0, 1):
        return "true" if value else "false"
    return None


def step(value: object) -> str | None:
    """Return the JSON of a step: a text or a number."""
    if isinstance(value, str):
        return text(value)
    found = number(value)
    if found is None or abs(found) > INTEGER_MAX:
        return None
    return str(int(found)) if found == int(found) else repr(found)


def status(value: object) -> str | None:
    """Return the JSON of a status that the daemon knows."""
    return f'"{value!s}"' if isinstance(value, str) and value in STATUSES else None


def progress(value: object) -> str | None:
    """Return the JSON of a share from 0 to 1, or of {done, total, state_fp}."""
    found = number(value)
    if found is not None:
        return repr(found if 0.0 <= found <= 1.0 else min(1.0, max(0.0, found)))
    if isinstance(value, dict):
        parts = [f'"{key}":{value[key]!r}' for key in ("done", "total") if _amount(value.get(key))]
        if value.get("state_fp") is not None and (said := name(value["state_fp"])):
            parts.append(f'"state_fp":{said}')
        return "{" + ",".join(parts) + "}" if parts else None
    return None


def _amount(value: object) -> bool:
    return type(value) in (int, float) and amount(value, 1e18) is not None


def latencies(value: object) -> list[float]:
    """Return latencies in ms of one number or of several; wrong ones are left out."""
    values = list(value)[-LATENCIES_MAX:] if isinstance(value, (list, tuple)) else [value]
    return [found for one in values if (found := amount(one, MILLIS_MAX)) is not None]


def latency(value: object) -> str | None:
    """Return the JSON of latencies in ms."""
    found = latencies(value)
    return "[" + ",".join(map(repr, found)) + "]" if found else None


def usage(value: object) -> str | None:
    """Return the JSON of a mapping with the wire's names of usage."""
    if not isinstance(value, dict):
        return None
    parts = [
        f'"{key}":{found}'
        for key in USAGE_NAMES
        if value.get(key) is not None and (found := tokens(value[key])) is not None
    ]
    return "{" + ",".join(parts) + "}" if parts else None


def count(value: object) -> str | None:
    """Return the JSON of a count."""
    found = whole(value, COUNT_MAX)
    return None if found is None else str(found)


def written(
    fields: Mapping[str, object], forms: Mapping[str, Callable[[object], str | None]]
) -> tuple[str, str]:
    """Return `,"name":value…` of all fields that are given, and the names of the wrong ones."""
    parts, wrong = [], ""
    for key, value in fields.items():
        if value is not None:
            try:
                said = forms[key](value)
            except Exception:  # noqa: BLE001 - a value may raise whatever it likes; it is left out
                said = None
            if said is None:
                wrong += f" {key}"
            else:
                parts.append(f',"{key}":{said}')
    return "".join(parts), wrong


BEAT: Final[Mapping[str, Callable[[object], str | None]]] = {
    "status": status,
    "tokens": tokens,
    "tokens_used": tokens,
    "usage": usage,
    "cost_usd": dollars,
    "model": text,
    "provider": text,
    "success": flag,
    "successes": count,
    "failures": count,
    "latency_ms": latency,
    "task": text,
    "step": step,
    "tool": text,
    "goal": text,
    "progress": progress,
    "silence_s": seconds,
    "retry_after_s": seconds,
}
