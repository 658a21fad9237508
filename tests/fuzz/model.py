"""A second reading of lines, slow and written otherwise: what `agentd.wire` has to agree with.

It reads CONTRACT 5.1 as one table of rules over what Python's own `json` finds in a line, and
knows nothing of chunks, fast ways or struct types.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

LINE_MAX: Final = 64 << 10
CHECKPOINT_MAX: Final = 1 << 20
DEPTH_MAX: Final = 32
# Stands for bytes that are no UTF-8, which is wrong in a field that is read, and nowhere else.
ILL: Final = "\U0010fffe"

Pairs = tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class Read:
    """What a line is: its kind ("blank", "bad", "command" or a type), and what it says."""

    kind: str
    fields: Mapping[str, object] = field(default_factory=dict)


class _Long:
    """An integer of so many digits that nobody reads it."""


class _Object(tuple):  # type: ignore[type-arg] # noqa: SLOT001 - pairs, told from a list
    """The pairs of an object, all of them, in order."""


def split(data: bytes) -> tuple[list[bytes], bytes, bool]:
    """Return the lines of a whole stream, the unfinished rest, and whether one was too long."""
    *lines, rest = data.split(b"\n")
    for index, line in enumerate(lines):
        if len(line) > _longest(line):
            return lines[:index], b"", True
    if len(rest) > _longest(rest):
        return lines, b"", True
    return lines, rest, False


def _longest(line: bytes) -> int:
    head, at = line[:512], -1
    while (at := head.find(b'"type"', at + 1)) >= 0:
        after = head[at + 6 :].lstrip(b" \t\r\v\f")
        if after[:1] == b":" and after[1:].lstrip(b" \t\r\v\f").startswith(b'"checkpoint.put"'):
            return CHECKPOINT_MAX
    return LINE_MAX


def read(raw: bytes) -> Read:
    """Read one line."""
    if not raw.strip():
        return Read("blank")
    if raw.count(b"[") + raw.count(b"{") > DEPTH_MAX and _depth(raw) > DEPTH_MAX:
        return Read("bad")
    try:
        text = raw.decode("utf-8", "strict")
    except UnicodeDecodeError:
        text = _marked(raw)
    try:
        pairs = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return Read("bad")
    if not isinstance(pairs, _Object):
        return Read("bad")
    said = _table(pairs, _SAID, ())
    if said is None:
        return Read("bad")
    grown = len(raw) + len(_LONE.findall(raw))
    if said.get("cmd") is not None:
        return Read("command" if grown <= LINE_MAX else "bad", said)
    kind = said.get("type")
    kind = "heartbeat" if kind is None else kind
    if kind not in _TYPES or (kind != "checkpoint.put" and grown > LINE_MAX):
        return Read("bad")
    rules, needed = _TYPES[str(kind)]
    found = _table(pairs, {**_SAID, **rules}, needed)
    return Read("bad") if found is None else Read(str(kind), found)


_LONE: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


def _marked(raw: bytes) -> str:
    """Decode with a mark in the place of each byte that is no UTF-8."""
    text = raw.decode("utf-8", "surrogateescape")
    return "".join(ILL if "\udc80" <= char <= "\udcff" else char for char in text)


def _depth(raw: bytes) -> int:
    """Return how deep brackets nest outside of strings, byte by byte."""
    depth = deepest = 0
    inside = escaped = False
    for byte in raw:
        if inside:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                inside = False
        elif byte == 0x22:
            inside = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _refuse(word: str) -> object:
    raise ValueError(word)


def _integer(digits: str) -> object:
    return _Long() if math.isinf(float(digits)) else int(digits)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_Object,
    parse_constant=_refuse,
    parse_int=_integer,
    strict=True,
)


def _table(
    pairs: "_Object", rules: Mapping[str, Callable[[object], bool]], needed: tuple[str, ...]
) -> dict[str, object] | None:
    """Return what is said in the names of `rules`; None: something of it is wrong."""
    found: dict[str, object] = {}
    for name, value in pairs:
        rule = rules.get(name)
        if rule is None:
            continue
        # Of what is kept as it was written only the last counts, for only that is kept.
        if rule is not _kept and not ((value is None and name not in needed) or rule(value)):
            return None
        found[name] = value
    if any(rules[name] is _kept and not _kept(value) for name, value in found.items()):
        return None
    return found if all(name in found for name in needed) else None


def shown(text: str) -> str:
    """Return a text as it is kept: halves of pairs and NUL as the six characters that name them."""
    if text.isascii() and "\0" not in text:
        return text
    return "".join(
        f"\\u{ord(char):04x}" if char == "\0" or "\ud800" <= char <= "\udfff" else char
        for char in text
    )


def _text(most: int, least: int = 0) -> Callable[[object], bool]:
    def rule(value: object) -> bool:
        if not isinstance(value, str) or ILL in value:
            return False
        return least <= len(shown(value)) <= most

    return rule


def _number(
    low: float, high: float, kinds: type | tuple[type, ...] = (int, float)
) -> Callable[[object], bool]:
    def rule(value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, kinds):
            return False
        assert isinstance(value, int | float)
        return low <= value <= high and math.isfinite(value)

    return rule


def _any(*rules: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: any(rule(value) for rule in rules)


def _list(rule: Callable[[object], bool], most: int) -> Callable[[object], bool]:
    def judge(value: object) -> bool:
        return isinstance(value, list) and len(value) <= most and all(map(rule, value))

    return judge


def _one_of(*words: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value in words


def _object(**rules: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, _Object) and _table(value, rules, ()) is not None


def _hash(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-fA-F]{1,16}", value) is not None


def _kept(value: object) -> bool:
    """Tell whether a value may be kept and handed out again: whoever reads it must be able to."""
    if isinstance(value, _Object):
        return all(ILL not in name and _kept(one) for name, one in value)
    if isinstance(value, list):
        return all(map(_kept, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, _Long) and not (isinstance(value, str) and ILL in value)


def _flag(value: object) -> bool:
    return isinstance(value, bool)


_INTEGER: Final = _number(-(2**53) + 1, 2**53 - 1, int)
_FLOAT: Final = _number(-1e18, 1e18, float)
_TEXT: Final = _text(4096)
_NAME: Final = _text(256, 1)
_TOKENS: Final = _number(0, 10**9)
_DOLLARS: Final = _number(0, 100_000)
_COUNT: Final = _number(0, 10**9, int)
_SECONDS: Final = _number(0, 315_360_000)
_MILLIS: Final = _number(0, 315_360_000_000)
_STEP: Final = _any(_TEXT, _INTEGER, _FLOAT)
_TRIES: Final = _number(1, 1_000_000, int)
_FINGERPRINT: Final = _text(128)
_USAGE: Final = _object(
    input_tokens=_TOKENS,
    output_tokens=_TOKENS,
    cache_read_input_tokens=_TOKENS,
    cache_write_input_tokens=_TOKENS,
    cache_creation_input_tokens=_TOKENS,
    reasoning_output_tokens=_TOKENS,
)
_AMOUNT: Final = _number(0, 10**18)
_STATUS: Final = "ok working idle waiting_llm waiting_tool waiting_human shutting_down draining"

_SAID: Final[Mapping[str, Callable[[object], bool]]] = {
    "type": _TEXT, "id": _any(_text(256), _INTEGER), "cmd": _TEXT, "agent": _TEXT,
    "token": _TEXT, "incarnation": _TEXT,
}  # fmt: skip
_TYPES: Final[Mapping[str, tuple[Mapping[str, Callable[[object], bool]], tuple[str, ...]]]] = {
    "heartbeat": ({
        "status": _one_of(*_STATUS.split(), "error", "done"), "tokens": _TOKENS,
        "tokens_used": _TOKENS, "usage": _USAGE, "cost_usd": _DOLLARS, "model": _TEXT,
        "provider": _TEXT, "success": _flag, "successes": _COUNT, "failures": _COUNT,
        "latency_ms": _any(_MILLIS, _list(_MILLIS, 1024)), "task": _TEXT, "step": _STEP,
        "tool": _TEXT, "goal": _TEXT, "silence_s": _SECONDS, "retry_after_s": _SECONDS,
        "progress": _any(
            _number(0, 1), _object(done=_AMOUNT, total=_AMOUNT, state_fp=_FINGERPRINT)
        ),
        "off_thread": _flag, "dropped": _COUNT, "seq": _any(_INTEGER, _TEXT),
        "ts": _any(_number(-(10**18), 10**18), _TEXT),
    }, ()),
    "hello": ({"sdk": _TEXT, "stack_signal": _COUNT}, ()),
    "call": ({
        "phase": _one_of("start", "end"), "call": _NAME, "op": _TEXT, "provider": _TEXT,
        "model": _TEXT, "deadline_s": _SECONDS, "attempt": _TRIES, "ok": _flag, "ms": _MILLIS,
        "usage": _USAGE, "cost_usd": _DOLLARS, "error": _TEXT,
    }, ("phase", "call")),
    "step": ({
        "step": _STEP, "note": _TEXT, "tool": _TEXT, "args_fp": _FINGERPRINT,
        "args_nfp": _FINGERPRINT, "args_len": _COUNT, "out_fp": _FINGERPRINT,
        "out_nfp": _FINGERPRINT, "out_len": _COUNT, "lines": _list(_hash, 64), "ok": _flag,
        "error": _TEXT, "poll": _flag, "ms": _MILLIS,
    }, ()),
    "intent": ({
        "key": _NAME, "action": _NAME, "idempotent": _flag, "detail": _kept,
    }, ("key", "action")),
    "done": ({"key": _NAME, "ok": _flag}, ("key",)),
    "checkpoint.put": ({"state": _kept}, ("state",)),
    "checkpoint.get": ({}, ()),
    "breaker": ({"name": _NAME, "ok": _flag, "attempt": _TRIES, "error": _TEXT}, ("name", "ok")),
    "breaker.ask": ({"name": _NAME}, ("name",)),
}  # fmt: skip
