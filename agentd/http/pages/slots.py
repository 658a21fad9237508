"""What stands on a page and changes while one looks: rows, and in them slots with a text.

A row is one agent, one host, one incident or the page itself. The page is first written from
rows as HTML, and then told of other rows as JSON; the browser only puts texts into places, so
that what a person reads is decided here alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from agentd.http.pages.markup import Markup, tag
from agentd.reporting.words import NOTHING, duration

Tone = Literal["", "good", "warn", "bad", "rest"]
METER_WIDTH: Final = 100

ROUNDED_MS: Final = 200
"""Moments are rounded so: the same one, told twice, is the same however clocks tremble."""


class Slot(NamedTuple):
    """A text, and what goes with it.

    With `since_ms` or `until_ms` (milliseconds since 1970) the time from or to that moment stands
    between `lead` and `text`, and runs on in the browser. `share` is of a meter, 0 to 1; with
    `full_s` it is what that time is of so many seconds. A tuple, for thousands are made a second.
    """

    text: str = ""
    lead: str = ""
    since_ms: int | None = None
    until_ms: int | None = None
    full_s: float | None = None
    share: float | None = None
    tone: Tone = ""
    href: str = ""

    def shown(self, now_ms: int) -> str:
        """Return the text at that moment."""
        span_ms = self.span_ms(now_ms)
        told = "" if span_ms is None else duration(span_ms / 1000)
        return f"{self.lead}{told}{self.text}"

    def span_ms(self, now_ms: int) -> int | None:
        """Return the time that stands in the text; None: there is none."""
        if self.since_ms is not None:
            return max(0, now_ms - self.since_ms)
        return None if self.until_ms is None else max(0, self.until_ms - now_ms)

    def filled(self, now_ms: int) -> float | None:
        """Return how much of the meter is full; None: there is no meter."""
        span_ms = self.span_ms(now_ms)
        if self.full_s and span_ms is not None:
            return min(1.0, span_ms / 1000 / self.full_s)
        return self.share

    def document(self) -> dict[str, Any]:
        """Return what isn't empty, for the browser."""
        told = {
            "text": self.text,
            "lead": self.lead,
            "since": self.since_ms,
            "until": self.until_ms,
            "full": self.full_s,
            "share": None if self.share is None else round(self.share, 3),
            "tone": self.tone,
            "href": self.href,
        }
        return {key: value for key, value in told.items() if value not in (None, "")}


EMPTY: Final = Slot(NOTHING)


@dataclass(frozen=True, slots=True)
class Row:
    """One thing on the page. `order` sorts it within its group; `data` is what its buttons need."""

    kind: Literal["page", "agent", "host", "notice"]
    key: str
    slots: Mapping[str, Slot]
    group: str = ""
    order: str = ""
    tone: Tone = ""
    verbs: Sequence[str] = ()
    data: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return it for the browser."""
        return {
            "kind": self.kind,
            "group": self.group,
            "order": self.order,
            "tone": self.tone,
            "verbs": list(self.verbs),
            "data": dict(self.data),
            "slots": {name: slot.document() for name, slot in self.slots.items()},
        }


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes the slots of one row as HTML, as they are at one moment."""

    row: Row
    now_ms: int

    def slot(self, name: str, *, element: str = "span", **attributes: str) -> Markup:
        """Return one slot; one that the row doesn't have is empty and hidden."""
        slot = self.row.slots.get(name, Slot())
        text = slot.shown(self.now_ms)
        return tag(
            element,
            text,
            data_slot=name,
            data_tone=slot.tone or None,
            data_since=slot.since_ms,
            data_until=slot.until_ms,
            data_lead=slot.lead or None,
            data_text=slot.text if slot.span_ms(self.now_ms) is not None else None,
            data_full=slot.full_s,
            href=slot.href or None if element == "a" else None,
            data_none=text == NOTHING,
            hidden=not text,
            **attributes,
        )

    def meter(self, name: str) -> Markup:
        """Return the meter of a slot; the figures beside it say the same in words."""
        slot = self.row.slots.get(name, Slot())
        filled = slot.filled(self.now_ms)
        bar = tag("rect", class_="full", width=f"{(filled or 0) * METER_WIDTH:.4g}", height=4)
        return tag(
            "svg",
            tag("rect", class_="whole", width=METER_WIDTH, height=4),
            bar,
            class_="meter",
            viewBox=f"0 0 {METER_WIDTH} 4",
            preserveAspectRatio="none",
            aria_hidden="true",
            data_meter=name,
            data_tone=slot.tone or None,
            data_empty=filled is None,
        )


def moment_ms(since_s: float | None, now_ms: int) -> int | None:
    """Return the moment so many seconds before `now_ms`, rounded; None: not known."""
    if since_s is None:
        return None
    return round((now_ms - since_s * 1000) / ROUNDED_MS) * ROUNDED_MS
