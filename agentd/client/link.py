"""Requests to the daemon that survive a lost connection, and streams that go on after one."""

import os
from collections.abc import Callable, Iterator, Mapping
from math import inf
from time import monotonic, sleep
from typing import Any, Final

from agentd.client.channel import Channel, Lost, start_hint
from agentd.client.errors import AgentdError, NotReachable, TimedOut

QUIET_S: Final = 2.5
"""So long a daemon may take over an answer before it is asked whether it lives at all."""
PONG_S: Final = 1.5
"""So long it may take over that: a daemon that is stopped is noticed within 4 s."""
RECONNECT_S: Final = 4.0
"""So long a request is sent again after its connection was lost, as when agentd restarts."""
FOLLOW_RECONNECT_S: Final = 60.0

Document = dict[str, Any]
OnLost = Callable[[AgentdError], None]


class Link:
    """One daemon, reached over one connection that is opened, and opened again, as needed.

    `until` bounds all requests, as a moment of `time.monotonic()`. Request ids are random.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.until = inf
        self._channel: Channel | None = None
        self._is_streaming = False

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def carry_out(self, request: Mapping[str, object], timeout_s: float) -> Document:
        """Return the result of one request.

        After a lost connection it is sent again with the same id, so that a write which
        was carried out already is answered again and not carried out twice. Nobody there
        at the first attempt is `NotReachable` at once.
        """
        line = {"id": os.urandom(8).hex(), **request}
        until = min(monotonic() + timeout_s, self.until)
        again_until: float | None = None
        while True:
            try:
                return self._exchange(line, until)
            except Lost as error:
                self.close()
                failure = self._ended(error)
                if again_until is None:
                    again_until = min(until, monotonic() + RECONNECT_S)
            except NotReachable as error:
                failure = error
            if again_until is None or monotonic() >= again_until:
                raise failure
            sleep(0.1)

    def follow(
        self,
        request_of: Callable[[], Mapping[str, object]],
        timeout_s: float,
        on_lost: OnLost | None = None,
    ) -> Iterator[Document]:
        """Yield each line that is streamed, and as `{"result":…}` a reply where there is one.

        After a lost connection it asks again with what `request_of` says by then, for up
        to a minute; `on_lost` hears of each gap.
        """
        try:
            yield from self._follow_on(request_of, timeout_s, on_lost)
        finally:
            self.close()  # or the daemon would go on sending to nobody

    def stream(self, request: Document, timeout_s: float) -> Iterator[Document]:
        """Yield each line that is streamed, up to the reply, as `{"result":…}`; never anew."""
        try:
            for line in self._stream(request, timeout_s):
                yield line
                if "result" in line:
                    return
        except Lost as error:
            raise self._ended(error) from None
        finally:
            self.close()

    def _follow_on(
        self,
        request_of: Callable[[], Mapping[str, object]],
        timeout_s: float,
        on_lost: OnLost | None,
    ) -> Iterator[Document]:
        away_until = inf
        while True:
            failure: AgentdError
            self._is_streaming = False
            try:
                yield from self._stream(request_of(), timeout_s)
            except Lost as error:
                failure = self._ended(error)
            except (NotReachable, TimedOut) as error:
                # One that is replaced listens on, and answers when it is up: that is no end.
                if away_until == inf or self._is_streaming:
                    raise
                failure = error
            else:
                return
            if self._is_streaming:
                away_until = inf  # it had come back
            self.close()
            if away_until == inf:
                away_until = min(monotonic() + FOLLOW_RECONNECT_S, self.until)
                if on_lost is not None:
                    on_lost(failure)
            elif monotonic() >= away_until:
                raise failure
            sleep(0.2)

    def gone(self, timeout_s: float) -> bool:
        """Tell whether the daemon ends the open connection within so many seconds."""
        until = min(monotonic() + timeout_s, self.until)
        try:
            while self._channel is not None and monotonic() < until:
                self._channel.receive(until)
        except Lost:
            self.close()
        return self._channel is None

    def _exchange(self, line: Document, until: float) -> Document:
        if monotonic() >= until:
            raise TimedOut("the time that was given is over")
        if self._channel is None:
            self._channel = Channel(self.path, until)
        self._channel.send(line, until)
        return self._answer(self._channel, line["id"], until)

    def _answer(self, channel: Channel, wanted: str, until: float) -> Document:
        """Return the result of the request `wanted`; a long silence is broken by a ping."""
        pinged = False
        while True:
            reply = channel.receive(min(until, monotonic() + (PONG_S if pinged else QUIET_S)))
            if reply is not None:
                # An error without an id comes before the daemon closes on a stranger.
                if "ok" in reply and reply.get("id") in {wanted, None}:
                    return result_of(reply)
                pinged = False
            elif pinged or monotonic() >= until:
                self.close()
                raise TimedOut(
                    f"no answer in time from agentd on {self.path}",
                    "it is stopped or overloaded, or --timeout is too short for this",
                )
            else:
                channel.send({"id": f"alive-{wanted}", "cmd": "ping", "args": {}}, until)
                pinged = True

    def _stream(self, request: Mapping[str, object], timeout_s: float) -> Iterator[Document]:
        line = {"id": os.urandom(8).hex(), **request, "follow": True}
        # A stream may be silent from its first moment on; a ping shows that somebody is there.
        self._exchange(
            {"id": f"alive-{line['id']}", "cmd": "ping", "args": {}},
            min(monotonic() + timeout_s, self.until),
        )
        assert self._channel is not None
        self._is_streaming = True
        channel = self._channel
        channel.send(line, self.until)
        while (streamed := channel.receive(self.until)) is not None:
            if streamed.get("id") in {line["id"], None}:
                yield {"result": result_of(streamed)} if "ok" in streamed else streamed
        raise TimedOut("the time for following is over")

    def _ended(self, error: Lost) -> NotReachable:
        return NotReachable(f"agentd on {self.path} went away: {error}", start_hint(self.path))


def result_of(reply: Document) -> Document:
    """Return what the daemon answered, or raise its error."""
    if reply.get("ok"):
        result = reply.get("result")
        return result if isinstance(result, dict) else {}
    error = reply.get("error")
    error = error if isinstance(error, dict) else {}
    code, hint = str(error.get("code", "internal")), str(error.get("hint") or "")
    message = str(error.get("message") or "agentd refused, and did not say why")
    if code == "timeout":
        raise TimedOut(message, hint)
    raise AgentdError(code, message, hint)
