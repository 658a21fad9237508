"""Targets of the socket: the splitter, every type of line, and commands.

One input is a stream. It is cut at borders that its own checksum chooses, split, decoded in
batches and line by line, and compared with `tests.fuzz.model`, which reads it as a whole.
"""

import dataclasses
import json
import math
import random
import zlib
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Final

from agentd.core.lines import Line, Usage
from agentd.daemon import record_entries
from agentd.wire import replies
from agentd.wire.commands import COMMANDS, Command, decode_command
from agentd.wire.lines import AgentLine, BadLine, CommandLine, Decoded, decode_line, decode_lines
from agentd.wire.notify import BadDatagram, parse
from agentd.wire.said import as_said
from agentd.wire.splitter import Splitter
from tests.fuzz import grammar, model
from tests.fuzz.mutation import mutated
from tests.fuzz.target import Dice, Outcome, Target, told

LINES_EACH: Final = 40
TEXT_MAX: Final = 4096
NUMBER_MAX: Final = 2e18
LEFT_OUT: Final = ("note", "detail", "state")
CODES: Final = ("bad_request", "unknown_command")


def make_stream(dice: Dice) -> bytes:
    """Return lines, whole and broken, sometimes cut off at the end, rarely very long ones."""
    lines = grammar.lines(dice, LINES_EACH)
    if dice.random() < 0.01:
        head = dice.choice((b'{"type":"checkpoint.put","id":"1","state":"', b'{"task":"'))
        size = dice.choice((65_535, 65_536, 65_537, (1 << 20) - 2, 1 << 20, (1 << 20) + 1))
        filler = dice.choice((b"x", b"\\u0000", b"[", b"9"))
        long = head + filler * ((size - len(head) - 2) // len(filler))
        lines.insert(dice.randrange(len(lines)), long.ljust(size - 2, b"y") + b'"}')
    if dice.random() < 0.1:
        lines.insert(dice.randrange(len(lines)), dice.choice((b"", b" ", b"\r", b"\x0b\t")))
    stream = b"\n".join(lines)
    return stream if dice.random() < 0.2 else stream + b"\n"


def check_stream(data: bytes) -> Outcome:
    """Split and decode a stream; every line must come out as the model reads it."""
    wanted, rest, overflow = model.split(data)
    splitter = Splitter()
    lines: list[bytes] = []
    for chunk in _chunks(data):
        lines += splitter.feed(chunk)
        assert len(splitter._rest) <= model.CHECKPOINT_MAX, "it holds more than a line"
    assert (lines, splitter.overflow) == (wanted, overflow), "split otherwise in other chunks"
    assert splitter.partial == bool(rest)
    batch = decode_lines(lines)
    # Every way of looking closer costs as much as the line itself: a part of the streams each.
    closely = zlib.crc32(data) % 4
    if closely == 0:
        single = [found for line in lines for found in decode_lines([line])]
        assert list(map(_told, batch)) == list(map(_told, single)), "lines beside it change a line"
    outcome: Outcome = Counter()
    found = iter(batch)
    for line in lines:
        read = model.read(line)
        if read.kind == "blank":
            outcome["blank"] += 1
            continue
        decoded = next(found)
        outcome[_checked(line, read, decoded, closely=closely == 1)] += 1
    assert next(found, None) is None, "more lines than there were"
    if overflow:
        outcome["too long"] += 1
    return outcome


def _chunks(data: bytes) -> list[bytes]:
    dice = random.Random(zlib.crc32(data))
    chunks, at = [], 0
    size_max = dice.choice((60, 500, 2000, 1 << 16)) if len(data) < 20_000 else 1 << 17
    tiny = dice.randrange(len(data) + 1)
    while at < len(data):
        near = tiny <= at < tiny + 40  # somewhere byte by byte
        size = dice.randrange(1, 3 if near else size_max + 1)
        chunks.append(data[at : at + size])
        at += size
    return chunks


def _told(decoded: Decoded) -> object:
    if isinstance(decoded, BadLine):
        return decoded.code, decoded.message, decoded.id
    return decoded


def _checked(raw: bytes, read: model.Read, decoded: Decoded, *, closely: bool) -> str:
    """Compare one line with the model; return what came of it."""
    if isinstance(decoded, BadLine):
        assert read.kind == "bad", f"refused: {decoded.message}"
        _check_refusal(decoded)
        return f"refused {decoded.code}"
    assert read.kind != "bad", "taken, and the model refuses it"
    if isinstance(decoded, CommandLine):
        assert read.kind == "command"
        return check_command(decoded.raw)
    said = decoded if isinstance(decoded, AgentLine) else AgentLine(decoded)
    claims = (said.id, said.agent, said.token, said.incarnation)
    for name, value in zip(("id", "agent", "token", "incarnation"), claims, strict=True):
        assert _same(value, read.fields.get(name)), name
    check_line(said.line, read.fields)
    if closely:
        assert decode_line(raw) == said, "the fast way says otherwise"
        check_again(said.line)
    return read.kind


def _check_refusal(bad: BadLine) -> None:
    assert bad.code in CODES, bad.code
    assert 0 < len(bad.message) < 2_000, len(bad.message)
    assert json.loads(replies.failed(bad.id, bad.code, bad.message))["ok"] is False


def _same(value: object, told: object) -> bool:
    """Compare a value with the model's; of escapes that stay, the case of digits is free."""
    if isinstance(value, str) and isinstance(told, str):
        return value == told or value.lower() == model.shown(told).lower()
    return value == told


def check_line(line: Line, fields: Mapping[str, object]) -> None:
    """Check the bounds of a line's values, and texts against what the model read."""
    for name in _slots(type(line).__name__):
        value = getattr(line, name)
        if value is None or value is False or value == 0 or name in ("state", "detail"):
            continue
        _check_bounds(value, name)
        if type(value) is str and isinstance(fields.get(name), str):
            assert _same(value, fields[name]), name
    _check_content(line)


def check_again(line: Line) -> None:
    """Check that a line can be written and read again, on the wire and by the recorder."""
    again = decode_line(json.dumps(as_said(line)).encode()).line
    assert _comparable(again) == _comparable(line), "not the same after writing and reading"
    entry = record_entries.lines_entry(1, "a", 1, [line])
    kept = record_entries.decoded(record_entries.encoded([entry]))
    assert record_entries.line_of(kept[0][4][0]) is not None  # type: ignore[index]


@cache
def _slots(kind: str) -> tuple[str, ...]:
    return tuple(slot.name for slot in dataclasses.fields(record_entries.LINE_TYPES[kind]))


def _check_content(line: Line) -> None:
    """What is kept as JSON must be readable by whoever it is handed to."""
    for name in ("state", "detail"):
        text = getattr(line, name, "")
        if text:
            json.dumps(json.loads(text), allow_nan=False)


def _check_bounds(value: object, name: str) -> None:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, str):
        assert len(value) <= TEXT_MAX, name
        assert "\0" not in value, name
        value.encode()
    elif isinstance(value, int | float):
        assert math.isfinite(value), name
        assert abs(value) <= NUMBER_MAX, name
        assert value >= 0 or name == "sent_at_s", name
        assert name not in ("tokens", "successes", "failures", "dropped") or value <= 10**9
        assert name != "cost_micros" or value <= 10**11
        assert name != "progress" or value <= 1
    elif isinstance(value, tuple):
        assert len(value) <= 1024, name
        for one in value:
            _check_bounds(one, name)
    elif isinstance(value, Usage):
        for slot in dataclasses.fields(value):
            count = getattr(value, slot.name)
            assert isinstance(count, int), slot.name
            assert 0 <= count <= 10**9, slot.name


