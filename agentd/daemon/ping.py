"""The dead man's switch: an outside service hears from this daemon, and raises the alarm when it
no longer does. It is how the death of the host itself is noticed by somebody.

It is fed by the tick of the loop and by nothing else, so that it tells of a daemon that
supervises: a loop that hangs sends nothing, and one that met a bug of ours since the last time
(`Loop.faults`) leaves one out. A stop, planned or not, sends nothing either, least of all
`/fail`: a host whose agents are watched by nobody is what the service is there to tell of, and
an upgrade is over before it misses anything.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agentd.config.schema import ReportConfig
from agentd.daemon.clock import boottime_ms
from agentd.daemon.log import log
from agentd.sinks.http import Http, Unanswered


@dataclass(slots=True)
class Ping:
    """Calls one URL every so often; what came of it is logged when it changes, and counted."""

    aio: asyncio.AbstractEventLoop
    faults: Callable[[], int]
    """How many bugs of ours the loop has met so far."""
    now_ms: Callable[[], int] = boottime_ms
    http: Http = field(default_factory=Http)
    _config: ReportConfig = field(default_factory=ReportConfig)
    _due_ms: int = 0
    _under_way: bool = False
    _faults_seen: int = 0
    _error: str | None = None
    """Why the last one failed; empty: it did not; None: there was none yet."""
    _sent: int = 0
    _failed: int = 0
    _withheld: int = 0

    def use(self, config: ReportConfig) -> None:
        """Go on as this config says; another URL is called at once, however long the old one
        would have waited.
        """
        if config.ping_url != self._config.ping_url:
            self._due_ms = 0
            self._error = None
        self._due_ms = min(self._due_ms, self.now_ms() + config.ping_every_ms)
        self._config = config

    def tick(self) -> None:
        """Call the URL if it is time; returns at once, for that is done in a thread."""
        now_ms = self.now_ms()
        if not self._config.ping_url or self._under_way or now_ms < self._due_ms:
            return
        self._due_ms = now_ms + self._config.ping_every_ms
        faults = self.faults()
        if faults != self._faults_seen:
            self._faults_seen = faults
            self._withheld += 1
            log.warning("ping.withheld", why="agentd met a bug of its own since the last one")
            return
        self._under_way = True
        url = self._config.ping_url
        try:
            threading.Thread(target=self._call, args=(url,), name="ping", daemon=True).start()
        except RuntimeError:
            self._ended(url, "this host has no thread left for it")

    def counters(self) -> Mapping[str, int]:
        """Return what came of all of them since the daemon started."""
        return {
            "sent": self._sent,
            "failed": self._failed,
            "withheld": self._withheld,
            "failing": int(bool(self._error)),
        }

    def _call(self, url: str) -> None:  # in the thread
        try:
            answer = self.http.request(url, method="GET")
            error = "" if answer.ok else f"it answered {answer.status}"
        except Unanswered as unanswered:
            error = str(unanswered)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know
            self.aio.call_soon_threadsafe(self._ended, url, error)

    def _ended(self, url: str, error: str) -> None:
        self._under_way = False
        if error:
            self._failed += 1
        else:
            self._sent += 1
        if url != self._config.ping_url or error == self._error:
            return  # about a URL of before, or nothing new
        before, self._error = self._error, error
        if error:
            every_ms = self._config.ping_every_ms
            log.warning("ping.failed", why=error, next_in_ms=every_ms)
        elif before:
            log.info("ping.sent", message="the dead man's switch hears from agentd again")
