"""Targets of what lies on disk: logs with their index, stored agents, rows, evidence, prices."""

import json
import os
import zlib
from dataclasses import dataclass
from typing import Final

import msgspec

from agentd.core.lines import Usage
from agentd.core.pricing import Prices
from agentd.core.records import Durable
from agentd.daemon.loglines import PIECE_BYTES_MAX, SPLIT_MARK, read_page, shown
from agentd.daemon.logreader import LogReader
from agentd.daemon.logs import Chunk, LogFile
from agentd.daemon.logtail import lines_from
from agentd.store.incidents import _unpacked
from agentd.store.reader import event_of
from agentd.store.snapshots import Moment, carried_over, decode, encode
from agentd.store.statements import checksum, proved
from agentd.wire.judgement import REASON_CHARS_MAX, decode_judgement
from agentd.wire.prices import BadTable, decode_table
from tests.fuzz.configs import scratch
from tests.fuzz.mutation import ODD, mutated
from tests.fuzz.target import Dice, Outcome, Target, pick, told

SECRETS: Final = (b"hunter2-token", b"zz")
LINES_WANTED: Final = 7
_MARKS: Final = (b"\x1b", b"\x9b", "\u202e".encode(), "\u2066".encode(), b"\x07", b"\x00")


@dataclass(frozen=True, slots=True)
class Memory:
    """A log in memory whose head may have been trimmed."""

    data: bytes
    start: int = 0

    def end(self) -> int:
        return self.start + len(self.data)

    def read(self, position: int, max_bytes: int) -> Chunk:
        begin = min(max(position, self.start), self.end())
        data = self.data[begin - self.start :][:max_bytes]
        return Chunk(begin, data, self.start, self.end())


def make_log(dice: Dice) -> bytes:
    parts: list[bytes] = []
    for _ in range(1 + int(dice.random() * 12)):
        kind = int(dice.random() * 8)
        if kind < 3:
            parts.append(b"line %d ok" % int(dice.random() * 1000))
        elif kind < 5:
            parts.append(pick(dice, (*ODD, *_MARKS)) + pick(dice, SECRETS))
        elif kind == 5:
            filler = pick(
                dice, (b"x", "é".encode(), "😀".encode(), b"hunter2-token", b"\xff", b"z")
            )
            parts.append(filler * int(dice.random() * (20_000 / len(filler))))
        else:
            parts.append(dice.randbytes(int(dice.random() * 40)))
        parts.append(pick(dice, (b"\n", b"\n", b"\n", b"\r\n", b"")))
    return b"".join(parts)


def check_log(data: bytes) -> Outcome:
    """Page through a log: every byte once, nothing raw, no secret, the last lines the last."""
    source = Memory(data, zlib.crc32(data) % 3 * 1_000)
    position, whole, parts = source.start, b"", ""
    texts: list[str] = []
    while position < source.end():
        page = read_page(source, position, final=True, secrets=SECRETS)
        assert page.position > position, "it stands still"
        assert not page.lost_bytes
        for line in page.lines:
            assert line.position == source.start + len(whole), "a gap, or a line twice"
            assert len(line.text) <= PIECE_BYTES_MAX
            whole += line.text if line.goes_on else line.text + b"\n"
            texts.append(shown(line, secrets=SECRETS))
            parts = f"{parts}{texts[-1].removesuffix(SPLIT_MARK)}"
            assert SECRETS[0].decode() not in parts, "a secret, in two pieces"
            parts = parts if line.goes_on else ""
        position = page.position
    assert whole in (data, data + b"\n"), "bytes are missing, or there are more"
    for text in texts:
        _check_shown(text)
    last = lines_from(source, LINES_WANTED, SECRETS)
    if not any(text.endswith(" [...]") for text in texts):
        # Of a log whose head is gone nobody knows whether its first line is whole.
        known = (texts, texts[1:] if source.start else texts)
        assert last in [some[-LINES_WANTED:] for some in known], "not the last lines"
    return told(f"{'one' if len(texts) == 1 else 'several'} lines")


def _check_shown(text: str) -> None:
    ones = set(text)  # each character once: a text of thousands has some dozens of them
    assert all(one.isprintable() or one == "\t" or one.isspace() for one in ones), "raw controls"
    assert not ones & {"\x1b", "\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u202e"}
    text.encode()
    assert SECRETS[0].decode() not in text, "a secret"


def make_index(dice: Dice) -> bytes:
    """Return the files beside a log, `.base` and then `.times`, both damaged."""
    base = dice.randbytes(40) if dice.random() < 0.5 else b""
    times = b"".join(
        int(dice.random() * 10**13).to_bytes(8, "little") + pick(dice, _ENDS).to_bytes(8, "little")
        for _ in range(int(dice.random() * 5))
    )
    return mutated(dice, base.ljust(1024, b"\0") + times, most=3)


