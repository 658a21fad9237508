"""One attempt to deliver one message, and how it ended."""

from collections.abc import Callable
from dataclasses import dataclass

from agentd.daemon.log import log
from agentd.sinks.message import DeliveryFailed, Message, Sink


@dataclass(frozen=True, slots=True)
class Attempt:
    """How an attempt ended; no error: it was delivered."""

    error: str = ""
    retry_after_ms: int = 0
    permanent: bool = False

    @property
    def ok(self) -> bool:
        return not self.error


def attempt(sink: Sink, prepare: Callable[[], Message]) -> Attempt:
    """Deliver one message, in whatever thread; never raises."""
    try:
        sink.deliver(prepare())
    except DeliveryFailed as failure:
        retry_ms = int((failure.retry_after_s or 0.0) * 1000)
        return Attempt(str(failure) or "it failed", retry_ms, failure.permanent)
    except Exception as error:  # noqa: BLE001 - whatever it is, the alert waits for another try
        # Its text may quote a URL.
        log.error("alert.fault", error=type(error).__name__)
        return Attempt(f"a bug of agentd: {type(error).__name__}")
    return Attempt()
