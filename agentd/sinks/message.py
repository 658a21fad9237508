"""What a sink is asked to bring to people, and what it answers when it could not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

Kind = Literal["trigger", "reminder", "acknowledge", "resolve", "digest", "test"]
Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to one sink; secrets are masked before it is made."""

    alert_id: str
    """Unique for ever, and the same at each attempt: what a receiver knows a repeat by."""
    dedup_key: str
    """The same for all messages of one incident."""
    kind: Kind
    severity: Severity
    host: str
    agent: str | None
    """None: it is the host's, or a dependency's."""
    event: Mapping[str, object]
    """CONTRACT 6.2; empty for a daily report."""
    incident: Mapping[str, object] | None = None
    """An entry of `agentctl incidents --json`, as it is now."""
    next: str = ""
    """The next command to type, such as `agentctl incident 12`."""
    folded: tuple[Mapping[str, object], ...] = ()
    """Further events that this message tells of, oldest first."""
    report: Mapping[str, object] | None = None
    """The daily report of CONTRACT 6.1; with it, `kind` is `digest`."""
    report_text: str = ""
    """That report for people, as plain text; its first line is the headline."""


class DeliveryFailed(Exception):  # noqa: N818 - it names what happened
    """A message was not delivered, as far as can be known; never holds a URL or a key."""

    def __init__(
        self, text: str, *, retry_after_s: float | None = None, permanent: bool = False
    ) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s
        """What the receiver asked for: not before then."""
        self.permanent = permanent
        """Trying this very message again can never help."""


class Sink(Protocol):
    """One receiver of alerts."""

    def deliver(self, message: Message) -> None:
        """Bring it there, blocking for at most the sink's own deadline; raises DeliveryFailed."""
        ...


@dataclass(frozen=True, slots=True)
class Program:
    """A command that a sink needs run; it is not run by a shell, and not by the sink."""

    argv: tuple[str, ...]
    stdin: bytes
    timeout_ms: int
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to what every command of the config gets."""


class ProgramEnd(Protocol):
    """How a program ended."""

    @property
    def ok(self) -> bool:
        """Whether it exited with code 0 in time."""
        ...

    @property
    def told(self) -> str:
        """How it ended in words, with the last that it printed on stderr; secrets masked."""
        ...


@dataclass(frozen=True, slots=True)
class Resources:
    """What sinks may use of the daemon."""

    directory: Path
    """That of the config file: relative names of secret files begin there."""
    run: Callable[[Program], ProgramEnd]
    """Runs a program to its end and tells how it ended; blocks, at most a little longer than
    the program's deadline, after which all of it is killed.
    """
