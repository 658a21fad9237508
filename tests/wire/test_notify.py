import pytest

from agentd.core.lines import Notify
from agentd.wire.notify import BadDatagram, parse


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"READY=1", Notify(ready=True)),
        (b"READY=1\n", Notify(ready=True)),
        (
            b"STATUS=Loading\nREADY=1\nMAINPID=42\n",
            Notify(ready=True, status="Loading", mainpid=42),
        ),
        (b"WATCHDOG=1", Notify(watchdog=True)),
        (b"WATCHDOG=trigger", Notify()),
        (b"STOPPING=1", Notify(stopping=True)),
        (b"EXTEND_TIMEOUT_USEC=5000000", Notify(extend_ms=5000)),
        (b"EXTEND_TIMEOUT_USEC=-1", Notify()),
        (b"EXTEND_TIMEOUT_USEC=" + b"9" * 400, Notify()),
        (b"MAINPID=0x10", Notify()),
        ("MAINPID=\u0664".encode(), Notify()),
        (b"BARRIER=1", Notify()),
        (b"X_OF_OUR_OWN=a=b", Notify()),
        (b"STATUS=a=b\x1b", Notify(status="a=b\x1b")),
        (b"STATUS=" + b"x" * 5000, Notify(status="x" * 4096)),
    ],
)
def test_assignments_that_mean_something_are_read(data: bytes, expected: Notify) -> None:
    assert parse(data) == expected


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"READY", b"=1", b"READY=1\njunk", b"\xff=1", b"A=1\n" * 65, b"\0"]
)
def test_an_odd_datagram_is_refused(data: bytes) -> None:
    with pytest.raises(BadDatagram):
        parse(data)
