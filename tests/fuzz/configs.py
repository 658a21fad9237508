"""Targets of configuration: agentd.toml beside agents.d, environment files, units."""

import atexit
import shutil
import tempfile
import typing
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

from agentd.config.agent import AgentConfig
from agentd.config.convert import bare_type, is_table, option_types
from agentd.config.diff import plan_of
from agentd.config.environment_files import BadLineError, read_variables
from agentd.config.load import load
from agentd.config.masking import show
from agentd.config.schema import Config
from agentd.config.units import (
    DURATION_MS_MAX,
    SIZE_BYTES_MAX,
    Bytes,
    MicroDollars,
    Milliseconds,
    format_dollars,
    format_duration,
    format_size,
    parse_dollars,
    parse_duration,
    parse_size,
)
from tests.fuzz.mutation import ODD, mutated
from tests.fuzz.target import Dice, Outcome, Target, pick, told

Option = tuple[bytes, tuple[bytes, ...]]
"""Its dotted name, and values that fit it."""

# Between the main file and the one of an agent, in one input.
BORDER: Final = b"\n#####\n"
FINDINGS_MAX: Final = 1_001
FINDING_CHARS_MAX: Final = 4_000

_VALUES: Final = (
    *(b'"5m"', b'"90s"', b'"512M"', b"true", b"false", b"1", b"0", b"2.5", b"-1", b"nan", b"inf"),
    *(b'"a"', b'["a", "b"]', b"[]", b"{}", b'""', b"1979-05-27", b"07:32:00", b"0xffffffffff"),
    *(b'"always"', b'"on-failure"', b'"SIGTERM"', b'"08:00"', b'"Europe/Berlin"', b'"heartbeat"'),
    *(b'"\\u001b[2J"', b'"\\U0010FFFF"', b"'''x\ny'''", b'{a = 1, "b.c" = [1, {}]}', b"1e400"),
    *(b"9" * 400, b'"9999999999999999T"', b'"1h30m"', b'"-5s"', b'"${HOME}"', b'["sleep", "1"]'),
)
# Values of an option's own kind, so that what is checked of a whole config is reached as well.
_FITTING: Final[dict[object, tuple[bytes, ...]]] = {
    Milliseconds: (b'"5m"', b'"90s"', b'"0s"', b'"250ms"', b'"7d"'),
    Bytes: (b'"512M"', b'"64K"', b'"2G"', b"0"),
    MicroDollars: (b'"2.50"', b"3", b'"0"'),
    bool: (b"true", b"false"),
    int: (b"1", b"0", b"3", b"20", b"1000000000"),
    float: (b"1.0", b"0.5", b"10.0", b"0"),
    str: (b'"a"', b'"UTC"', b'"08:00"', b'"nobody"', b'"logs"'),
}
_WORDS: Final = (b'["a", "b"]', b'["sleep", "1"]', b"[]", b"[0, 3]")
FITTING_PART: Final = 0.8
AGAIN_PART: Final = 4
"""One in so many is read a second time."""

_UNITS: Final = (
    *(b"5m", b"1h30m", b"250ms", b"0s", b"3650d", b"3651d", b"512M", b"1.5G", b"2T", b"10 MiB"),
    *(
        b"2.50",
        b"1e9",
        b"1e-7",
        b"-0",
        b"0.1ms",
        b"1s1s",
        b"nan",
        b"Infinity",
        b"1_000",
        b"\xd9\xa3s",
    ),
)


