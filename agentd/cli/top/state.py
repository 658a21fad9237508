"""What the live view shows and what a key changes in it: state + key → state and an order.

Nothing here reads a clock, a terminal or a socket. Moments are of `time.monotonic()`, in seconds.
"""

from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from agentd.cli.top.keys import PASTED
from agentd.cli.top.sorting import ATTENTION, SORTS, matching, ordered

Document = dict[str, Any]

QUIT: Final = "quit"
NOT_REACHABLE: Final = "NOT REACHABLE"
REASON_CHARS_MAX: Final = 200
VERBS: Final = {"p": "pause", "r": "resume", "t": "restart", "K": "kill"}
"""Keys that ask something of the selected agent. Not `k`, which goes up; a kill takes Shift."""


class Order(NamedTuple):
    """What somebody has asked for: `QUIT`, or a verb of `VERBS` for one agent."""

    verb: str
    agent: str = ""
    reason: str = ""


class Question(NamedTuple):
    """An order that waits for its reason and for Enter."""

    verb: str
    agent: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Top:
    """All that decides what stands on the screen, the size of the terminal aside."""

    status: Document
    """The last status document (CONTRACT 6.1) that came."""
    seen_s: float
    """When it came."""
    incidents: tuple[Document, ...] = ()
    """The open ones, the newest first."""
    host: str = ""
    """What the machine has left, in one line."""
    lost: str = ""
    """Why the daemon doesn't say how agents are; empty while it does."""
    lost_how: str = NOT_REACHABLE
    """What it is called while it doesn't."""
    stale_after_s: float = 5.0
    """A status older than this is not what is: the daemon, or the way to it, hangs."""
    sort: str = ATTENTION
    reverse: bool = False
    words: str = ""
    """The filter."""
    is_filtering: bool = False
    question: Question | None = None
    selected: str = ""
    row: int = 0
    """Where the selected agent stands among those shown."""
    first: int = 0
    """The first of the rows on the screen."""
    is_detailed: bool = False
    detail: int = 0
    """The first line of the details on the screen."""
    is_helping: bool = False
    message: str = ""
    """What came of the last order."""

    def rows(self) -> list[Document]:
        """Return the agents that are shown, in their order."""
        agents = matching(self.status.get("agents") or (), self.words)
        return ordered(agents, self.sort, reverse=self.reverse)

    def is_stale(self, now_s: float) -> bool:
        """Whether what is shown is the past."""
        return bool(self.lost) or now_s - self.seen_s > self.stale_after_s


def heard(top: Top, status: Document, incidents: tuple[Document, ...], now_s: float) -> Top:
    """Take in what the daemon says now."""
    top = replace(top, status=status, incidents=incidents, seen_s=now_s)
    return settled(replace(top, lost="", lost_how=NOT_REACHABLE))


def settled(top: Top) -> Top:
    """Keep the selection on its agent; where that is gone, on the one that took its place."""
    names = [agent["name"] for agent in top.rows()]
    if not names:
        return replace(top, row=0)
    if top.selected in names:
        return replace(top, row=names.index(top.selected))
    row = min(top.row, len(names) - 1)
    return replace(top, row=row, selected=names[row], detail=0)


def scrolled(top: Top, room: int, told: int) -> Top:
    """Keep the selected agent on a screen with room for so many, and one line of its details.

    `told` is how many lines the details have: past the last one, the way back would be longer
    than the way there.
    """
    count = len(top.rows())
    first = max(min(top.first, top.row, count - room), top.row - room + 1, 0)
    detail = min(top.detail, max(told - 1, 0))
    is_there = (first, detail) == (top.first, top.detail)
    return top if is_there else replace(top, first=first, detail=detail)


def press(top: Top, key: str, page: int = 10) -> tuple[Top, Order | None]:
    """Return what a key makes of it; `page` is how many rows a page has."""
    if key == "interrupt":
        return top, Order(QUIT)
    if key.startswith(PASTED):
        if top.question is None and not top.is_filtering:
            return top, None  # what falls into the window by mistake kills nobody
        key = key.removeprefix(PASTED)
    if top.question is not None:
        return _answered(top, top.question, key)
    if top.is_filtering:
        return _filtered(top, key), None
    if top.is_helping:  # any key leads back
        return replace(top, is_helping=False), None
    top = replace(top, message="")
    if key in {"q", "Q"}:
        return top, Order(QUIT)
    if key in VERBS:
        return _asked(top, VERBS[key]), None
    return _moved(top, key, page), None


def _moved(top: Top, key: str, page: int) -> Top:
    if top.is_detailed and key in {"page up", "page down"}:
        return replace(top, detail=max(0, top.detail + (page if key == "page down" else -page)))
    rows = {
        "up": top.row - 1,
        "k": top.row - 1,
        "down": top.row + 1,
        "j": top.row + 1,
        "home": 0,
        "g": 0,
        "end": len(top.rows()) - 1,
        "G": len(top.rows()) - 1,
        "page up": top.row - page,
        "page down": top.row + page,
    }
    return _at(top, rows[key]) if key in rows else _turned(top, key)


def _turned(top: Top, key: str) -> Top:
    """Change how it is shown."""
    match key:
        case "enter" | "d":
            return replace(top, is_detailed=not top.is_detailed, detail=0)
        case "s" | "S":
            return settled(replace(top, sort=_next_sort(top.sort, 1 if key == "s" else -1)))
        case "o":
            return settled(replace(top, reverse=not top.reverse))
        case "/":
            return replace(top, is_filtering=True)
        case "?" | "h":
            return replace(top, is_helping=True)
        case "escape" if top.is_detailed:
            return replace(top, is_detailed=False)
        case "escape":
            return settled(replace(top, words=""))
        case _:
            return top


def _at(top: Top, row: int) -> Top:
    rows = top.rows()
    if not rows:
        return top
    row = max(0, min(row, len(rows) - 1))
    return replace(top, row=row, selected=rows[row]["name"], detail=0)


def _next_sort(sort: str, step: int) -> str:
    names = list(SORTS)
    return names[(names.index(sort) + step) % len(names)]


def _filtered(top: Top, key: str) -> Top:
    """Type the filter: what is shown follows at once, Enter keeps it, Esc lets it go."""
    if key == "enter":
        return replace(top, is_filtering=False)
    if key == "escape":
        return settled(replace(top, is_filtering=False, words=""))
    return settled(replace(top, words=_typed(top.words, key)))


def _asked(top: Top, verb: str) -> Top:
    """Ask for the reason; the order is for the agent that is selected now, whatever moves."""
    if not top.rows():
        return replace(top, message="no agent is selected")
    return replace(top, question=Question(verb, top.selected))


def _answered(top: Top, question: Question, key: str) -> tuple[Top, Order | None]:
    if key == "escape":
        told = f"{question.agent}: nothing was done"
        return replace(top, question=None, message=told), None
    if key == "enter":
        order = Order(question.verb, question.agent, question.reason.strip())
        return replace(top, question=None, message=f"{order.verb} {order.agent} ..."), order
    reason = _typed(question.reason, key)
    return replace(top, question=question._replace(reason=reason)), None


def _typed(text: str, key: str) -> str:
    """Return a line of text after one more key; keys that are no character change nothing."""
    if key == "backspace":
        return text[:-1]
    if key == "clear":
        return ""
    return (text + key)[:REASON_CHARS_MAX] if len(key) == 1 else text
