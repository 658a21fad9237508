"""Lines that wait for an answer: what the daemon has on disk before it replies.

The wait is bounded by the caller's timeout. A daemon that is away, or that left the last
question unanswered and has said nothing since, is given `MUTE_S` instead, so that an agent
without a daemon doesn't pay the timeout with every action.
"""

from __future__ import annotations

import sys
from select import POLLIN, poll
from time import monotonic, sleep

from agentd.sdk import link
from agentd.sdk.fields import number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from agentd.sdk.link import Link

TIMEOUT_S: Final = 2.0
TIMEOUT_S_MAX: Final = 600.0
MUTE_S: Final = 0.2
POLL_S: Final = 0.02
"""So often a wait looks up, since another thread may have read the answer."""
NAP_S_MIN: Final = 0.001
NAP_S_MAX: Final = 0.02


class Question:
    """One line on its way, and its answer."""

    def __init__(self, here: Link, fields: str, timeout_s: object) -> None:
        """Ask; `fields` is JSON text such as `"type":"checkpoint.get"`. None is sent if too long.

        Without a daemon to be expected (no AGENTD_SOCKET) nothing is asked.
        """
        self.reply: dict[str, Any] | None = None
        self._here = here
        self._id = str(next(here.numbers))
        began = monotonic()
        self._until = began + _patience_s(here, timeout_s, began)
        line = f'{{{fields},"id":"{self._id}"}}\n'.encode("utf-8", "replace")
        self._open = here.path is not None and len(line) <= link.LINE_BYTES_MAX
        if self._open:
            here.replies[self._id] = None
            here.put_awaited(self._id, line)
        elif here.path is not None:
            here.trouble(f"a line of {len(line)} bytes; 1 MiB at most")

    def wait(self) -> dict[str, Any] | None:
        """Wait for the answer; None: none in time."""
        try:
            while not self._is_settled():
                self._pause()
        finally:
            self._settle()
        return self.reply

    async def wait_async(self) -> dict[str, Any] | None:
        """Wait as `wait` does, and let other tasks run meanwhile."""
        asyncio = sys.modules.get("asyncio")
        try:
            if asyncio is None or asyncio.get_running_loop() is None:
                return self.wait()
        except RuntimeError:  # another kind of loop
            return self.wait()
        nap_s = NAP_S_MIN
        try:
            while not self._is_settled():
                await asyncio.sleep(nap_s)
                nap_s = min(nap_s * 2, NAP_S_MAX)
        finally:
            self._settle()
        return self.reply

    def _is_settled(self) -> bool:
        """Take a turn, and tell whether there is nothing left to wait for."""
        if not self._open:
            return True
        self._here.turn(at_once=not self._here.connected)
        self.reply = self._here.replies.get(self._id)
        return self.reply is not None or monotonic() >= self._until

    def _pause(self) -> None:
        left_s = min(POLL_S, max(0.0, self._until - monotonic()))
        fileno = self._here.fileno()
        if fileno < 0:
            sleep(left_s)
            return
        poller = poll()
        poller.register(fileno, POLLIN)
        poller.poll(left_s * 1000)

    def _settle(self) -> None:
        if not self._open:
            return
        self._open = False
        self._here.forget(self._id)
        if self.reply is None:
            self._here.mute = True
            self._here.trouble("no answer in time")
        elif self.reply.get("ok") is not True:
            error = self.reply.get("error")
            said = error.get("message") if isinstance(error, dict) else error
            self._here.trouble(f"refused: {said!s:.200}")


def accepted(reply: dict[str, Any] | None) -> bool:
    """Tell whether the daemon has done what it was asked."""
    return reply is not None and reply.get("ok") is True


def result(reply: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what the daemon answered; None: it did not, or refused."""
    if reply is None or reply.get("ok") is not True:
        return None
    found = reply.get("result")
    return found if isinstance(found, dict) else {}


def ask(fields: str, timeout_s: object) -> dict[str, Any] | None:
    """Ask and wait; the reply, or None."""
    return Question(link.LINK, fields, timeout_s).wait()


def tell(fields: str) -> None:
    """Send a line that is repeated after a lost connection until it is answered; never waits."""
    here = link.LINK
    if here.path is None:
        return
    line_id = str(next(here.numbers))
    line = f'{{{fields},"id":"{line_id}"}}\n'.encode("utf-8", "replace")
    here.put_awaited(line_id, line)


def _patience_s(here: Link, timeout_s: object, now: float) -> float:
    asked_s = number(timeout_s)
    asked_s = TIMEOUT_S if asked_s is None else min(max(0.0, asked_s), TIMEOUT_S_MAX)
    is_away = here.away_since and now - here.away_since > asked_s
    return min(asked_s, MUTE_S) if here.mute or is_away else asked_s
