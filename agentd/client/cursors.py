"""How far a follower has come, so that it goes on there after a lost connection."""

from collections.abc import Callable, Iterator
from typing import Final

from agentd.client.link import Document

PAGE: Final = 1_000


class EventCursor:
    """A place in the journal: what has been yielded is never yielded again.

    First `history` brings it up to the newest event, then each line of a follower moves it.
    """

    def __init__(self, page: Document) -> None:
        self._page = page
        self._seen: int | None = page["after"]

    def history(self, ask: Callable[[Document], Document]) -> Iterator[Document]:
        """Yield what is there already: one page where it has a limit, else all of them."""
        if self._page["limit"] is not None:
            yield from self._new(ask(self._page))
            return
        page = {**self._page, "after": self._seen or 0, "limit": PAGE}
        while found := list(self._new(ask(page))):
            yield from found
            page["after"] = self._seen

    def request(self) -> Document:
        """Ask for everything that comes after here."""
        args = {**self._page, "after": self._seen, "since_ms": None, "limit": None}
        return {"cmd": "events", "args": args}

    def take(self, line: Document) -> Iterator[Document]:
        """Yield the events of one line of a follower that are new."""
        yield from self._new({"events": [line["event"]]} if "event" in line else line["result"])

    def _new(self, page: Document) -> Iterator[Document]:
        for event in page.get("events", ()):
            if self._seen is None or event["id"] > self._seen:
                self._seen = event["id"]
                yield event
        if self._seen is None:  # nothing there: what comes begins where the journal ends
            self._seen = page.get("last_id")


class LogCursor:
    """A place in each agent's log, known where the daemon says the offset of its lines."""

    def __init__(self, page: Document) -> None:
        self._page = page
        self._offsets: dict[str, int] = {}

    def request(self) -> Document:
        return {"cmd": "logs", "args": self._page}

    def take(self, line: Document) -> Iterator[tuple[str, str]]:
        """Yield (agent, text) of one line of the stream."""
        chunks = [line["log"]] if "log" in line else line["result"].get("logs", ())
        for chunk in chunks:
            if "offset" in chunk:
                self._offsets[chunk["agent"]] = chunk["offset"]
            for text in chunk["lines"] if "lines" in chunk else (chunk["line"],):
                yield chunk["agent"], text
        self._page = {**self._page, "lines": 0, "since_ms": None, "from": self._offsets}
