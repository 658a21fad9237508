"""One call of `agentctl`: its global options, its client, and how it answers."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from agentd.client import Client

if TYPE_CHECKING:  # what prints a document as JSON has no need for tables
    from agentd.cli.views.table import Table

Document = dict[str, Any]

CHECK_UNKNOWN: Final = 3
"""`--check` only, whose exit codes are those of monitoring plugins."""


class Invocation:
    """What the global options said. `timeout_s` is None where the user gave none."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self.socket: str | None = None
        self.hosts: str | None = None
        self.json = False
        self.quiet = False
        self.color = "auto"
        self.timeout_s: float | None = None
        self._env = os.environ if env is None else env
        self._begun = monotonic()
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """The connection of this call; with `--timeout`, nothing on it lasts longer."""
        if self._client is None:
            self._client = Client(self.socket)
            if self.timeout_s is not None:
                self._client.timeout = self.timeout_s
                self._client.bound(self._begun + self.timeout_s)
        return self._client

    def left_s(self) -> float | None:
        """Tell how much of `--timeout` is left to wait for the daemon's own verdict."""
        if self.timeout_s is None:
            return None
        return max(0.05, self._begun + self.timeout_s - monotonic() - 0.2)

    def colored(self) -> bool:
        """Tell whether a person looks at a terminal that has colours and wants them."""
        if self.color != "auto":
            return self.color == "always"
        if self._env.get("NO_COLOR") or self._env.get("TERM", "") in {"", "dumb"}:
            return False
        return sys.stdout.isatty()

    def width(self) -> int | None:
        """Return the width of the terminal somebody looks at; None: nobody does."""
        if not sys.stdout.isatty():
            return None
        from shutil import get_terminal_size  # noqa: PLC0415 - only on a terminal

        return get_terminal_size().columns

    def today(self) -> str:
        """Return the date that goes without saying on a terminal; empty elsewhere."""
        if not sys.stdout.isatty():
            return ""
        from datetime import datetime  # noqa: PLC0415 - only on a terminal

        return datetime.now().astimezone().date().isoformat()

    def answer(self, document: Document, view: Callable[[Document], "str | Table"]) -> None:
        """Print the document as `--json` wants it, or else what a person reads."""
        if self.json:
            self.print_json(document)
        else:
            self.show(view(document))

    def answer_unknown(self, message: str) -> int:
        """Answer `--check` where nothing is known; returns the exit code.

        To a monitor every obstacle is the same. With `--json` there is no document to print.
        """
        if not self.json:
            from agentd.reporting.words import visible  # noqa: PLC0415 - only for an error

            self.show(f"agentd UNKNOWN: {visible(message)}")
        return CHECK_UNKNOWN

    def confirm(self, document: Document, view: Callable[[Document], "str | Table"]) -> None:
        """Answer a write: as `answer`, but `--quiet` leaves the words out."""
        if self.json or not self.quiet:
            self.answer(document, view)

    def show(self, view: "str | Table") -> None:
        if isinstance(view, str):
            print(view, flush=True)
        elif self.colored():
            from agentd.cli.views import terminal  # noqa: PLC0415 - imports rich

            terminal.show(view)
        else:
            from agentd.cli.views.table import plain  # noqa: PLC0415 - see the head of the file

            print(plain(view, self.width()), flush=True)

    def print_json(self, document: object) -> None:
        """Print one document on one line; ASCII, so that no terminal is fooled by it."""
        print(json.dumps(document), flush=True)

    def complain(self, text: str) -> None:
        """Tell an error on stderr beside what is shown."""
        print(text, file=sys.stderr, flush=True)

    def note(self, message: str) -> None:
        """Tell something on stderr that is no error."""
        if not self.quiet:
            print(message, file=sys.stderr, flush=True)
