"""Lines of agents and commands as their peers write them, or nearly so.

Every field has values that are right, values at and beyond its bounds, and now and then one
of another kind. Texts of JSON and not values, because a hostile peer writes text.
"""

from collections.abc import Mapping
from typing import Final

from agentd.wire.commands import COMMANDS
from tests.fuzz.mutation import ODD, mutated
from tests.fuzz.target import Dice, pick

_TEXTS: Final = (
    *(b'"a"', b'"ticket-918"', b'"caf\xc3\xa9"', b'"\\u00e9"', b'"\\ud83d\\ude00"', b'""'),
    *(b'"\\ud800"', b'"\\uDFFF\\ud800"', b'"\\u0000"', b'"\x1b[2J"', b'"\\u001b[2J"'),
    b'"\xe2\x80\xae"',
    *(b'"%s"' % (b"x" * 4096), b'"%s"' % (b"x" * 4097), b'"\\\\\\"\\/\\b\\n"', b'"\xff"'),
    b'"%s\\u0000"' % (b"x" * 4090), b'"%s\\u0000"' % (b"x" * 4091),
)  # fmt: skip
_NAMES: Final = (
    *(b'"a"', b'"openai"', b'"k-1"', b'""', b'"%s"' % (b"n" * 256), b'"%s"' % (b"n" * 257)),
    *(b'"*"', b'"tag:x"', b'"all"', b'"../x"', b'"__class__"', b'"a.b.c"'),
)
_TOKENS: Final = (
    *(b"0", b"900", b"50.0", b"1e3", b"1.5", b"-0", b"-0.0", b"-1", b"1000000000"),
    *(b"1000000001", b"1e9", b"1.0000001e9", b"1e-320", b"true"),
)
_DOLLARS: Final = (b"0", b"0.01", b"1e-9", b"0.0005", b"100000", b"100000.01", b"-0.01", b"1e308")
_COUNTS: Final = (b"0", b"1", b"5.0", b"1000000000", b"1000000001", b"-1", b"3")
_FLAGS: Final = (b"true", b"false", b"null", b"1", b'"true"')
_SECONDS: Final = (b"0", b"600", b"0.25", b"315360000", b"315360001", b"-1", b"1e-300")
_MILLIS: Final = (b"12", b"0.5", b"315360000000", b"315360000001", b"-0.5", b"0")
_LATENCY: Final = (
    *_MILLIS,
    *(b"[]", b"[1,2.5]", b"[1,-1]", b"[[1]]", b"[%s1]" % (b"1," * 1023), b"[%s1]" % (b"1," * 1024)),
)
_STEPS: Final = (
    *(*_TEXTS[:6], b"17", b"-3", b"1.5", b"9007199254740991", b"9007199254740992"),
    *(b"1e18", b"2e18"),
)
_FINGERPRINTS: Final = (b'"deadbeef"', b'"%s"' % (b"f" * 128), b'"%s"' % (b"f" * 129), b'""')
_USAGE_KEYS: Final = (
    *(b"input_tokens", b"output_tokens", b"cache_read_input_tokens", b"reasoning_output_tokens"),
    *(b"cache_write_input_tokens", b"cache_creation_input_tokens", b"other"),
)
_STATUS: Final = tuple(
    b'"%s"' % word.encode()
    for word in [
        "ok",
        "working",
        "idle",
        "waiting_llm",
        "waiting_tool",
        "waiting_human",
        "shutting_down",
        "draining",
        "error",
        "done",
        "bored",
        "OK",
    ]
)
_PROGRESS: Final = (
    *(b"0", b"0.3", b"1", b"1.01", b"-0.1", b'{"done":3,"total":10}', b'{"done":1,"total":0}'),
    *(b'{"state_fp":"abc"}', b'{"done":1e18,"total":5e-324}', b'{"done":-1}', b"{}"),
)
_HASHES: Final = (
    *(b"[]", b'["0123456789abcdef"]', b'["0123456789abcdef0"]', b'["xyz"]', b'["DEADBEEF","1"]'),
    *(b"[%s]" % b",".join([b'"ab"'] * 64), b"[%s]" % b",".join([b'"ab"'] * 65), b'["ab\\n"]'),
)
_IDS: Final = (
    b'"1"',
    b"7",
    b"-7",
    b'"%s"' % (b"i" * 257),
    b"1.5",
    b"9007199254740992",
    b'"\\ud800"',
)
_STATES: Final = (
    *(b"{}", b'{"x":[[],{},"\\u00e9 \\\\"]}', b"null", b"[1e999]", b"1e308", b"[1e400,1]", b"0.1"),
    *(b"9" * 200, b"9" * 199, b'{"seed":340282366920938463463374607431768211455}', b"9" * 4301),
    *(b'"' + b"9" * 500 + b'e999"', b'"\\"1e999"', b"1.7976931348623157e+308", b"1E+0999"),
    *(b"[" * 30 + b"]" * 30, b"[" * 32 + b"]" * 32, b'"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["'),
)
_PHASES: Final = (b'"start"', b'"end"', b'"middle"', b"null")
_ATTEMPTS: Final = (b"1", b"2", b"0", b"1000000", b"1000001", b"-1")

