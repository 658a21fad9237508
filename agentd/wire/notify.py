"""One sd_notify datagram: `KEY=value` lines, of which some mean something to us."""

from typing import Final

from agentd.core.lines import Notify
from agentd.wire.limits import STRING_MAX

ASSIGNMENTS_MAX: Final = 64
EXTEND_USEC_MAX: Final = 315_360_000 * 1_000_000
PID_MAX: Final = 1 << 22


class BadDatagram(Exception):  # noqa: N818 - named after what it is about
    """Empty, not text, or without one assignment: counted and forgotten."""


def parse(data: bytes) -> Notify:
    """Read one datagram, with or without a last newline; assignments we don't know are passed over.

    `BadDatagram`: it is empty or odd.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BadDatagram from None
    said = Notify()
    assignments = [line for line in text.split("\n") if line]
    if not assignments or len(assignments) > ASSIGNMENTS_MAX:
        raise BadDatagram
    for line in assignments:
        name, equals, value = line.partition("=")
        if not equals or not name:
            raise BadDatagram
        _assign(said, name, value)
    return said


def _assign(said: Notify, name: str, value: str) -> None:
    """Take one assignment; a number that isn't one is passed over."""
    if name == "READY":
        said.ready = said.ready or value == "1"
    elif name == "WATCHDOG":
        said.watchdog = said.watchdog or value == "1"
    elif name == "STOPPING":
        said.stopping = said.stopping or value == "1"
    elif name == "STATUS":
        said.status = value.replace("\0", "\\x00")[:STRING_MAX]
    elif name == "EXTEND_TIMEOUT_USEC":
        usec = _number(value, EXTEND_USEC_MAX)
        said.extend_ms = None if usec is None else usec // 1000
    elif name == "MAINPID":
        said.mainpid = _number(value, PID_MAX)


def _number(value: str, most: int) -> int | None:
    """Return a plain decimal number up to `most`, else None."""
    if not value.isascii() or not value.isdecimal() or len(value) > len(str(most)):
        return None
    return min(int(value), most)