@cache
def scratch() -> Path:
    """Return a directory of this process."""
    path = Path(tempfile.mkdtemp(prefix="agentd-fuzz-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    (path / "agents.d").mkdir()
    return path


@cache
def _options() -> tuple[tuple[Option, ...], tuple[Option, ...]]:
    """Return the options of the whole file, and those of an agent."""
    return _dotted(Config), _dotted(AgentConfig)


def _dotted(struct: type) -> tuple[Option, ...]:
    """Return each option by its dotted name, with values of its kind."""
    found: list[Option] = []
    for name, hint in option_types(struct).items():
        wanted = bare_type(hint)
        found.append((name.encode(), _fitting(wanted)))
        if is_table(wanted):
            below = option_types(wanted).items()
            found += [(f"{name}.{key}".encode(), _fitting(bare_type(one))) for key, one in below]
    return tuple(found)


def _fitting(wanted: Any) -> tuple[bytes, ...]:  # noqa: ANN401 - a type form
    if typing.get_origin(wanted) is typing.Annotated:
        wanted = typing.get_args(wanted)[0]
    if typing.get_origin(wanted) is typing.Literal:
        return tuple(f'"{word}"'.encode() for word in typing.get_args(wanted))
    if typing.get_origin(wanted) is dict or is_table(wanted):
        return (b"{}",)
    return _FITTING.get(wanted, _WORDS)


def make_config(dice: Dice) -> bytes:
    """Return a main file and the file of one agent, mostly TOML."""
    whole, agent = _options()
    lines = [_assigned(dice, whole) for _ in range(int(dice.random() * 5))]
    for name in (b"a", b'"b c"', b"agentd-http")[: int(dice.random() * 4)]:
        lines += [b"[agents.%s]" % name, b'command = ["sleep", "1"]']
        lines += [_assigned(dice, agent) for _ in range(int(dice.random() * 5))]
    if dice.random() < 0.3:
        lines += [b"[defaults]", _assigned(dice, agent)]
    if dice.random() < 0.2:
        lines += [
            b"[[alerts.sinks]]",
            b'type = "webhook"',
            b'url = "https://x/%s"' % pick(dice, ODD),
        ]
    other = b'command = "sleep 1"\n' + _assigned(dice, agent)
    made = b"\n".join(lines) + BORDER + other
    return mutated(dice, made, (other,)) if dice.random() < 0.5 else made


def _assigned(dice: Dice, options: tuple[Option, ...]) -> bytes:
    name, fitting = pick(dice, options)
    return name + b" = " + pick(dice, fitting if dice.random() < FITTING_PART else _VALUES)


def check_config(data: bytes) -> Outcome:
    """Load it: a config, or findings in bounded words; in parts of them the same once more."""
    main, _, other = data.partition(BORDER)
    path = scratch() / "agentd.toml"
    path.write_bytes(main)
    (scratch() / "agents.d/c.toml").write_bytes(other)
    loaded = load(path)
    findings = list(loaded.findings())
    assert len(findings) <= 2 * FINDINGS_MAX
    for finding in findings:
        assert finding.message
        assert finding.line is None or finding.line >= 1
        assert len(finding.text()) < FINDING_CHARS_MAX
        assert finding.text().replace("\n  hint: ", "").isprintable(), "control characters"
    assert not loaded.broken & loaded.config.agents.keys()
    assert show(loaded)["agents"].keys() == loaded.config.agents.keys()
    if zlib.crc32(data) % AGAIN_PART == 0:
        again = load(path)
        assert again.config == loaded.config
        assert plan_of(loaded, again).is_empty
    for agent in loaded.config.agents.values():
        assert 0 <= agent.heartbeat.interval_ms <= DURATION_MS_MAX
        assert 0 <= agent.memory.limit_bytes <= SIZE_BYTES_MAX
        assert agent.command or agent.external
    if loaded.errors:
        return told("refused" if not loaded.config.agents else "refused in part")
    return told("taken")


def make_variables(dice: Dice) -> bytes:
    lines = (b"A=1", b"export B='x y'", b"# note", b"", b'C="', b"=x", b"AGENTD_TOKEN=1", b"D=a=b")
    made = b"\n".join(pick(dice, lines) for _ in range(1 + int(dice.random() * 5)))
    return mutated(dice, made, lines) if dice.random() < 0.6 else made


def check_variables(data: bytes) -> Outcome:
    """Read a file of variables: what is taken can be put into an environment."""
    path = scratch() / "variables"
    path.write_bytes(data)
    try:
        found = read_variables(path)
    except BadLineError as bad:
        assert str(bad)
        assert bad.line is None or bad.line >= 1
        return told("refused")
    for name, (value, line) in found.items():
        assert name.isascii()
        assert name.isidentifier()
        assert "\0" not in value
        assert line >= 1
    return told("taken")


def make_unit(dice: Dice) -> bytes:
    made = pick(dice, _UNITS)
    return mutated(dice, made, _UNITS, most=3) if dice.random() < 0.7 else made


def check_unit(data: bytes) -> Outcome:
    """Read a duration, a size, an amount; what is taken reads back as itself."""
    text = data.decode(errors="surrogateescape")
    taken = [
        name
        for name, parse, form, most in (
            ("duration", parse_duration, format_duration, DURATION_MS_MAX),
            ("size", parse_size, format_size, SIZE_BYTES_MAX),
            ("dollars", parse_dollars, format_dollars, 10**15),
        )
        if _is_unit(text, parse, form, most)
    ]
    return told(" and ".join(taken) or "refused")


def _is_unit(
    text: str, parse: Callable[[object], int], form: Callable[[int], object], most: int
) -> bool:
    try:
        value = parse(text)
    except ValueError as error:
        assert str(error)
        return False
    assert 0 <= value <= most
    if value < 1 << 50:  # beyond, an amount as a float is not exact
        assert parse(form(value)) == value, "not the same after writing and reading"
    return True


TARGETS: Final = (
    Target("config", "agentd.toml and agents.d", make_config, check_config, 1),
    Target("variables", "environment files", make_variables, check_variables, 1),
    Target("units", "durations, sizes, amounts", make_unit, check_unit, 1),
)
