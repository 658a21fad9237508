"""The daemon's own log lines: one event a line, whatever an agent puts into it."""

import os

import pytest

from agentd.daemon.log import LINE_BYTES_MAX, Log, quote


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("researcher", "researcher"),
        (91204, "91204"),
        (None, "-"),
        (True, "yes"),
        ("", '""'),
        ("two words", '"two words"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("a\nagent.exited agent=b", '"a\\nagent.exited agent=b"'),
        ("a=b", '"a=b"'),
        ("\x1b[31mred", '"\\x1b[31mred"'),
        ("\u202e", '"\\u202e"'),
    ],
)
def test_a_value_stays_one_word_of_one_line(value: object, shown: str) -> None:
    assert quote(value) == shown


def read(fd: int) -> list[str]:
    return os.read(fd, 1 << 20).decode().splitlines()


def test_priorities_come_first_under_systemd_and_levels_are_kept() -> None:
    ours, theirs = os.pipe()
    log = Log(theirs, "warning", journal=True)
    log.info("not.shown")
    log.warning("agent.degraded", agent="a", silence_ms=7)
    log.error("agent.exited", event="also a name")
    assert read(ours) == [
        "<4>agent.degraded agent=a silence_ms=7",
        '<3>agent.exited event="also a name"',
    ]


def test_a_reader_that_does_not_read_never_stops_the_writer_and_losses_are_owned_up_to() -> None:
    ours, theirs = os.pipe()
    log = Log(theirs, journal=False)
    for _ in range(100):
        log.info("long.line", text="x" * 3_000)
    lines = read(ours)
    assert all(len(line) < LINE_BYTES_MAX for line in lines)
    log.info("again")
    dropped, again = read(ours)
    assert dropped == f"log.dropped lines={100 - len(lines)}"
    assert again == "again"


def test_a_line_is_bounded_and_a_closed_reader_harmless() -> None:
    ours, theirs = os.pipe()
    log = Log(theirs, journal=False)
    log.info("x", text="y" * 100_000)
    assert len(os.read(ours, 1 << 20)) == LINE_BYTES_MAX
    os.close(ours)
    log.info("nobody listens")


def test_l7_what_must_not_be_shown_is_hidden_before_it_is_quoted() -> None:
    ours, theirs = os.pipe()
    log = Log(theirs, journal=False)
    log.mask = lambda text: text.replace('a "secret"', "***")
    log.error("daemon.fault", error=KeyError('a "secret"'), count=7, none=None, yes=True)
    assert read(ours) == ["daemon.fault error=\"'***'\" count=7 none=- yes=yes"]
