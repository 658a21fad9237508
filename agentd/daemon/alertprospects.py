"""When each alert that waits for one sink is tried next, for whoever asks: pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from agentd.daemon.alertplan import MINUTE_MS, Waiting

WITH_DIGEST: Final = "with the next digest"
AFTER_OLDER: Final = "after an older one"


@dataclass(frozen=True, slots=True)
class Prospect:
    """When it is tried next; neither: now, or as soon as there is a thread for it."""

    at_ms: int | None = None
    """In BOOTTIME."""
    why: str = ""
    """What it waits for, if that isn't its own next try."""


def prospects(
    waiting: Iterable[Waiting], on_their_way: Collection[str], storm_ms: int | None, now_ms: int
) -> dict[str, Prospect]:
    """Return the prospect of each alert, by its id; `waiting` is in order."""
    digest_ms = 0 if storm_ms is None else storm_ms + MINUTE_MS
    held: set[tuple[str, str]] = set()
    found = {}
    for one in waiting:
        keys = {one.agent_key, one.incident_key}
        in_backoff = one.attempts > 0 and one.due_ms > now_ms
        if one.uid in on_their_way:
            held |= keys
            found[one.uid] = Prospect()
        elif keys & held and not in_backoff:
            held |= keys
            found[one.uid] = Prospect(why=AFTER_OLDER)
        else:
            held |= keys if in_backoff else set()
            found[one.uid] = _of(one, digest_ms, now_ms)
    return found


def _of(one: Waiting, digest_ms: int, now_ms: int) -> Prospect:
    if digest_ms > max(one.due_ms, now_ms) and not one.is_report and not one.alone:
        return Prospect(digest_ms, WITH_DIGEST)
    return Prospect(one.due_ms if one.due_ms > now_ms else None)
