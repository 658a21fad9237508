"""The loop of the live view: keys, news and signals in, lines out; it sleeps until one comes."""

import errno
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from typing import Final

from agentd.cli.top import feed as feeds
from agentd.cli.top.keys import Keyboard
from agentd.cli.top.lines import lines, room_for, told_of
from agentd.cli.top.screen import Screen
from agentd.cli.top.state import QUIT, Top, heard, press, scrolled

ESCAPE_S: Final = 0.05
"""After this long nothing follows an Esc: it was the key itself. Over slow lines, too."""
STALE_TICK_S: Final = 1.0
_HEEDED: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGTSTP,
    signal.SIGCONT,
    signal.SIGWINCH,
)
ENDED_BY: Final = 128
"""A shell's way to say that a signal ended it: this and the signal's number."""


class Live:
    """One live view, from its first frame to the key, signal or end of time that ends it."""

    def __init__(self, top: Top, feed: feeds.Feed, screen: Screen, until: float | None) -> None:
        self._top = top
        self._feed = feed
        self._screen = screen
        self._until = until
        self._keyboard = Keyboard()
        self._exit_code: int | None = None

    def run(self, keys_fd: int) -> int:
        """Show it until it is left; returns the exit code."""
        with _signals() as signals_fd, self._screen:
            try:
                while self._exit_code is None:
                    self._draw()
                    self._wait(keys_fd, signals_fd)
            except OSError as error:
                # The line to the terminal is cut, and nobody is there to be told.
                if error.errno not in {errno.EIO, errno.EPIPE}:
                    raise
                return ENDED_BY + signal.SIGHUP
        return self._exit_code

    def _draw(self) -> None:
        width, height = self._screen.size()
        told = len(told_of(self._top, width))
        self._top = scrolled(self._top, room_for(self._top, width, height), told)
        self._screen.draw(lines(self._top, width, height, monotonic()))

    def _wait(self, keys_fd: int, signals_fd: int) -> None:
        ready, _, _ = select.select([keys_fd, self._feed.fd, signals_fd], [], [], self._patience())
        if signals_fd in ready:
            self._heed(os.read(signals_fd, 64))
        if self._feed.fd in ready:
            self._take_news()
        if keys_fd in ready:
            typed = os.read(keys_fd, 1024)
            if not typed:  # the other end of the terminal is gone
                self._exit_code = ENDED_BY + signal.SIGHUP
            self._press(self._keyboard.take(typed))
        elif self._keyboard.is_waiting and not ready:
            self._press(self._keyboard.give_up())
        if self._until is not None and monotonic() >= self._until:
            self._exit_code = 0

    def _patience(self) -> float | None:
        """Return how long nothing needs to be drawn by itself, in seconds."""
        now_s, moments = monotonic(), []
        if self._keyboard.is_waiting:
            moments.append(now_s + ESCAPE_S)
        if self._until is not None:
            moments.append(self._until)
        if self._top.is_stale(now_s):
            moments.append(now_s + STALE_TICK_S)
        else:
            moments.append(self._top.seen_s + self._top.stale_after_s + ESCAPE_S)
        return max(0.0, min(moments) - now_s)

    def _press(self, keys: list[str]) -> None:
        width, height = self._screen.size()
        for key in keys:
            if key == "redraw":
                self._screen.forget()
            page = max(1, room_for(self._top, width, height) - 1)
            self._top, order = press(self._top, key, page)
            if order is None:
                continue
            if order.verb == QUIT:
                self._exit_code = 0
                return
            self._feed.order(order)

    def _take_news(self) -> None:
        for news in self._feed.news():
            match news:
                case feeds.Heard():
                    self._top = heard(self._top, news.status, news.incidents, monotonic())
                    self._top = replace(self._top, host=news.host)
                case feeds.Lost():
                    self._top = replace(self._top, lost=news.why, lost_how=news.how)
                case feeds.Told():
                    self._top = replace(self._top, message=news.message)
                case feeds.Failed():
                    raise news.error

    def _heed(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGINT:
                self._exit_code = 0
            elif number in {signal.SIGTERM, signal.SIGHUP}:
                self._exit_code = ENDED_BY + number
            elif number == signal.SIGTSTP:
                self._screen.give_back()
                os.kill(os.getpid(), signal.SIGSTOP)  # here it stands until `fg`
                self._screen.take()
            else:
                self._screen.forget()


@contextmanager
def _signals() -> Iterator[int]:
    """Have signals come as bytes on a descriptor, so that none interrupts a frame."""
    heard_fd, rung_fd = os.pipe()
    os.set_blocking(rung_fd, False)
    before_fd = signal.set_wakeup_fd(rung_fd, warn_on_full_buffer=False)
    before = {number: signal.signal(number, lambda *_: None) for number in _HEEDED}
    try:
        yield heard_fd
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before_fd)
        os.close(heard_fd)
        os.close(rung_fd)