_CLAIMS: Final = {
    b"id": _IDS, b"agent": _NAMES, b"token": _TEXTS, b"incarnation": _TEXTS, b"cmd": (b"null",),
}  # fmt: skip
_OF_CALL: Final = {
    b"phase": _PHASES, b"call": _NAMES, b"op": _TEXTS, b"provider": _TEXTS, b"model": _TEXTS,
    b"deadline_s": _SECONDS, b"attempt": _ATTEMPTS, b"ok": _FLAGS, b"ms": _MILLIS, b"usage": (),
    b"cost_usd": _DOLLARS, b"error": _TEXTS,
}  # fmt: skip
_OF_BEAT: Final = {
    b"status": _STATUS, b"tokens": _TOKENS, b"tokens_used": _TOKENS, b"usage": (),
    b"cost_usd": _DOLLARS, b"model": _TEXTS, b"provider": _TEXTS, b"success": _FLAGS,
    b"successes": _COUNTS, b"failures": _COUNTS, b"latency_ms": _LATENCY, b"task": _TEXTS,
    b"step": _STEPS, b"tool": _TEXTS, b"goal": _TEXTS, b"progress": _PROGRESS,
    b"silence_s": _SECONDS, b"retry_after_s": _SECONDS, b"off_thread": _FLAGS,
    b"dropped": _COUNTS, b"seq": _STEPS[:-2], b"ts": _STEPS,
}  # fmt: skip
_OF_STEP: Final = {
    b"step": _STEPS, b"note": _TEXTS, b"tool": _TEXTS, b"args_fp": _FINGERPRINTS,
    b"args_nfp": _FINGERPRINTS, b"args_len": _COUNTS, b"out_fp": _FINGERPRINTS,
    b"out_nfp": _FINGERPRINTS, b"out_len": _COUNTS, b"lines": _HASHES, b"ok": _FLAGS,
    b"error": _TEXTS, b"poll": _FLAGS, b"ms": _MILLIS,
}  # fmt: skip
FIELDS: Final[Mapping[bytes, Mapping[bytes, tuple[bytes, ...]]]] = {
    b"heartbeat": _OF_BEAT,
    b"hello": {b"sdk": _TEXTS, b"stack_signal": _COUNTS},
    b"call": _OF_CALL,
    b"step": _OF_STEP,
    b"intent": {b"key": _NAMES, b"action": _NAMES, b"idempotent": _FLAGS, b"detail": _STATES},
    b"done": {b"key": _NAMES, b"ok": _FLAGS},
    b"checkpoint.put": {b"state": _STATES},
    b"checkpoint.get": {b"unknown": _STATES},
    b"breaker": {b"name": _NAMES, b"ok": _FLAGS, b"attempt": _ATTEMPTS, b"error": _TEXTS},
    b"breaker.ask": {b"name": _NAMES},
}
NEEDED: Final = {
    b"call": (b"phase", b"call"), b"intent": (b"key", b"action"), b"done": (b"key",),
    b"checkpoint.put": (b"state",), b"breaker": (b"name", b"ok"), b"breaker.ask": (b"name",),
}  # fmt: skip
_TYPES: Final = (*(b"heartbeat",) * 4, *FIELDS)