_ENDS: Final = (0, 1, 900, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


def check_index(data: bytes) -> Outcome:
    """Open a log whose index and base are damaged; read, note its end, begin it anew."""
    directory = scratch() / "logs"
    directory.mkdir(exist_ok=True)
    (directory / "a.log").write_bytes(b"one\ntwo\nthree\n")
    (directory / ".a.log.base").write_bytes(data[:1024])
    (directory / ".a.log.times").write_bytes(data[1024:])
    dir_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(2):  # the second time with a log that is another file than before
            log = LogFile(dir_fd, "a", 1 << 20)
            try:
                _read_all_ways(log)
            finally:
                log.close()
            (directory / "a.log").rename(directory / "old")
            (directory / "a.log").write_bytes(b"one\ntwo\nthree\n")
    finally:
        os.close(dir_fd)
    return told("an end noted" if len(data) > 1024 + 16 else "none")


def _read_all_ways(log: LogFile) -> None:
    reader = LogReader(log)
    assert 0 <= log.start <= log.end() < 1 << 63
    assert reader.last(2) == ["two", "three"]
    for since_ms in (0, 1_700_000_000_000, 1 << 62):
        # A damaged index may name the middle of a line; what is shown is still a part of it.
        assert "one two three".endswith(" ".join(reader.last(10, since_ms=since_ms)))
        page = reader.next_page(reader.follow_from(1, since_ms))
        assert page.position >= log.start
    log.index.sample(1_700_000_000_000, log.end(), log.start)
    log.trim()


_DURABLE: Final = encode(Durable()).encode()


def make_durable(dice: Dice) -> bytes:
    made = _DURABLE
    if dice.random() < 0.5:  # a value of another kind, in the place of one
        key = b'"%s":' % pick(dice, _KEYS)
        at = made.find(key) + len(key)
        stop = min(end for end in (made.find(b",", at), len(made) - 1) if end > 0)
        made = made[:at] + pick(dice, (*ODD, b"7", b'"x"', b"[[]]", b"1.5")) + made[stop:]
    return mutated(dice, made) if dice.random() < 0.6 else made


_KEYS: Final = tuple(key.encode() for key in json.loads(_DURABLE))


def check_durable(data: bytes) -> Outcome:
    """Read an agent's row: proved only if it decodes, and then it reads back as itself."""
    text = data.decode(errors="replace")
    row = proved("a", text, checksum("a", text))
    try:
        found = decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        assert row is None
        return told("refused")
    assert row == found
    assert decode(encode(found)) == found
    written, now = Moment("x", 5_000, 1_700_000_000_000), Moment("y", 100, 1_700_000_360_000)
    moved = carried_over(found, written, now)
    assert moved.cooldown_until_ms is None or moved.cooldown_until_ms >= now.boottime_ms
    return told("taken")


def make_row(dice: Dice) -> bytes:
    made = b'{"pid":12,"evidence":["a",{"b":null}],"x":1.5}'
    return mutated(dice, made) if dice.random() < 0.9 else made


def check_row(data: bytes) -> Outcome:
    """Read the JSON beside an event and that of evidence: what it is, or nothing."""
    text = data.decode(errors="replace")  # as the store reads it
    columns = (1, 2, "a", 1, "i", "agent.exited", "info", None, "m", text, None)
    _, record = event_of(columns)
    assert isinstance(record.data, dict)
    evidence = _unpacked(zlib.compress(data))
    assert evidence is None or isinstance(evidence, dict)
    assert _unpacked(data) is None
    assert _unpacked(zlib.compress(data)[:-2]) is None
    return told("data" if record.data else "empty")


_TABLE: Final = (
    b'{"version":1,"source":"x","prices":[{"input":{"base":3000000,"tiers":[[1000,4]]},"output":'
    b'{"base":15}},{"cache_read":{"base":0}}],"rules":{"openai":[["=","gpt-x",0],["^","gpt",1],'
    b'["r","^o[0-9]$",-1]]},"aliases":[["~","open","openai"]],"makers":[],"fallbacks":{"a":["b"]}}'
)


def make_prices(dice: Dice) -> bytes:
    return mutated(dice, _TABLE) if dice.random() < 0.95 else _TABLE


def check_prices(data: bytes) -> Outcome:
    """Read a price table: `BadTable`, or one that every question can be put to."""
    try:
        table = decode_table(data)
    except BadTable as bad:
        assert str(bad)
        return told("refused")
    prices = Prices(table=table)
    for provider in ("openai", None, "é"):
        for model in ("gpt-x", "o1", "x" * 300, "openai/gpt-y"):
            cost = prices.cost_picos(Usage(10**9, 10**9, 5), model, provider)
            assert cost is None or cost >= 0
    return told("taken")


def make_judgement(dice: Dice) -> bytes:
    made = b'{"closer":false,"confidence":0.95,"reason":"caf\xc3\xa9","cost_usd":0.002}'
    return mutated(dice, made) if dice.random() < 0.95 else made


def check_judgement(data: bytes) -> Outcome:
    """Read what a judge printed: ValueError in one line, or a judgement within its bounds."""
    try:
        said = decode_judgement(data)
    except ValueError as error:
        assert str(error)
        assert "\n" not in str(error)
        return told("refused")
    assert 0 <= said.confidence <= 1
    assert said.cost_micros is None or 0 <= said.cost_micros <= 10**11
    assert len(said.short_reason) <= REASON_CHARS_MAX
    said.short_reason.encode()
    return told("taken")


TARGETS: Final = (
    Target("log", "output of agents, paged and shown", make_log, check_log),
    Target("index", "the files beside a log", make_index, check_index),
    Target("durable", "stored agents", make_durable, check_durable),
    Target("rows", "stored events and evidence", make_row, check_row),
    Target("prices", "the price table", make_prices, check_prices),
    Target("judgement", "what a judge prints", make_judgement, check_judgement),
)
