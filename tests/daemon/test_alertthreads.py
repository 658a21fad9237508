"""Threads for attempts: few for one sink, one for each, and none that is waited for."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from agentd.daemon.alertthreads import PER_SINK_MAX, SHARED_MAX, AttemptThreads

WAIT_S = 10.0


@pytest.fixture
def hold() -> Iterator[threading.Event]:
    held = threading.Event()
    yield held
    held.set()


def work(held: threading.Event, end: Callable[[], None]) -> Callable[[], None]:
    held.wait(WAIT_S)
    return end


def fill(threads: AttemptThreads, sink: str, held: threading.Event) -> None:
    while threads.free(sink):
        threads.begin(sink, partial(work, held, lambda: None))


def test_a_sink_has_so_many_and_never_keeps_another_from_its_one(hold: threading.Event) -> None:
    threads = AttemptThreads(lambda call: call())
    assert threads.free("one") == PER_SINK_MAX
    for number in range(20):
        fill(threads, f"hung-{number}", hold)
    assert threads.free("hung-0") == 0
    assert threads.free("another") == 1
    running = [one for one in threading.enumerate() if one.name.startswith("alert-hung")]
    assert len(running) == 20 + SHARED_MAX
    assert all(one.daemon for one in running), "the interpreter would wait for them"


def test_its_thread_is_free_again_when_the_end_is_carried_out(hold: threading.Event) -> None:
    posted: list[Callable[[], None]] = []
    threads, ended = AttemptThreads(posted.append), threading.Event()
    threads.begin("one", partial(work, hold, ended.set))
    hold.set()
    end = time.monotonic() + WAIT_S
    while not posted and time.monotonic() < end:
        time.sleep(0.005)
    assert (threads.free("one"), ended.is_set()) == (PER_SINK_MAX - 1, False)
    posted[0]()
    assert (threads.free("one"), ended.is_set()) == (PER_SINK_MAX, True)


def test_a_thread_that_is_not_to_be_had_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads = AttemptThreads(lambda call: call())
    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(RuntimeError):
        threads.begin("one", lambda: lambda: None)
    assert threads.free("one") == PER_SINK_MAX
    threads.close(0.0)


def test_a_loop_that_is_closed_is_not_told_and_close_carries_out_what_ended() -> None:
    def closed(_call: Callable[[], None]) -> None:
        raise RuntimeError("Event loop is closed")

    threads, ended, held = AttemptThreads(closed), threading.Event(), threading.Event()
    held.set()
    threads.begin("one", partial(work, held, ended.set))
    threads.close(WAIT_S)
    assert ended.is_set()
