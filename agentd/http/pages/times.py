"""Moments of the wire (ISO 8601, UTC) on a page; the browser shows them in its own zone."""

from datetime import UTC, datetime

from agentd.http.pages.markup import Markup, tag
from agentd.reporting.words import NOTHING, visible


def wall_ms(time: object) -> int:
    """Return milliseconds since 1970; 0 for what is no moment."""
    moment = _moment(time)
    return 0 if moment is None else round(moment.timestamp() * 1000)


def shown(time: object) -> Markup:
    """Return a `time` element; without scripts it reads as UTC."""
    moment = _moment(time)
    if moment is None:
        return tag("span", NOTHING if time is None else visible(time))
    told = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return tag("time", told, datetime=moment.isoformat())


def between_s(since: object, until: object) -> float | None:
    """Return the seconds between two moments; None if one of them is none."""
    begun, ended = _moment(since), _moment(until)
    if begun is None or ended is None:
        return None
    return max(0.0, (ended - begun).total_seconds())


def _moment(time: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(time))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
