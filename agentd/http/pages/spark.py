"""Sparklines: a few hours of one figure as an SVG picture of its own."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from agentd.http.pages.markup import Markup, tag
from agentd.reporting.words import latency, number, size

SPARKS: Final = ("memory", "tokens", "latency", "heartbeats")
FIELDS: Final = {
    "memory": "rss_bytes",
    "tokens": "tokens",
    "latency": "latency_ms",
    "heartbeats": "heartbeats",
}
WIDTH: Final = 240.0
HEIGHT: Final = 40.0
EDGE: Final = 2.5
"""Room for the thickness of the line."""
POINTS_MIN: Final = 3
"""Fewer are no picture of hours, but a speck at its edge."""

COLOUR: Final = "#5f86d6"
"""In the middle between light and dark: a picture does not know what it stands on."""

Number = int | float | None


def spark(kind: str, series: Mapping[str, Any] | None, title: str) -> str:
    """Return the picture; a figure that isn't known is a gap, never a zero."""
    values: Sequence[Number] = (series or {}).get(FIELDS[kind]) or ()
    known = [value for value in values if value is not None]
    parts: list[Markup] = [tag("title", _words(kind, title, known))]
    if len(known) >= POINTS_MIN:
        lowest, highest = _range(kind, known)
        for run in _runs(values):
            parts += _drawn(run, len(values), lowest, highest)
    return tag(
        "svg",
        parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        preserveAspectRatio="none",
        role="img",
    )


def _words(kind: str, title: str, known: Sequence[int | float]) -> str:
    if not known:
        return f"{title}: nothing known"
    write = {"memory": size, "latency": latency}.get(kind, number)
    return f"{title}: {write(min(known))} to {write(max(known))}, {write(known[-1])} now"


def _range(kind: str, known: Sequence[int | float]) -> tuple[float, float]:
    """Return the bounds of the picture; memory need not begin at zero, counts do."""
    highest = max(known)
    lowest = min(known) if kind == "memory" else 0
    # A quiet line stays quiet: a change of less than a tenth is not blown up.
    lowest = min(lowest, highest * 0.9)
    return (lowest, highest) if highest > lowest else (0.0, 1.0)


def _runs(values: Sequence[Number]) -> Iterator[list[tuple[int, float]]]:
    """Yield what lies between two gaps, with its places."""
    run: list[tuple[int, float]] = []
    for place, value in enumerate(values):
        if value is not None:
            run.append((place, float(value)))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _drawn(
    run: Sequence[tuple[int, float]], count: int, lowest: float, highest: float
) -> Iterator[Markup]:
    across, up = (WIDTH - 2 * EDGE) / max(1, count - 1), (HEIGHT - 2 * EDGE) / (highest - lowest)
    points = [
        (EDGE + place * across, HEIGHT - EDGE - (value - lowest) * up) for place, value in run
    ]
    if len(points) == 1:
        x, y = points[0]
        yield _line(f"M{x - 1:.1f} {y:.1f}h2")
        return
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    yield tag(
        "path",
        d=f"M{points[0][0]:.1f} {HEIGHT:g}L{path}V{HEIGHT:g}Z",
        fill=COLOUR,
        fill_opacity="0.16",
    )
    yield _line(f"M{path}")


def _line(path: str) -> Markup:
    return tag(
        "path",
        d=path,
        fill="none",
        stroke=COLOUR,
        stroke_width="1.5",
        stroke_linejoin="round",
        vector_effect="non-scaling-stroke",
    )