def _comparable(line: Line) -> object:
    """A line without its content, and with costs as one figure that floats can't tell apart."""
    values = {slot.name: getattr(line, slot.name) for slot in dataclasses.fields(line)}
    for name in LEFT_OUT:
        values.pop(name, None)
    micros, rest = values.pop("cost_micros", None), values.pop("cost_rest_picos", 0)
    values["cost"] = None if micros is None else round(micros + rest / 1e6, 3)
    return type(line).__name__, values


def check_command(raw: bytes) -> str:
    """Decode a command; what is taken is in the table, bounded, and reads back as itself."""
    try:
        command = decode_command(raw)
    except BadLine as bad:
        _check_refusal(bad)
        return f"refused {bad.code}"
    assert command.cmd in COMMANDS
    assert command.needs in ("agent", "viewer", "operator")
    assert isinstance(command.mutates, bool)
    document = {"id": command.id, "cmd": command.cmd, "args": command.args}
    again: Command = decode_command(json.dumps({**document, "follow": command.follow}).encode())
    assert again == command, "not the same after writing and reading"
    assert json.loads(replies.ok(command.id, {"args": command.args}))["ok"]
    return "command"


DATAGRAMS: Final = (
    b"READY=1", b"WATCHDOG=1", b"STOPPING=1", b"STATUS=indexing", b"EXTEND_TIMEOUT_USEC=5000000",
    b"MAINPID=12", b"MAINPID=4194305", b"STATUS=" + b"x" * 5000, b"ERRNO=2", b"FDSTORE=1", b"=",
    b"READY", b"EXTEND_TIMEOUT_USEC=-1", b"MAINPID=\xd9\xa3", b"STATUS=\x00\x1b[2J", b"X=1", b"",
)  # fmt: skip


def make_datagram(dice: Dice) -> bytes:
    if dice.random() < 0.05:
        return b"\n".join([DATAGRAMS[0]] * dice.choice((63, 64, 65)))
    made = b"\n".join(dice.choice(DATAGRAMS) for _ in range(dice.randrange(1, 4)))
    return mutated(dice, made, DATAGRAMS) if dice.random() < 0.5 else made


def check_datagram(data: bytes) -> Outcome:
    """Read one datagram of NOTIFY_SOCKET."""
    try:
        said = parse(data)
    except BadDatagram:
        assert b"=" not in data or not _is_plain(data), "refused, and nothing is wrong with it"
        return told("refused")
    assert _is_plain(data)
    _check_bounds(said.status, "status")
    assert said.extend_ms is None or 0 <= said.extend_ms <= 315_360_000_000
    assert said.mainpid is None or 0 <= said.mainpid <= 1 << 22
    again = parse(str(as_said(said)["notify"]).encode())
    if (said.ready, said.watchdog, said.stopping) != (False, False, False):
        assert (again.ready, again.watchdog, again.stopping) == (
            said.ready,
            said.watchdog,
            said.stopping,
        )
    assert (again.status, again.mainpid) == (said.status, said.mainpid)
    return told("taken")


def _is_plain(data: bytes) -> bool:
    """Whether every line of a datagram assigns something, in UTF-8, and they are not too many."""
    try:
        lines = [line for line in data.decode().split("\n") if line]
    except UnicodeDecodeError:
        return False
    return 0 < len(lines) <= 64 and all(line.find("=") > 0 for line in lines)


TARGETS: Final = (
    Target("lines", "the splitter, lines of every type, commands", make_stream, check_stream, 90),
    Target("notify", "datagrams of sd_notify", make_datagram, check_datagram, 2),
)