_SELECTS: Final = (b'["a"]', b'["order-*","tag:x"]', b'"a"', b"[]", b'[""]', b"[1]", b'["all"]')
_ARGS: Final = {
    b"select": _SELECTS, b"reason": _TEXTS, b"fresh": _FLAGS, b"all": _FLAGS, b"open": _FLAGS,
    b"signal": (b'"SIGHUP"', b'"SIGFOO"', b"1", b'"SIG_DFL"', b'"__class__"'),
    b"for": (b'"ready"', b'"stopped"', b'"never"'), b"timeout_s": _SECONDS, b"types": _SELECTS,
    b"after": _STEPS, b"since_ms": _STEPS, b"limit": _STEPS, b"trace": _FLAGS, b"id": _STEPS,
    b"test": _TEXTS, b"lines": _STEPS, b"grep": _TEXTS, b"raw": _FLAGS, b"date": _TEXTS,
    b"from": (b'{"a":1}', b'{"a":-1}', b"{}", b'{"":1}'), b"state": _FLAGS, b"seq": _STEPS,
    b"dry_run": _FLAGS, b"action": (b'"reexec"', b'"stop"', b"null"), b"extra": _STATES,
}  # fmt: skip

_ARG_NAMES: Final = (*_ARGS,)
_COMMANDS: Final = (*COMMANDS, "__class__", "a.b.c", "", "Kill", "kill ")
_NAMES_OF: Final = {kind: (*fields,) for kind, fields in FIELDS.items()}


def line(dice: Dice) -> bytes:
    """Return the line of an agent: in half of all cases one that is right in most fields."""
    kind = pick(dice, _TYPES)
    fields = FIELDS[kind]
    known = _NAMES_OF[kind]
    names = [*NEEDED.get(kind, ()), *(pick(dice, known) for _ in range(int(dice.random() * 5)))]
    if dice.random() < 0.2:
        names.append(pick(dice, (b"id", b"id", b"agent", b"token", b"incarnation", b"cmd")))
    wild = dice.random() < 0.4
    parts = [] if kind == b"heartbeat" and dice.random() < 0.7 else [b'"type":"%s"' % kind]
    for name in names:
        values = _CLAIMS.get(name) or fields.get(name) or ()
        parts.append(b'"%s":%s' % (name, _value(dice, values, wild=wild)))
    if wild and dice.random() < 0.2:
        parts.append(b'"%s":%s' % (pick(dice, (*known, b"x", b"\\u0074ype")), pick(dice, ODD)))
    if dice.random() < 0.3:
        dice.shuffle(parts)
    return b"{" + pick(dice, (b",", b", ")).join(parts) + b"}"


def command(dice: Dice) -> bytes:
    """Return a command, mostly one of the table."""
    name = pick(dice, _COMMANDS)
    names = [pick(dice, _ARG_NAMES) for _ in range(int(dice.random() * 4))]
    wild = dice.random() < 0.4
    args = b",".join(b'"%s":%s' % (key, _value(dice, _ARGS[key], wild=wild)) for key in names)
    parts = [b'"cmd":"%s"' % name.encode(), b'"args":{%s}' % args]
    if dice.random() < 0.7:
        parts.append(b'"id":' + _value(dice, _IDS, wild=wild))
    if dice.random() < 0.1:
        parts.append(b'"follow":' + pick(dice, _FLAGS))
    return b"{" + b",".join(parts) + b"}"


def lines(dice: Dice, count: int) -> list[bytes]:
    """Return lines and commands, whole and broken; none with a newline in it."""
    made: list[bytes] = []
    while len(made) < count:
        if len(made) > 4 and dice.random() < 0.4:
            made.append(mutated(dice, pick(dice, made), made, most=3).replace(b"\n", b""))
        else:
            made.append(command(dice) if dice.random() < 0.15 else line(dice))
    return made


def _value(dice: Dice, values: tuple[bytes, ...], *, wild: bool) -> bytes:
    """Return a value of a field: one of the first, which are right, unless `wild`."""
    if not values:
        return _usage(dice)
    if not wild:
        return values[int(dice.random() * min(3, len(values)))]
    return pick(dice, ODD) if dice.random() < 0.15 else pick(dice, values)


def _usage(dice: Dice) -> bytes:
    keys = [pick(dice, _USAGE_KEYS) for _ in range(int(dice.random() * 4))]
    return b"{" + b",".join(b'"%s":%s' % (key, pick(dice, _TOKENS)) for key in keys) + b"}"
