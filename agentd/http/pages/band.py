"""When an agent was up, down or at rest, as one band with its figures in words below it."""

from collections.abc import Mapping
from typing import Any, Final

from agentd.http.pages import times
from agentd.http.pages.context import Document
from agentd.http.pages.markup import Markup, tag
from agentd.reporting.words import duration, percent

WIDTH: Final = 1000
HEIGHT: Final = 20
DOWN_WIDTH_MIN: Final = 2.0
"""Of `WIDTH`: a second of downtime in a week is still to be seen."""
STATES: Final = frozenset(("up", "down", "paused"))


def band(history: Document, name: str) -> Markup | None:
    """Return the band of one agent; None where nothing is known of it."""
    found = next((one for one in history.get("agents") or () if one.get("name") == name), None)
    intervals = (found or {}).get("intervals") or ()
    if found is None or not intervals:
        return None
    # From the first thing that is known: a week of nothing would hide the hour that is.
    begins_ms = max(times.wall_ms(history.get("from")), times.wall_ms(intervals[0].get("from")))
    ends_ms = times.wall_ms(history.get("to"))
    if ends_ms <= begins_ms:
        return None
    scale = WIDTH / (ends_ms - begins_ms)
    bars = [_bar(each, begins_ms, scale) for each in intervals]
    # What was down is drawn last: it must not vanish beneath what follows it.
    picture = tag(
        "svg",
        tag("rect", class_="unknown", width=WIDTH, height=HEIGHT),
        [bar for state, bar in sorted(bars, key=lambda bar: bar[0] == "down")],
        class_="band",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
    return tag("div", picture, _words(found, begins_ms, ends_ms))


def _bar(interval: Mapping[str, Any], begins_ms: int, scale: float) -> tuple[str, Markup]:
    since_ms = max(times.wall_ms(interval.get("from")), begins_ms)
    state = str(interval.get("state"))
    width = max(0.0, (times.wall_ms(interval.get("to")) - since_ms) * scale)
    if state == "down":
        width = max(width, DOWN_WIDTH_MIN)
    return state, tag(
        "rect",
        class_=state if state in STATES else "unknown",
        x=f"{(since_ms - begins_ms) * scale:.2f}",
        width=f"{width:.2f}",
        height=HEIGHT,
    )


def _words(found: Document, begins_ms: int, ends_ms: int) -> Markup:
    downs = found.get("downs") or 0
    down_for = duration(found.get("down_s") or 0)
    told = [
        f"the last {duration((ends_ms - begins_ms) / 1000)}",
        f"{percent(found.get('availability'))} available",
        f"down {'once' if downs == 1 else f'{downs} times'}, for {down_for}"
        if downs
        else "never down",
        f"mended in {duration(found['mttr_s'])} on average" if found.get("mttr_s") else "",
        f"at rest for {duration(found['paused_s'])}" if found.get("paused_s") else "",
    ]
    return tag("p", " · ".join(part for part in told if part), class_="legend")
